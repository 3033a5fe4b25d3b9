package Pgdr;

# pgdr in a test: a configuration file for repositories and clusters, and the program run with it.
# Calls that are tests (ok, fails, json, ...) report through Test::More and return the
# TestRun::Result; run reports nothing. A time limit, a death by a signal and a sanitizer's report are
# failures everywhere, also where a failure is expected.
#
# The repository "main" is a folder; under tests/run --repo=s3 it is encrypted and lies in S3, behind TLS.
# A test need not know: folder() gives it in both cases, to look into and to damage.

use strict;
use warnings;
use Carp qw(croak);
use File::Basename qw(basename);
use File::Path qw(make_path);
use JSON::PP ();
use Test::More ();
use BucketCopy;
use Rgw;
use TestFile qw(slurp spit);
use TestRun qw(test_root temp_dir time_limit sanitizer_reports poll_until);

my $main_pid = $$;
my %of_url;  # settings of repositories in S3 that were made here
my %copy_of; # and the folders that show them

# Whether the repository "main" is in S3.
sub in_s3 { return ($ENV{PGDR_TEST_REPO} // '') eq 's3' }

# For a subtest that makes sense with a repository in a folder only: skips it otherwise.
sub only_in_folder
{
    my ($why) = @_;
    Test::More::plan(skip_all => "not in S3: $why") if in_s3();
    return;
}

# What is in a list of cases that make no sense in S3: nothing, there.
sub unless_s3 { return in_s3() ? () : @_ }

# What pgdr says when nothing is left of the repository "main", or its folder is not there.
sub says_gone { return in_s3() ? qr/there is no repository in 's3:/ : qr/there is no directory/ }

# A new place in S3 for the Pgdr whose folder this is.
sub new_url
{
    my ($dir) = @_;
    my $root = basename(test_root());
    my ($name) = $dir =~ m{([^/]+)$};
    my %repo = Rgw->shared->repo("tests/$root/$name", 'TLS');
    my $url  = delete $repo{url};
    my $key  = spit("$dir/passphrase", 'pgdr-key-' . join('', map { sprintf '%02x', rand 256 } 1 .. 32) . "\n");
    chmod 0600, $key;
    $of_url{$url} = { %repo, encryption => 'aes-256-gcm', 'passphrase-file' => $key };
    return $url;
}

# How a repository is reached; what a test says of its encryption stands in the place of all of that.
sub settings_of
{
    my ($url, %given) = @_;
    my %own = %{ $of_url{$url} // {} };
    delete @own{qw(encryption passphrase-file)} if grep { /^(?:encryption|passphrase)/ } keys %given;
    return (%own, %given);
}

# The path of the program under test.
sub program
{
    my $program = $ENV{PGDR_TEST_PROGRAM} // croak 'PGDR_TEST_PROGRAM is not set: start the test with tests/run';
    return $program;
}

# new(OPTIONS): writes the configuration. Options:
#   node => PgNode           the cluster "app" (or cluster => its name)
#   repo => folder or URL    of the repository "main", as repo() gives it; default: a new one, below the
#                            test's root or in S3
#   global, repo_options, cluster_options => {key => value}   more of the configuration
sub new
{
    my ($class, %opt) = @_;
    my $dir  = temp_dir('pgdr');
    my $self = bless { dir => $dir, file => "$dir/pgdr.conf", sections => {}, order => [], env => {} }, $class;
    $self->set('global', %{ $opt{global} // {} });
    $self->{repo} = $opt{repo} // (in_s3() ? new_url($dir) : "$dir/repo");
    $self->set('repo main', url => $self->{repo}, settings_of($self->{repo}, %{ $opt{repo_options} // {} }));
    $self->add_cluster($opt{cluster} // 'app', $opt{node}, %{ $opt{cluster_options} // {} }) if $opt{node};
    return $self;
}

# Adds or changes keys of a section ("global", "repo main", "cluster app") and writes the file; an
# undefined value removes the key.
sub set
{
    my ($self, $section, %keys) = @_;
    push @{ $self->{order} }, $section if !$self->{sections}{$section};
    my $values = $self->{sections}{$section} //= {};
    for my $key (keys %keys) {
        $values->{$key} = $keys{$key};
        delete $values->{$key} if !defined $keys{$key};
    }
    my $text = '';
    for my $name (@{ $self->{order} }) {
        my $of = $self->{sections}{$name};
        $text .= "[$name]\n" . join('', map { "$_ = $of->{$_}\n" } sort keys %$of) . "\n" if %$of;
    }
    spit($self->{file}, $text);
    # As pgdr demands where the file holds a secret.
    chmod 0600, $self->{file} if $text =~ /^s3-secret/m;
    return;
}

# Makes the configuration expect another encryption than the repository "main" has.
sub set_wrong_encryption
{
    my ($self) = @_;
    my $now = $self->{sections}{'repo main'};
    $self->{right} = { map { $_ => $now->{$_} } qw(encryption passphrase-file passphrase-command) };
    my $is_on = ($now->{encryption} // 'none') ne 'none';
    my %wrong = $is_on ? (encryption => 'none') : (encryption => 'aes-256-gcm', 'passphrase-command' => 'echo x');
    $self->set('repo main', 'passphrase-file' => undef, %wrong);
    return;
}

sub set_right_encryption { my ($self) = @_; return $self->set('repo main', %{ delete $self->{right} }) }

sub add_cluster
{
    my ($self, $name, $node, %more) = @_;
    $self->{cluster} //= $name;
    $self->set(
        "cluster $name",
        'data-directory' => $node->data_dir, host => $node->host, port => $node->port, user => 'postgres',
        spool => temp_dir("spool-$name"), %more);
    return;
}

sub config_file { return $_[0]{file} }

# The repository's folder or URL, as the configuration and messages have it.
sub repo { return $_[0]{repo} }

# The repository's folder, or one that shows what is in S3 and whose changes are made there, too
# (BucketCopy.pm): brought up to date by this call, and after every run of pgdr.
sub folder
{
    my ($self) = @_;
    my $url = $self->{repo};
    return $url if $url !~ m{^s3://([^/]+)/(.+)$};
    $copy_of{$url} //= BucketCopy->new(Rgw->shared->client, $1, $2, "$self->{dir}/repo");
    $copy_of{$url}->pull;
    return $copy_of{$url}->folder;
}

# As messages of pgdr name what has this path in folder().
sub shown
{
    my ($self, $path) = @_;
    my $copy = $copy_of{ $self->{repo} } or return $path;
    return $path =~ s{^\Q@{[$copy->folder]}\E(?=/|$)}{$self->{repo}}r;
}

# The command line of a call for a shell, as in postgresql.conf.
sub shell_command
{
    my ($self, @args) = @_;
    return join ' ', program(), "--config=$self->{file}", "--cluster=$self->{cluster}", @args;
}

sub archive_command { return $_[0]->shell_command('archive-push', '%p') }
sub restore_command { return $_[0]->shell_command('archive-get', '%f', '%p') }

# Environment variables for every later call.
sub set_env
{
    my ($self, %env) = @_;
    $self->{env} = { %{ $self->{env} }, %env };
    return;
}

# ---- running it ----

# run(COMMAND, ARGUMENT..., {OPTIONS}): the TestRun::Result. Options: those of TestRun::run, and
# fault => {dir, ops, action, nth, repeat, program} for libfault.so (see tests/fault/libfault.c), or
# {requests => S3Proxy, ops, action, nth} to be killed when it makes its n-th request (of ops: link is what
# writes, unlink what removes): action kill, or torn when it is to be carried out all the same; the result then has calls and faults, the numbers counted.
# no_config => 1 leaves out --config.
sub run
{
    my ($self, @args) = @_;
    my $fault = ref $args[-1] ? $args[-1]{fault} : undef;
    return $self->run_to_request($fault, @args) if $fault && $fault->{requests};
    my $process = $self->start(@args);
    my $result  = $process->wait;
    @$result{qw(calls faults)} = fault_counts($process->{fault_state}) if $process->{fault_state};
    $_->pull for grep { defined } $copy_of{ $self->{repo} };
    return $result;
}

sub run_to_request
{
    my ($self, $fault, @args) = @_;
    my %opt   = %{ pop @args };
    my $proxy = $fault->{requests};
    my %hang  = (kill => 'hang', torn => 'hang_after');
    my %kind  = (link => '^PUT', unlink => '^(?:DELETE|POST [^ ]*[?&]delete)');
    my $ops   = $fault->{ops};
    croak "no request is a call of '$ops'" if defined $ops && !$kind{$ops};
    my $nth   = $fault->{action} eq 'count' ? 0 : $fault->{nth};
    delete $opt{fault};
    $opt{env} = { %{ $opt{env} // {} }, PGDR_S3_ENDPOINT => $proxy->url };
    $proxy->set(action => $hang{ $fault->{action} } // 'hang', nth => $nth, defined $ops ? (match => $kind{$ops}) : ());
    my $process = $self->start(@args, \%opt);
    poll_until(sub { !$process->running || $proxy->is_held }, 'it ends or makes its request');
    $process->stop('KILL') if $process->running;
    my $result = $process->wait;
    @$result{qw(calls faults)} = $proxy->counts;
    $proxy->set;
    $_->pull for grep { defined } $copy_of{ $self->{repo} };
    return $result;
}

# The same in the background: a TestRun::Process.
sub start
{
    my ($self, @args) = @_;
    my %opt   = ref $args[-1] ? %{ pop @args } : ();
    my %env   = (%{ $self->{env} }, %{ $opt{env} // {} });
    my $state = $opt{fault} ? "$self->{dir}/fault.state" : undef;
    if ($state) {
        unlink $state;
        %env = (%env, fault_env(%{ $opt{fault} }, state => $state));
    }
    my @config  = $opt{no_config} ? () : ("--config=$self->{file}");
    my $process = TestRun::start(program(), @config, @args, { %opt, env => \%env });
    $process->{fault_state} = $state;
    return $process;
}

# The environment that loads libfault.so, for a server too: (dir => …, ops, action, nth, repeat,
# program, state, trace).
sub fault_env
{
    my (%fault) = @_;
    my $library = $ENV{PGDR_TEST_FAULT_LIB} // croak 'PGDR_TEST_FAULT_LIB is not set: start the test with tests/run';
    croak "there is no $library" if !-e $library;
    my %env = (LD_PRELOAD => $library);
    for my $key (keys %fault) {
        croak "fault has no '$key'" if $key !~ /^(dir|ops|action|nth|repeat|program|state|trace)$/;
        $env{"FAULT_\U$key"} = $fault{$key};
    }
    return %env;
}

# (calls counted, faults done) from a FAULT_STATE file.
sub fault_counts
{
    my ($state) = @_;
    return (0, 0) if !-s $state;
    return unpack 'QQ', slurp($state);
}

# for_every_nth({FAULT}, CODE): calls CODE with {fault => {…, nth => n}} for n = 1, 2, … It must run
# pgdr with that and return the result; the end is the first run in which no fault happened. Options
# in FAULT: step => 1 (only every so many), from => 1. Returns the number of runs with a fault; dies
# when there was none, because then nothing was tested.
sub for_every_nth
{
    my ($fault, $code) = @_;
    my %fault = %$fault;
    my $step  = delete $fault{step} // 1;
    my $runs  = 0;
    for (my $n = delete $fault{from} // 1;; $n += $step) {
        my $result = $code->({ fault => { %fault, nth => $n } }, $n);
        last if !$result->{faults};
        $runs++;
    }
    croak "no call was ever hit: " . join ' ', map { "$_=$fault{$_}" } sort keys %fault if !$runs;
    return $runs;
}

# ---- tests ----

# What is wrong with a run whatever was expected of it; nothing when all is well.
sub defect
{
    my ($result) = @_;
    return "it took longer than it may\n"                       if $result->{timed_out};
    return "it was killed by signal $result->{signal}\n"        if $result->{signal};
    my $reports = sanitizer_reports();
    return $reports ne '' ? "a sanitizer found a defect:\n$reports" : '';
}

sub label
{
    my (@args) = @_;
    my $opt = ref $args[-1] ? pop @args : {};
    my $root = test_root();
    return $opt->{name} // 'pgdr ' . join(' ', @args) =~ s{\Q$root\E/}{}gr;
}

# ok(COMMAND, ARGUMENT..., {OPTIONS}): a test that it exits with 0.
sub ok
{
    my ($self, @args) = @_;
    my $result = $self->run(@args);
    my $defect = defect($result);
    Test::More::ok($result->ok && !$defect, label(@args)) or Test::More::diag($defect . $result->describe);
    return $result;
}

# fails(EXIT, RE, COMMAND, ARGUMENT..., {OPTIONS}): a test that it fails as it should. EXIT is a
# number or a name of lib/common/errcodes.def ('NOT_FOUND'); RE must match standard error.
sub fails
{
    my ($self, $exit, $re, @args) = @_;
    my $result = $self->run(@args);
    my $want   = exit_status($exit);
    my $wrong  = defect($result);
    $wrong .= "the exit status is not $want ($exit)\n"     if $result->{rc} != $want;
    $wrong .= "standard error does not match $re\n"        if $result->{err} !~ $re;
    Test::More::ok($wrong eq '', label(@args) . " fails: $exit") or Test::More::diag($wrong . $result->describe);
    return $result;
}

my %exit_status;

# The number of an error by its name.
sub exit_status
{
    my ($exit) = @_;
    return $exit if $exit =~ /^\d+$/;
    if (!%exit_status) {
        my $source = $ENV{PGDR_TEST_SOURCE} // croak 'PGDR_TEST_SOURCE is not set: start the test with tests/run';
        %exit_status = slurp("$source/lib/common/errcodes.def") =~ /^ERRCODE\((\w+), (\d+)/mg;
    }
    return $exit_status{$exit} // croak "there is no error '$exit'";
}

# json(COMMAND, ARGUMENT..., {OPTIONS}): a test that it exits with 0 and prints one JSON value on
# standard output; the value decoded (undef when it failed).
sub json
{
    my ($self, @args) = @_;
    my $result = $self->run(with_json(@args));
    my $value  = decode($result);
    my $defect = defect($result);
    Test::More::ok($result->ok && !$defect && defined $value, label(@args) . ' (JSON)')
      or Test::More::diag($defect . $result->describe);
    return $value;
}

# json_fails(EXIT, COMMAND, ARGUMENT..., {OPTIONS}): a test that it fails with EXIT and prints JSON all
# the same; the value decoded ({error => {code, message, hint}}, or findings).
sub json_fails
{
    my ($self, $exit, @args) = @_;
    my $result = $self->run(with_json(@args));
    my $value  = decode($result);
    my $defect = defect($result);
    Test::More::ok($result->{rc} == exit_status($exit) && !$defect && defined $value, label(@args) . " (JSON) fails: $exit")
      or Test::More::diag($defect . $result->describe);
    return $value;
}

sub with_json
{
    my (@args) = @_;
    my @opt = ref $args[-1] ? (pop @args) : ();
    return (@args, '--output=json', @opt);
}

sub decode
{
    my ($result) = @_;
    my $value = eval { JSON::PP->new->utf8->allow_nonref->decode($result->{out}) };
    Test::More::diag("standard output is no JSON: $@") if !defined $value;
    return $value;
}

END {
    if ($$ == $main_pid && %of_url && !$ENV{PGDR_TEST_KEEP}) {
        my $status = $?;
        eval { BucketCopy::remove_all(Rgw->shared->client, 'tests', basename(test_root())); 1 }
          or Test::More::diag("what the test left in S3 is still there: $@");
        $? = $status;
    }
}

1;
