package TestRun;

# What every integration test stands on: one temporary folder (the root) that is removed at the end,
# programs run with a time limit, and the certainty that nothing is left running, however the test
# ends. PgNode and Pgdr are built from this; TestFile has the helpers for files.
#
# Ownership: every process that a test starts carries the root's path in its environment
# (TESTRUN_ROOT) or works in a folder below it, as a PostgreSQL server does. A guardian, forked when
# the module is loaded, waits until the test is gone (done, died, killed, Ctrl-C), then kills what
# carries the mark and removes the root.
#
# The environment of a test, all set by tests/run:
#   PGDR_TEST_PG_BIN, PGDR_TEST_PG_VERSION   the PostgreSQL to use
#   PGDR_TEST_PROGRAM, PGDR_TEST_FAULT_LIB   pgdr as installed, and libfault.so
#   PGDR_TEST_SOURCE                         a copy of tests/, docs/ and conf/
#   PGDR_TEST_SMALLFS, PGDR_TEST_SMALLFS_WHY see small_fs()
#   PGDR_TEST_TMP                            where roots are made
# and for whoever runs it: PGDR_TEST_KEEP=1 keeps the root, PGDR_TEST_TIMEOUT (seconds, default 180)
# is how long anything may take. Nothing named PGDR_* reaches the programs under test.

use strict;
use warnings;
use Carp qw(croak);
use Exporter qw(import);
use Fcntl qw(:DEFAULT);
use File::Path qw(make_path remove_tree);
use File::Temp ();
use POSIX qw(:sys_wait_h);
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(test_root temp_dir run start poll_until time_limit child_env processes_below
  descendants is_alive left_behind small_fs fill_fs at_failure sanitizer_reports record_postmaster before_programs);

my $main_pid = $$;
my $root     = make_root();
my $counter  = 0;
my (@on_failure, @before);
my $guard = start_guardian();
adopt_orphans();

sub make_root
{
    # A socket's path has room for 107 bytes, so a long TMPDIR is not used.
    my $base = $ENV{PGDR_TEST_TMP} // $ENV{TMPDIR} // '/tmp';
    $base = '/tmp' if length $base > 50;
    my $dir = File::Temp::tempdir('t.XXXXXX', DIR => $base);
    chmod 0755, $dir;
    make_path("$dir/.run", "$dir/.sanitizer");
    make_path("$dir/.runtime", { mode => 0700 });
    return $dir;
}

# The folder of this test; everything it makes lies below.
sub test_root { return $root }

