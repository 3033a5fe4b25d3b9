package Faults;

# What tests of faults have in common: a cluster that is small enough to be backed up hundreds of
# times, a folder put back as it was, and what is demanded of pgdr whatever has happened: an error with
# a name, and never something half done that looks whole.
#
# A sweep does something at every place there is. By default it takes a sample that changes with
# nothing but the code; PGDR_TEST_SWEEP=all takes every place.

use strict;
use warnings;
use Carp qw(croak);
use Exporter qw(import);
use File::Path qw(remove_tree);
use JSON::PP ();
use Test::More ();
use Pgdr;
use PgNode;
use Rgw;
use S3Proxy;
use TestFile qw(slurp spit files_below copy_tree tree_state);
use TestRun qw(temp_dir poll_until);

our @EXPORT_OK = qw(fault_in held_at calls_of sweeps_all step_for small_node restore_state backups_of unnamed_error
  unopened archive_get_defect json_of every_nth);

my $proxy;

# Whether everything is to be tried.
sub sweeps_all { return ($ENV{PGDR_TEST_SWEEP} // '') eq 'all' }

# The step with which $n places are tried about $some times: an odd number, so that calls that come in
# pairs are both met.
sub step_for
{
    my ($n, $some) = @_;
    return 1 if sweeps_all() || $n <= $some;
    return int($n / $some) | 1;
}

# A cluster whose only database is "postgres": 8 MB in 300 files. Options as PgNode::init.
sub small_node
{
    my ($name, %opt) = @_;
    my $node = PgNode->init($name, wal_segsize => 1, conf => "autovacuum = off\n", %opt);
    $node->start;
    $node->query("UPDATE pg_database SET datistemplate = false; DROP DATABASE template0");
    $node->query('DROP DATABASE template1');
    $node->stop;
    return $node;
}

# Where faults of a run are to be, for Pgdr's option fault, with an action (count, kill, torn): the calls on
# files of the repository "main", and of the folder $above; in S3 its requests.
sub fault_in
{
    my ($pgdr, $above) = @_;
    return (dir => join(':', $pgdr->folder, $above // ()), program => 'pgdr') if !Pgdr::in_s3();
    $proxy //= S3Proxy->new(Rgw->shared->value('PLAIN'));
    return (requests => $proxy);
}

# held_at({PLACE, nth}, PGDR, ARGUMENT...): starts pgdr so that it stands still before its n-th call on files
# below the folder dir, or its n-th request through the S3Proxy requests. The TestRun::Process, and the
# CODE that lets it go on; without CODE it has ended before.
sub held_at
{
    my ($place, $pgdr, @args) = @_;
    my %opt   = ref $args[-1] ? %{ pop @args } : ();
    my $proxy = $place->{requests};
    $proxy->set(action => 'hold', nth => $place->{nth}) if $proxy;
    my $process = $pgdr->start(@args, $proxy ? \%opt : { %opt, fault => { %$place, action => 'stop' } });
    my $is_held = sub { return $proxy ? $proxy->is_held : is_stopped($process->pid) };
    poll_until(sub { $is_held->() || !$process->running }, 'it is held up');
    return ($process) if !$is_held->();
    return ($process, sub { $proxy ? $proxy->let_go : kill 'CONT', $process->pid });
}

sub is_stopped
{
    my ($pid) = @_;
    return -e "/proc/$pid/stat" && slurp("/proc/$pid/stat") =~ /.*\) T/s;
}

# calls_of({PLACE}, PGDR, ARGUMENT...): how many calls, or requests, such a run makes when nothing holds it
# up; dies when it fails.
sub calls_of
{
    my ($place, $pgdr, @args) = @_;
    my %opt = ref $args[-1] ? %{ pop @args } : ();
    $place->{requests}->set if $place->{requests};
    my $result = $pgdr->run(@args, $place->{requests} ? \%opt : { %opt, fault => { %$place, action => 'count' } });
    croak $result->describe if !$result->ok;
    return $place->{requests} ? ($place->{requests}->counts)[0] : $result->{calls};
}

# Makes the folder $dir what its copy $clean is. A running server may be archiving into it meanwhile.
sub restore_state
{
    my ($dir, $clean) = @_;
    system('chmod', '-R', 'u+rwX', '--', $dir) if -e $dir;
    poll_until(sub { remove_tree($dir, { error => \my $busy }); !-e $dir }, "$dir is removed", 10) or croak "cannot remove $dir";
    copy_tree($clean, $dir);
    return;
}

# The ids of the backups that info lists, in order.
sub backups_of
{
    my ($pgdr) = @_;
    my $info = json_of($pgdr->run('info', '--output=json'));
    return map { $_->{id} } map { @{ $_->{backups} } } @{ $info->{clusters} // [] };
}

# The JSON on standard output; nothing when it is none.
sub json_of
{
    my ($result) = @_;
    return eval { JSON::PP->new->utf8->decode($result->{out}) } // {};
}

# What is wrong with the way a run failed: an error has an exit status of ours, a line that begins with
# ERROR and, with --output=json, the same in JSON. Nothing when it is as it should be, or succeeded.
sub unnamed_error
{
    my ($result, %opt) = @_;
    my $defect = Pgdr::defect($result);
    return $defect . $result->describe if $defect ne '';
    return '' if $result->ok;
    my $json = json_of($result);
    my $wrong =
        $result->{rc} == Pgdr::exit_status('INTERNAL') ? 'an internal error'
      : $result->{rc} < 2 || $result->{rc} > 25 ? 'the exit status names no error'
      : $result->{err} !~ /ERROR: \S/ ? 'no error is printed'
      : $result->{cmd} =~ /output=json/ && !$json->{error}{code} ? 'no error in the JSON'
      :                                                             '';
    return $wrong && "$wrong: " . $result->describe;
}

# What is wrong with a data directory that a restore has not finished: PostgreSQL must not start there.
sub unopened
{
    my ($dir) = @_;
    return -e "$dir/global/pg_control" ? "$dir has a pg_control" : '';
}

# What is wrong with archive-get of FILE, whose content is $want (undef: there is none, or it is to be
# refused): exactly that, or a refusal that no server takes for the end of the WAL.
sub archive_get_defect
{
    my ($pgdr, $file, $want, %opt) = @_;
    my $to     = temp_dir('get') . '/file';
    my $result = $pgdr->run('archive-get', $file, $to, $opt{run} // {});
    my $defect = Pgdr::defect($result);
    return $defect . $result->describe if $defect ne '';
    if ($result->ok) {
        return "archive-get succeeds without a file\n" if !-e $to;
        return defined $want && slurp($to) eq $want ? '' : "archive-get gives other bytes for $file\n";
    }
    return "archive-get fails and leaves a file\n" if -e $to;
    return "archive-get says that $file is not there\n" if $result->{rc} == 1 && !$opt{may_be_absent};
    return "archive-get names no error: " . $result->describe if $result->{rc} != 1 && $result->{err} !~ /ERROR: \S/;
    return '';
}

# every_nth({FAULT}, SOME, [PGDR, ARGUMENT...], JUDGE[, BEFORE]): runs PGDR with ARGUMENTS and the fault at
# the n-th call, for about SOME numbers n from the first to the last, and calls JUDGE(RESULT, n) after
# each that met its fault. BEFORE is called before every run. Returns how many there were, and dies when
# the fault was never met.
sub every_nth
{
    my ($fault, $some, $run, $judge, $before) = @_;
    my ($pgdr, @args) = @$run;
    $before->() if $before;
    my $count = $pgdr->run(@args, { fault => { %$fault, action => 'count', repeat => 0 } });
    croak 'without a fault: ' . $count->describe if !$count->ok;
    my $step = step_for($count->{calls}, $some);
    my $runs = 0;
    for (my $n = 1; $n <= $count->{calls}; $n += $step) {
        $before->() if $before;
        my $result = $pgdr->run(@args, { fault => { %$fault, nth => $n } });
        next if !$result->{faults}; # fewer calls than the time before
        $runs++;
        $judge->($result, $n);
    }
    croak "no call was ever hit: @args" if !$runs;
    $before->() if $before;
    my $after = $pgdr->run(@args);
    croak 'afterwards: ' . $after->describe if !$after->ok;
    return $runs;
}

1;
