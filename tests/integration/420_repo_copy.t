#@ s3
#@ once
# Backups and WAL copied from one repository to another, of another key: what is there afterwards is as
# good as what was copied, also when the first repository is lost; a copy that is interrupted,
# repeated, or meets something wrong costs nothing.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit files_below tree_state copy_tree flip_bit delete_file);
use TestRun qw(temp_dir);
use WalRepo qw(segment_of);
use File::Path qw(remove_tree);

my $node = PgNode->init('primary', wal_segsize => 1);
my $pgdr = Pgdr->new(node => $node);
my $main = $pgdr->folder;
my $dir  = temp_dir('others');
my $passphrase = "$dir/passphrase";
spit($passphrase, "a key for what lies outside\n");
chmod 0600, $passphrase;

my $first = '';
my %url = (main => $main);

# Adds a repository to the configuration.
sub add_repo
{
    my ($name, @more) = @_;
    $url{$name} = "$dir/$name";
    $pgdr->set("repo $name", url => $url{$name}, @more);
    $pgdr->ok('init', "--repo=$name");
    return;
}

sub drop_repo
{
    my ($name) = @_;
    $pgdr->set("repo $name", url => undef, encryption => undef, 'passphrase-file' => undef);
    remove_tree(delete $url{$name});
    return;
}

sub copies
{
    my ($from, $to, @args) = @_;
    return $pgdr->json('repo', 'copy', "--from-repo=$from", "--to-repo=$to", @args);
}

sub folder_of { my ($name) = @_; return $name eq 'main' ? $pgdr->folder : $url{$name} }

# The objects of a cluster in a repository of files that are copied: no leases, no marks.
sub stored
{
    my ($name) = @_;
    my @objects = files_below(folder_of($name) . '/app', qr{^(packs|wal|backups/[^/]+/(manifest|summary|packs))});
    # The digest in the name of WAL is keyed where there is encryption.
    s{^wal/.*\K-[0-9a-f]{32}$}{} for Pgdr::in_s3() ? @objects : ();
    return \@objects;
}

sub backups_in
{
    my ($name) = @_;
    return map { $_->{id} } map { @{ $_->{backups} } } @{ $pgdr->json('info', "--repo=$name")->{clusters} };
}

# The files of the WAL in a repository, from the one in which the first backup begins.
sub wal_in
{
    my ($name) = @_;
    my %file = map { m{/([^/]+)-[0-9a-f]+$} ? ($1 => 1) : () } files_below(folder_of($name) . '/app', qr{^wal/});
    return [ grep { $_ ge $first } sort keys %file ];
}

$node->enable_archiving($pgdr);
$node->append_conf("archive_command = '" . $pgdr->shell_command('--repo=main', 'archive-push', '%p') . "'");
$node->start;
$pgdr->ok('init');
$node->query('CREATE TABLE t AS SELECT i, md5(i::text) m FROM generate_series(1, 5000) i');
$pgdr->ok('backup', '--type=full');
$node->mark('a');
$node->query('UPDATE t SET i = -i WHERE i % 3 = 0');
$node->archive_all;
$pgdr->ok('backup', '--type=full');
my $mark = $node->mark('b');
my $want = $node->fingerprint;
$node->archive_all;
my $after = $node->mark('c');
my $latest = $node->fingerprint;
$node->archive_all;
my @ids = backups_in('main');
is(scalar @ids, 2, 'two backups');
$first = segment_of(1, $pgdr->json('info')->{clusters}[0]{backups}[0]{start_lsn}, 1 << 20);

add_repo('offsite', encryption => 'aes-256-gcm', 'passphrase-file' => $passphrase);
add_repo('third');

subtest 'into an encrypted repository, and on into one that is not' => sub {
    my $json = copies('main', 'offsite');
    is_deeply([ sort @{ $json->{backups} } ], [ sort @ids ], 'both backups');
    is($json->{wal_files}, scalar @{ wal_in('main') }, 'and every WAL file');
    is_deeply(wal_in('offsite'), wal_in('main'), 'which are there');
    my $state = tree_state($url{offsite});

    $json = copies('main', 'offsite');
    is_deeply($json->{backups}, [], 'again: nothing is copied');
    is($json->{wal_files}, 0, 'no WAL');
    is($json->{backups_kept}, 2, 'the backups are there');
    is(tree_state($url{offsite}), $state, 'and nothing changed');

    copies('offsite', 'third');
    is_deeply(stored('third'), [ grep { !/^wal/ || m{/([^/]+)$} && $1 ge $first } @{ stored('main') } ], 'two copies on: the same objects, by name');
    $pgdr->ok('verify', "--repo=$_") for qw(main offsite third);

    my $heap = $node->query("SELECT pg_relation_filepath('t')");
    ok(!grep({ slurp("$url{offsite}/$_") =~ /primary|\Q$heap\E|CREATE TABLE/ } files_below($url{offsite}, qr/./)),
        'nothing of the cluster can be read in the encrypted one');
};

