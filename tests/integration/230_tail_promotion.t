#@ once
# A standby is promoted (or restarted) while the archive has a piece of the segment that it works on, a
# tail or a .partial: shorter than its own copy, longer, or of another history. What PostgreSQL is
# given replaces its own copy, so a shorter piece would destroy acknowledged commits.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit copy_tree);
use TestRun qw(temp_dir);
use WalRepo qw(tail_objects);

my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->query('CREATE TABLE t(a int)');
$node->archive_all;

my $restore = $pgdr->restore_command;
my %standby;
for my $name (qw(feeder short long torn)) {
    $standby{$name} = PgNode->standby_of($node, $name, conf => "archive_mode = off\nautovacuum = off\n"
          . "restore_command = '$restore'\nwal_retrieve_retry_interval = 200ms\n");
    $standby{$name}->start;
}

# A second life of the same cluster, for WAL that differs.
$node->stop;
my $twin = PgNode->from_datadir('twin', copy_tree($node->data_dir, temp_dir('twin-data') . '/data'), conf => "archive_mode = off\n");
$node->start;

sub rows { return $_[0]->query('SELECT count(*) FROM t') }

# Commits that somebody was told of: $n rows, one transaction each.
sub insert
{
    my ($server, $n) = @_;
    $server->query(join '', map { "INSERT INTO t VALUES ($_);" } 1 .. $n);
    return;
}

# What a server says that has lost more than its primary.
sub complaints
{
    my ($server, $mark) = @_;
    return join "\n", grep { /PANIC|FATAL/ && !/could not (?:connect to the primary|receive data from WAL|send end-of-streaming)|terminating walreceiver/ }
      split /\n/, $server->log_since($mark);
}

sub current { return $node->query('SELECT pg_walfile_name(pg_current_wal_lsn())') }

# The feeder's copy of the segment becomes a tail in the repository.
sub push_tail
{
    my ($segment) = @_;
    $node->wait_for_catchup($standby{feeder});
    $pgdr->ok('archive-push', "pg_wal/$segment", { cwd => $standby{feeder}->data_dir, name => 'a tail is pushed' });
    return;
}

# No stream any more, and nothing of it in the buffers.
sub cut_off
{
    my ($server) = @_;
    my $conf = $server->data_dir . '/postgresql.auto.conf';
    spit($conf, slurp($conf) =~ s/^primary_conninfo.*$//mr);
    $server->append_conf("primary_conninfo = ''");
    $server->reload;
    $server->poll('SELECT count(*) FROM pg_stat_wal_receiver', 0);
    return;
}

sub copy_of { my ($server, $segment) = @_; return slurp($server->data_dir . "/pg_wal/$segment") }

insert($node, 20);
my $segment = current();
push_tail($segment);
$node->wait_for_catchup($standby{long});
cut_off($standby{long});
my $local_of_long = rows($standby{long});
insert($node, 20);
is(current(), $segment, 'all is in one segment');
$node->wait_for_catchup($_) for @standby{qw(short torn)};
is(rows($standby{short}), 40, 'one standby has 40 acknowledged rows, the archive 20 of them');
is(rows($standby{long}), 20, 'another has 20');

# The primary is lost in this moment.
$node->kill9;

subtest 'the archived piece is shorter, at a restart' => sub {
    my $server = $standby{short};
    my $before = copy_of($server, $segment);
    $server->restart(mode => 'immediate');
    ok($server->poll('SELECT count(*) FROM t', 40), 'all rows are there, readable at once');
    is(copy_of($server, $segment), $before, 'its copy is what it was');
};

subtest 'the archived piece is shorter, at a promotion' => sub {
    my $server = $standby{short};
    my $mark = $server->log_mark;
    $server->promote;
    is(rows($server), 40, 'all acknowledged rows are there');
    is(complaints($server, $mark), '', 'no complaint');
    insert($server, 1);
    is(rows($server), 41, 'it takes writes');
};

subtest 'the archived piece is longer, at a promotion' => sub {
    # The feeder streamed all of it: its copy is the longer tail now.
    $pgdr->ok('archive-push', "pg_wal/$segment", { cwd => $standby{feeder}->data_dir, name => 'a longer tail is pushed' });
    my $server = $standby{long};
    is($local_of_long, 20, 'a standby that holds 20 rows');
    ok($server->poll('SELECT count(*) FROM t', 40), 'gains 20 rows that it never had streamed');
    $server->promote;
    is(rows($server), 40, 'and keeps them when it is promoted');
    is(complaints($server, 0), '', 'no complaint');
};

subtest 'the archived piece is of another history' => sub {
    # The twin wrote something else in this segment, and more of it; its copy comes into the archive.
    $twin->start;
    insert($twin, 100);
    $twin->query('INSERT INTO t SELECT 1000');
    is($twin->query('SELECT pg_walfile_name(pg_current_wal_lsn())'), $segment, 'in the same segment');
    $twin->stop('immediate');
    unlink tail_objects($pgdr, $segment);
    $pgdr->ok('archive-push', $twin->data_dir . "/pg_wal/$segment", { cwd => $standby{feeder}->data_dir, name => "the twin's is pushed" });
    my $server = $standby{torn};
    my $before = copy_of($server, $segment);
    my $mark   = $server->log_mark;
    $server->restart(mode => 'immediate');
    ok($server->poll('SELECT count(*) FROM t', 40), 'the standby has its rows');
    $server->wait_for_log(qr/ERROR: the server's own $segment and the archived piece hold different WAL: neither is overwritten/, $mark);
    is(copy_of($server, $segment), $before, 'its copy is what it was');
    $server->promote;
    is(rows($server), 40, 'and nothing of the other history when it is promoted');
    is($server->query('SELECT count(*) FROM t WHERE a = 1000'), 0, 'not a row');
};

subtest 'both in the archive' => sub {
    # Two tails that hold different WAL: nobody can tell which is right.
    $pgdr->ok('archive-push', "pg_wal/$segment", { cwd => $standby{feeder}->data_dir, name => "the feeder's is pushed again" });
    my $dir = temp_dir('asks');
    mkdir "$dir/$_" for qw(global pg_wal);
    spit("$dir/global/pg_control", slurp($standby{feeder}->data_dir . '/global/pg_control'));
    spit("$dir/recovery.signal", '');
    my $result = $pgdr->run('archive-get', $segment, 'pg_wal/RECOVERYXLOG', { cwd => $dir });
    is($result->{rc}, 254, 'is a doubt') or diag($result->describe);
    like($result->{err}, qr/two streams of segment $segment hold different WAL/, 'that says so');
    ok(!-e "$dir/pg_wal/RECOVERYXLOG", 'and nothing is handed over');
};

done_testing;
