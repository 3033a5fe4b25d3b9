#@ folder docs/rescue.py reads directories
#@ once
# docs/rescue.py restores what pgdr has stored, without pgdr: backups of every shape, of every row on
# both sides of a target, and the same files that pgdr restores. It refuses what is damaged.

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to files_below tree_state);
use TestRun qw(temp_dir test_root);

my $rescue = "$ENV{PGDR_TEST_SOURCE}/docs/rescue.py";

# rescue(COMMAND, ARGUMENT...): a test that it works; its standard output.
sub rescue
{
    my @args   = @_;
    my $result = TestRun::run('python3', $rescue, @args);
    my $root   = test_root();
    ok($result->ok && $result->{err} eq '', 'rescue.py ' . join(' ', @args) =~ s{\Q$root\E/}{}gr)
      or diag($result->describe);
    return $result->{out};
}

# rescue_fails(RE, COMMAND, ARGUMENT...): a test that it fails with one plain line.
sub rescue_fails
{
    my ($re, $name, @args) = @_;
    my $result = TestRun::run('python3', $rescue, @args);
    my $plain  = $result->{rc} == 1 && $result->{err} =~ $re && $result->{err} !~ /Traceback/;
    ok($plain, $name) or diag("want: $re\n" . $result->describe);
    return;
}

my $node = PgNode->init('primary', conf => "allow_in_place_tablespaces = on\nautovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
my $repo = $pgdr->repo;
my $data = $node->data_dir;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');

# ---- what a data directory may hold ----

my %folder = map { $_ => $node->add_tablespace($_) } qw(one two);
$node->query(q{CREATE TABLESPACE inplace LOCATION ''});
my %oid = map { split / / } split /\n/, $node->query(q{SELECT spcname || ' ' || oid FROM pg_tablespace});
$node->query('CREATE DATABASE other');
$node->query(<<'SQL', db => 'other');
CREATE TABLE t(i int PRIMARY KEY, x text);
INSERT INTO t SELECT i, repeat('x', i) FROM generate_series(1, 2000) i;
SQL
$node->pgbench_init(1);
$node->query(<<'SQL');
CREATE TABLE big(i int PRIMARY KEY, a text, b text) WITH (fillfactor = 80);
INSERT INTO big SELECT i, md5(i::text) || md5(i::text || 'a') || md5(i::text || 'b'), md5(i::text || 'c') FROM generate_series(1, 100000) i;
CREATE TABLE in_one(i int PRIMARY KEY, x text) TABLESPACE one;
INSERT INTO in_one SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
CREATE TABLE in_two TABLESPACE two AS SELECT i, md5(i::text) AS x FROM generate_series(1, 300) i;
CREATE TABLE in_place TABLESPACE inplace AS SELECT i, md5(i::text) AS x FROM generate_series(1, 3000) i;
CREATE TABLE empty(i int);
CREATE UNLOGGED TABLE unlogged AS SELECT i FROM generate_series(1, 50000) i;
CREATE UNLOGGED TABLE unlogged_one(i int) TABLESPACE one;
CREATE TABLE wide AS SELECT i, (SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, 300) j) AS x FROM generate_series(1, 100) i;
SQL

# Other people's files: every way a file can be stored, and every name.
make_path("$data/mine/deep/er", "$data/mine/empty folder");
my $random = join '', map { chr int rand 256 } 1 .. 8192;
spit("$data/mine/$_->[0]", $_->[1]) for
  ['zero', ''], ['one', 'x'], ['page', $random], ['page and a byte', "$random."], ['128k', $random x 16], ['128k and a byte', $random x 16 . '.'],
  ['zeros', "\0" x 300_000], ["caf\xe9 \\ \"quoted\" \x01", 'not UTF-8'], ["sch\xc3\xb6n", 'UTF-8'], ['deep/er/file', $random x 40 . 'tail'];
spit("$data/mine/len.$_", substr $random, 0, $_) for 2 .. 4, 8, 9, 16, 17, 31, 33, 64, 65, 127 .. 130, 160, 239 .. 242, 255, 256, 257, 1023 .. 1025, 1088;
open my $urandom, '<:raw', '/dev/urandom' or die;
sysread $urandom, my $noise, 40 * 1024 * 1024;
spit("$data/mine/noise", $noise);
open my $sparse, '>:raw', "$data/mine/sparse" or die;
for my $page (7, 3000, 3001, 9000) {
    sysseek $sparse, $page * 8192, 0;
    syswrite $sparse, "page $page";
}
truncate $sparse, 10_000 * 8192 + 77;
close $sparse;
chmod 0640, "$data/mine/one";
chmod 0400, "$data/mine/page";
chmod 0750, "$data/mine/empty folder";
utime 1_000_000_000, 1_000_000_000, "$data/mine/zero";
my $outside = temp_dir('outside');
spit("$outside/conf", "# outside\n");
symlink "$outside/conf", "$data/mine/link to a file";

my (@backup, %mark, %want);

# A backup, then a mark on each side of a target.
sub phase
{
    my ($n) = @_;
    push @backup, $pgdr->json('backup', "--label=phase $n")->{backup};
    $mark{"a$n"} = $node->mark("a$n");
    $want{"a$n"} = $node->fingerprint;
    $mark{"b$n"} = $node->mark("b$n");
    return;
}

