#@ timeout 1200
#@ once
# archive-get leaves a process behind that fetches what recovery will ask for next. That may only make
# recovery faster: all rows are there, a hole stops it, and whatever happens to that process, to its
# folder or to the server, nothing else is served and nothing is left behind.

use strict;
use warnings;
use File::Path qw(make_path);
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(time);

use Pgdr;
use PgNode;
use Recovery qw(lsn_number lsn_text);
use TestFile qw(slurp spit copy_tree delete_file);
use TestRun qw(test_root temp_dir poll_until processes_below descendants is_alive);
use WalRepo qw(wal_object segment_of segment_plus);

my $MIB  = 1 << 20;
my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node, global => { 'log-level' => 'debug' });
my $repo = $pgdr->folder;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('first');
$node->query('CREATE TABLE t(n int, a text)');
$pgdr->ok('backup');

# Writes N segments, each with rows of its own; their names.
my ($rows, @marks) = (0);
sub write_segments
{
    my ($n) = @_;
    my @names;
    for (1 .. $n) {
        push @marks, $node->mark('row ' . ++$rows);
        $node->query("INSERT INTO t SELECT n, md5(n || 'of $rows') FROM generate_series(1, 2000) n");
        push @names, $node->archive_all;
    }
    return @names;
}
my @segment = write_segments(30);
my $want = $node->fingerprint;
my $all  = $node->marks;
$node->stop('immediate');

# A folder as restore leaves it, of which cases are made.
sub restored_folder
{
    my $data = temp_dir('base') . '/data';
    $pgdr->ok('restore', "--to=$data", @_);
    return $data;
}
my $base = restored_folder();

# ---- a recovery that can be looked into ----

