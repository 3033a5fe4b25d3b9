#@ once
#@ folder it has a gateway of its own
# Backups taken into an encrypted bucket over TLS and copied into a plain directory: what is restored from
# the directory, when nothing is left of the bucket, is file by file and byte by byte what is restored
# from the bucket.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(check_cluster);
use Rgw;
use TestFile qw(slurp spit tree_state);
use TestRun qw(temp_dir test_root);

my $rgw  = Rgw->start;
my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
my $dir  = temp_dir('repos');
my $pass = spit("$dir/passphrase", "correct horse battery staple\n");
chmod 0600, $pass;
my %bucket = ($rgw->repo($rgw->bucket('copied') . '/from', 'TLS'), encryption => 'aes-256-gcm', 'passphrase-file' => $pass);
my $pgdr   = Pgdr->new(node => $node, repo => delete $bucket{url}, repo_options => \%bucket);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
my $folder = $node->add_tablespace('far');
$node->pgbench_init(2);
$node->query(<<'SQL');
CREATE TABLE wide AS SELECT i, (SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, 200) j) AS x FROM generate_series(1, 200) i;
CREATE TABLE far TABLESPACE far AS SELECT i, md5(i::text) AS m FROM generate_series(1, 5000) i;
CREATE INDEX ON far(m);
CREATE UNLOGGED TABLE fast AS SELECT generate_series(1, 1000) i;
SQL
spit($node->data_dir . '/of somebody else', join '', map { chr int rand 256 } 1 .. 100_000);

# Three backups, each of which has pages that are only in an older one.
my @backup;
for my $n (1 .. 3) {
    push @backup, $pgdr->json('backup')->{backup}{id};
    $node->pgbench(200);
    $node->query("UPDATE far SET m = 'changed $n ' || m WHERE i % 97 = $n; DELETE FROM wide WHERE i % 50 = $n; VACUUM wide");
}
my $mark = $node->mark('the target');
my $want = $node->fingerprint;
$node->mark('behind it');
$node->archive_all;
my $latest = $node->fingerprint;
my @wal = map { m{([0-9A-F]{24})$} } glob $node->data_dir . '/pg_wal/' . '[0-9A-F]' x 24;

$pgdr->set('repo plain', url => "$dir/plain");
$pgdr->ok('init', '--repo=plain');
my $json = $pgdr->json('repo', 'copy', '--from-repo=main', '--to-repo=plain');
is_deeply([ sort @{ $json->{backups} } ], [ sort @backup ], 'all backups are copied');
$pgdr->ok('verify');

# ---- from each ----

my @targets = ((map { [ "backup $_", "--backup=$_", '--type=immediate' ] } @backup), [ 'a target', "--target-xid=$mark->{xid}" ], ['the end']);

# Restores to this target from one repository: the data directory and the tablespace, by name.
sub restored_from
{
    my ($repo, $n) = @_;
    my (undef, @args) = @{ $targets[$n] };
    my $to = test_root() . "/$repo.$n";
    $pgdr->ok('restore', "--repo=$repo", "--to=$to/data", "--tablespace-map=$folder=$to/far", '--archive-mode=off', @args);
    return $to;
}

# All that was restored, file by file; the settings for recovery name the repository, and what leads to the
# tablespace the place.
sub content
{
    my ($to) = @_;
    my $tree = tree_state($to) =~ s{\Q$to\E}{TO}gr =~ s{^data/(?:postgresql\.auto\.conf|tablespace_map): .*\n}{}mgr;
    return $tree . 'tablespace_map: ' . slurp("$to/data/tablespace_map") =~ s{\Q$to\E}{TO}gr;
}

my (%tree, %bytes);
for my $n (0 .. $#targets) {
    $tree{$n} = content(restored_from('main', $n));
    cmp_ok(scalar(() = $tree{$n} =~ /: file /g), '>', 900, "$targets[$n][0]: there are files");
}
for my $segment (@wal) {
    my $to = temp_dir('wal') . '/file';
    $bytes{$segment} = slurp($to) if $pgdr->run('archive-get', '--repo=main', $segment, $to)->ok;
}
cmp_ok(scalar(keys %bytes), '>', 5, 'and WAL');

# It recovers with what the bucket has, while that is there.
sub recovers
{
    my ($repo, $n, $rows) = @_;
    my $server = PgNode->from_datadir("of-$repo-$n", test_root() . "/$repo.$n/data");
    $server->start;
    $server->wait_promoted;
    is($server->fingerprint, $rows, "$repo, $targets[$n][0]: every row");
    check_cluster($server);
    return;
}
recovers('main', 3, $want);
recovers('main', 4, $latest);

# ---- and nothing is left of the bucket ----

$node->kill9;
$node->destroy;
$rgw->client->delete('copied', keys %{ $rgw->client->list('copied', '') });
$rgw->kill;
unlink $pass;
# As on a machine that knows the directory only, but for one restore that is told which one is left.
for my $n (0 .. $#targets) {
    $pgdr->set('repo main', map { $_ => undef } 'url', keys %bucket) if $n == 1;
    my $got = content(restored_from('plain', $n));
    my %want = map { $_ => 1 } split /\n/, $tree{$n};
    my @differs = grep { !delete $want{$_} } split /\n/, $got;
    is_deeply([ @differs, sort keys %want ], [], "$targets[$n][0]: the same bytes in every file");
}
# Whose WAL is asked for is seen from a data directory.
$pgdr->set('cluster app', 'data-directory' => test_root() . '/plain.0/data');
my @wrong;
for my $segment (sort keys %bytes) {
    my $to = temp_dir('wal') . '/file';
    push @wrong, $segment if !$pgdr->run('archive-get', $segment, $to)->ok || slurp($to) ne $bytes{$segment};
}
is("@wrong", '', 'and the same WAL');
recovers('plain', 3, $want);
recovers('plain', 4, $latest);
done_testing;
