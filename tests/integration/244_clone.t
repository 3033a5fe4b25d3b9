#@ once
# A copy of production, restored to a moment in the past, is opened and archives by mistake into the same
# archive: it takes timeline 2 there. Production goes on as if nothing had happened; who is promoted
# later takes the next timeline that is free, also when the repository cannot be asked at that moment.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects tail_objects timeline_marks orphans segment_of segment_plus);

my $node = PgNode->init('production', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$pgdr->ok('backup');
my $target = $node->mark('a');
$node->mark('b');
$node->archive_all;

# Two standbys of production, each with a spool of its own.
my (%standby, %his);
for my $name (qw(heir latecomer)) {
    $standby{$name} = PgNode->standby_of($node, $name);
    $his{$name} = Pgdr->new(node => $standby{$name}, repo => $pgdr->repo);
    $standby{$name}->append_conf("wal_retrieve_retry_interval = 100ms\nrestore_command = '" . $his{$name}->restore_command . "'\n"
          . "archive_command = '" . $his{$name}->archive_command . "'\n");
    $standby{$name}->start;
}

my $clone  = PgNode->from_datadir('clone', do {
    my $to = temp_dir('clone') . '/data';
    $pgdr->ok('restore', "--to=$to", "--target-lsn=$target->{lsn}", '--target-action=promote');
    $to;
});
my $wrong = Pgdr->new(node => $clone, repo => $pgdr->repo);
$clone->append_conf("archive_mode = on\narchive_command = '" . $wrong->archive_command . "'\n");
spit($clone->data_dir . '/postgresql.auto.conf', slurp($clone->data_dir . '/postgresql.auto.conf') =~ s/^archive_.*\n//mgr);
$clone->start;
$clone->wait_promoted;
$clone->mark('clone');
$clone->archive_all;
is(scalar(wal_objects($pgdr, '00000002.history')), 1, 'the clone has taken timeline 2');

subtest 'production goes on' => sub {
    $node->mark('c');
    my $segment = $node->archive_all;
    is(scalar(wal_objects($pgdr, $segment)), 1, 'its WAL is archived');
    is(scalar(orphans($pgdr)), 0, 'and nothing is set aside');
    is(scalar(map { timeline_marks($pgdr, $_) } 1, 2), 0, 'nothing is frozen');
    $pgdr->ok('backup');
    is($node->query('SELECT failed_count FROM pg_stat_archiver'), 0, 'the archiver met no failure');
    for my $name (sort keys %standby) {
        $node->wait_for_catchup($standby{$name});
        is($standby{$name}->marks, 'a b c', "$name follows production");
    }
    my $copy = restored($pgdr, 'copy', '--target-timeline=1');
    $copy->wait_promoted;
    is($copy->marks, 'a b c', 'a restore of timeline 1 is one of production');
    $copy->stop;
};

sub timeline { return hex substr $_[0]->query('SELECT pg_walfile_name(pg_current_wal_insert_lsn())'), 0, 8 }

subtest 'a standby takes the next free timeline' => sub {
    # The fork is to lie within a segment.
    $node->query(q{SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000))});
    $node->wait_for_catchup($_) for values %standby;
    $node->kill9;
    $standby{heir}->promote;
    is(timeline($standby{heir}), 3, 'that is 3');
    $standby{heir}->mark('d');
    $standby{heir}->archive_all;
    is($standby{heir}->marks, 'a b c d', 'and has all rows');
};

subtest 'also one that cannot ask' => sub {
    my $server = $standby{latecomer};
    my $repo   = $pgdr->folder;
    # It has listed the timelines while it waited for WAL.
    my $spool = $his{latecomer}{sections}{'cluster app'}{spool};
    ok(poll_until(sub { glob "$spool/*/history-*/00000003.history" }, 'seen'), 'it has seen timeline 3') or return;
    rename $repo, "$repo.away" or die;
    my $mark = $server->log_mark;
    $server->promote;
    is(timeline($server), 4, 'timeline 4, without the repository');
    $server->mark('e');
    like($server->log_since($mark), qr/WARNING: 00000003\.history is served as it was last seen/, 'it is said how');
    rename "$repo.away", $repo;
    $server->archive_all;
    is(scalar(wal_objects($pgdr, '00000004.history')), 1, 'and is archived when it is back');
    is($server->query('SELECT count(*) FROM pg_stat_archiver WHERE last_failed_time > last_archived_time'), 0, 'all that there is to archive is archived');
    is(scalar(wal_objects($pgdr, "0000000$_.history")), 1, "there is one history of timeline $_") for 2, 3;
};

subtest 'a piece of a segment that was left behind' => sub {
    # The segment in which the standby went from timeline 1 to another: what it had received of it.
    my $server = $standby{latecomer};
    my $data   = $server->data_dir;
    my $dir    = temp_dir('left');
    my ($fork) = slurp("$data/pg_wal/00000004.history") =~ m{^1\t([0-9A-F]+/[0-9A-F]+)}m;
    my $left   = segment_of(1, $fork, 1 << 20);
    my $before = segment_plus($left, -1, 1 << 20);
    $pgdr->ok('archive-get', $before, "$dir/whole", { cwd => $dir });
    $pgdr->ok('archive-get', "$left.partial", "$dir/$left", { cwd => $dir });
    my $whole = slurp("$dir/whole");
    spit("$dir/00000004.history", slurp("$data/pg_wal/00000004.history"));
    $server->query('CHECKPOINT');

    # Only there it is not expected to be whole.
    spit("$dir/$before", substr($whole, 0, 128) . "\0" x (length($whole) - 128));
    $pgdr->fails('DAMAGED', qr/segment $before is not whole/, 'archive-push', "$dir/$before", { cwd => $data });
    $pgdr->ok('archive-push', "$dir/$left", { cwd => $data });
    is(scalar(wal_objects($pgdr, $left)), 0, 'is never stored as a finished segment');
    cmp_ok(scalar(tail_objects($pgdr, $left)), '>', 0, 'but as a tail');
};

subtest 'every life can be had' => sub {
    my %want = (2 => 'a clone', 3 => 'a b c d', 4 => $standby{latecomer}->marks);
    for my $tli (sort keys %want) {
        my $copy = restored($pgdr, "life$tli", "--target-timeline=$tli");
        $copy->wait_promoted;
        is($copy->marks, $want{$tli}, "timeline $tli");
        $copy->stop;
    }
};

done_testing;
