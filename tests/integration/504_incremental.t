#@ s3
# A backup stores what its parent has not, and is as complete as a full one: each of a row of them
# gives back the rows of its time, whatever became of tables meanwhile.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(files_below flip_bit slurp);
use TestRun qw(temp_dir poll_until);

my $node = PgNode->init('primary', conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node, global => { jobs => 2 });
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->pgbench_init(4);

sub backup
{
    my (@how) = @_;
    return $pgdr->json('backup', @how)->{backup};
}

# What a backup gives back at its own end.
sub rows_of
{
    my ($backup) = @_;
    my $to = temp_dir('restored') . '/data';
    $pgdr->ok('restore', "--backup=$backup->{id}", '--type=immediate', "--to=$to", { timeout => 300 });
    my $copy = PgNode->from_datadir('copy', $to);
    $copy->start;
    $copy->wait_promoted;
    my $rows = $copy->fingerprint;
    my $sums = $copy->query("SHOW data_checksums") eq "on";
    $copy->stop;
    $copy->check_checksums if $sums;
    $copy->destroy;
    return $rows;
}

my (@all, $first);

# A backup whose rows are known: nobody writes while it runs.
sub remembered
{
    my ($what, @how) = @_;
    my $rows   = $node->fingerprint;
    my $backup = backup(@how);
    push @all, { what => $what, rows => $rows, backup => $backup };
    return $backup;
}

subtest 'the first one' => sub {
    $first = remembered('first');
    is($first->{type}, 'full', 'is full: there is nothing to build on');
    is($first->{parent}, undef, '... and has no parent');
};

subtest 'nothing has changed' => sub {
    my $none = remembered('nothing');
    is($none->{type},   'incr',        'it is incremental');
    is($none->{parent}, $first->{id}, '... on the first one');
    cmp_ok($none->{stored}, '<', 300_000, 'and adds little') or diag(explain($none));
};

subtest 'a row of them' => sub {
    my @steps = (
        [ 'a few rows', 'UPDATE pgbench_accounts SET abalance = 1 WHERE aid % 5000 = 0' ],
        [ 'all rows of a table', 'UPDATE pgbench_tellers SET tbalance = tbalance + 1' ],
        [ 'a table grows', 'INSERT INTO pgbench_history SELECT 1, 1, i, i, now() FROM generate_series(1, 30000) i' ],
        [ 'another one is cut off', 'DELETE FROM pgbench_accounts WHERE aid > 250000', 'VACUUM pgbench_accounts' ],
        [ 'and grows again', 'INSERT INTO pgbench_accounts SELECT i, 1, 7, md5(i::text) FROM generate_series(250001, 300000) i' ],
        [ 'one is new, one gone', 'CREATE TABLE fresh AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i', 'DROP TABLE pgbench_tellers' ],
        [ 'one is emptied', 'TRUNCATE pgbench_history' ],
        [ 'and written anew', 'VACUUM FULL pgbench_accounts' ],
        [ 'a database', 'CREATE DATABASE more' ]);
    for my $step (@steps) {
        my ($what, @sql) = @$step;
        $node->query($_) for @sql;
        my $backup = remembered($what);
        is($backup->{type}, 'incr', "$what: incremental");
        cmp_ok($backup->{stored}, '<', $first->{stored} / 2, '... and adds less than half')
          if $what ne 'and written anew' && $what ne 'and grows again';
    }
    my $full = remembered('all of it', '--type=full');
    is($full->{type},   'full', '--type=full stores everything');
    is($full->{parent}, undef,  '... and builds on nothing');
    is(remembered('on that')->{parent}, $full->{id}, 'the next one builds on it');
};

subtest 'each gives its own rows back' => sub {
    is(rows_of($_->{backup}), $_->{rows}, $_->{what}) for @all;
};

subtest 'verify' => sub {
    my $doc = $pgdr->json('verify');
    ok($doc->{ok}, 'it finds nothing') or diag(explain($doc->{findings}));
};

sub map_packs
{
    my @found = files_below($pgdr->folder, qr{packs/.*/m\d+$});
    return scalar @found;
}

# Killed when everything is copied: it waits for WAL that is not archived. What was begun in one second
# has no order, so that each of them gets its own.
sub interrupted
{
    my (@how) = @_;
    my $before  = map_packs();
    $node->query("ALTER SYSTEM SET archive_command = 'false'");
    $node->reload;
    sleep 1;
    my $process = $pgdr->start('backup', @how);
    poll_until(sub { map_packs() > $before }, 'the last of its packs is there');
    $process->signal('KILL');
    $process->wait;
    sleep 1;
    $node->query('ALTER SYSTEM RESET archive_command');
    $node->reload;
    return;
}

subtest 'one that is interrupted is continued' => sub {
    $node->query('CREATE TABLE noise AS SELECT i, md5(random()::text) || md5(random()::text) AS t FROM generate_series(1, 120000) i');
    for my $how ('incr', 'full') {
        my $rows = $node->fingerprint; # reading changes the pages of a new table, too
        interrupted("--type=$how");
        my $result = $pgdr->ok('backup', "--type=$how", '--log-level=info');
        like($result->{err}, qr/what is still the same of \S+, which was interrupted, is taken over/, "$how: it is told");
        my ($next) = reverse @{ $pgdr->json('info')->{clusters}[0]{backups} };
        is($next->{type}, $how, '... of its type');
        cmp_ok($next->{stored}, '<', 1_500_000, 'what is there is not stored again');
        is(rows_of($next), $rows, 'all rows come back');
    }
    my $doc = $pgdr->json('verify');
    ok($doc->{ok}, 'verify finds nothing') or diag(explain($doc->{findings}));
};

subtest 'what cannot be read is stored anew' => sub {
    Pgdr::only_in_folder('objects are damaged');
    my $repo  = $pgdr->folder;
    my ($pack) = grep { -s "$repo/$_" > 1_000_000 } reverse sort(files_below($repo, qr{packs/.*/d\d+$}));
    # The table, which holds the hashes.
    my $table = unpack 'Q<', substr substr(slurp("$repo/$pack"), -132), 64, 8;
    flip_bit("$repo/$pack", $table + 30);
    my $result = $pgdr->ok('backup');
    like($result->{err}, qr/stored anew/, 'a pack whose table is damaged is told');
    my $rows  = $node->fingerprint;
    my ($next) = reverse @{ $pgdr->json('info')->{clusters}[0]{backups} };
    cmp_ok($next->{stored}, '>', 1_000_000, 'what it held is stored again');
    is(rows_of($next), $rows, 'and the new backup does not need it');

    my ($manifest) = files_below($repo, qr{backups/\Q$next->{id}\E/manifest\.0001$});
    flip_bit("$repo/$manifest", int((-s "$repo/$manifest") / 2));
    my $full = $pgdr->ok('backup');
    like($full->{err}, qr/full backup: backup \Q$next->{id}\E cannot be built on/, 'a damaged manifest is told');
    ($next) = reverse @{ $pgdr->json('info')->{clusters}[0]{backups} };
    is($next->{type}, 'full', 'and a full backup is taken');
    is(rows_of($next), $rows, '... which gives all rows back');
};

done_testing;
