#@ once
# An encrypted repository: what does not open it, where a passphrase may come from, what is in the clear
# (nothing), and a key that somebody planted there.

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to files_below tree_state copy_tree);
use TestRun qw(temp_dir test_root poll_until is_alive descendants);

my $dir = temp_dir('secrets');

sub secret
{
    my ($name, $text, $mode) = @_;
    spit("$dir/$name", $text);
    chmod $mode // 0600, "$dir/$name";
    return "$dir/$name";
}

my $right = secret('right', "correct horse battery staple\n");
my $wrong = secret('wrong', "correct horse battery stable\n");

my $node = PgNode->init('primary', conf => "cluster_name = 'a_name_of_a_cluster'\nautovacuum = off\n");
my $pgdr = Pgdr->new(node => $node,
    repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => $right, 'key-cache' => 'no' });
my $repo = $pgdr->folder;
$pgdr->ok('init');
$node->enable_archiving($pgdr);
$node->start;
my $folder = $node->add_tablespace('space_with_a_name');
$node->query(<<'SQL');
CREATE TABLE a_table_of_some_name(i int, a_column_of_some_name text) TABLESPACE space_with_a_name;
INSERT INTO a_table_of_some_name SELECT i, 'the content of a row ' || md5(i::text) FROM generate_series(1, 3000) i;
CREATE TABLE with_one_row AS SELECT 'a row that stands alone'::text AS t;
SQL
spit($node->data_dir . '/a file of some name', 'and its content');
my $mark = $node->mark('a_mark_in_the_wal');
my $backup = $pgdr->json('backup', '--label=the label of a backup')->{backup}{id};
my $want = $node->fingerprint;
$node->query(q{SELECT pg_create_restore_point('a_restore_point')});
$node->archive_all;

# ---- nothing is in the clear ----

