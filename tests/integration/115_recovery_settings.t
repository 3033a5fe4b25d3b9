# What restore writes for recovery is all that counts: settings of an earlier recovery, wherever they
# are, neither stop it nor make it end elsewhere, and the server has the limits that the WAL needs.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit append_to);
use TestRun qw(temp_dir);

my $node = PgNode->init('primary', conf => "autovacuum = off\nhot_standby = off\n");
my $pgdr = Pgdr->new(node => $node);
my $data = $node->data_dir;
my $trap = temp_dir('trap');
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');

# What an earlier recovery, or a standby's, may have left. A running server does not care.
my %left = (
    recovery_target_xid => '7', recovery_target_name => 'elsewhere', recovery_target_action => 'shutdown',
    recovery_target_inclusive => 'off', recovery_target_timeline => 'current', restore_command => "touch $trap/restore; false",
    archive_cleanup_command => "touch $trap/cleanup", recovery_end_command => "touch $trap/end", recovery_min_apply_delay => '1h',
    primary_conninfo => 'host=/nowhere', work_mem => '7654kB');
$node->query("ALTER SYSTEM SET $_ = '$left{$_}'") for sort keys %left;
$node->query(q{ALTER SYSTEM SET search_path = "$user", public, "it's"});
my $auto = "$data/postgresql.auto.conf";
append_to($auto, "  RECOVERY_TARGET_LSN = '0/1' # by hand\nrecovery_target_time '2020-01-01 00:00:00+00'\n# recovery_target_name stays in a comment\n");
$node->mark('a');
my $one = $pgdr->json('backup')->{backup}{id};
my $b = $node->mark('b');
$node->query("SELECT pg_create_restore_point('here')");
my $c = $node->mark('c');
$node->archive_all;

sub settings
{
    my ($dir) = @_;
    return slurp("$dir/postgresql.auto.conf");
}

subtest 'what an earlier recovery left' => sub {
    for my $case (['latest', 'a b c', '--type=latest'], ['name', 'a b', '--target-name=here'], ['immediate', 'a', '--type=immediate'],
        ['xid', 'a b', "--target-xid=$b->{xid}"], ['exclusive', 'a', "--target-xid=$b->{xid}", '--target-exclusive'])
    {
        my ($name, $marks, @args) = @$case;
        my $copy = restored($pgdr, $name, @args);
        $copy->wait_promoted;
        is($copy->marks, $marks, "$name: the rows");
        is($copy->query('SHOW work_mem'), '7654kB', 'other settings stay');
        is($copy->query('SHOW search_path'), q{"$user", public, "it's"}, 'also such that need quoting');
        like(settings($copy->data_dir), qr/^# recovery_target_name stays in a comment$/m, 'and comments');
        is_deeply([glob "$trap/*"], [], 'no command of theirs is run');
        is($copy->query('SHOW recovery_target_xid'), '', 'no target is left');
        unlike(settings($copy->data_dir), qr/shutdown|false|elsewhere|1h/, 'nothing of theirs is left in the file');
        $copy->stop;
    }
};

# The same in a file that restore does not edit: postgresql.conf of a host may have anything.
subtest 'in postgresql.conf' => sub {
    my $conf = <<"CONF";
recovery_target_time = '2020-01-01 00:00:00+00'
recovery_target_timeline = 'current'
recovery_target_action = 'shutdown'
recovery_target_inclusive = off
recovery_min_apply_delay = '1h'
archive_cleanup_command = 'touch $trap/cleanup'
recovery_end_command = 'touch $trap/end'
restore_command = 'touch $trap/restore; false'
CONF
    for my $case (['latest', 'a b c', '--type=latest'], ['name', 'a b', '--target-name=here'], ['immediate', 'a', '--type=immediate']) {
        my ($name, $marks, @args) = @$case;
        for my $more ('', "recovery_target_name = 'other'\n", "recovery_target_lsn = '0/1'\n", "recovery_target = 'immediate'\n") {
            my $to = temp_dir('conf') . '/data';
            $pgdr->ok('restore', "--to=$to", @args);
            my $text = $more ? $conf =~ s/^recovery_target_time.*\n//r . $more : $conf;
            my $copy = PgNode->from_datadir('conf', $to, conf => $text);
            $copy->start;
            $copy->wait_promoted;
            is($copy->marks, $marks, "$name: the rows");
            is_deeply([glob "$trap/*"], [], 'no command of theirs is run');
            $copy->stop('immediate');
            last if $name eq 'immediate';
        }
    }
};

subtest 'pause is readable' => sub {
    my $copy = restored($pgdr, 'pause', '--target-name=here', '--target-action=pause');
    my $is_paused = PgNode::version() >= 14 ? q{pg_get_wal_replay_pause_state() = 'paused'} : 'pg_is_wal_replay_paused()';
    ok($copy->poll("SELECT $is_paused"), 'it pauses');
    is($copy->marks, 'a b', 'although the cluster had hot_standby = off');
    $copy->stop;
};

# Larger limits than the backup's configuration knows: PostgreSQL 13 ends, later ones pause, when the
# WAL was written with more than the server has.
subtest 'limits' => sub {
    my %limit = (max_connections => 80, max_worker_processes => 20, max_wal_senders => 15, max_prepared_transactions => 7, max_locks_per_transaction => 90);
    my %was = map { $_ => $node->query("SHOW $_") } keys %limit;
    # The left-overs would keep the server from starting again.
    $node->query("ALTER SYSTEM RESET $_") for grep { /^recovery_|restore_command/ } sort keys %left;
    spit($auto, settings($data) =~ s/^\s*recovery_target_\S+ .*\n//igmr);
    $node->query("ALTER SYSTEM SET $_ = $limit{$_}") for sort keys %limit;
    $node->restart;
    $node->mark('d');
    $node->archive_all;
    my $copy = restored($pgdr, 'limits', '--type=latest');
    $copy->wait_promoted;
    is($copy->marks, 'a b c d', 'it is reached');
    is($copy->query("SHOW $_"), $limit{$_}, $_) for sort keys %limit;
    $copy->stop;
    $copy = restored($pgdr, 'before', "--target-xid=$c->{xid}");
    $copy->wait_promoted;
    is($copy->query("SHOW $_"), $was{$_}, "before the change: $_") for sort keys %limit;
    $copy->stop;
};

# Restored, backed up, and restored again, several times.
subtest 'again and again' => sub {
    $node->stop;
    for my $round (1 .. 3) {
        $pgdr->ok('restore', '--delta', '--yes', '--type=latest');
        $node->start;
        $node->wait_promoted;
        $node->mark("round $round");
        $pgdr->ok('backup');
        $node->archive_all;
        $node->stop;
    }
    my %count;
    $count{$_}++ for settings($data) =~ /^\s*(\w+)/mg;
    is_deeply([grep { $count{$_} > 1 } sort keys %count], [], 'no setting is there twice');
    is(scalar(() = settings($data) =~ /^# written by pgdr/mg), 1, 'nor is the comment');
    my $copy = restored($pgdr, 'end');
    $copy->wait_promoted;
    is($copy->marks, 'a b c d round 1 round 2 round 3', 'all is there');
    is($copy->query('SHOW work_mem'), '7654kB', 'and the setting from the beginning');
    $copy->stop;
};
done_testing;
