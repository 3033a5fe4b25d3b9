#@ s3
#@ once
# A cluster is replaced by its own past, as README.md describes it: the plan is shown while the server
# runs, refused until it is stopped, and what was not archived is saved.
use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;

my $node = PgNode->init('primary');
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$pgdr->ok('backup');
my $before = $node->mark('before');
my $want   = $node->fingerprint;
$node->query('DROP TABLE marks');
$node->archive_all;
$node->query('CREATE TABLE not_archived AS SELECT 1 AS one');
my @to = ("--target-time=$before->{time}", '--delta', '--yes');

my $result = $pgdr->fails('REFUSED', qr/a PostgreSQL process \(\d+\) runs in/, 'restore', @to);
like($result->{out}, qr/^  last in +transaction $before->{xid}, committed/m, 'the plan is shown all the same');
like($result->{out}, qr/^  first out +transaction \d+, committed/m, '... with what is left out');
unlike($result->{out}, qr/REPLACING/, '... and promises nothing');
$pgdr->fails('REFUSED', qr/a PostgreSQL process/, 'restore', @to, '--dry-run');
is($node->query('SELECT one FROM not_archived'), 1, 'the server has noticed nothing');

$node->kill9;
$result = $pgdr->fails('REFUSED', qr/holds a cluster/, 'restore', "--target-time=$before->{time}");
like($result->{out}, qr/^  last in /m, 'the plan is shown without --delta');
$pgdr->ok('restore', @to, '--dry-run');
$result = $pgdr->json('restore', @to);
cmp_ok($result->{result}{rescued_wal}{segments} + $result->{result}{rescued_wal}{tails}, '>', 0,
    'WAL that was not archived is saved');
$node->start;
$node->wait_promoted;
is($node->fingerprint, $want, 'all rows are back');
$pgdr->ok('check');
$pgdr->ok('backup');

my $copy = $node->data_dir . '-copies/one';
$result = $pgdr->ok('restore', "--to=$copy");
like($result->{out}, qr/pg_ctl start -D '\Q$copy\E'/, 'it says how to start a copy');
my $clone = PgNode->from_datadir('clone', $copy);
$clone->start;
$clone->wait_promoted;
is($clone->fingerprint, $want, 'the copy has the rows, too');
is($clone->query('SHOW archive_mode'), 'off', '... and does not archive');

$clone->destroy;

$node->stop;
ok(!defined $node->postmaster_pid, 'a server that was stopped leaves no postmaster.pid');
$pgdr->ok('restore', '--delta', '--yes');
$node->start;
$node->wait_promoted;
is($node->fingerprint, $want, 'a stopped cluster is replaced as well');

done_testing;
