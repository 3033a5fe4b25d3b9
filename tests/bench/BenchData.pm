package BenchData;

# The clusters that are measured. All are made with checksums and have an archive_command that calls
# a file, so that a contender's own archive-push can be put there for its turn. pgBackRest wants to
# read its name in archive_command, so it is in the file's.

use strict;
use warnings;
use BenchRun qw(must tool say_progress);
use PgNode;
use TestFile qw(spit files_below copy_tree);
use TestRun qw(temp_dir time_limit);

my $conf = <<'CONF';
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 1h
autovacuum = off
archive_mode = on
CONF

# A server that runs, with the method archive_with.
sub server
{
    my ($name) = @_;
    my $node = PgNode->init($name, conf => $conf);
    my $file = temp_dir("archive-$name") . '/pgdr-or-pgbackrest';
    $node->append_conf("archive_command = 'sh $file %p'");
    $node->{archive_file} = $file;
    archive_with($node, 'exit 0');
    $node->start;
    return $node;
}

# From now on the server archives with this line of sh; what it has finished before is not archived
# by it.
sub archive_with
{
    my ($node, $script) = @_;
    $node->archive_all if $node->is_running;
    spit("$node->{archive_file}.new", "$script\n");
    rename "$node->{archive_file}.new", $node->{archive_file} or die "cannot rename: $!\n";
    return;
}

# About SCALE × 3.3 GB: half of it pgbench after some transactions, half of it text that compresses
# badly: hexadecimal (the best is 2 : 1) and base64 (4 : 3), in rows that are not compressed by
# PostgreSQL itself.
sub large
{
    my ($name, $scale) = @_;
    my $factor = 107 * $scale < 1 ? 1 : int 107 * $scale;
    my $rows   = int 400_000 * $scale;
    say_progress(sprintf 'making %.1f GB of data', 3.3 * $scale);
    my $node = server($name);
    $node->pgbench_init($factor);
    $node->query(<<"SQL");
CREATE TABLE hex AS SELECT g AS id,
    (SELECT string_agg(md5(g || ':' || i), '') FROM generate_series(1, 60) i) AS body
    FROM generate_series(1, $rows) g;
CREATE TABLE base64 AS SELECT g AS id,
    (SELECT string_agg(encode(sha256((g || ':' || i)::bytea), 'base64'), '') FROM generate_series(1, 44) i) AS body
    FROM generate_series(1, $rows) g;
SQL
    $node->pgbench(int 20_000 * $scale);
    # One statement a call: VACUUM takes no transaction.
    $node->query($_) for 'VACUUM ANALYZE', 'CHECKPOINT';
    $node->{bench_rows} = sub {
        return $_[0]->query(<<'SQL');
SELECT count(*), sum(abalance) FROM pgbench_accounts;
SELECT count(*), sum(hashtext(body)) FROM hex;
SELECT count(*), sum(hashtext(body)) FROM base64;
SQL
    };
    return described($node);
}

# About COUNT files of 8 KiB or nothing: tables with a TOAST table, made in one database and copied
# with it.
sub small_files
{
    my ($name, $count) = @_;
    my $databases = 10;
    my $tables    = int $count / $databases / 3;
    say_progress("making $count small files");
    my $node = server($name);
    $node->query('CREATE DATABASE d0');
    $node->query(<<"SQL", db => 'd0');
DO \$\$
BEGIN
    FOR i IN 1 .. $tables LOOP
        EXECUTE format('CREATE TABLE t%s AS SELECT %s AS id, md5(%L) AS body', i, i, i);
        IF i % 500 = 0 THEN COMMIT; END IF;
    END LOOP;
END \$\$;
SQL
    my $copy = PgNode::version() >= 15 ? 'TEMPLATE d0 STRATEGY file_copy' : 'TEMPLATE d0';
    $node->query("CREATE DATABASE d$_ $copy") for 1 .. $databases - 1;
    $node->query('CHECKPOINT');
    $node->{bench_rows} = sub {
        my ($at) = @_;
        my $of   = <<'SQL';
SELECT count(*), count(*) FILTER (WHERE query_to_xml('SELECT id FROM ' || relname, true, false, '')::text
    LIKE '%<id>' || substr(relname, 2) || '</id>%')
FROM pg_class WHERE relname ~ '^t[0-9]+$'
SQL
        return join "\n", map { $at->query($of, db => "d$_") } 0 .. $databases - 1;
    };
    return described($node);
}

# What a backup of it reads, in words.
sub described
{
    my ($node) = @_;
    my @files = files_below($node->data_dir, qr{^(?!pg_wal/)});
    my $bytes = 0;
    $bytes += -s $node->data_dir . "/$_" for @files;
    $node->{bench_what} = sprintf '%.2f GB in %d files', $bytes / 1e9, scalar @files;
    return $node;
}

# (node, segment names...): N finished segments of pgbench traffic and larger updates in pg_wal of a
# stopped server, of a cluster that has had at least BEFORE others.
sub segments
{
    my ($name, $n, $before) = @_;
    say_progress("making $n WAL segments");
    my $node = server($name);
    my $kept = temp_dir('segments');
    $node->stop;
    $node->must('pg_resetwal', '-D', $node->data_dir, '-l', sprintf '00000001%08X00000001', 1 + $before / 256);
    $node->start;
    $node->pgbench_init(10);
    my @names = fill_segments($node, $kept, $n);
    return ($node, @names);
}

# The names of N segments that the server writes now, and of which KEPT holds a copy. It is stopped then.
sub fill_segments
{
    my ($node, $kept, $n) = @_;
    archive_with($node, "exec cp \"\$1\" $kept/");
    my $load = $node->pgbench_start(clients => 2, seconds => time_limit());
    for (my $i = 0, my @there; @there <= $n; $i++) {
        # pgbench alone would take long to fill them on a busy machine.
        $node->query("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 20 = $i % 20");
        $node->query('CHECKPOINT') if $i % 4 == 0;
        @there = files_below($kept);
    }
    $load->stop('TERM');
    $node->stop;
    my @names = (files_below($kept))[0 .. $n - 1];
    must('cp', map({ "$kept/$_" } @names), $node->data_dir . '/pg_wal/');
    return @names;
}

# (node, BASE, KEPT, names...): the same, and a copy of the cluster before them, stopped, in the folder
# BASE: a recovery of it replays the segments, which are in KEPT, too.
sub segments_behind
{
    my ($name, $n) = @_;
    my $node = server($name);
    $node->pgbench_init(10);
    $node->query('CHECKPOINT');
    $node->stop;
    my $base = copy_tree($node->data_dir, temp_dir("base-$name") . '/data');
    my $kept = temp_dir("kept-$name");
    archive_with($node, "exec cp \"\$1\" $kept/");
    $node->start;
    my @names = fill_segments($node, $kept, $n);
    return ($node, $base, $kept, @names);
}

# Changes rows on about PART of the cluster's pages, here and there in its largest table.
sub change_pages
{
    my ($node, $part) = @_;
    my $pages = int $part * $node->query('SELECT sum(pg_database_size(oid)) / 8192 FROM pg_database');
    $node->query(
        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN
         (SELECT 1 + (random() * (SELECT max(aid) - 1 FROM pgbench_accounts))::int FROM generate_series(1, $pages))") if $pages;
    $node->query('CHECKPOINT');
    return;
}

# All of these folders in the page cache.
sub warm
{
    must(tool('floor'), 'warm', @_) if @_;
    return;
}

1;
