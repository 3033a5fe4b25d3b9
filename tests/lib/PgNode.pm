package PgNode;

# A PostgreSQL server of a test: made, configured, started, asked, killed, compared. Each has a folder
# of its own for data, socket and log below the test's root and listens on its socket only.
# A method dies when PostgreSQL does not do what was asked, unless its description says otherwise;
# those that are named check_* are tests and report through Test::More.

use strict;
use warnings;
use Carp qw(croak);
use File::Path qw(make_path remove_tree);
use IO::Socket::INET;
use POSIX qw(WNOHANG);
use Test::More ();
use TestFile qw(slurp append_to);
use TestRun qw(temp_dir run poll_until time_limit at_failure record_postmaster descendants is_alive
  processes_below);

# ---- which PostgreSQL ----

my ($bin, $version);

# The folder of the server's programs and its major version: what tests/run chose, else 15.
sub installation
{
    if (!$bin) {
        ($bin, $version) = @ENV{qw(PGDR_TEST_PG_BIN PGDR_TEST_PG_VERSION)};
        if (!$bin) {
            $version = 15;
            (my $lib = __FILE__) =~ s{[^/]+$}{};
            chomp($bin = `"${lib}get-pg" $version`);
            Test::More::plan(skip_all => "PostgreSQL $version cannot be had") if !$bin;
        }
        Test::More::BAIL_OUT('PostgreSQL does not run as root: start the test with tests/run') if $> == 0;
    }
    return ($bin, $version);
}

sub bin_dir { return (installation())[0] }

# The major version, as a number.
sub version { return (installation())[1] }

# The path of a program of this PostgreSQL.
sub program
{
    my ($self, $name) = @_;
    return bin_dir() . "/$name";
}

# A port that no TCP server on this machine has at the moment.
sub free_port
{
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0)
      or croak "no free port: $!";
    return $socket->sockport;
}

# ---- making one ----

sub bare
{
    my ($class, $name, %opt) = @_;
    installation();
    my $dir = temp_dir($name);
    make_path("$dir/s");
    my $self = bless {
        name => $name, dir => $dir, data => $opt{data} // "$dir/data", sockets => "$dir/s",
        log  => "$dir/log", port => free_port(), tcp => $opt{tcp} }, $class;
    at_failure(sub { $self->show_log });
    return $self;
}

