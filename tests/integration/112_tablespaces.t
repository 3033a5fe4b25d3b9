#@ s3
# Tablespaces: those of the backup go where they were or where they are mapped to; those that replay
# creates go where the WAL says. A copy on the host of the running cluster must never get there.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored plan_of check_cluster unchanged hold_file);
use TestFile qw(spit slurp tree_state);
use TestRun qw(temp_dir poll_until);

my $node = PgNode->init('primary', conf => 'autovacuum = off');
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');


my %dir = (one => $node->add_tablespace('one'));
sub oid { return $node->query("SELECT oid FROM pg_tablespace WHERE spcname = '$_[0]'") }
$node->query('CREATE TABLE in_one TABLESPACE one AS SELECT generate_series(1, 3000) i');
$node->query("SET allow_in_place_tablespaces = on; CREATE TABLESPACE placed LOCATION ''");
$node->query('CREATE TABLE in_placed TABLESPACE placed AS SELECT generate_series(1, 500) i');
$node->query('CREATE DATABASE in_db TABLESPACE one');
my $oid = oid('one');
# One is made while the files are being read, so that the backup does not list it but needs its WAL.
my $hold   = hold_file($node->data_dir . '/zz-last');
my $backup = $pgdr->start('backup', '--output=json');
$hold->reached;
$dir{during} = $node->add_tablespace('during');
$node->query('CREATE TABLE in_during TABLESPACE during AS SELECT generate_series(1, 700) i');
$hold->release;
ok($backup->wait->ok, 'a tablespace is made during the backup');
unlink $node->data_dir . '/zz-last';
$pgdr->ok('backup', { name => 'a second backup, of both' });
my $before = $node->mark('before');
my $want_before = $node->fingerprint;
$dir{two} = $node->add_tablespace('two');
$node->query('CREATE TABLE in_two TABLESPACE two AS SELECT generate_series(1, 4000) i');
$node->query("SET allow_in_place_tablespaces = on; CREATE TABLESPACE placed2 LOCATION ''");
$node->query('CREATE TABLE in_placed2 TABLESPACE placed2 AS SELECT generate_series(1, 600) i');
$dir{gone} = $node->add_tablespace('gone');
$node->query('CREATE TABLE in_gone(i int) TABLESPACE gone');
$node->query('DROP TABLE in_gone');
$node->query('DROP TABLESPACE gone');
$node->query('INSERT INTO in_one SELECT generate_series(1, 100)');
my $two = oid('two');
my $last = $node->mark('last');
my $want = $node->fingerprint;
$node->archive_all;
my @backups = map { $_->{id} } @{ $pgdr->json('info')->{clusters}[0]{backups} };

# The server's own files that a copy could reach.
my @live = map { $dir{$_} } qw(one during two);

subtest 'a copy beside the running cluster' => sub {
    my $to = temp_dir('copy') . '/data';
    my @map = map { my $new = temp_dir("map-$_"); ("--tablespace-map=" . oid($_) . "=$new/deep/down") } qw(one during);
    $node->query('CHECKPOINT');
    unchanged([@live, $pgdr->folder], sub {
        # Not mapped.
        my $json = $pgdr->json_fails('REFUSED', 'restore', "--to=$to", "--target-xid=$before->{xid}");
        like($json->{error}{message}, qr/the directory '\Q$dir{one}\E' of tablespace $oid is not empty/, 'a tablespace that is not mapped');
        like($json->{error}{hint}, qr/--tablespace-map=$oid=/, 'and how to map it');
        # Mapped, but replay would create another one where the running cluster has it.
        $json = $pgdr->json_fails('REFUSED', 'restore', "--to=$to", @map);
        like($json->{error}{message}, qr/replay will create tablespace $two in '\Q$dir{two}\E', which is not empty/,
            'one that replay creates');
        like($json->{error}{hint}, qr{target before [0-9A-F]+/[0-9A-F]+}, 'up to where it can be restored');
        my ($limit) = $json->{error}{hint} =~ m{before ([0-9A-F]+/[0-9A-F]+)};
        my $plan = plan_of($pgdr, "--to=$to", @map, "--target-lsn=$limit", '--target-exclusive');
        is(scalar(@{ $plan->{tablespaces} }), 3, 'the place that is named is a good target');
        # Also when its place is the only thing that was not mapped, or was mapped in vain.
        $json = $pgdr->json_fails('USAGE', 'restore', "--to=$to", @map, "--tablespace-map=$two=/nowhere");
        like($json->{error}{message}, qr/tablespace $two.*cannot be mapped: replay creates it in '\Q$dir{two}\E'/, 'a mapping that replay cannot follow');
        # The first backup does not have the second tablespace, but its WAL does.
        $json = $pgdr->json_fails('REFUSED', 'restore', "--to=$to", $map[0], "--backup=$backups[0]", '--type=immediate');
        like($json->{error}{message}, qr/replay will create tablespace \d+ in '\Q$dir{during}\E'/, 'one that was made during the backup');
    });
    ok(!-e $to, 'nothing is written');

    my $copy;
    unchanged([@live], sub {
        $copy = restored($pgdr, 'mapped', @map, "--target-xid=$before->{xid}");
        $copy->wait_promoted;
        is($copy->fingerprint, $want_before, 'all rows');
        $copy->query('INSERT INTO in_one SELECT generate_series(1, 5000); INSERT INTO in_during SELECT generate_series(1, 5000); CHECKPOINT');
        check_cluster($copy);
    });
    like(readlink $copy->data_dir . "/pg_tblspc/$oid", qr{map-one.*/deep/down$}, 'the link leads to the mapped place');
    is((stat readlink $copy->data_dir . "/pg_tblspc/$oid")[2] & 07777, 0700, 'which is closed to others');
    is($node->fingerprint, $want, 'the running cluster is as it was');
    $copy->destroy;
};