chomp(my $host = `hostname`);
my $system = $node->control_data->{'Database system identifier'};
# Byte strings that a compressor leaves as they are need not be there to be found in the clear: what
# is not sealed is decompressed too. PostgreSQL writes some texts in UTF-8 only.
my @never = ('a_table_of_some_name', 'a_column_of_some_name', 'the content of a row', 'stands alone', 'with_one_row',
    'space_with_a_name', $folder, 'a file of some name', 'and its content', 'a_mark_in_the_wal', 'a_restore_point',
    'the label of a backup', 'a_name_of_a_cluster', 'pg_control', 'postgresql.conf', 'global/', 'START WAL LOCATION', 'tablespaces',
    $mark->{time} =~ s/ .*//r, 'correct horse', 'battery staple');
push @never, $host if length $host > 3;
my @objects = files_below($pgdr->folder);
my @found;
for my $object (@objects) {
    my $bytes = slurp("$repo/$object");
    my $plain = TestRun::run('zstd', '-dcqf', "$repo/$object");
    for my $text (@never) {
        push @found, "$object: $text" if index($bytes, $text) >= 0 || index($plain->{out}, $text) >= 0 || index($object, $text) >= 0;
    }
}
cmp_ok(scalar(@objects), '>', 15, 'there are objects');
is_deeply(\@found, [], 'nothing that was stored can be found in the repository');
my $plain = Pgdr->new(node => $node, repo => temp_dir('plain') . '/repo');
$plain->ok('init');
$pgdr->set('repo second', url => $plain->repo);
$pgdr->ok('backup', '--repo=second', '--label=the label of a backup');
my %seen;
for my $object (files_below($plain->repo)) {
    my $text = TestRun::run('zstd', '-dcqf', $plain->repo . "/$object")->{out};
    index($text, $_) >= 0 and $seen{$_}++ for @never;
}
cmp_ok(scalar(keys %seen), '>', 10, 'in one without encryption the same search finds it');
$pgdr->set('repo second', url => undef);
remove_tree($plain->repo);

# ---- what does not open it ----

sub with { my (%keys) = @_; $pgdr->set('repo main', map({ $_ => undef } qw(passphrase passphrase-file passphrase-command)), %keys); return }

my $state = tree_state($repo);

# A repository that does not open: for info and archive-get, or for every command.
sub info_fails { return all_fail(@_, ['info']) }

sub all_fail
{
    my ($exit, $re, $name, @commands) = @_;
    @commands = (['info'], ['backup'], ['verify'], ['restore', '--to=' . test_root() . '/none'], ['init'], ['repo', 'rekey'])
      if !@commands;
    subtest $name => sub {
        $pgdr->fails($exit, $re, @$_) for @commands;
        # restore_command's rule: any doubt ends recovery.
        my $get = $pgdr->run('archive-get', '000000010000000000000001', test_root() . '/none');
        cmp_ok($get->{rc}, '>', 125, 'archive-get ends recovery') or diag($get->describe);
        my $push = $pgdr->run('archive-push', $node->data_dir . '/pg_wal/' . $node->switch_wal);
        cmp_ok($push->{rc}, '>', 0, 'archive-push fails');
        unlike($push->{err} . $get->{err}, qr/battery/, 'the passphrase is not printed');
        ok(!-e test_root() . '/none', 'nothing was restored');
    };
    return;
}

$node->archive_all;
$node->append_conf("archive_command = 'false'");
$node->reload;
$node->poll(q{SELECT current_setting('archive_command') = 'false'});
$state = tree_state($pgdr->folder);
with('passphrase-file' => $wrong);
all_fail('WRONG_KEY', qr/passphrase does not fit/, 'a wrong passphrase');
with();
all_fail('CONFIG', qr/no passphrase is configured/, 'no passphrase');
with('passphrase-file' => "$dir/none");
info_fails('NOT_FOUND', qr/cannot read the passphrase.*none/s, 'no such file');
with('passphrase-file' => secret('empty', ''));
info_fails('CONFIG', qr/passphrase is empty/, 'an empty file');
with('passphrase-file' => secret('line', "\ncorrect horse battery staple\n"));
info_fails('CONFIG', qr/passphrase is empty/, 'an empty first line');
with('passphrase-file' => secret('mode', "correct horse battery staple\n", 0000));
info_fails('ACCESS', qr/cannot read the passphrase/, 'a file that may not be read');
with('passphrase-file' => $right, passphrase => 'correct horse battery staple');
info_fails('CONFIG', qr/is given in 2 ways/, 'two ways');
with('passphrase-file' => secret('generated', 'pgdr-key-' . 'ab' x 32 . "\n"));
info_fails('WRONG_KEY', qr/passphrase does not fit/, 'a generated one');
with('passphrase-file' => secret('large', 'x' x 100_000));
info_fails('LIMIT', qr/passphrase/, 'a file that is none');
is(tree_state($repo), $state, 'nothing was written meanwhile');

# ---- what opens it ----

sub opens
{
    my ($name, $re, @more) = @_;
    my $result = $pgdr->ok('info', @more);
    like($result->{err}, $re, $name);
    like($result->{out}, qr/\Q$backup\E/, "$name: the backup is there");
    return;
}

with('passphrase-file' => secret('crlf', "correct horse battery staple\r\nmore\n"));
opens('the first line counts, without its end', qr/^$/);
with('passphrase-file' => secret('bare', 'correct horse battery staple'));
opens('a line without an end', qr/^$/);
with('passphrase-file' => secret('open', "correct horse battery staple\n", 0644));
opens('a file that everybody can read is worth a warning', qr/WARN.*everybody can read the passphrase.*chmod/s);
with('passphrase-command' => "cat $right");
opens('a command', qr/^$/);
with('passphrase-command' => "printf 'correct horse battery staple'");
opens('a command without a line end', qr/^$/);
with('passphrase-command' => "cat $right; echo more; echo >&2 a word of its own");
opens('a command that says more', qr/^a word of its own$/);
with();
opens('the environment', qr/^$/, { env => { PGDR_REPO_MAIN_PASSPHRASE => 'correct horse battery staple' } });

# ---- commands that do not ----

with('passphrase-command' => 'exit 3');
all_fail('CONFIG', qr/passphrase-command 'exit 3' failed with status 3/, 'a command that fails');
with('passphrase-command' => "cat $right; exit 1");
info_fails('CONFIG', qr/failed with status 1/, 'a command that prints and fails');
with('passphrase-command' => 'true');
info_fails('CONFIG', qr/passphrase is empty/, 'a command that prints nothing');
with('passphrase-command' => 'echo');
info_fails('CONFIG', qr/passphrase is empty/, 'a command that prints a line end');
with('passphrase-command' => "$dir/no-such-program");
info_fails('CONFIG', qr/failed with status 127/, 'a command that is not there');
with('passphrase-command' => "cat $wrong");
info_fails('WRONG_KEY', qr/passphrase does not fit/, 'a command that prints a wrong one');
with('passphrase-command' => 'yes');
info_fails('CONFIG', qr/passphrase/, 'a command that never ends to print');
with('passphrase-command' => 'kill -9 $$');
info_fails('CONFIG', qr/passphrase-command .* was killed by signal 9/, 'a command that is killed');

$pgdr->set('global', 'io-timeout' => '1s');
with('passphrase-command' => "echo \$\$ >$dir/pid; exec sleep 1000");
$pgdr->fails('TIMEOUT', qr/passphrase-command .* gave no answer/, 'info');
poll_until(sub { !is_alive(slurp("$dir/pid") + 0) }, 'it is ended') or fail('the command is left behind');
with('passphrase-command' => "cat $right; sleep 1000 & echo \$! >$dir/pid");
opens('a command that leaves a process behind', qr/^$/);
kill 'KILL', slurp("$dir/pid") + 0;
$pgdr->set('global', 'io-timeout' => undef);
with('passphrase-command' => "echo \$\$ >$dir/pid2; exec sleep 1000");
my $process = $pgdr->start('info');
poll_until(sub { -s "$dir/pid2" }, 'it asks');
kill 'TERM', $process->pid;
my $result = $process->wait;
ok(!$result->{timed_out} && $result->{rc} == Pgdr::exit_status('CANCELLED'), 'while it waits for a command it can be ended')
  or diag($result->describe);
poll_until(sub { !is_alive(slurp("$dir/pid2") + 0) }, 'it is ended') or fail('the command is left behind');
is(tree_state($repo), $state, 'nothing was written meanwhile');

# ---- a configuration that expects something else ----

with('passphrase-file' => $right);
$pgdr->set('repo main', encryption => 'none');
all_fail('CONFIG', qr/has encryption = aes-256-gcm, the configuration says none/, 'without encryption in the configuration');
$pgdr->set('repo main', encryption => 'aes-256-gcm');

# ---- a key in the clear, planted by who can write to the medium ----

my $other = Pgdr->new(node => $node, repo => temp_dir('other') . '/repo');
$other->ok('init');
my ($planted) = map { m{(keys/[0-9a-f]+)/} } files_below($other->repo, qr/^keys/);
copy_tree($other->repo . "/$planted", "$repo/$planted");
opens('a key in the clear', qr/holds the key [0-9a-f]{16} for another kind of encryption.*not used/);
$node->enable_archiving($pgdr);
$pgdr->ok('backup');
is(scalar(grep { substr(slurp("$repo/$_"), 22, 1) ne "\1" } files_below($repo, qr{^app/(backups|packs)/.*(?<!/key)$})), 0,
    'what is written is sealed all the same');
remove_tree("$repo/$planted");

# Without any other key the repository is refused.
rename "$repo/keys", test_root() . '/keys' or die;
make_path("$repo/keys");
copy_tree($other->repo . "/$planted", "$repo/$planted");
all_fail('CONFIG', qr/has encryption = none, the configuration says aes-256-gcm/, 'a key in the clear alone');
remove_tree("$repo/keys");
rename test_root() . '/keys', "$repo/keys" or die;

# ---- and the backup is good ----

my $to = test_root() . '/restored';
$pgdr->ok('restore', "--backup=$backup", '--type=immediate', "--to=$to", "--tablespace-map=$folder=$to.space");
$node->stop;
my $restored = PgNode->from_datadir('restored', $to);
$restored->start;
$restored->wait_promoted;
is($restored->fingerprint, $want, 'every row is back');
$restored->stop;
$restored->check_checksums;

done_testing;
