#@ once
# Restored files are what the cluster's were: modes, folders, links, empty and strange ones; unlogged
# relations begin empty, also those that were made while the backup ran. A repository that a later
# version wrote is not restored from by guessing.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored hold_file check_cluster unchanged);
use TestFile qw(slurp spit files_below tree_state);
use TestRun qw(temp_dir);
use File::Path qw(make_path);

umask 0027;
my $node = PgNode->init('primary', conf => "autovacuum = off\n", initdb => ['-g']);
my $pgdr = Pgdr->new(node => $node);
my $data = $node->data_dir;
# WAL on another disk, a configuration file outside.
my $wal_dir = temp_dir('wal') . '/pg_wal';
rename "$data/pg_wal", $wal_dir or die;
symlink $wal_dir, "$data/pg_wal" or die;
my $outside = spit(temp_dir('etc') . '/pg_hba.conf', slurp("$data/pg_hba.conf"));
unlink "$data/pg_hba.conf";
symlink $outside, "$data/pg_hba.conf" or die;
my %mode = ('server.key' => 0400, 'server.crt' => 0644, 'script.sh' => 0750, "odd\nname \xfc" => 0600, 'empty' => 0640);
for my $name (sort keys %mode) {
    spit("$data/$name", $name eq 'empty' ? '' : "content of $name");
    chmod $mode{$name}, "$data/$name" or die;
}
make_path("$data/hooks/deep/empty");
chmod 0700, "$data/hooks" or die;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');

$node->query(<<'SQL');
CREATE TABLE t AS SELECT i, repeat('x', 3000) || i AS wide FROM generate_series(1, 500) i;
CREATE UNLOGGED TABLE fast(i serial PRIMARY KEY, wide text);
INSERT INTO fast(wide) SELECT repeat(md5(i::text), 100) FROM generate_series(1, 2000) i;
CREATE INDEX ON fast USING gin (to_tsvector('simple', left(wide, 10)));
CREATE TABLE becomes_unlogged AS SELECT generate_series(1, 100) i;
CREATE UNLOGGED TABLE becomes_logged AS SELECT generate_series(1, 100) i;
CREATE TABLE sparse(i int);
SQL
# While files are read: unlogged tables come, go, and change to logged and back.
my $hold   = hold_file("$data/zz-last");
my $backup = $pgdr->start('backup', '--output=json');
$hold->reached;
$node->query(<<'SQL');
CREATE UNLOGGED TABLE fast_late AS SELECT generate_series(1, 3000) i;
CREATE INDEX ON fast_late(i);
ALTER TABLE becomes_unlogged SET UNLOGGED;
ALTER TABLE becomes_logged SET LOGGED;
CREATE TEMP TABLE temporary AS SELECT generate_series(1, 3000) i;
CHECKPOINT;
SQL
$hold->release;
ok($backup->wait->ok, 'the backup ends');
unlink "$data/zz-last";
$node->mark('a');
my $want = $node->fingerprint;
$node->archive_all;

my $copy;
subtest 'a restored cluster' => sub {
    $copy = restored($pgdr, 'copy');
    $copy->wait_promoted;
    is($copy->fingerprint, $want, 'every logged row');
    is($copy->query('SELECT count(*) FROM becomes_logged'), 100, 'also what became logged during the backup');
    for my $table (qw(fast fast_late becomes_unlogged)) {
        is($copy->query("SELECT count(*) FROM $table"), 0, "$table is empty");
        $copy->query("INSERT INTO $table SELECT generate_series(1, 50)");
    }
    is($copy->query('SELECT count(*) FROM fast_late WHERE i BETWEEN 1 AND 50'), 50, 'and takes rows');
    ok(!$copy->log_contains(qr/File exists|could not/), 'and the server has nothing to complain about') or diag($copy->log_end);
};