subtest 'mapping by path' => sub {
    my $new  = temp_dir('by-path') . '/ts';
    my $copy = restored($pgdr, 'by-path', "--tablespace-map=$dir{one}=$new", "--tablespace-map=$dir{during}=" . temp_dir('other'),
        "--target-xid=$before->{xid}");
    $copy->wait_promoted;
    is(readlink $copy->data_dir . "/pg_tblspc/$oid", $new, 'the link');
    is($copy->fingerprint, $want_before, 'all rows');
    $copy->stop;
    $copy->destroy;
};

subtest 'mappings that cannot be' => sub {
    my $to   = temp_dir('wrong') . '/data';
    my $full = temp_dir('full');
    spit("$full/file", 'x');
    my @base = ('restore', "--to=$to", "--target-xid=$before->{xid}");
    my $ok   = "--tablespace-map=$dir{during}=" . temp_dir('ok');
    $pgdr->fails('USAGE', qr{has no tablespace '99999'.*HINT: it has .*$oid \(\Q$dir{one}\E\)}s, @base, '--tablespace-map=99999=/srv/x');
    $pgdr->fails('USAGE', qr/absolute directories, not '$oid'/, @base, "--tablespace-map=$oid");
    $pgdr->fails('USAGE', qr/absolute directories, not '$oid=relative'/, @base, "--tablespace-map=$oid=relative");
    $pgdr->fails('REFUSED', qr/the directory '\Q$full\E' of tablespace $oid is not empty/, @base, $ok, "--tablespace-map=$oid=$full");
    $pgdr->fails('USAGE', qr{cannot go to '\Q$to\E/inside', inside the data directory}, @base, $ok, "--tablespace-map=$oid=$to/inside");
    my $same = temp_dir('same');
    $pgdr->fails('USAGE', qr/both .*'\Q$same\E'/, @base, "--tablespace-map=$oid=$same", "--tablespace-map=$dir{during}=$same");
    ok(!-e $to, 'nothing is written');
};

# The whole host is lost, and with it every directory.
$node->kill9;
$node->destroy;
rmdir $dir{gone} or die;
ok(!-e $_, 'gone') for @live;

subtest 'in place, after all is lost' => sub {
    my $plan = plan_of($pgdr);
    is_deeply([sort @{ $plan->{directories_for_replay} }], [sort @dir{qw(two gone)}], 'the plan names what replay needs');
    $pgdr->ok('restore', '--archive-mode=off');
    ok(-d $dir{two}, 'they are made');
    $node->start;
    $node->wait_promoted;
    is($node->fingerprint, $want, 'every row');
    check_cluster($node);
};

# Over itself: what is in the tablespaces counts as part of the cluster.
subtest 'over itself, with --delta' => sub {
    my ($file) = grep { -s } glob "$dir{one}/PG_*/*/*";
    spit("$dir{one}/PG_stray", 'x');
    unlink $file or die;
    $pgdr->ok('restore', '--delta', '--yes', '--archive-mode=off');
    ok(-s $file,                 'a file that was lost is back');
    ok(!-e "$dir{one}/PG_stray", 'what does not belong there is gone');
    $node->start;
    $node->wait_promoted;
    is($node->fingerprint, $want, 'every row');
    check_cluster($node);
    # From the oldest backup: also what was made during it and after it is there already.
    $pgdr->ok('restore', '--delta', '--yes', '--archive-mode=off', "--backup=$backups[0]");
    $node->start;
    $node->wait_promoted;
    is($node->fingerprint, $want, 'every row from the older backup, too');
    check_cluster($node);
};
done_testing;
