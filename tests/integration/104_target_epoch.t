#@ once
# Transaction ids of 64 bits: the epoch counts how often the 32 bits have wrapped around. A cluster is
# set shortly before such a wrap, and lives through it.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored plan_of);
use TestFile qw(spit);
use TestRun qw(temp_dir);

my $node = PgNode->init('primary', conf => 'autovacuum = off');
my $pgdr = Pgdr->new(node => $node);
$node->start;
$node->must('vacuumdb', $node->address, '--all', '--freeze', '--quiet');
$node->stop;
# Epoch 6, ten ids before the wrap; the file holds the states of the last ids.
spit($node->data_dir . '/pg_xact/0FFF', "\0" x 262144);
$node->must('pg_resetwal', '-D', $node->data_dir, '-e', 6, '-x', 4294967286);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$pgdr->ok('backup');

my @mark = map { $node->mark("m$_") } 1 .. 15;
$node->archive_all;
my $wrap = 2**32;
is($mark[0]{xid} >> 32,  6, 'the first lies in epoch 6');
is($mark[14]{xid} >> 32, 7, 'the last in epoch 7');

sub restored_to
{
    my ($n, $xid) = @_;
    my $copy = restored($pgdr, "copy-$n", "--target-xid=$xid");
    $copy->wait_promoted;
    my $marks = $copy->marks;
    $copy->stop;
    return $marks;
}

sub upto { return join ' ', map { "m$_" } 1 .. $_[0] }

is(restored_to(2,  $mark[1]{xid}),  upto(2),  '64 bits, before the wrap');
is(restored_to(14, $mark[13]{xid}), upto(14), '64 bits, behind it');
is(restored_to('short', $mark[13]{xid} % $wrap), upto(14), '32 bits, as xmin shows them');

my @to = ('--to=' . temp_dir('plan'));
for my $n (0, 13) {
    my $right = $mark[$n]{xid};
    is(plan_of($pgdr, @to, "--target-xid=$right")->{last_in}{lsn}, plan_of($pgdr, @to, '--target-xid=' . $right % $wrap)->{last_in}{lsn},
        "the same transaction with and without epoch $n");
    for my $wrong ($right - $wrap, $right + $wrap) {
        $pgdr->fails('UNREACHABLE', qr/transaction $wrong does not end in the archived WAL/, 'restore', @to, "--target-xid=$wrong");
    }
}
$node->stop;
done_testing;