phase(1);
$node->query(q{UPDATE big SET a = 'changed ' || i WHERE i % 5000 = 1; INSERT INTO in_one VALUES (0, 'new'); VACUUM big});
$node->query('INSERT INTO wide SELECT i + 1000, x FROM wide; DELETE FROM in_two WHERE i > 100; VACUUM in_two');
$node->pgbench(300);
phase(2);
$node->query(q{UPDATE big SET b = 'again ' || i WHERE i % 7000 = 3; TRUNCATE in_place; INSERT INTO in_place VALUES (1, 'x')});
$node->pgbench(300);
phase(3);
$node->archive_all;
my $end = $node->fingerprint;
$node->kill9;

# ---- list ----

my $list = rescue('list', $repo);
like($list, qr/^cluster app$/m, 'the cluster is listed');
like($list, qr/^  \Q$backup[$_]{id}\E .*'phase @{[$_ + 1]}'$/m, "backup $_ is listed") for 0 .. 2;

# ---- restore ----

# What the two restores may write themselves.
sub own_files
{
    return join '', grep { !m{^(?:pg_wal\b|postgresql\.auto\.conf|recovery\.signal|tablespace_map|backup_label\.old)} } split /^/, $_[0];
}

my $count = 0;

# Restores a backup with rescue.py into new folders: (data directory, {tablespace => folder}, @options of pgdr).
sub restored
{
    my ($backup, @args) = @_;
    my $n   = ++$count;
    my $to  = test_root() . "/rescued.$n";
    my %map = map { $_ => "$to.$_" } qw(one two);
    rescue('restore', $repo, $backup, $to, "--tablespace-map=$folder{one}=$map{one}", "--tablespace-map=$oid{two}=$map{two}", @args);
    return ($to, \%map);
}

sub recovers
{
    my ($name, $to, $settings, $marks, $fingerprint) = @_;
    append_to("$to/postgresql.auto.conf", "$settings");
    my $server = PgNode->from_datadir("restored$count", $to);
    $server->start;
    $server->wait_promoted;
    is($server->marks, $marks, "$name: the marks up to the target");
    is($server->fingerprint, $fingerprint, "$name: every row of every table");
    is($server->query('SELECT count(*) FROM unlogged'), 0, "$name: the unlogged table is empty, as after a crash");
    $server->check_amcheck("$name: amcheck");
    $server->query(q{INSERT INTO in_one VALUES (-1, 'written'); INSERT INTO unlogged_one VALUES (1)});
    $server->stop;
    $server->check_checksums("$name: checksums");
    return;
}

for my $n (1 .. 3) {
    my $id = $backup[ $n - 1 ]{id};
    my ($to, $map) = restored($id);
    my $by_pgdr = test_root() . "/by-pgdr.$n";
    $pgdr->ok('restore', "--backup=$id", '--type=immediate', "--to=$by_pgdr", map { "--tablespace-map=$folder{$_}=$by_pgdr.$_" } qw(one two));
    my @trees = map { own_files(tree_state($_)) =~ s{\Q$_\E}{TO}gr } $to, $by_pgdr;
    is($trees[0], $trees[1], "backup $n: the data directory is what pgdr restores");
    is(tree_state("$to.$_"), tree_state("$by_pgdr.$_"), "backup $n: tablespace $_ too") for qw(one two);
    is((stat "$to/mine/zero")[9], 1_000_000_000, "backup $n: times of files");
    remove_tree($by_pgdr, map { "$by_pgdr.$_" } qw(one two));
    my $a = $mark{"a$n"};
    recovers("backup $n, to a target", $to, "recovery_target_lsn = '$a->{lsn}'\nrecovery_target_inclusive = off\nrecovery_target_action = promote\n",
        join(' ', map({ ("a$_", "b$_") } 1 .. $n - 1), "a$n"), $want{"a$n"}) if $n != 2;
    remove_tree($to, values %$map);
}

my ($to, $map) = restored('latest', '--wal=' . test_root() . '/wal');
ok(!files_below("$to/pg_wal"), 'with --wal nothing is put into pg_wal');
recovers('latest, WAL in a folder', $to, '', 'a1 b1 a2 b2 a3 b3', $end);

# ---- a pack by itself ----

my $packs = "$repo/app/packs/$backup[0]{id}/0";
my ($pack) = map { m{(d\d+)$} } sort { -s $a <=> -s $b } glob "$packs/d*";
my $salvaged = test_root() . '/salvaged';
my $says = rescue('pack', $repo, $backup[0]{id}, $pack, $salvaged);
my @files = files_below($salvaged);
cmp_ok(scalar(@files), '>', 0, 'a pack without its manifest gives files');
my @whole = $says =~ /^'([^']+)' whole/mg;
is(scalar(grep { -e "$data/$_" && slurp("$data/$_") ne slurp("$salvaged/$_") } grep { m{^mine/} } @whole), 0, 'with their content');

# ---- what it refuses ----

rescue_fails(qr/'\Q$data\E' is not empty/, 'a directory that is not empty is left alone', 'restore', $repo, 'latest', $data);
rescue_fails(qr/0 backups are called '2099'/, 'no such backup', 'restore', $repo, '2099', test_root() . '/no');
rescue_fails(qr/has no tablespace '99'/, 'no such tablespace', 'restore', $repo, 'latest', test_root() . '/no', '--tablespace-map=99=/tmp');
rescue_fails(qr/not a directory/, 'no such repository', 'list', "$repo/none");
rescue_fails(qr/has no keys/, 'no repository', 'list', $data);
ok(!-e test_root() . '/no', 'and nothing was made');

done_testing;
