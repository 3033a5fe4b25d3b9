#@ once
# restore --delta over what is there: a cluster that went on, or one whose files were damaged in every
# way. What it leaves is what a restore into an empty folder makes, and it writes only what differs.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(unchanged check_cluster);
use TestFile qw(slurp spit append_to files_below delete_file copy_tree tree_state flip_bit zero_range truncate_to truncate_by
  swap_files);
use TestRun qw(temp_dir);
use File::Path qw(remove_tree make_path);
use POSIX qw(mkfifo);

my $node = PgNode->init('primary', conf => "autovacuum = off\nwal_level = logical\n");
my $pgdr = Pgdr->new(node => $node);
my $data = $node->data_dir;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->query('CREATE TABLE t AS SELECT i, md5(i::text) m FROM generate_series(1, 40000) i; CREATE INDEX ON t(m)');
$node->query('CREATE TABLE small AS SELECT 1 i; CREATE TABLE zeros(i int); CREATE UNLOGGED TABLE fast AS SELECT 1 i');
spit("$data/server.key", 'secret');
chmod 0400, "$data/server.key";
$node->query('CHECKPOINT');
my $path = $node->query("SELECT pg_relation_filepath('t')");
$pgdr->ok('backup');
my $mark = $node->mark('a');
$node->archive_all;
my @target = ('--archive-mode=off', "--target-xid=$mark->{xid}");

# A folder without what tells when it was made.
sub look
{
    my ($dir) = @_;
    return join '', grep { !/^postgresql\.auto\.conf: / } split /(?<=\n)/, tree_state($dir);
}

sub same
{
    my ($got, $want, $name) = @_;
    my %got  = map { $_ => 1 } split /\n/, $got;
    my %want = map { $_ => 1 } split /\n/, $want;
    my @differences = (map({ "- $_" } grep { !$got{$_} } sort keys %want), map({ "+ $_" } grep { !$want{$_} } sort keys %got));
    splice @differences, 12;
    return ok(!@differences, $name) || diag(join "\n", @differences);
}

my $good_dir = temp_dir('good') . '/data';
$pgdr->ok('restore', "--to=$good_dir", @target);
my $good = look($good_dir);

subtest 'over the cluster that went on' => sub {
    # All that the past must not see: rows, a logical slot, files of every kind.
    $node->query(q{SELECT pg_create_logical_replication_slot('future', 'test_decoding')});
    $node->query(q{SELECT pg_create_physical_replication_slot('standby', true)});
    $node->query('UPDATE t SET i = -i WHERE i % 7 = 0; CREATE TABLE later AS SELECT 1 i; DROP TABLE small');
    $node->query('CREATE DATABASE later');
    $node->query('INSERT INTO fast SELECT generate_series(1, 1000)');
    $node->query('CHECKPOINT');
    $node->archive_all;
    $node->kill9;
    spit("$data/$_", 'x') for 'base/pgsql_tmp_stray', 'base/1/99999', 'global/88888', 'pg_notify/0001', 'pg_subtrans/0007', "odd\nname \xff",
      'standby.signal', 'postmaster.opts.bak', 'pg_wal/archive_status/00000009.history.ready', 'pg_stat_tmp/x.stat';
    make_path("$data/log/deep", "$data/pg_replslot/half", "$data/pg_logical/snapshots/deep");
    spit("$data/log/deep/postgresql.log", 'yesterday');
    mkfifo("$data/pipe", 0600) or die;
    my $json = $pgdr->json('restore', @target, '--delta', '--yes');
    same(look($data), $good, 'it is what a restore into an empty folder makes');
    cmp_ok($json->{result}{written}, '<', $json->{result}{bytes} / 2, 'and not all was written');
    $node->start;
    $node->wait_promoted;
    is($node->query('SELECT count(*) FROM pg_replication_slots'), 0, 'no slot of the future');
    is($node->query('SELECT count(*), sum(i) FROM t'), '40000|800020000', 'the rows');
    is($node->query('SELECT count(*) FROM fast'), 0, 'an unlogged table is empty');
    is($node->query('SELECT count(*) FROM small'), 1, 'what was dropped is back');
    # A subscriber sees what comes now.
    $node->query(q{SELECT pg_create_logical_replication_slot('future', 'test_decoding')});
    $node->query('INSERT INTO zeros VALUES (42)');
    like($node->query(q{SELECT data FROM pg_logical_slot_get_changes('future', NULL, NULL)}), qr/INSERT: i\[integer\]:42/, 'a new slot works');
    check_cluster($node);
};