# A new empty folder "<root>/<name>", or "<root>/<name>.2" and so on when there is one already.
sub temp_dir
{
    my ($name) = @_;
    my $dir = "$root/" . ($name // 'dir');
    for (my $n = 2; -e $dir; $n++) {
        $dir = "$root/" . ($name // 'dir') . ".$n";
    }
    make_path($dir);
    return $dir;
}

# Seconds that one step may take.
sub time_limit { return $ENV{PGDR_TEST_TIMEOUT} || 180 }

# The environment for a program: ours without anything that would steer PostgreSQL or pgdr, with the
# mark, and with sanitizers that write to files (an archive_command's stderr is read by nobody) and
# whose exit status means nothing else.
sub child_env
{
    my (%more) = @_;
    my %env = map { $_ => $ENV{$_} } grep { !/^(PG|PGDR_|FAULT_|LD_PRELOAD$|HARNESS_|PERL5LIB$)/ } keys %ENV;
    my $sanitizer = "log_path=$root/.sanitizer/report:exitcode=99:verify_asan_link_order=0";
    return (
        %env,
        LC_ALL        => 'C.UTF-8',
        TZ            => 'UTC',
        HOME          => $root,
        XDG_RUNTIME_DIR => "$root/.runtime", # keeps stretched passphrases
        TESTRUN_ROOT  => $root,
        ASAN_OPTIONS  => $sanitizer,
        UBSAN_OPTIONS => "$sanitizer:print_stacktrace=1",
        %more);
}

# The text of every sanitizer report so far, also from programs that a server started.
sub sanitizer_reports
{
    my $text = '';
    for my $file (glob "$root/.sanitizer/*") {
        open my $fh, '<', $file or next;
        $text .= do { local $/; <$fh> } // '';
    }
    return $text;
}

# ---- running programs ----

# before_programs(CODE): called before each program is started and before anything is waited for.
sub before_programs { push @before, @_; return }

# start(PROGRAM, ARGUMENT..., {OPTIONS}): starts it in a process group of its own; a TestRun::Process.
# Options: stdin => text, env => {…} added, cwd => folder, out and err => files (default: gathered),
# timeout => seconds, counted from the start.
sub start
{
    my @cmd = @_;
    my $opt = ref $cmd[-1] ? pop @cmd : {};
    my $n   = ++$counter;
    $_->() for @before;
    my %file =
      (in => '/dev/null', out => $opt->{out} // "$root/.run/$n.out", err => $opt->{err} // "$root/.run/$n.err");
    if (defined $opt->{stdin}) {
        $file{in} = "$root/.run/$n.in";
        open my $fh, '>', $file{in} or croak "cannot write $file{in}: $!";
        print $fh $opt->{stdin};
        close $fh or croak "cannot write $file{in}: $!";
    }
    # Flushed here so that a forked copy cannot print it twice.
    $_->flush for *STDOUT{IO}, *STDERR{IO};
    my $begun = time;
    my $pid   = fork // croak "cannot fork: $!";
    become(\@cmd, $opt, \%file) if !$pid;
    return bless {
        cmd => "@cmd", pid => $pid, file => \%file, begun => $begun,
        deadline => $begun + ($opt->{timeout} // time_limit()), peak_kb => 0 }, 'TestRun::Process';
}

sub become
{
    my ($cmd, $opt, $file) = @_;
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
    setpgrp;
    %ENV = child_env(%{ $opt->{env} // {} });
    my $ready = open(STDIN, '<', $file->{in}) && open(STDOUT, '>>', $file->{out}) && open(STDERR, '>>', $file->{err})
      && (!defined $opt->{cwd} || chdir $opt->{cwd});
    exec { $cmd->[0] } @$cmd if $ready;
    print STDERR "cannot run $cmd->[0]: $!\n";
    STDERR->flush;
    POSIX::_exit(127);
}

# run(PROGRAM, ARGUMENT..., {OPTIONS}): start, then wait; a TestRun::Result.
sub run { return start(@_)->wait }

# poll_until(CODE, WHAT[, SECONDS]): calls CODE until it returns true, and returns that; false, with
# a note saying WHAT did not happen, when the time is over.
sub poll_until
{
    my ($code, $what, $seconds) = @_;
    $_->() for @before;
    my $deadline = time + ($seconds // time_limit());
    my $pause    = 0.01;
    while (1) {
        my $value = $code->();
        return $value if $value;
        last          if time > $deadline;
        sleep $pause;
        $pause *= 1.5 if $pause < 0.2;
    }
    Test::More::diag("it did not happen in time: $what");
    return '';
}

# ---- processes ----

# Processes that carry the mark of the folder $dir (or work in a folder below it): pid => command line.
sub processes_below
{
    my ($dir) = @_;
    my %found;
    for my $proc (glob '/proc/[0-9]*') {
        my ($pid) = $proc =~ /(\d+)$/;
        my $cwd   = readlink("$proc/cwd")            // '';
        my $env   = read_proc("$proc/environ") // '';
        next if index("$cwd/", "$dir/") != 0 && index($cwd, "$dir (deleted)") != 0 && "\0$env" !~ /\0TESTRUN_ROOT=\Q$dir\E\0/;
        next if !is_alive($pid);
        $found{$pid} = (read_proc("$proc/cmdline") // '') =~ tr/\0/ /r;
    }
    delete @found{ $main_pid, $$ };
    return %found;
}

# Whether the process runs; one that only waits to be reaped does not.
sub is_alive
{
    my ($pid) = @_;
    my ($state) = (read_proc("/proc/$pid/stat") // '') =~ /.*\) (\S)/s or return 0;
    return $state !~ /[ZX]/;
}

sub read_proc
{
    my ($file) = @_;
    open my $fh, '<', $file or return;
    local $/;
    return scalar <$fh>;
}

# The processes that $ancestor started, and those that they did.
sub descendants
{
    my ($ancestor) = @_;
    my %children;
    for my $proc (glob '/proc/[0-9]*') {
        my ($pid) = $proc =~ /(\d+)$/;
        my ($parent) = (read_proc("$proc/stat") // '') =~ /.*\) \S (\d+)/s or next;
        push @{ $children{$parent} }, $pid;
    }
    my @found = @{ $children{$ancestor} // [] };
    for (my $i = 0; $i < @found; $i++) {
        push @found, @{ $children{ $found[$i] } // [] };
    }
    return @found;
}

# Servers leave the process that started them. They become ours to reap (prctl, PR_SET_CHILD_SUBREAPER):
# not every machine's process 1 does it at once, or at all, and PostgreSQL does not start where a dead
# postmaster's pid is still taken. On other processors than these it is left to process 1.
sub adopt_orphans
{
    my $prctl = { x86_64 => 157, aarch64 => 167 }->{ (POSIX::uname())[4] } or return;
    syscall $prctl, 36, 1, 0, 0, 0;
    return;
}

# What still runs of this test: "pid command" each. A test that stopped all its servers can demand
# that this is empty.
sub left_behind
{
    my %found = processes_below($root);
    return map { "$_ $found{$_}" } sort { $a <=> $b } keys %found;
}

# ---- a file system that is full soon ----

# The folder of a small file system for this test alone, whose file has the line "#@ smallfs <MiB>";
# tests/run mounts it. Where that is not allowed the whole file is skipped, saying why.
sub small_fs
{
    return $ENV{PGDR_TEST_SMALLFS} if $ENV{PGDR_TEST_SMALLFS};
    Test::More::plan(skip_all => 'no small file system: '
          . ($ENV{PGDR_TEST_SMALLFS_WHY} // 'the test was not started by tests/run'));
}

# Fills the file system of $dir but for $leave bytes; the file that does it is $dir/filler.
sub fill_fs
{
    my ($dir, $leave) = @_;
    open my $fh, '>', "$dir/filler" or croak "cannot write $dir/filler: $!";
    my $block = "\0" x 65536;
    my $size  = 0;
    while (my $n = syswrite $fh, $block) {
        $size += $n;
    }
    my $keep = $size - ($leave // 0);
    truncate $fh, $keep < 0 ? 0 : $keep or croak "cannot cut $dir/filler: $!";
    return "$dir/filler";
}

# ---- the end ----

# at_failure(CODE): called at the end when the test failed, to show what helps (the end of a log).
sub at_failure { push @on_failure, @_; return }

# The small shared memory segment of a server that was killed is found by the postmaster's pid.
sub record_postmaster
{
    my ($pid) = @_;
    open my $fh, '>>', "$root/.postmasters" or croak "cannot write $root/.postmasters: $!";
    print $fh "$pid\n";
    close $fh;
    return;
}

sub start_guardian
{
    pipe my $reader, my $writer or die "cannot make a pipe: $!";
    my $pid = fork // die "cannot fork: $!";
    if ($pid) {
        close $reader;
        return { pid => $pid, pipe => $writer };
    }
    close $writer;
    POSIX::setsid();
    $SIG{$_} = 'IGNORE' for qw(INT TERM HUP PIPE);
    chdir '/';
    open STDIN,  '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';
    $0 = "guardian of $root";
    1 while sysread $reader, my $byte, 1;
    clean_up();
    POSIX::_exit(0);
}

sub clean_up
{
    my %left;
    for (1 .. 200) {
        %left = processes_below($root) or last;
        kill 'KILL', keys %left;
        sleep 0.05;
    }
    release_shared_memory();
    return if $ENV{PGDR_TEST_KEEP};
    for (1 .. 20) {
        remove_tree($root, { error => \my $errors });
        last if !-e $root;
        sleep 0.1;
    }
    return;
}

# /proc/sysvipc/shm: column 2 is the id, 5 the creator's pid, 7 how many are attached.
sub release_shared_memory
{
    my %ours = map { chomp; $_ => 1 } do {
        open my $fh, '<', "$root/.postmasters" or return;
        <$fh>;
    };
    open my $fh, '<', '/proc/sysvipc/shm' or return;
    while (<$fh>) {
        my @column = split;
        next if $column[0] eq 'key' || !$ours{ $column[4] } || $column[6];
        system 'ipcrm', '-m', $column[1];
    }
    return;
}

$SIG{INT}  = sub { exit 130 };
$SIG{TERM} = sub { exit 143 };
$SIG{HUP}  = sub { exit 129 };

END {
    if ($$ == $main_pid) {
        my $status  = $?;
        my $reports = sanitizer_reports();
        if ($reports ne '') {
            Test::More::diag("a sanitizer found a defect:\n$reports");
            $status ||= 99;
        }
        if ($status || !Test::More->builder->is_passing) {
            eval { $_->(); 1 } or Test::More::diag($@) for @on_failure;
            Test::More::diag("kept: $root") if $ENV{PGDR_TEST_KEEP};
        }
        close $guard->{pipe};
        waitpid $guard->{pid}, 0;
        $? = $status;
    }
}

package TestRun::Process;

use strict;
use warnings;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

sub pid { return $_[0]{pid} }

sub running
{
    my ($self) = @_;
    $self->reap if !$self->{result};
    return !$self->{result};
}

# Looks whether it has ended, without waiting. The processor time of a child appears in times() in
# the moment in which it is waited for.
sub reap
{
    my ($self) = @_;
    if (open my $fh, '<', "/proc/$self->{pid}/status") {
        local $/;
        my ($kb) = (<$fh> // '') =~ /^VmHWM:\s+(\d+)/m;
        $self->{peak_kb} = $kb if $kb && $kb > $self->{peak_kb};
    }
    my @before = times;
    my $got    = waitpid $self->{pid}, WNOHANG;
    return if !$got;
    my ($status, @after) = ($?, times);
    $self->{result} = bless {
        cmd => $self->{cmd},
        rc  => $status & 127 ? -1 : $status >> 8,
        signal    => $status & 127,
        timed_out => $self->{timed_out} // 0,
        seconds   => time - $self->{begun},
        cpu       => $after[2] + $after[3] - $before[2] - $before[3],
        peak_kb   => $self->{peak_kb},
        out       => contents($self->{file}{out}),
        err       => contents($self->{file}{err}) }, 'TestRun::Result';
    return;
}

sub contents
{
    my ($file) = @_;
    open my $fh, '<:raw', $file or return '';
    local $/;
    return scalar(<$fh>) // '';
}

# Waits for the end; past the time limit the whole process group is killed. A TestRun::Result.
sub wait
{
    my ($self) = @_;
    my $pause = 0.001;
    while ($self->running) {
        if (time > $self->{deadline} && !$self->{timed_out}) {
            $self->{timed_out} = 1;
            kill 'KILL', -$self->{pid};
        }
        sleep $pause;
        $pause *= 1.3 if $pause < 0.02;
    }
    return $self->{result};
}

# Sends a signal to the whole process group.
sub signal
{
    my ($self, $signal) = @_;
    return kill $signal, -$self->{pid};
}

# Signals (default KILL) and waits.
sub stop
{
    my ($self, $signal) = @_;
    $self->signal($signal // 'KILL') if $self->running;
    return $self->wait;
}

# What it has printed so far.
sub output_so_far
{
    my ($self, $stream) = @_;
    return contents($self->{file}{ $stream // 'out' });
}

package TestRun::Result;

# Fields: rc (-1 when killed by a signal), signal, timed_out, seconds, cpu, peak_kb (of the process
# itself, looked at every 20 ms), out, err, cmd.

use strict;
use warnings;

sub ok { return $_[0]{rc} == 0 && !$_[0]{signal} }

# How it ended and what it said, for a message.
sub describe
{
    my ($self) = @_;
    my $end =
        $self->{timed_out} ? sprintf('killed after %.0f s', $self->{seconds})
      : $self->{signal}    ? "signal $self->{signal}"
      :                      "exit status $self->{rc}";
    return "$self->{cmd}\n$end\nstdout: " . excerpt($self->{out}) . "\nstderr: " . excerpt($self->{err});
}

sub excerpt
{
    my ($text) = @_;
    return length $text > 4000 ? substr($text, 0, 1500) . "\n[…]\n" . substr($text, -2500) : $text;
}

1;