# init(NAME, OPTIONS): a new cluster, not started. Options: checksums => 0 (default on),
# wal_segsize => MiB, conf => text, initdb => [arguments], tcp => 1 (127.0.0.1 too), fsync => 1
# (default off: tests kill processes, not machines), data => folder.
sub init
{
    my ($class, $name, %opt) = @_;
    my $self = $class->bare($name, %opt);
    my @how  = ('-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync');
    if ($opt{checksums} // 1) {
        push @how, '--data-checksums';
    } elsif (version() >= 18) {
        push @how, '--no-data-checksums';
    }
    push @how, "--wal-segsize=$opt{wal_segsize}" if $opt{wal_segsize};
    $self->must('initdb', '-D', $self->{data}, @how, @{ $opt{initdb} // [] });
    $self->append_conf(<<'CONF');
shared_buffers = 32MB
max_connections = 40
wal_level = replica
max_wal_senders = 10
max_replication_slots = 10
max_wal_size = 512MB
hot_standby = on
log_line_prefix = '%m [%p] '
log_checkpoints = on
timezone = 'UTC'
log_timezone = 'UTC'
# Memory that a killed server leaves behind lies in its data directory, not on the machine.
dynamic_shared_memory_type = mmap
CONF
    $self->append_conf('fsync = ' . ($opt{fsync} ? 'on' : 'off') . "\n");
    $self->set_address;
    $self->append_conf($opt{conf}) if $opt{conf};
    return $self;
}

# from_datadir(NAME, FOLDER, OPTIONS): a server over a data directory that is already there (restored,
# copied): it gets a port and socket of its own. Options: conf => text, tcp => 1.
sub from_datadir
{
    my ($class, $name, $data, %opt) = @_;
    my $self = $class->bare($name, %opt, data => $data);
    $self->set_address;
    $self->append_conf($opt{conf}) if $opt{conf};
    return $self;
}

# standby_of(PRIMARY, NAME, OPTIONS): a streaming standby made by pg_basebackup, not started. Options:
# slot => name (made on the primary), conf => text.
sub standby_of
{
    my ($class, $primary, $name, %opt) = @_;
    my $self = $class->bare($name, %opt);
    my @slot = $opt{slot} ? ('-C', '-S', $opt{slot}) : ();
    $primary->base_backup($self->{data}, '-R', @slot);
    $self->set_address;
    $self->append_conf($opt{conf}) if $opt{conf};
    return $self;
}

# pg_basebackup of this server into FOLDER with further ARGUMENTS.
sub base_backup
{
    my ($self, $folder, @more) = @_;
    $self->must('pg_basebackup', $self->address, '-D', $folder, '-X', 'stream', '-c', 'fast', '--no-sync', @more);
    return $folder;
}

sub set_address
{
    my ($self) = @_;
    my $listen = $self->{tcp} ? '127.0.0.1' : '';
    $self->append_conf("port = $self->{port}\nlisten_addresses = '$listen'\n"
          . "unix_socket_directories = '$self->{sockets}'\n");
    return;
}

# ---- what it is ----

sub name     { return $_[0]{name} }
sub data_dir { return $_[0]{data} }
sub port     { return $_[0]{port} }
sub host     { return $_[0]{sockets} }
sub log_file { return $_[0]{log} }

# -h, -p, -U for its client programs.
sub address
{
    my ($self) = @_;
    return ('-h', $self->{sockets}, '-p', $self->{port}, '-U', 'postgres');
}

# A libpq connection string.
sub connstr
{
    my ($self, $db) = @_;
    return "host=$self->{sockets} port=$self->{port} user=postgres dbname=" . ($db // 'postgres');
}

# Adds lines to postgresql.conf; a running server sees them after reload or restart.
sub append_conf
{
    my ($self, $text) = @_;
    $text .= "\n" if $text !~ /\n\z/;
    append_to("$self->{data}/postgresql.conf", $text);
    return;
}

# Runs a program of PostgreSQL; the TestRun::Result whatever it is.
sub command
{
    my ($self, $program, @args) = @_;
    return run($self->program($program), @args);
}

# The same, and dies when it fails.
sub must
{
    my ($self, @cmd) = @_;
    my $result = $self->command(@cmd);
    croak $result->describe if !$result->ok;
    return $result;
}

# ---- starting and stopping ----

# start(OPTIONS): waits until it accepts connections, and dies with the end of the log when it does
# not. Options: env => {…} for the server and its archive_command, fail_ok => 1 (returns false
# instead), wait => 0 (returns at once).
sub start
{
    my ($self, %opt) = @_;
    my @wait   = ($opt{wait} // 1) ? ('-w', '-t', time_limit()) : ('-W');
    my $result = $self->command('pg_ctl', 'start', '-D', $self->{data}, '-l', $self->{log}, '-s', @wait,
        { env => $opt{env}, timeout => time_limit() + 20 });
    my $pid = $self->postmaster_pid;
    record_postmaster($pid) if $pid;
    return 1 if $result->ok;
    return 0 if $opt{fail_ok};
    croak "cannot start $self->{name}:\n" . $result->describe . "\n" . $self->log_end;
}

# stop(MODE): fast (default), smart or immediate.
sub stop
{
    my ($self, $mode) = @_;
    $self->must('pg_ctl', 'stop', '-D', $self->{data}, '-m', $mode // 'fast', '-s', '-w', '-t', time_limit());
    return;
}

sub restart
{
    my ($self, %opt) = @_;
    $self->stop($opt{mode});
    return $self->start(%opt);
}

sub reload
{
    my ($self) = @_;
    $self->must('pg_ctl', 'reload', '-D', $self->{data}, '-s');
    return;
}

# The pid in postmaster.pid, or nothing when there is no such file.
sub postmaster_pid
{
    my ($self) = @_;
    open my $file, '<', "$self->{data}/postmaster.pid" or return undef; # it may go at any moment
    my ($pid) = (<$file> // '') =~ /^(\d+)/;
    return $pid;
}

# Every process of the server: postmaster, backends, and what archive_command and the like started.
sub processes
{
    my ($self) = @_;
    my %found  = processes_below($self->{data});
    my $leader = $self->postmaster_pid;
    @found{ $leader, descendants($leader) } = () if $leader;
    my @alive = sort { $a <=> $b } grep { is_alive($_) } keys %found;
    return @alive;
}

# What a crash of the machine does to processes: all of them killed at once, nothing cleaned up.
sub kill9
{
    my ($self) = @_;
    my $leader = $self->postmaster_pid // croak "$self->{name} does not run";
    kill 'STOP', $leader;
    my @all = $self->processes;
    poll_until(
        sub {
            my @left = $self->processes;
            kill 'KILL', @left;
            waitpid $_, WNOHANG for @all;
            # PostgreSQL takes even a postmaster that only waits to be reaped for a running one.
            return !@left && !kill 0, $leader;
        },
        "all processes of $self->{name} are dead") or croak "cannot kill $self->{name}";
    return;
}

# Removes the data directory (and what its tablespace links point to), as a disaster would.
sub destroy
{
    my ($self) = @_;
    my @tablespaces = map { readlink } grep { -l } glob "$self->{data}/pg_tblspc/*";
    remove_tree($self->{data}, @tablespaces);
    croak "cannot remove $self->{data}" if -e $self->{data};
    return;
}

sub is_running
{
    my ($self) = @_;
    my $pid = $self->postmaster_pid;
    return $pid && is_alive($pid) ? 1 : 0;
}

# True when it accepts connections now.
sub is_ready
{
    my ($self) = @_;
    return $self->command('pg_isready', $self->address, '-q', '-t', 5)->ok;
}

sub wait_ready
{
    my ($self, $seconds) = @_;
    poll_until(sub { $self->is_ready }, "$self->{name} accepts connections", $seconds)
      or croak "$self->{name} is not ready\n" . $self->log_end;
    return;
}

sub promote
{
    my ($self) = @_;
    $self->must('pg_ctl', 'promote', '-D', $self->{data}, '-s', '-w', '-t', time_limit());
    return;
}

# Waits until recovery is over and the server takes writes.
sub wait_promoted
{
    my ($self) = @_;
    $self->poll('SELECT NOT pg_is_in_recovery()') or croak "$self->{name} stays in recovery\n" . $self->log_end;
    return;
}

# ---- asking ----

# psql(SQL, OPTIONS): the TestRun::Result of psql, whatever it is. Options: db, timeout, args => [...].
sub psql
{
    my ($self, $sql, %opt) = @_;
    return run($self->program('psql'), $self->address, '-d', $opt{db} // 'postgres', '-XAtq', '-v', 'ON_ERROR_STOP=1',
        @{ $opt{args} // [] }, { stdin => $sql, timeout => $opt{timeout} // time_limit() });
}

# query(SQL, OPTIONS): what psql printed, without the last line end; dies on an error.
sub query
{
    my ($self, $sql, %opt) = @_;
    my $result = $self->psql($sql, %opt);
    croak "in $self->{name}: $sql\n" . $result->describe if !$result->ok;
    chomp(my $text = $result->{out});
    return $text;
}

# Waits until SQL gives $want (default t); errors, as of a server that is not up yet, count as no.
sub poll
{
    my ($self, $sql, $want, %opt) = @_;
    $want //= 't';
    my $last = '';
    return 1 if poll_until(
        sub {
            my $result = $self->psql($sql, %opt);
            chomp($last = $result->{out} . $result->{err});
            return $result->ok && $last eq $want;
        },
        "$sql = $want", $opt{seconds});
    Test::More::diag("last answer: $last");
    return 0;
}

# A row in the table marks (made when absent) that is committed now: a place for a recovery to stop.
# Returns name, xid (64 bits), lsn_before (the insert position before it), lsn (behind its commit
# record), and time, by the server's clock and surely later than its commit and earlier than
# whatever comes after the call.
sub mark
{
    my ($self, $name, %opt) = @_;
    $self->query('CREATE TABLE IF NOT EXISTS marks(id serial PRIMARY KEY, name text, at timestamptz DEFAULT clock_timestamp())', %opt);
    my %mark = (name => $name);
    @mark{qw(lsn_before xid lsn time)} = split /\n/, $self->query(<<"SQL", %opt);
SELECT pg_current_wal_insert_lsn();
SET synchronous_commit = on;
BEGIN;
INSERT INTO marks(name) VALUES ('$name');
SELECT txid_current();
COMMIT;
SELECT pg_current_wal_insert_lsn();
SELECT true AS x FROM pg_sleep(0.01) \\gset
SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US+00');
SELECT true AS x FROM pg_sleep(0.01) \\gset
SQL
    return \%mark;
}

# The names of the marks that this server has, in order, separated by spaces.
sub marks
{
    my ($self, %opt) = @_;
    return $self->query(q{SELECT coalesce(string_agg(name, ' ' ORDER BY id), '') FROM marks}, %opt);
}

# All user tables of all databases as text, "database schema.table rows hash" a line. Two servers with
# the same rows give the same text, in whatever order the rows lie. Sequences are left out: a crash
# may move them on.
sub fingerprint
{
    my ($self) = @_;
    my $databases = $self->query('SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname');
    my @lines     = map { $self->fingerprint_of($_) } split /\n/, $databases;
    return join "\n", sort @lines;
}

sub fingerprint_of
{
    my ($self, $db) = @_;
    # One transaction, so that a busy server gives one state. The hash of a row is that of its text.
    my $text = $self->query(<<'SQL', db => $db);
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL bytea_output = hex;
SET LOCAL extra_float_digits = 3;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO';
SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM %I.%I t',
              current_database() || ' ' || n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
\gexec
COMMIT;
SQL
    $text =~ tr/|/ /;
    return split /\n/, $text;
}

# ---- load ----

sub pgbench_init
{
    my ($self, $scale, %opt) = @_;
    $self->must('pgbench', $self->address, '-i', '-q', '-s', $scale // 1, $opt{db} // 'postgres');
    return;
}

# pgbench in the background: a TestRun::Process; stop('TERM') ends it. Options: clients (2), seconds
# (the time limit), args => [...], db.
sub pgbench_start
{
    my ($self, %opt) = @_;
    my $clients = $opt{clients} // 2;
    return TestRun::start($self->program('pgbench'), $self->address, '-n', '-c', $clients, '-j', 1,
        '-T', $opt{seconds} // time_limit(), @{ $opt{args} // [] }, $opt{db} // 'postgres',
        { timeout => ($opt{seconds} // 0) + time_limit() });
}

# Runs N transactions of pgbench and waits.
sub pgbench
{
    my ($self, $transactions, %opt) = @_;
    $self->must('pgbench', $self->address, '-n', '-c', 1, '-t', $transactions, @{ $opt{args} // [] },
        $opt{db} // 'postgres');
    return;
}

# A tablespace in a folder of its own below the test's root; the folder.
sub add_tablespace
{
    my ($self, $name) = @_;
    my $dir = temp_dir("ts-$name");
    $self->query("CREATE TABLESPACE $name LOCATION '$dir'");
    return $dir;
}

# ---- WAL ----

# enable_archiving(HOW): HOW is an object with archive_command (a Pgdr) or the command itself. A
# running server is restarted.
sub enable_archiving
{
    my ($self, $how, %opt) = @_;
    my $command = ref $how ? $how->archive_command : $how;
    (my $quoted = $command) =~ s/'/''/g;
    $self->append_conf("archive_mode = " . ($opt{mode} // 'on') . "\narchive_command = '$quoted'\n");
    $self->restart if $self->is_running;
    return;
}

# Ends the current WAL segment and returns its name; there is always something in it.
sub switch_wal
{
    my ($self) = @_;
    $self->query(q{SELECT 'x' FROM pg_logical_emit_message(false, 'test', 'switch')});
    return $self->query('SELECT pg_walfile_name(pg_switch_wal())');
}

# Switches, and waits until the archiver has nothing left to do; the name of the last segment.
sub archive_all
{
    my ($self, $seconds) = @_;
    my $file = $self->switch_wal;
    my $status = "$self->{data}/pg_wal/archive_status";
    my $is_done = sub {
        my @ready = glob "$status/*.ready";
        return !@ready && -e "$status/$file.done";
    };
    poll_until($is_done, "$self->{name} archived $file", $seconds)
      or croak "$self->{name} cannot archive $file\n" . $self->log_end;
    return $file;
}

# The insert position (a standby: the replay position).
sub lsn
{
    my ($self) = @_;
    return $self->query('SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END');
}

# Waits until STANDBY has replayed all that this server has written.
sub wait_for_catchup
{
    my ($self, $standby) = @_;
    my $lsn = $self->query('SELECT pg_current_wal_lsn()');
    $standby->poll("SELECT pg_last_wal_replay_lsn() >= '$lsn'") or croak "$standby->{name} does not catch up";
    return;
}

# ---- checks of the whole cluster ----

# A test: no corruption in any table or index of any database of the running server.
sub check_amcheck
{
    my ($self, $what) = @_;
    my $result = version() >= 14 ? $self->pg_amcheck : $self->amcheck_by_sql;
    my $good   = $result->ok && $result->{out} eq '';
    Test::More::ok($good, $what // "$self->{name}: amcheck finds nothing") or Test::More::diag($result->describe);
    return $good;
}

sub pg_amcheck
{
    my ($self) = @_;
    return $self->command('pg_amcheck', $self->address, '--all', '--install-missing', '--heapallindexed', '--parent-check');
}

# What PostgreSQL 13 has of it: the B-tree indexes, with all heap rows looked up in them.
sub amcheck_by_sql
{
    my ($self) = @_;
    my $result;
    for my $db (split /\n/, $self->query('SELECT datname FROM pg_database WHERE datallowconn')) {
        $result = $self->psql(<<'SQL', db => $db);
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS amcheck;
DO $$
DECLARE
    i regclass;
BEGIN
    FOR i IN SELECT c.oid FROM pg_class c JOIN pg_index x ON x.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
             WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND x.indisvalid
    LOOP
        PERFORM bt_index_parent_check(i, true);
    END LOOP;
END $$;
SQL
        last if !$result->ok;
    }
    return $result;
}

# A test: every page checksum of the stopped cluster is right.
sub check_checksums
{
    my ($self, $what) = @_;
    my $result = $self->command('pg_checksums', '--check', '-D', $self->{data});
    Test::More::ok($result->ok, $what // "$self->{name}: all page checksums are right")
      or Test::More::diag($result->describe);
    return $result->ok;
}

# pg_controldata as a hash: its labels are the keys.
sub control_data
{
    my ($self) = @_;
    my $text = $self->must('pg_controldata', '-D', $self->{data})->{out};
    return { map { /^(.*?):\s*(.*)$/ ? ($1 => $2) : () } split /\n/, $text };
}

# ---- its log ----

# The log's size now, for log_since and log_contains.
sub log_mark { return -s $_[0]{log} // 0 }

sub log_since
{
    my ($self, $mark) = @_;
    return -e $self->{log} ? substr(slurp($self->{log}), $mark // 0) : '';
}

# Whether the log, from a mark on, matches RE.
sub log_contains
{
    my ($self, $re, $mark) = @_;
    return $self->log_since($mark) =~ $re ? 1 : 0;
}

sub wait_for_log
{
    my ($self, $re, $mark, $seconds) = @_;
    poll_until(sub { $self->log_contains($re, $mark) }, "the log of $self->{name} matches $re", $seconds)
      or croak "the log of $self->{name} does not match $re\n" . $self->log_end;
    return;
}

sub log_end
{
    my ($self, $lines) = @_;
    my @all = split /\n/, $self->log_since(0);
    my $from = @all - ($lines // 30);
    return "log of $self->{name}:\n" . join("\n", @all[ ($from > 0 ? $from : 0) .. $#all ]);
}

sub show_log
{
    my ($self) = @_;
    Test::More::diag($self->log_end(12)) if -e $self->{log};
    return;
}

1;
