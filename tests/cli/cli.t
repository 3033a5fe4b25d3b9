#!/usr/bin/perl
# The program as a user sees it: output, exit status, messages, help, completion, man page.
use strict;
use warnings;
use Cwd qw(abs_path getcwd);
use File::Temp qw(tempdir);
use JSON::PP;
use POSIX qw(WIFSIGNALED WTERMSIG WIFEXITED WEXITSTATUS);
use Test::More;

my $src  = abs_path($ENV{srcdir} // '.');
my $pgdr = abs_path('pgdr');
my $dir  = tempdir(CLEANUP => 1);
my $conf = "$dir/pgdr.conf";

delete $ENV{$_} for grep { /^(?:PGDR|AWS)_/ } keys %ENV;
$ENV{TERM} = 'dumb';
$ENV{LC_ALL} = 'C';

sub write_file
{
    my ($path, $text, $mode) = @_;
    open my $out, '>', $path or die "cannot write $path: $!";
    print $out $text;
    close $out or die "cannot write $path: $!";
    chmod $mode // 0600, $path;
}

sub read_file
{
    my ($path) = @_;
    open my $in, '<', $path or die "cannot read $path: $!";
    local $/;
    return scalar <$in>;
}

# Runs pgdr; returns exit status (negative: the signal), standard output and standard error.
# The first argument may be a hash: env (variables), dir (where to run), out (file for its output).
sub pgdr
{
    my $how = ref $_[0] ? shift : {};
    my @args = @_;
    my $out = $how->{out} // "$dir/out";
    my $pid = fork // die "cannot fork: $!";
    if (!$pid) {
        @ENV{ keys %{ $how->{env} } } = values %{ $how->{env} } if $how->{env};
        chdir $how->{dir} if $how->{dir};
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $out or die;
        open STDERR, '>', "$dir/err" or die;
        exec $pgdr, @args or die "cannot run $pgdr: $!";
    }
    waitpid $pid, 0;
    my $status = WIFEXITED($?) ? WEXITSTATUS($?) : -WTERMSIG($?);
    return ($status, $how->{out} ? '' : read_file($out), read_file("$dir/err"));
}

write_file($conf, <<'END');
[global]
jobs = 3
[repo main]
url = /srv/pgdr
[repo offsite]
url = s3://bucket/prefix
s3-key = AKIAEXAMPLE
s3-secret = geheim
[cluster app]
data-directory = /srv/app
END

# --- help ---

my ($status, $out, $err) = pgdr('help');
is($status, 0, 'help succeeds');
is($err, '', '... and says nothing else');
my @commands = $out =~ /^  ([a-z][a-z-]*(?: [a-z]+)?)  /mg;
cmp_ok(scalar @commands, '>=', 13, '... and lists the commands');

for my $command (@commands) {
    my @words = split / /, $command;
    my ($s, $o, $e) = pgdr('help', @words);
    my ($s2, $o2) = pgdr(@words, '--help');
    is("$s $s2", '0 0', "help of $command succeeds");
    # (help --help is the list of commands.)
    is($o, $o2, "... as help COMMAND and as COMMAND --help") unless $command eq 'help';
    my @wide = grep { length > 100 } split /\n/, $o;
    is("@wide", '', '... and fits 100 columns');
    like($o, qr/\AUsage: pgdr \[OPTION\]\.\.\. \Q$command\E.*^Examples:\n  \S/ms,
        '... and has usage and examples');
    my ($sj, $oj) = pgdr('help', @words, '--output=json');
    my $doc = eval { decode_json($oj) };
    is($doc->{command}{name}, $command, '... in JSON, too');
}
($status, $out) = pgdr('help', 'repo');
like($out, qr/pgdr \[OPTION\]\.\.\. repo ls.*pgdr \[OPTION\]\.\.\. repo get/s, 'help of a group');
($status, $out) = pgdr('help', 'type');
like($out, qr/^Values: full or incr\n.*^Values: latest, immediate/ms, 'help of an option two commands have');
($status, $out) = pgdr('help', 's3-secret');
unlike($out, qr/--s3-secret/, 'no secret is offered on the command line');
like($out, qr/PGDR_S3_SECRET/, '... but in the environment');
($status, $out, $err) = pgdr('help', 'bakcup');
is($status, 2, 'help of something unknown fails');
like($err, qr/did you mean pgdr help backup\?/, '... with the nearest');
($status, $out) = pgdr('--help');
like($out, qr/^Commands:/m, '--help alone');

# --- version ---

($status, $out, $err) = pgdr('version');
is($status, 0, 'version succeeds');
like($out, qr/\Apgdr \d+\.\d+\.\d+ \(PostgreSQL 13 to 18\)\n/, '... and shows it');
my ($same) = (pgdr('-V'))[1];
is($same, $out, '-V is the same');
($status, $out) = pgdr('version', '--output=json');
my $doc = decode_json($out);
like($doc->{version}, qr/^\d+\.\d+\.\d+$/, 'version in JSON');
like($doc->{libraries}{zstd}, qr/^1\./, '... with the libraries');

# --- a wrong command line ---

sub refused
{
    my ($name, $want, $message, $hint, @args) = @_;
    my ($s, $o, $e) = pgdr(@args);
    is($s, $want, "$name: exit status");
    like($e, $message, "$name: message");
    like($e, $hint, "$name: hint") if $hint;
    is($o, '', "$name: nothing on standard output");
    # The same in JSON, where a script looks for it.
    ($s, $o, $e) = pgdr((ref $args[0] ? shift @args : ()), @args, '--output=json');
    is($s, $want, "$name: exit status with JSON");
    my $json = eval { decode_json($o) };
    like($json->{error}{message} // '', $message, "$name: message in JSON");
    like($json->{error}{hint} // '', $hint, "$name: hint in JSON") if $hint;
    like($e, $message, "$name: and on standard error, too");
    return $json->{error}{code};
}

is(refused('no command', 2, qr/no command is given/, qr/pgdr help/), 'usage', '... code');
refused('unknown command', 2, qr/there is no command 'bakcup'/, qr/did you mean backup\?/, 'bakcup');
refused('pgBackRest command', 2, qr/there is no command/, qr/did you mean init\?/, 'stanza-create');
refused('unknown option', 2, qr/there is no option --jbos/, qr/did you mean --jobs\?/,
    'backup', '--jbos=2');
refused('pgBackRest option', 2, qr/there is no option --stanza/, qr/did you mean --cluster\?/,
    'backup', '--stanza=app');
refused('bad value', 2, qr/--jobs must be a whole number from 1 to 256, not "x"/, undef,
    "--config=$conf", 'backup', '--jobs=x');
refused('half a group', 2, qr/'repo' is not complete/, qr/repo ls or repo get/, 'repo');
refused('too many', 2, qr/takes no arguments/, qr/pgdr help backup/, 'backup', 'x');

# --- a wrong configuration ---

is(refused('missing file', 3, qr/there is no configuration file '\Q$dir\E\/none'/,
    qr{without --config and PGDR_CONFIG it is '/etc/pgdr/pgdr.conf'},
    "--config=$dir/none", 'config'), 'config', '... code');
write_file("$dir/bad", "[global]\n\njobs = x\n");
refused('bad value in the file', 3,
    qr/"jobs" must be a whole number from 1 to 256, not "x" \(in \Q$dir\E\/bad line 3\)/, undef,
    "--config=$dir/bad", 'config');
write_file("$dir/bad", "[global]\njbos = 2\n");
refused('unknown key', 3, qr/there is no setting "jbos" \(in \Q$dir\E\/bad line 2\)/,
    qr/did you mean "jobs"\?/, "--config=$dir/bad", 'config');
refused('bad value in the environment', 3, qr/not "0" \(from PGDR_JOBS\)/, undef,
    { env => { PGDR_JOBS => 0 } }, "--config=$conf", 'config');
SKIP: {
    skip 'this host has a configuration of its own', 1 if -e '/etc/pgdr/pgdr.conf';
    ($status, $out, $err) = pgdr('backup');
    like($err, qr/backup needs a cluster, and none is configured\n.*HINT: write \[cluster NAME\]/,
        'no configuration at all: what to do');
}

# --- archive-get: a failure must never look like "this WAL does not exist" ---

mkdir "$dir/pgdata";
($status) = pgdr({ dir => "$dir/pgdata" }, 'archive-get', '--config=/nonexistent', 'a', 'b');
is($status, 254, 'archive-get without its configuration exits above 125');
($status) = pgdr({ dir => "$dir/pgdata" }, '--frob', 'archive-get', 'a', 'b');
is($status, 254, '... and with a wrong option');
write_file("$dir/pgdata/standby.signal", '');
($status) = pgdr({ dir => "$dir/pgdata" }, 'archive-get', '--config=/nonexistent', 'a', 'b');
is($status, 1, '... but with 1 on a standby, which asks again');

# --- config ---

($status, $out, $err) = pgdr({ env => { PGDR_IO_TIMEOUT => '5s' } },
    "--config=$conf", 'config', '--compress-level=7');
is($status, 0, 'config succeeds');
is($err, '', '... without a warning');
like($out, qr/^jobs +3 +\Q$conf\E:2$/m, '... file and line');
like($out, qr/^io-timeout +5s +environment PGDR_IO_TIMEOUT$/m, '... environment');
like($out, qr/^compress-level +7 +command line$/m, '... command line');
like($out, qr/^log-level +auto +default$/m, '... default');
like($out, qr/^max-rate +- +not set$/m, '... not set');
like($out, qr/^s3-secret +\(secret\) +\Q$conf\E:8$/m, '... secrets are masked');
unlike($out, qr/geheim|AKIAEXAMPLE/, '... really');
($status, $out) = pgdr("--config=$conf", 'config', '--output=json');
unlike($out, qr/geheim|AKIAEXAMPLE/, '... in JSON, too');
$doc = decode_json($out);
is_deeply($doc->{global}{jobs}, { value => 3, source => 'file', file => $conf, line => 2 },
    'config in JSON: a value and its source');
is($doc->{global}{'io-timeout'}{value}, 60, '... durations in seconds');
is($doc->{repos}[1]{settings}{'s3-verify-tls'}{value}, JSON::PP::true, '... switches');
ok($doc->{repos}[0]{chosen} && !$doc->{repos}[1]{chosen}, '... the chosen repository');
is($doc->{clusters}[0]{name}, 'app', '... clusters');

write_file("$dir/open", "[repo main]\ns3-secret = geheim\n", 0644);
($status, $out, $err) = pgdr("--config=$dir/open", 'config');
is($status, 0, 'a file that all can read');
like($err, qr/WARNING: .*holds secrets.*chmod o-r/, '... is warned of');
($status, $out, $err) = pgdr({ env => { PGDR_JBOS => 2 } }, "--config=$conf", 'config');
like($err, qr/WARNING: PGDR_JBOS .*did you mean PGDR_JOBS\?/, 'a misspelt variable is warned of');
($status, $out, $err) = pgdr({ env => { PGDR_JBOS => 2 } }, '-q', "--config=$conf", 'config');
is($err, '', '... but not with --quiet');
($status, $out, $err) =
    pgdr({ env => { PGDR_JBOS => 2 } }, '--log-format=json', "--config=$conf", 'config');
is(decode_json($err)->{level}, 'WARNING', 'the log in JSON');

($status, $out, $err) = pgdr({ env => { PGDR_OUTPUT => 'json', PGDR_JOBS => 'x' } }, 'version');
is(decode_json($out)->{error}{code}, 'config', 'JSON by the environment, for errors, too');
like($err, qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC pgdr\[\d+\]: ERROR: /,
    'where nobody watches a line of the log has its time');

# --- the sample ---

my $sample = "$src/conf/pgdr.conf.sample";
($status, $out, $err) = pgdr("--config=$sample", 'config');
is($status, 0, 'the sample is a configuration');
(my $all = read_file($sample)) =~ s/^#([a-z0-9-]+ = )/$1/mg;
write_file("$dir/all", $all);
($status, $out, $err) = pgdr("--config=$dir/all", 'config');
is("$status $err", '0 ', '... also with every setting in use');
unlike($out, qr/not set/, '... and it has every setting');

# --- where it cannot write ---

SKIP: {
    skip 'there is no /dev/full', 3 unless -c '/dev/full';
    ($status, $out, $err) = pgdr({ out => '/dev/full' }, 'help');
    is($status, 8, 'a full disk behind standard output');
    like($err, qr/cannot write to standard output: No space left/, '... is told');
    ($status) = pgdr({ out => '/dev/full' }, 'version', '--output=json');
    is($status, 8, '... for JSON, too');
}
{
    pipe my $read, my $write or die;
    close $read;
    my $pid = fork // die;
    if (!$pid) {
        open STDOUT, '>&', $write or die;
        open STDERR, '>', "$dir/err" or die;
        exec $pgdr, 'help';
    }
    close $write;
    waitpid $pid, 0;
    ok(WIFEXITED($?) && WEXITSTATUS($?) != 0, 'a broken pipe is a failure, and no signal');
    is(read_file("$dir/err"), '', '... that needs no words');
}
system("'$pgdr' version >&- 2>/dev/null");
is($?, 0, 'without standard output');

# --- the man page ---

SKIP: {
    skip 'mandoc is not installed', 1 if system('command -v mandoc >/dev/null 2>&1');
    my $lint = qx(mandoc -Tlint -Wwarning '$src/docs/pgdr.1' 2>&1);
    is($lint, '', 'the man page is clean');
}
my $man = read_file("$src/docs/pgdr.1");
like($man, qr/^\\fB18 wal_missing\\fR$/m, '... and lists the exit status of every error');

# --- completion ---

my $bash = "$src/conf/pgdr.bash-completion";
SKIP: {
    skip 'bash is not installed', 1 if system('command -v bash >/dev/null 2>&1');
    is(qx(bash -uec 'source "$bash"' 2>&1), '', 'the completion is read without a word');
    # What bash offers for the last of these words.
    my $complete = sub {
        my @words = @_;
        local $ENV{PGDR_CONFIG} = $conf;
        write_file("$dir/complete", "source '$bash'\nCOMP_WORDS=("
            . join(' ', map { "'$_'" } @words)
            . ")\nCOMP_CWORD=$#words\n_pgdr\nprintf '%s\\n' \"\${COMPREPLY[@]}\"\n");
        return join ' ', split /\n/, qx(cd '$dir' && bash complete 2>&1);
    };
    is($complete->('pgdr', 'arch'), 'archive-push archive-get', 'completes commands');
    is($complete->('pgdr', '--output=json', 're'), 'restore repo', '... behind an option');
    is($complete->('pgdr', '--output', '=', 'json', 're'), 'restore repo', '... as bash splits it');
    is($complete->('pgdr', '--cluster', 'app', 'res'), 'restore', '... and behind its value');
    is($complete->('pgdr', 'repo', ''), 'ls get resolve copy rekey', '... the second word');
    is($complete->('pgdr', 'restore', '--target-t'), '--target-time= --target-timeline=',
        'completes options');
    is($complete->('pgdr', 'info', '--delt'), '', '... of the command only');
    is($complete->('pgdr', 'repo', 'ls', '--rec'), '--recurse', '... of two words');
    is($complete->('pgdr', 'restore', '--type', '=', ''), 'latest immediate time lsn xid name',
        'completes values');
    is($complete->('pgdr', 'backup', '--type', '=', ''), 'full incr', '... by command');
    is($complete->('pgdr', 'backup', '--output', 'j'), 'json', '... in the next word');
    is($complete->('pgdr', 'backup', '--output=t'), '--output=text', '... in one word');
    is($complete->('pgdr', 'backup', '--repo', '=', ''), 'main offsite', '... repositories');
    is($complete->('pgdr', 'backup', '--cluster', '='), 'app', '... clusters');
    like($complete->('pgdr', 'restore', '--to', '=', 'pgda'), qr/^pgdata$/, '... files');
}

done_testing();