subtest 'its files' => sub {
    my $dir = $copy->data_dir;
    is(sprintf('%04o', (stat $dir)[2] & 07777), '0750', 'the group may look');
    my %wrong;
    for my $line (split /\n/, tree_state($dir, mtime => 0)) {
        my ($name, $kind) = $line =~ /^(.*?): (\w+)/ or next;
        next if $name =~ m{^(server|script|odd|empty|hooks|postmaster|pg_wal/)} || $kind ne 'file' && $kind ne 'dir';
        my $mode = (lstat "$dir/$name")[2] // next;
        $mode &= 07777;
        $wrong{$name} = sprintf '%04o', $mode if $mode != (-d "$dir/$name" ? 0750 : 0640);
    }
    delete $wrong{'postgresql.auto.conf'}; # written by restore; the server makes it its own
    is_deeply(\%wrong, {}, 'modes are those of a cluster that its group may read') or diag(explain(\%wrong));
    for my $name (sort keys %mode) {
        is(sprintf('%04o', (stat "$dir/$name")[2] & 07777), sprintf('%04o', $mode{$name}), "mode of $name");
        is(slurp("$dir/$name"), $name eq 'empty' ? '' : "content of $name", 'its content');
    }
    is(sprintf('%04o', (stat "$dir/hooks")[2] & 07777), '0700', 'the mode of a folder of the own');
    ok(-d "$dir/hooks/deep/empty", 'an empty folder');
    ok(!-l "$dir/pg_wal" && -d "$dir/pg_wal", 'pg_wal is a folder: the link led to a place of the other host');
    ok(!-l "$dir/pg_hba.conf", 'so is a linked file a file');
    is(slurp("$dir/pg_hba.conf"), slurp($outside), 'with its content');
    ok(!-e "$dir/$_", "$_ is not restored") for qw(postmaster.opts.old backup_manifest pgdr.restoring);
    is_deeply([grep { /^t\d+_/ } map { s{.*/}{}r } files_below("$dir/base")], [], 'no temporary relation');
    check_cluster($copy);
};

# Where the files go, links that lead elsewhere are kept.
subtest 'over the cluster itself' => sub {
    $node->kill9;
    $pgdr->ok('restore', '--delta', '--yes', '--archive-mode=off');
    is(readlink "$data/pg_wal", $wal_dir, 'pg_wal is still on the other disk');
    is(slurp($outside), slurp("$data/pg_hba.conf"), 'a file outside is as it was');
    $node->start;
    $node->wait_promoted;
    is($node->fingerprint, $want, 'every logged row');
    is($node->query('SELECT count(*) FROM fast'), 0, 'an unlogged table is empty');
    check_cluster($node);
};

# ---- a later version ----

# CRC-32C, as in the footer of an object.
sub crc32c
{
    my ($bytes) = @_;
    my $crc = 0xFFFFFFFF;
    for my $byte (unpack 'C*', $bytes) {
        $crc ^= $byte;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82F63B78 : $crc >> 1 for 1 .. 8;
    }
    return $crc ^ 0xFFFFFFFF;
}

# Makes an object's footer (132 bytes: the version at 16, the checksum at 120) say another version.
sub set_version
{
    my ($file, $version) = @_;
    my $text   = slurp($file);
    my $footer = substr $text, -132;
    substr($footer, 16, 2) = pack 'v', $version;
    substr($footer, 120, 4) = pack 'V', crc32c(substr $footer, 0, 120);
    chmod 0600, $file;
    spit($file, substr($text, 0, -132) . $footer);
    return;
}

subtest 'a repository of a later version' => sub {
    my $to   = temp_dir('later') . '/data';
    my $repo = $pgdr->folder;
    my ($id) = map { $_->{id} } @{ $pgdr->json('info')->{clusters}[0]{backups} };
    for my $case (['summary', qr/no backup of 'app' .* can be read; the newest, \Q$id\E: /], ['manifest', qr/manifest/]) {
        my ($name, $re) = @$case;
        my $file = "$repo/app/backups/$id/$name";
        my $was  = slurp($file);
        set_version($file, 1);
        is(unpack('H*', slurp($file)), unpack('H*', $was), "$name: the footer is understood");
        set_version($file, 99);
        my $json = $pgdr->json_fails('VERSION', 'restore', "--to=$to");
        like($json->{error}{message}, $re, 'what cannot be read');
        like($json->{error}{message}, qr/format version 99 .*; this pgdr reads version 1/, 'and why');
        like($json->{error}{hint}, qr/use the pgdr version that wrote it, or a later one/, 'and what to do');
        $json = $pgdr->json_fails('VERSION', 'restore', "--to=$to", "--backup=$id");
        like($json->{error}{message}, qr/\Q$id\E.*format version 99/, 'also when it is asked for');
        set_version($file, 1);
    }
    # The keys come first of all.
    set_version("$repo/$_", 99) for files_below($repo, qr{^keys/|/backups/[^/]+/key$});
    $pgdr->fails('VERSION', qr/format version 99 .*; this pgdr reads version 1.*HINT: use the pgdr version/s, 'restore', "--to=$to");
    ok(!-e $to, 'nothing is written');
};
done_testing;
