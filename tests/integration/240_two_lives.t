#@ s3
# A copy of a cluster, as a snapshot of its machine makes it, that is started without recovery.signal:
# two servers then write other WAL under the same names, and both archive it. What is not one history
# must not be joined to one: not by the archive, not by a backup, not by a restore.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored plan_of);
use TestFile qw(slurp copy_tree tree_state);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects wal_object wal_files orphans timeline_marks segment_plus segment_size);

my $node = PgNode->init('right', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node, cluster_options => { 'archive-timeout' => '20s' });
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('before');
my $backup = $pgdr->json('backup')->{backup};
my $size   = segment_size($node);
$node->archive_all;
$node->stop;
my $copy = PgNode->from_datadir('copy', copy_tree($node->data_dir, temp_dir('copy-data') . '/data'));
$_->start for $node, $copy;

# The archiver of a server says in its log that it is refused.
sub is_refused
{
    my ($server, $segment, $re) = @_;
    $server->wait_for_log($re);
    pass($server->name . " is told so for $segment");
    ok(-e $server->data_dir . "/pg_wal/archive_status/$segment.ready", '  and keeps the segment');
    return;
}

# The right server is the first to archive a segment of its new life.
$node->mark('right 1');
my $fork = $node->archive_all;

subtest 'the other content is refused' => sub {
    $copy->mark('wrong 1');
    is($copy->switch_wal, $fork, 'the copy finishes the same segment');
    is_refused($copy, $fork, qr/ERROR: '$fork' is in .* with other content: /);
    is(scalar(wal_objects($pgdr, $fork)), 2, 'both contents are kept');
    is(scalar(timeline_marks($pgdr, 1)), 1, 'the timeline is frozen');
};

subtest 'and nothing behind it is taken, from either' => sub {
    my @later;
    for my $server ($copy, $node) {
        $server->mark($server->name . ' 2');
        my $segment = $server->switch_wal;
        push @later, $segment;
        is_refused($server, $segment, qr/ERROR: timeline 1 .* is frozen/) if $server == $node;
        $pgdr->fails('CONFLICT', qr/timeline 1 .* is frozen.*HINT.*repo resolve $fork/s, 'archive-push', "pg_wal/$segment", { cwd => $server->data_dir });
        is(scalar(wal_objects($pgdr, $segment)), 0, '  it is not there');
    }
    is((wal_files($pgdr))[-1], $fork, 'the conflict is the last that is there');
};

subtest 'no backup completes' => sub {
    my $before = tree_state($pgdr->folder);
    $pgdr->fails('CONFLICT', qr/timeline 1 .* is frozen.*HINT.*repo resolve $fork/s, 'backup');
    is(tree_state($pgdr->folder), $before, 'nothing was stored');
    my @backups = @{ $pgdr->json('info')->{clusters}[0]{backups} };
    is(scalar(@backups), 1, 'there is only the first');
};

subtest 'no restore goes over it' => sub {
    my $dir = temp_dir('asks');
    mkdir "$dir/$_" for qw(global pg_wal);
    TestFile::spit("$dir/global/pg_control", slurp($node->data_dir . '/global/pg_control'));
    TestFile::spit("$dir/recovery.signal", '');
    my $result = $pgdr->run('archive-get', $fork, 'pg_wal/RECOVERYXLOG', { cwd => $dir });
    is($result->{rc}, 254, 'the segment is a doubt') or diag($result->describe);
    my $to   = temp_dir('to') . '/data';
    my $late = $node->query(q{SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US+00')});
    $pgdr->fails('CONFLICT', qr/two different contents of $fork.*HINT.*repo resolve $fork/s, 'restore', "--to=$to", "--target-time=$late");
    ok(!-e $to, 'nothing is written');
    my $early = restored($pgdr, 'early', '--type=immediate');
    $early->wait_promoted;
    is($early->marks, 'before', 'the first backup itself is as good as ever');
    $early->stop;
};

subtest 'the operator decides' => sub {
    $copy->stop;
    my ($right) = $copy->log_since(0) =~ /with other content: ([0-9a-f]+) there, [0-9a-f]+ here/;
    my $shown = $pgdr->ok('repo', 'resolve', $fork);
    like($shown->{out}, qr/\b\Q$_\E\b/, 'both are shown') for map { /-([0-9a-f]+)$/ } wal_objects($pgdr, $fork);
    $pgdr->ok('repo', 'resolve', $fork, "--keep=$right");
    is(scalar(wal_objects($pgdr, $fork)), 1, 'one is left');
    is(scalar(orphans($pgdr, $fork)), 1, 'the other is kept aside');
    $node->archive_all;
    pass('the right server archives again');
    $pgdr->ok('backup');
    my $all  = $node->marks;
    my $rows = $node->fingerprint;
    $node->archive_all;
    for my $from ($backup->{id}, $pgdr->json('info')->{clusters}[0]{backups}[-1]{id}) {
        my $again = restored($pgdr, 'again', "--backup=$from");
        $again->wait_promoted;
        is($again->marks, $all, 'a restore gives the marks of the right life');
        is($again->fingerprint, $rows, 'and all rows');
        $again->stop;
    }
};

subtest 'a server that archives nothing, and the copy in its place' => sub {
    # archive_command says yes and does nothing; every segment of the backup comes from the copy.
    $node->archive_all;
    $node->stop;
    my $second = PgNode->from_datadir('second', copy_tree($node->data_dir, temp_dir('second-data') . '/data'));
    $node->append_conf("archive_command = 'true'\n");
    $_->start for $node, $second;
    $node->mark('unheard');
    for my $n (1 .. 8) {
        $second->mark("instead $n");
        $second->archive_all;
    }
    my $before = join ' ', map { $_->{id} } @{ $pgdr->json('info')->{clusters}[0]{backups} };
    $pgdr->fails('CONFLICT', qr/the WAL in .* is not this server's/, 'backup');
    is(join(' ', map { $_->{id} } @{ $pgdr->json('info')->{clusters}[0]{backups} }), $before, 'the backup was not kept');
};

done_testing;