# In a copy of the configuration that knows the other repository only, as on a machine elsewhere.
sub restores_from
{
    my ($repo, $target, $want) = @_;
    my $to = temp_dir("from-$repo") . '/data';
    rename $main, "$main.away" or die "$main: $!";
    subtest "restored from $repo alone" => sub {
        $pgdr->ok('restore', "--repo=$repo", "--to=$to", '--archive-mode=off', @$target);
        my $copy = PgNode->from_datadir("of-$repo", $to);
        $copy->start;
        $copy->wait_promoted;
        is($copy->fingerprint, $want, 'every row');
        ok($copy->check_amcheck, 'sound');
        $copy->stop;
        ok($copy->check_checksums, 'page checksums');
        $copy->destroy;
    };
    rename "$main.away", $main or die "$main: $!";
    return;
}

restores_from('offsite', ["--target-xid=$mark->{xid}", '--target-action=promote'], $want);
restores_from('third', [], $latest);
rename $main, "$main.away" or die;
$pgdr->fails('REFUSED', qr/WARNING: .*\Q@{[$pgdr->repo]}\E.*whether it holds other WAL than 'offsite' is not known.*HINT: .*--repo=offsite/s,
    'restore', '--to=' . temp_dir('doubt') . '/data', @$_) for [], ["--target-xid=$mark->{xid}"];
rename "$main.away", $main or die;

subtest 'what is new is added' => sub {
    $node->mark('d');
    $node->archive_all;
    $pgdr->ok('backup', '--type=full', '--repo=main');
    my $json = copies('main', 'offsite');
    is(scalar @{ $json->{backups} }, 1, 'the new backup');
    is($json->{backups_kept}, 2, 'the others are there');
    cmp_ok($json->{wal_files}, '>', 0, 'and the new WAL');
    cmp_ok($json->{wal_files}, '<', 10, 'only that');
    is_deeply(wal_in('offsite'), wal_in('main'), 'all of it');
    $pgdr->ok('verify', '--repo=offsite');
};

subtest 'one backup with only its own WAL' => sub {
    add_repo('usb');
    my $json = copies('main', 'usb', "--backup=$ids[0]", '--wal=backup');
    is_deeply($json->{backups}, [ $ids[0] ], 'that one');
    cmp_ok(scalar @{ wal_in('usb') }, '<', scalar @{ wal_in('main') }, 'not all WAL');
    $pgdr->ok('verify', '--repo=usb');
    my $to = temp_dir('usb-restored') . '/data';
    $pgdr->fails('UNREACHABLE', qr/HINT/, 'restore', '--repo=usb', "--to=$to", "--target-xid=$mark->{xid}");
    rename $main, "$main.away" or die;
    $pgdr->ok('restore', '--repo=usb', "--to=$to", '--type=immediate', '--target-action=promote', '--archive-mode=off');
    my $copy = PgNode->from_datadir('usb', $to);
    $copy->start;
    $copy->wait_promoted;
    is($copy->query('SELECT count(*) FROM t'), 5000, 'it opens at the end of the backup');
    $copy->destroy;
    rename "$main.away", $main or die;
    drop_repo('usb');
};

subtest 'killed anywhere, it goes on' => sub {
    add_repo('crash');
    my $fault = { dir => $url{crash}, action => 'count' };
    my $total = $pgdr->run('repo', 'copy', '--from-repo=main', '--to-repo=crash', { fault => $fault })->{calls};
    cmp_ok($total, '>', 100, "there are many calls ($total)");
    my $whole = stored('crash');
    drop_repo('crash');
    for my $at (map { int($total * $_ / 8) } 1 .. 7) {
        add_repo('crash');
        my $result = $pgdr->run('repo', 'copy', '--from-repo=main', '--to-repo=crash',
            { fault => { dir => $url{crash}, action => 'kill', nth => $at } });
        is($result->{signal}, 9, "killed at call $at");
        my @seen = backups_in('crash');
        $pgdr->ok('restore', '--repo=crash', "--backup=$seen[-1]", '--to=' . temp_dir("crash-$at") . '/data') if @seen;
        copies('main', 'crash');
        is_deeply(stored('crash'), $whole, 'all is there');
        $pgdr->ok('verify', '--repo=crash');
        drop_repo('crash');
    }
};

