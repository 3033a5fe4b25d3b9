#@ folder it is the file system that fails; 452 and 453 have the faults of S3
#@ smallfs 24
#@ once
# A file system that is really full: below the repository, and where a cluster is restored to. Nothing is
# lost, nothing half done is taken for whole, and with space again everything goes on by itself.

use strict;
use warnings;
use Test::More;

use Faults qw(small_node backups_of unopened json_of);
use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestRun qw(small_fs fill_fs temp_dir poll_until);

my $small = small_fs();
my $node  = small_node('primary');
my $pgdr  = Pgdr->new(node => $node, repo => "$small/repo");
$node->enable_archiving($pgdr);
$node->start;
$node->query("CREATE TABLE big AS SELECT n, repeat('x', 100) || n AS t FROM generate_series(1, 3000) n");
$pgdr->ok('init');
$pgdr->ok('backup');
my ($first) = backups_of($pgdr);

for my $leave (0, 4096, 200_000, 700_000) {
    my $filler = fill_fs($small, $leave);
    my $result = $pgdr->fails('NO_SPACE', qr/\Q$small\E.*No space left/s, 'backup', '--type=full', '--archive-timeout=5s');
    is_deeply([ backups_of($pgdr) ], [$first], "$leave bytes left: the first backup is there, and no other");
    $pgdr->ok('verify');
    unlink $filler or die;
}
$pgdr->ok('backup');

subtest 'archiving' => sub {
    my $filler = fill_fs($small, 0);
    my $mark   = $node->log_mark;
    $node->mark('while full');
    my $segment = $node->switch_wal;
    $node->wait_for_log(qr/archive command failed with exit code 8/, $mark);
    ok($node->log_contains(qr/No space left/, $mark), 'the server\'s log says why');
    ok(-e $node->data_dir . "/pg_wal/$segment", 'the server keeps the segment');
    unlink $filler or die;
    ok(poll_until(sub { -e $node->data_dir . "/pg_wal/archive_status/$segment.done" }, 'it is archived'), 'with space it is archived');
    $pgdr->ok('verify');
};

subtest 'restore' => sub {
    my $to     = "$small/data";
    my $filler = fill_fs($small, 2_000_000);
    my $result = $pgdr->run('restore', "--to=$to", '--output=json');
    ok((grep { $result->{rc} == Pgdr::exit_status($_) } qw(NO_SPACE REFUSED)), 'not enough space: refused, or it says so')
      or diag($result->describe);
    like($result->{err}, qr/space/, '  in words');
    is(unopened($to), '', '  and nothing can be started');
    unlink $filler or die;
    $node->archive_all;
    my $want = $node->fingerprint;
    my $copy = restored($pgdr, 'copy');
    $copy->wait_promoted;
    is($copy->fingerprint, $want, 'elsewhere everything is there');
    $copy->stop;
};

done_testing;