# A good restored folder, damaged, becomes good again.
my $count = 0;
sub mended
{
    my ($name, $damage, %opt) = @_;
    subtest $name => sub {
        my $dir = copy_tree($good_dir, temp_dir('damaged' . ++$count) . '/data');
        $damage->($dir);
        my $json = $pgdr->json('restore', "--to=$dir", @target, '--delta', '--yes') or return;
        same(look($dir), $good, 'all is as it was');
        cmp_ok($json->{result}{written}, '<=', $opt{written}, "only what differs is written") if defined $opt{written};
        remove_tree($dir);
    };
    return;
}

# pg_control and postgresql.auto.conf are always written.
mended('nothing', sub { }, written => 9000);
mended('one bit, with the time of the file kept', sub {
    my ($dir) = @_;
    my @times = (stat "$dir/$path")[ 8, 9 ];
    flip_bit("$dir/$path", 100_003);
    utime @times, "$dir/$path";
}, written => 8192 + 9000);
mended('contents', sub {
    my ($dir) = @_;
    zero_range("$dir/$path", 3 * 8192, 2 * 8192);
    append_to("$dir/base/1/1259", 'x' x 10_000);
    truncate_by("$dir/base/1/1249", 5000);
    truncate_to("$dir/base/1/2619", 0);
    delete_file("$dir/base/1/1247");
    swap_files(map { "$dir/base/1/$_" } 1255, 2610);
    spit("$dir/PG_VERSION", "99\n");
    flip_bit("$dir/pg_xact/0000", 8);
    append_to("$dir/postgresql.conf", "port = 1\n");
});
mended('kinds', sub {
    my ($dir) = @_;
    my $outside = spit(temp_dir('outside') . '/file', 'not mine');
    for my $name ('base/1/1259', 'PG_VERSION', 'pg_hba.conf') {
        delete_file("$dir/$name");
        symlink $outside, "$dir/$name" or die;
    }
    delete_file("$dir/base/1/1249");
    make_path("$dir/base/1/1249/deep");
    remove_tree("$dir/pg_multixact");
    spit("$dir/pg_multixact", 'no folder');
    remove_tree("$dir/pg_xact", "$dir/pg_wal");
    symlink $outside, "$dir/pg_xact_link" or die;
    mkfifo("$dir/base/1/3456_fsm", 0600);
    $main::outside = $outside;
});
is(slurp($main::outside), 'not mine', 'what a link led to is not touched');
mended('modes', sub {
    my ($dir) = @_;
    spit_over("$dir/server.key", 'other');
    chmod 0000, "$dir/base/1/1259", "$dir/$path";
    chmod 0777, "$dir/pg_hba.conf", "$dir/base";
    chmod 0500, "$dir/pg_xact";
    chmod 0000, "$dir/pg_multixact";
});

sub spit_over
{
    my ($file, $text) = @_;
    chmod 0600, $file;
    spit($file, $text);
    chmod 0400, $file;
    return;
}

# Somebody kept the old files by linking them elsewhere: they must stay as they are.
subtest 'hard links' => sub {
    my $dir = copy_tree($good_dir, temp_dir('linked') . '/data');
    flip_bit("$dir/$path", 100_003);
    spit("$dir/PG_VERSION", "99\n");
    my $save = temp_dir('save') . '/data';
    system('cp', '-al', $dir, $save) == 0 or die;
    unchanged([$save], sub { $pgdr->ok('restore', "--to=$dir", @target, '--delta', '--yes') });
    same(look($dir), $good, 'and the cluster is restored');
};
done_testing;
