#@ once
# What goes wrong while pgdr is set up, and by night: each message says what happened, and what to type
# next.
use strict;
use warnings;
use Test::More;

use PgNode;
use Pgdr;
use TestFile qw(with_mode);
use TestRun qw(temp_dir);

my $node = PgNode->init('primary');
my $pgdr = Pgdr->new(node => $node);
my $data = $node->data_dir;
my $away = temp_dir('away');

# A test: the command fails with this message and this hint, a word for the eye and JSON for scripts.
sub says
{
    my ($exit, $message, $hint, @args) = @_;
    my $result = $pgdr->fails($exit, qr/$message/, @args);
    like($result->{err}, qr/^\s+HINT: .*$hint/m, '... and what to do');
    return;
}

# The same for a finding of check.
sub check_says
{
    my ($problem, $hint) = @_;
    my $result = $pgdr->fails('FINDINGS', qr/\d+ of \d+ checks? failed/, 'check', '--archive-timeout=2s');
    like($result->{out}, qr/^ERROR: +.*$problem.*\n +HINT: .*$hint/m, "check: $problem");
    return;
}

sub archive_command
{
    my ($command) = @_;
    $node->query("ALTER SYSTEM SET archive_command = '" . $command =~ s/'/''/gr . "'");
    $node->reload;
    $node->poll('SHOW archive_command', $command);
    return;
}

# --- before anything is there ---

says('NOT_FOUND', Pgdr::says_gone(), 'pgdr init', 'backup');
says('NETWORK', 'cannot connect to PostgreSQL', 'is the server running', 'backup') if $pgdr->ok('init');
says('NOT_FOUND', 'there is no backup of', q{'pgdr info'}, 'restore', "--to=$away");
check_says('cannot connect to PostgreSQL', 'is the server running');

# --- the configuration does not fit the server ---

$node->start;
check_says('archive_mode = off', 'archive_mode = on and archive_command = .*archive-push %p.* restart');
$node->enable_archiving('exit 1');
check_says(q{does not call 'pgdr archive-push'}, q{archive_command = '.*--config=.* archive-push %p'.* reload});
archive_command('/nonexistent/pgdr archive-push %p');
check_says(q{calls '/nonexistent/pgdr', which is not there}, 'archive-push %p');
archive_command('true archive-push %p');
check_says('has not arrived', q{so it stores elsewhere: .*archive_command = '.*--config=});
archive_command(Pgdr::program() . ' --config=/nonexistent archive-push %p');
check_says('has not arrived', q{server's log says why});
archive_command($pgdr->archive_command);
$node->archive_all;
$pgdr->ok('check');

my $other = PgNode->init('other');
$pgdr->set('cluster app', 'data-directory' => $other->data_dir);
check_says('belongs to system', '"data-directory", "host" and "port".*different servers');
says('MISMATCH', 'has the system identifier', 'different servers', 'backup');
$pgdr->set('cluster app', 'data-directory' => $away);
says('NOT_FOUND', 'global/pg_control', 'a data directory\?', 'backup');
$pgdr->set('cluster app', 'data-directory' => $data, port => $node->port + 1);
says('NETWORK', 'cannot connect', 'are host and port right', 'backup');
$pgdr->set('cluster app', port => $node->port, user => 'nobody_here');
says('AUTH', 'role "nobody_here" does not exist', 'pg_hba.conf', 'backup');
$pgdr->set('cluster app', user => 'postgres');

# --- no right ---

$pgdr->ok('backup');
with_mode($pgdr->folder, 0000, sub {
    says('ACCESS', 'Permission denied .*mode 0000', 'chmod u\+', 'info');
    return;
}) if !Pgdr::in_s3();
with_mode($away, 0500, sub {
    says('ACCESS', 'cannot create directory .*Permission denied', 'install -d', 'restore', "--to=$away/copy");
    return;
});
with_mode($pgdr->config_file, 0000, sub {
    says('ACCESS', 'cannot read the configuration', 'pgdr runs as', 'info');
    return;
});

# --- words ---

says('USAGE', q{there is no command 'bakup'}, 'did you mean backup\?', 'bakup');
says('USAGE', 'there is no option --typ', 'did you mean --type\?', 'backup', '--typ=full');
says('USAGE', 'has no zone', '08:15:00Z', 'restore', '--target-time=2026-11-23 08:15:00');
says('USAGE', q{cannot read 'yesterday'}, '2 hours ago', 'restore', '--target-time=yesterday');
says('USAGE', '--type=time needs --target', '--target-time=', 'restore', '--type=time');
says('CONFIG', 'there is no \[cluster foo\]', 'there are: app', 'backup', '--cluster=foo');
says('CONFIG', 'there is no \[repo foo\]', 'there are: main', 'backup', '--repo=foo');
says('NOT_FOUND', q{there is no backup 'nope'}, q{'pgdr info'}, 'restore', '--backup=nope', "--to=$away/copy");
says('NOT_FOUND', q{there is no backup 'nope'}, q{'pgdr info'}, 'verify', '--backup=nope');
says('NOT_FOUND', 'No such file', 'begins in the data directory', 'archive-push', 'pg_wal/0000000100000000000000FF');
says('REFUSED', 'is not a directory', 'empty directory', 'restore', '--to=' . $pgdr->config_file);
says('REFUSED', 'is not empty, and is no data directory', '--to', 'restore', '--delta', '--to=' . TestRun::test_root());
says('UNREACHABLE', 'lies behind the last recovery point', '--type=latest', 'restore', '--target-time=2036-01-01 00:00:00Z', "--to=$away/copy");
says('UNREACHABLE', 'lies before the first recovery point', 'nothing earlier', 'restore', '--target-time=2016-01-01 00:00:00Z', "--to=$away/copy");
ok(!-e "$away/copy", 'nothing of all this made anything');

# --- WAL is missing ---

my $hole = $node->archive_all;
$node->query('CREATE TABLE later AS SELECT 1 AS one');
$node->archive_all;
my ($object) = glob $pgdr->folder . "/app/wal/*/*/*/$hole-*";
rename $object, "$away/segment" or die;
says('WAL_MISSING', "$hole is not in .*, but later WAL is", 'archive the segment if a server still has it', 'restore', "--to=$away/copy");
like($pgdr->ok('info')->{out}, qr/ $hole is missing$/m, 'info shows the hole');
says('FINDINGS', '1 finding', 'not named in a finding', 'verify');
$node->stop;
done_testing;