# A copy of $base whose restore_command notes what lies in the helper's folder before every call, and waits
# in front of the segment `hold` until let_go(). Options: base, hold, ahead => wal-ahead, edit => code that
# changes the restore_command, which it gets in $_.
sub recovery
{
    my (%opt) = @_;
    my $data = copy_tree($opt{base} // $base, temp_dir('case') . '/data');
    my $case = { data => $data, hook => temp_dir('hook'), folder => "$data/pg_wal/pgsql_tmp_pgdr_get" };
    my $auto = slurp("$data/postgresql.auto.conf");
    my ($command) = $auto =~ /^restore_command = '(.*)'$/m or BAIL_OUT("no restore_command in\n$auto");
    $command =~ s/''/'/g;
    $command =~ s/%f/"\$1"/;
    $command =~ s/%p/"\$2"/;
    $command =~ s/ archive-get / archive-get --wal-ahead=$opt{ahead} / if defined $opt{ahead};
    $opt{edit}->() for grep { $opt{edit} } $command;
    my $hold = $opt{hold} // 'none';
    spit("$case->{hook}/get", <<"SH");
echo "\$1:" \$(ls $case->{folder} 2>&1) >> $case->{hook}/seen
if [ "\$1" = $hold ] && [ ! -e $case->{hook}/go ]; then
    touch $case->{hook}/asked
    until [ -e $case->{hook}/go ]; do sleep 0.02; done
fi
$command
SH
    $auto =~ s/^restore_command = .*$/restore_command = 'sh $case->{hook}\/get %f %p'/m;
    spit("$data/postgresql.auto.conf", $auto);
    $case->{server} = PgNode->from_datadir('restored', $data, conf => "wal_retrieve_retry_interval = 100ms\n");
    return bless $case, 'main';
}

sub begin_recovery
{
    my $case = recovery(@_);
    $case->{server}->start(wait => 0);
    return $case;
}

sub wait_held
{
    my ($case) = @_;
    return poll_until(sub { -e "$case->{hook}/asked" }, 'recovery is in the middle') || BAIL_OUT('recovery does not come there');
}

sub let_go { my ($case) = @_; return spit("$case->{hook}/go", '') }

# The pids of its helpers, which work in its data directory.
sub helpers
{
    my ($case) = @_;
    my %found = processes_below(test_root());
    return grep { $found{$_} =~ / --helper / && (readlink("/proc/$_/cwd") // '') eq $case->{data} } keys %found;
}

# The segments in the helper's folder.
sub waiting
{
    my ($case) = @_;
    my @names = sort grep { /^[0-9A-F]{24}$/ } map { m{([^/]+)$} } glob "$case->{folder}/*";
    return @names;
}

# Waits until the helper has fetched this segment, and what is before it.
sub wait_fetched
{
    my ($case, $segment) = @_;
    my $is_there = sub {
        return -e "$case->{folder}/$segment" && !grep { substr($_, -30, 24) le $segment } glob "$case->{folder}/*.begun";
    };
    return ok(poll_until($is_there, "$segment is fetched"), 'the helper has fetched what comes next');
}

# How many segments were answered from the folder.
sub served_ahead
{
    my ($case, $mark) = @_;
    my $n = () = $case->{server}->log_since($mark // 0) =~ /was fetched before it was asked for/g;
    return $n;
}

sub nothing_left
{
    my ($case) = @_;
    ok(poll_until(sub { !$case->helpers && !-e $case->{folder} }, 'the helper is gone', 10), 'neither the helper nor its folder is left')
      or diag(join "\n", $case->helpers, glob "$case->{folder}/*");
    return;
}

# It has ended, and all is there; it is stopped then.
sub completes
{
    my ($case, %opt) = @_;
    my $server = $case->{server};
    $server->wait_promoted;
    is($server->marks, $opt{marks} // $all, 'all marks are there');
    is($server->fingerprint, $opt{rows} // $want, 'and all rows') if !$opt{marks} || $opt{rows};
    $case->nothing_left;
    opendir my $dir, "$case->{data}/pg_wal" or die;
    my @strange = grep { !/^(?:[0-9A-F]{24}(?:\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history|archive_status|summaries|\.\.?)$/ } readdir $dir;
    is("@strange", '', 'nothing strange is in pg_wal');
    $server->stop('immediate');
    return;
}

# It stops by itself, unopened, and says why.
sub stops
{
    my ($case, $says) = @_;
    my $server = $case->{server};
    poll_until(sub { !$server->is_running }, 'the server is down') or return fail('the server stops');
    like($server->log_since(0), $says, 'the server stops, and its log says why');
    unlike($server->log_since(0), qr/archive recovery complete|selected new timeline/, 'recovery did not end');
    is($server->control_data->{'Database cluster state'}, 'in archive recovery', 'nor was it opened');
    $case->nothing_left;
    return;
}

# All of its server is killed at once; helpers are not.
sub kill_server
{
    my ($case) = @_;
    my $leader = $case->{server}->postmaster_pid;
    kill 'STOP', $leader;
    my @all = ($leader, descendants($leader));
    kill 'KILL', @all;
    return poll_until(
        sub { waitpid $_, WNOHANG for @all; return !grep { kill 0, $_ } @all },
        'all its processes are dead') || BAIL_OUT('cannot kill a server');
}

# What must not be served, of the right size: another segment, under each of these names.
sub plant
{
    my ($case, @names) = @_;
    make_path($case->{folder});
    my $wrong = slurp($node->data_dir . "/pg_wal/$segment[-1]");
    is(length $wrong, $MIB, 'a segment of other WAL is planted') or return;
    for my $name (@names) {
        unlink "$case->{folder}/$name";
        spit("$case->{folder}/$name", $wrong);
    }
    return;
}

# ---- what it is for ----

subtest 'a recovery' => sub {
    my $case = begin_recovery(hold => $segment[4]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    is(scalar($case->helpers), 1, 'one helper is at work');
    $case->let_go;
    $case->{server}->wait_promoted;
    cmp_ok($case->served_ahead, '>=', 25, 'most segments were fetched before they were asked for');
    $case->completes;
};

subtest 'a window of three segments' => sub {
    my $case = begin_recovery(hold => $segment[8], ahead => '3MiB');
    $case->wait_held;
    poll_until(sub { $case->waiting >= 3 }, 'three wait') or fail('three wait');
    $case->let_go;
    $case->completes;
    my @seen = map { scalar(() = / [0-9A-F]{24}\b(?!\.)/g) } split /\n/, slurp("$case->{hook}/seen");
    my ($most) = sort { $b <=> $a } @seen;
    cmp_ok($most, '<=', 3 + 4, 'never are there more, besides those that were in work');
    cmp_ok($case->served_ahead, '>=', 5, 'it is of use');
};

subtest 'wal-ahead=0' => sub {
    my $case = begin_recovery(hold => $segment[8], ahead => 0);
    $case->wait_held;
    is(scalar($case->helpers), 0, 'no helper');
    ok(!-e $case->{folder}, 'no folder');
    $case->let_go;
    $case->completes;
    is($case->served_ahead, 0, 'nothing is fetched ahead');
};

# ---- holes ----

subtest 'a segment vanishes before it is fetched' => sub {
    my $case = begin_recovery(hold => $segment[4], ahead => '3MiB');
    $case->wait_held;
    my $object = wal_object($pgdr, $segment[15]);
    my $bytes  = slurp($object);
    delete_file($object);
    $case->let_go;
    $case->stops(qr/$segment[15] is not in .*there is a hole/);
    spit($object, $bytes);
    $case->{server}->start;
    $case->completes;
};

subtest 'it was missing all the time; what is behind it was fetched' => sub {
    my $object = wal_object($pgdr, $segment[6]);
    my $bytes  = slurp($object);
    delete_file($object);
    my $case = begin_recovery(hold => $segment[4]);
    $case->wait_held;
    $case->let_go;
    $case->stops(qr/$segment[6] is not in .*there is a hole/);
    spit($object, $bytes);
    $case->{server}->start;
    $case->completes;
};

subtest 'the last segments vanish when they were fetched' => sub {
    # They exist no more, and nothing is behind them: without them recovery would end early, and happily.
    my $case = begin_recovery(hold => $segment[4]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    my %was = map { my $object = wal_object($pgdr, $_); ($object => slurp($object)) } @segment[ 20 .. 29 ];
    delete_file($_) for keys %was;
    $case->let_go;
    $case->completes;
    spit($_, $was{$_}) for keys %was;
};

subtest 'all is gone but a few that were fetched' => sub {
    my $case = begin_recovery(hold => $segment[8], ahead => '3MiB');
    $case->wait_held;
    poll_until(sub { $case->waiting }, 'something waits') or fail('something waits');
    rename $repo, "$repo.away" or die;
    $case->let_go;
    $case->stops(Pgdr::says_gone());
    rename "$repo.away", $repo or die;
    $case->{server}->start;
    $case->completes;
};

# ---- what may happen to the helper ----

subtest 'the helper is killed' => sub {
    my $case = begin_recovery(hold => $segment[8]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    kill 'KILL', $case->helpers;
    poll_until(sub { !$case->helpers }, 'it is dead');
    $case->plant($case->waiting);
    $case->let_go;
    $case->completes;
};

subtest 'the helper is killed when there is nothing more to ask for' => sub {
    my $case = begin_recovery(hold => segment_plus($segment[-1], 1, $MIB));
    $case->wait_held;
    # It has ended, or does so now; what it might have left is put there.
    poll_until(sub { !$case->helpers }, 'it has ended');
    make_path($case->{folder});
    spit("$case->{folder}/$_", 'x') for 'lock', "$segment[5].begun", $segment[5];
    $case->let_go;
    $case->completes;
};

subtest 'a helper hangs' => sub {
    my $case = begin_recovery(hold => $segment[8], ahead => '3MiB');
    $case->wait_held;
    my ($helper) = $case->helpers;
    kill 'STOP', $helper;
    unlink map { "$case->{folder}/$_" } $case->waiting;
    spit("$case->{folder}/$segment[8].begun", '');
    $case->let_go;
    # It waits for the helper, but not when it is told to end.
    poll_until(sub { grep { / archive-get .*$segment[8]/ && !/ --helper / && !/^sh / } values %{ { processes_below($case->{data}) } } },
        'it is asked for') or fail('it is asked for');
    my $begun = time;
    $case->{server}->stop('fast');
    cmp_ok(time - $begun, '<', 10, 'a server that waits for it can be stopped');
    # The next server has a helper of its own when that one is gone, and does not wait for it.
    $case->{server}->start;
    $case->{server}->wait_promoted;
    cmp_ok(time - $begun, '<', 25, 'nor does the next server wait');
    kill 'CONT', $helper;
    $case->completes;
};

subtest 'a helper that cannot work' => sub {
    my $case = recovery(hold => $segment[8]);
    spit($case->{folder}, 'in the way');
    $case->{server}->start(wait => 0);
    $case->wait_held;
    # A server that is process 1 takes other numbers for a crash of its own.
    my $spec = slurp("$case->{hook}/get") =~ s/.*^fi\n//msr;
    my $helped = TestRun::run('sh', '-c', $spec =~ s/ archive-get / archive-get --helper /r, 'sh', $segment[7], 'pg_wal/RECOVERYXLOG', { cwd => $case->{data} });
    is("$helped->{rc} $helped->{signal}", '0 0', 'ends without a status that could be misunderstood') or diag($helped->describe);
    like($helped->{err}, qr/pgsql_tmp_pgdr_get/, 'though it cannot');
    $case->let_go;
    $case->{server}->wait_promoted;
    is($case->{server}->fingerprint, $want, 'recovery goes on without');
    unlink $case->{folder} or die;
    $case->{server}->stop('immediate');
};

# ---- what may happen to the server ----

subtest 'the server is killed' => sub {
    my $case = begin_recovery(hold => $segment[8]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    $case->kill_server;
    my $begun = time;
    $case->nothing_left;
    cmp_ok(time - $begun, '<', 5, 'soon');
    $case->let_go;
    $case->{server}->start;
    $case->completes;
};

subtest 'the server and its helper are killed' => sub {
    my $case = begin_recovery(hold => $segment[8]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    my @helpers = $case->helpers;
    $case->kill_server;
    kill 'KILL', @helpers;
    poll_until(sub { !$case->helpers }, 'it is dead');
    ok(-e "$case->{folder}/$segment[20]", 'what it fetched is left');
    $case->plant(@segment);
    $case->let_go;
    $case->{server}->start;
    $case->completes;
};

subtest 'the server is killed while the helper hangs' => sub {
    my $case = begin_recovery(hold => $segment[8]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    my ($helper) = $case->helpers;
    kill 'STOP', $helper;
    $case->kill_server;
    $case->plant(@segment);
    $case->let_go;
    my $mark = $case->{server}->log_mark;
    $case->{server}->start;
    $case->{server}->wait_promoted;
    is($case->served_ahead($mark), 0, 'nothing of a helper of another server is served');
    kill 'CONT', $helper;
    $case->completes;
};

subtest 'the startup process is killed' => sub {
    my $case = begin_recovery(hold => $segment[8]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    my $server = $case->{server};
    my ($startup) = grep { (TestRun::read_proc("/proc/$_/cmdline") // '') =~ /^postgres: startup/ } descendants($server->postmaster_pid);
    kill 'KILL', $startup;
    $case->let_go;
    poll_until(sub { !$server->is_running }, 'the server is down') or fail('the server is down');
    $case->nothing_left;
    $server->start;
    $case->completes;
};

subtest 'the machine inherits a folder full of others' => sub {
    my $case = recovery(hold => $segment[4]);
    $case->plant(@segment);
    spit("$case->{folder}/lock", 'somebody');
    spit("$case->{folder}/$segment[9].begun", '');
    $case->{server}->start(wait => 0);
    $case->wait_held;
    $case->let_go;
    $case->completes;
};

# ---- where recovery goes ----

subtest 'paused at a target' => sub {
    my $case = begin_recovery(base => restored_folder("--target-lsn=$marks[14]{lsn}", '--target-action=pause'), hold => $segment[4]);
    my ($end) = slurp("$case->{hook}/get") =~ /--target-end=(\S+)/ or fail('restore says where it ends');
    my $last = segment_of(1, lsn_text(lsn_number($end) - 1), $MIB);
    $case->wait_held;
    $case->wait_fetched($last);
    $case->let_go;
    $case->{server}->poll('SELECT pg_is_wal_replay_paused()');
    my @behind = grep { $_ gt $last } slurp("$case->{hook}/seen") =~ / ([0-9A-F]{24})\b/g, $case->waiting;
    is("@behind", '', 'nothing behind it was fetched');
    $case->{server}->query('SELECT pg_wal_replay_resume()');
    $case->completes(marks => join ' ', 'first', map { "row $_" } 1 .. 15);
};

for my $told (0, 1) {
    subtest $told ? 'a standby that was told its way' : 'a standby that finds its own way' => sub {
        my $case = recovery(hold => $segment[8], edit => sub { s/--timeline-path=\S+// or die $_ if !$told });
        rename "$case->{data}/recovery.signal", "$case->{data}/standby.signal" or die;
        $case->{server}->start(wait => 0);
        $case->wait_held;
        is(scalar($case->helpers), $told, $told ? 'has a helper' : 'has none');
        $case->let_go;
        $case->{server}->poll('SELECT count(*) FROM marks', scalar(@marks) + 1);
        is($case->{server}->fingerprint, $want, 'it has all rows');
        is($case->served_ahead > 0, $told == 1, $told ? 'some of which came early' : 'and asked for all of them') ;
        if ($told) {
            my $copy = temp_dir('copy') . '/data';
            make_path($case->{folder});
            $case->{server}->base_backup($copy, '-X', 'none');
            ok(!glob("$copy/pg_wal/pgsql_tmp*"), 'pg_basebackup leaves the folder out');
        }
        $case->{server}->promote;
        $case->{server}->stop('immediate');
    };
}

subtest 'over a fork' => sub {
    $pgdr->ok('restore', "--target-lsn=$marks[19]{lsn}", '--target-action=promote', '--overwrite') if 0;
    $node->destroy;
    $pgdr->ok('restore', "--target-lsn=$marks[19]{lsn}", '--target-action=promote');
    $node->start;
    $node->wait_promoted;
    is($node->marks, join(' ', 'first', map { "row $_" } 1 .. 20), 'back at an earlier time');
    my @second = write_segments(8);
    my ($marks, $rows) = ($node->marks, $node->fingerprint);
    my ($fork) = slurp($node->data_dir . '/pg_wal/00000002.history') =~ m{^1\t([0-9A-F]+/[0-9A-F]+)}m;
    $node->stop('immediate');
    my $first = segment_of(2, $fork, $MIB);
    ok(lsn_number($fork) % $MIB, 'the fork is inside of a segment');
    ok((grep { substr($_, 8) eq substr($first, 8) } @segment), 'which timeline 1 has, too, and more behind it');

    my $case = begin_recovery(base => restored_folder(), hold => $segment[10]);
    like(slurp("$case->{hook}/get"), qr{--timeline-path=1\@\Q$fork\E,2 }, 'restore tells the way');
    $case->wait_held;
    $case->wait_fetched($second[-1]);
    my @ahead = $case->waiting;
    is(join(' ', grep { /^0{7}1/ && substr($_, 8) ge substr($first, 8) } @ahead), '', 'nothing is fetched of timeline 1 where it was left');
    ok((grep { $_ eq $first } @ahead), 'but the segment in which timeline 2 begins');
    $case->let_go;
    $case->completes(marks => $marks, rows => $rows);
    cmp_ok($case->served_ahead, '>=', @ahead - 1, 'all of it is served');

    # And who asks for the old life gets it, uncut.
    $case = begin_recovery(base => restored_folder('--target-timeline=1'), hold => $segment[10]);
    $case->wait_held;
    $case->wait_fetched($segment[-1]);
    $case->let_go;
    $case->completes;
};

done_testing;