subtest 'the same WAL name with other content' => sub {
    add_repo('twin');
    # Of a second life of the same cluster.
    $node->stop;
    my $other = PgNode->from_datadir('twin', copy_tree($node->data_dir, temp_dir('twin') . '/data'), conf => "archive_mode = off\n");
    $_->start for $node, $other;
    $node->mark('right');
    my $file = $node->archive_all;
    $other->mark('wrong');
    is($other->switch_wal, $file, 'both have finished the same segment');
    $pgdr->ok('archive-push', '--repo=twin', "pg_wal/$file", { cwd => $other->data_dir });
    $other->stop;
    my ($there) = map { "$url{twin}/$_" } files_below($url{twin}, qr{/\Q$file\E-});
    my $state = slurp($there);
    $pgdr->fails('CONFLICT', qr/\Q$file\E has other content.*HINT: .*pgdr repo resolve/s,
        'repo', 'copy', '--from-repo=main', '--to-repo=twin');
    is(slurp($there), $state, 'it is not overwritten');
    is_deeply([ backups_in('twin') ], [], 'no backup is seen there');
    drop_repo('twin');
};

subtest 'a damaged source' => sub {
    my $kept = copy_tree($main, temp_dir('kept') . '/repo');
    my $pack = (files_below($main, qr{^app/packs/\Q$ids[1]\E/}))[0];
    flip_bit("$main/$pack", 3000);
    add_repo('good');
    $pgdr->fails('DAMAGED', qr/\Q$pack\E/, 'repo', 'copy', '--from-repo=main', '--to-repo=good', "--backup=$ids[1]");
    is_deeply([ backups_in('good') ], [], 'it is not copied');
    $pgdr->ok('repo', 'copy', '--from-repo=main', '--to-repo=good', "--backup=$ids[0]");

    spit("$main/app/backups/$ids[1]/summary", 'not a summary');
    $pgdr->fails('DAMAGED', qr/WARNING: backup \Q$ids[1]\E.*1 backups? in .* not copied/s, 'repo', 'copy', '--from-repo=main', '--to-repo=good');
    is(scalar backups_in('good'), 2, 'all others are copied');
    $pgdr->ok('verify', '--repo=good');
    remove_tree($main);
    copy_tree($kept, $main);
    drop_repo('good');
};

subtest 'asked wrongly' => sub {
    $pgdr->fails('USAGE', qr/--from-repo is missing.*HINT: .*main, offsite/s, 'repo', 'copy', '--to-repo=third');
    $pgdr->fails('USAGE', qr/--to-repo is missing/, 'repo', 'copy', '--from-repo=main');
    $pgdr->fails('USAGE', qr/no repository is named 'mian'.*HINT: .*main, offsite/s, 'repo', 'copy', '--from-repo=mian', '--to-repo=third');
    $pgdr->fails('USAGE', qr/same repository/, 'repo', 'copy', '--from-repo=main', '--to-repo=main');
    $pgdr->fails('NOT_FOUND', qr/no one backup '20000101'/, 'repo', 'copy', '--from-repo=main', '--to-repo=third', '--backup=20000101');
    add_repo('empty');
    $pgdr->fails('NOT_FOUND', qr/holds nothing yet/, 'repo', 'copy', '--from-repo=empty', '--to-repo=third');
    drop_repo('empty');
    $pgdr->set('repo nowhere', url => "$dir/nowhere");
    $pgdr->fails('NOT_FOUND', qr/HINT: .*pgdr init/s, 'repo', 'copy', '--from-repo=main', '--to-repo=nowhere');
    $pgdr->set('repo nowhere', url => undef);
    spit($passphrase, "not the one\n");
    $pgdr->fails('WRONG_KEY', qr/passphrase/, 'repo', 'copy', '--from-repo=offsite', '--to-repo=third', { env => { PGDR_KEY_CACHE => 'n' } });
};
done_testing;
