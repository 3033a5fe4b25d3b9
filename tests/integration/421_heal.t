#@ once
# verify --heal: what is damaged or lost in one repository is written anew from another that holds the same,
# also under another key; what no repository has whole stays a finding; nothing whole is touched.

use strict;
use warnings;
use Test::More;

use Faults qw(fault_in);
use Pgdr;
use PgNode;
use TestFile qw(slurp spit files_below tree_state copy_tree flip_bit truncate_to delete_file swap_files);
use TestRun qw(temp_dir);
use WalRepo qw(wal_object wal_files);
use File::Path qw(remove_tree);

my $node = PgNode->init('primary', wal_segsize => 1);
my $pgdr = Pgdr->new(node => $node);
my $main = $pgdr->folder;
my $dir  = temp_dir('others');
my $off  = "$dir/offsite";
my $passphrase = "$dir/passphrase";
spit($passphrase, "a key for what lies outside\n");
chmod 0600, $passphrase;

$pgdr->ok('init');
$pgdr->fails('USAGE', qr/--heal needs another repository.*HINT: name two/s, 'verify', '--heal');
$pgdr->set('repo offsite', url => $off, encryption => 'aes-256-gcm', 'passphrase-file' => $passphrase);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->query('CREATE TABLE t AS SELECT i, md5(i::text) m FROM generate_series(1, 20000) i; CREATE INDEX ON t(m)');
$pgdr->ok('backup', '--repo=main');
$node->mark('a');
$node->archive_all;
$node->query('UPDATE t SET i = -i WHERE i % 3 = 0');
$node->archive_all;
$pgdr->ok('backup', '--repo=main');
$node->mark('b');
$node->archive_all;

# A second life, so that there is a history file.
$node->kill9;
$node->destroy;
$pgdr->ok('restore', '--archive-mode=preserve');
$node->start;
$node->wait_promoted;
$node->mark('c');
$node->archive_all;
my $want = $node->fingerprint;
$node->stop;
$pgdr->ok('repo', 'copy', '--from-repo=main', '--to-repo=offsite');
$pgdr->ok('verify');
my $kept = copy_tree($main, temp_dir('kept') . '/repo');
my $kept_off = copy_tree($off, temp_dir('kept-off') . '/repo');

# The objects that a restore needs: packs to the byte; WAL by the digest of its content, which is in the
# name and proven by verify; what describes a backup is sealed anew when it is written again: what it
# says counts.
sub objects
{
    my ($repo) = @_;
    my %object = map { ($_ => slurp("$repo/app/$_")) } files_below("$repo/app", qr{^packs/.*/[^./]*$});
    $object{$_}       = '' for files_below("$repo/app", qr{^wal/.*/[0-9A-F][^/]*$});
    $object{$_}       = '' for files_below("$repo/app", qr{^backups/[^/]+/(manifest|summary|packs)});
    $object{info}     = $pgdr->run('info', "--repo=" . ($repo eq $main ? 'main' : 'offsite'), '--output=json')->{out};
    return \%object;
}

my $good = objects($main);
my ($early, $late) = sort map { $_->{start_lsn} . ' ' . $_->{id} } @{ $pgdr->json('info', '--repo=main')->{clusters}[0]{backups} };
s/.* // for $early, $late;
my @wal = grep { /^00000001[0-9A-F]{16}$/ } wal_files($pgdr);
my $history = wal_object($pgdr, '00000002.history');
my @pack = map { "$main/app/$_" } files_below("$main/app", qr{^packs/\Q$late\E/});

sub wal { return wal_object($pgdr, $_[0]) }

# name => [what is done, what a finding names]
my @damages = (
    [ 'a bit of a pack',        sub { flip_bit($pack[0], 5000) },                     qr/packs/ ],
    [ 'a pack cut off',         sub { truncate_to($pack[0], 100) },                   qr/packs/ ],
    [ 'a pack of nothing',      sub { truncate_to($pack[-1], 0) },                    qr/packs/ ],
    [ 'a lost pack',            sub { delete_file($pack[0]) },                        qr/packs/ ],
    [ 'a bit of the manifest',  sub { flip_bit("$main/app/backups/$late/manifest", 300) }, qr/manifest/ ],
    [ 'a lost manifest',        sub { delete_file("$main/app/backups/$late/manifest") },   qr/manifest/ ],
    [ 'a summary of garbage',   sub { spit("$main/app/backups/$late/summary", 'garbage') }, qr/summary/ ],
    [ 'a lost summary',         sub { delete_file("$main/app/backups/$late/summary") },     qr/summary/ ],
    [ 'a lost list of packs',   sub { delete_file("$main/app/backups/$late/packs") },       qr/packs/ ],
    [ 'the manifest of another backup', sub { spit("$main/app/backups/$late/manifest", slurp("$main/app/backups/$early/manifest")) }, qr/manifest/ ],
    [ 'a bit of a WAL segment', sub { flip_bit(wal($wal[-2]), 300) },                qr/\Q$wal[-2]\E/ ],
    [ 'a WAL segment cut off',  sub { truncate_to(wal($wal[-2]), 350) },              qr/\Q$wal[-2]\E/ ],
    [ 'a lost WAL segment',     sub { delete_file(wal($wal[-2])) },                   qr/\Q$wal[-2]\E/ ],
    [ 'two WAL segments exchanged', sub { swap_files(wal($wal[-2]), wal($wal[-3])) }, qr/\Q$wal[-3]\E/ ],
    [ 'a damaged history',      sub { flip_bit($history, 40) },                       qr/00000002\.history/ ],
    [ 'a lost history',         sub { delete_file($history) },                        qr/00000002\.history/ ],
);

# Compares by name and digest, so that a difference can be read.
sub same_objects
{
    my ($repo, $want, $name) = @_;
    my $got  = objects($repo);
    my %all = (%$got, %$want);
    my @differ = grep { ($got->{$_} // '') ne ($want->{$_} // '') } sort keys %all;
    return ok(!@differ, $name) || diag(join "\n", map { "differs: $_ (" . length($got->{$_} // '') . ' for ' . length($want->{$_} // '') . ' bytes)' } @differ);
}

sub back_to
{
    my ($to, $from) = @_;
    system('chmod', '-R', 'u+w', $to);
    remove_tree($to);
    copy_tree($from, $to);
    return;
}

for my $d (@damages) {
    my ($name, $damage, $what) = @$d;
    subtest $name => sub {
        $damage->();
        my $json = $pgdr->json_fails('FINDINGS', 'verify', '--repo=main');
        ok(scalar(grep { $_->{object} =~ $what } @{ $json->{findings} }), 'it is found') or diag(explain($json->{findings}));
        my $off_before = tree_state($off);
        $json = $pgdr->json('verify', '--heal');
        ok(scalar(grep { $_->{object} =~ $what } @{ $json->{damaged} }), 'what was wrong is told') or diag(explain($json));
        is_deeply($json->{findings}, [], 'nothing is left');
        same_objects($main, $good, 'every object is what it was, to the byte');
        is(tree_state($off), $off_before, 'the other repository is untouched');
        back_to($main, $kept);
    };
}

subtest 'a lost history is not taken for an older end' => sub {
    delete_file($history);
    my $to = temp_dir('older') . '/data';
    $pgdr->fails('WAL_MISSING', qr/WAL of timeline 2, but not its history.*HINT: .*--heal.*--target-timeline/s, 'restore', '--repo=main', "--to=$to");
    ok(!-e $to, 'nothing is restored');
    $pgdr->ok('restore', '--repo=main', "--to=$to", '--target-timeline=1');
    back_to($main, $kept);
};

subtest 'all of it at once, and then only this repository' => sub {
    for my $n (1, 3, 4, 7, 12, 15) {
        $damages[$n][1]->();
    }
    my $result = $pgdr->ok('verify', '--heal');
    like($result->{err}, qr/WARNING: /, 'what was wrong is told');
    same_objects($main, $good, 'every object is what it was');
    my $to = temp_dir('alone') . '/data';
    $pgdr->set('repo offsite', url => undef, encryption => undef, 'passphrase-file' => undef);
    $pgdr->ok('restore', "--to=$to", '--archive-mode=off');
    $pgdr->set('repo offsite', url => $off, encryption => 'aes-256-gcm', 'passphrase-file' => $passphrase);
    my $copy = PgNode->from_datadir('alone', $to);
    $copy->start;
    $copy->wait_promoted;
    is($copy->fingerprint, $want, 'every row');
    $copy->destroy;
    back_to($main, $kept);
};

subtest 'the encrypted one from the one in the clear' => sub {
    my $whole = objects($off);
    flip_bit("$off/app/" . (files_below("$off/app", qr{^packs/}))[0], 4000);
    delete_file("$off/app/" . (grep { /\Q$wal[-2]\E/ } files_below("$off/app", qr{^wal/}))[0]);
    delete_file("$off/app/backups/$early/manifest");
    $pgdr->ok('verify', '--heal');
    $pgdr->ok('verify');
    same_objects($off, $whole, 'the same objects under the same key');
    back_to($off, $kept_off);
};

subtest 'damaged in both' => sub {
    my ($n) = grep { /\Q$wal[-2]\E/ } files_below("$off/app", qr{^wal/});
    flip_bit(wal($wal[-2]), 300);
    flip_bit("$off/app/$n", 300);
    $damages[0][1]->();
    my $json = $pgdr->json_fails('FINDINGS', 'verify', '--heal');
    my @objects = map { $_->{object} } @{ $json->{findings} };
    is(scalar(grep { /\Q$wal[-2]\E/ } @objects), 2, 'what nobody has whole stays a finding, in each') or diag(explain(\@objects));
    is(scalar(grep { /packs/ } @objects), 0, 'the rest is mended');
    back_to($main, $kept);
    back_to($off, $kept_off);
};

# As on the host that keeps the encrypted repository and has no passphrase.
subtest 'without the key' => sub {
    my $keeper = Pgdr->new(repo => $off, repo_options => { encryption => 'aes-256-gcm' });
    my $json = $keeper->json('verify', '--without-key');
    is($json->{checked}{objects}, scalar(my @all = files_below("$off/app", qr/./)), 'every object is read');
    my $said = $keeper->ok('verify', '--without-key', '-v');
    like($said->{out} . $said->{err}, qr/without the key it is not known whether/, 'it says what that does not reach');
    $keeper->fails('USAGE', qr/does not go with --heal/, 'verify', '--without-key', '--heal');
    $keeper->fails('CONFIG', qr/passphrase/, 'verify');
    my ($n)   = grep { /\Q$wal[-2]\E/ } files_below("$off/app", qr{^wal/});
    my $pack  = (files_below("$off/app", qr{^packs/}))[0];
    my ($key) = files_below("$off/keys", qr/\.2$/);
    my %harm = (
        'a bit of a pack'   => [ sub { flip_bit("$off/app/$pack", 4000) },                      qr{^\Q$pack\E$} ],
        'a pack cut off'    => [ sub { truncate_to("$off/app/$pack", 4000) },                   qr{^\Q$pack\E$} ],
        'a bit of WAL'      => [ sub { flip_bit("$off/app/$n", 300) },                          qr{^\Q$n\E$} ],
        'another kind'      => [ sub { spit("$off/app/$n", slurp("$off/app/$pack")) },          qr{^\Q$n\E$} ],
        'bytes behind'      => [ sub { spit("$off/app/$n", slurp("$off/app/$n") . 'x') },       qr{^\Q$n\E$} ],
        'nothing in a head' => [ sub { truncate_to("$off/app/backups/$early/manifest", 0) },    qr{\Q$early\E/manifest$} ],
        'a copy of the key' => [ sub { flip_bit("$off/keys/$key", 60) },                        qr{^keys/} ],
    );
    for my $name (sort keys %harm) {
        my ($do, $what) = @{ $harm{$name} };
        $do->();
        my $found = $keeper->json_fails('FINDINGS', 'verify', '--without-key');
        is(scalar(grep { $_->{object} =~ $what } @{ $found->{findings} }), 1, $name) or diag(explain($found->{findings}));
        back_to($off, $kept_off);
    }
};

subtest 'the other repository cannot be read' => sub {
    $damages[0][1]->();
    rename $off, "$off.away" or die;
    my $result = $pgdr->fails('NOT_FOUND', qr/\Q$off\E/, 'verify', '--heal');
    like($result->{out} . $result->{err}, qr/packs/, 'the damage is told all the same');
    rename "$off.away", $off or die;
    spit($passphrase, "another\n");
    $pgdr->fails('WRONG_KEY', qr/passphrase/, 'verify', '--heal', { env => { PGDR_KEY_CACHE => 'n' } });
    spit($passphrase, "a key for what lies outside\n");
    $pgdr->ok('verify', '--heal');
    back_to($main, $kept);
};

subtest 'killed anywhere, it mends the next time' => sub {
    my @some = map { $damages[$_][1] } 0, 5, 12;
    $_->() for @some;
    my $total = $pgdr->run('verify', '--heal', { fault => { fault_in($pgdr), action => 'count' } })->{calls};
    same_objects($main, $good, "mended, in $total calls");
    back_to($main, $kept);
    for my $at (map { int($total * $_ / 7) } 1 .. 6) {
        $_->() for @some;
        my $result = $pgdr->run('verify', '--heal', { fault => { fault_in($pgdr), action => 'kill', nth => $at } });
        is($result->{signal}, 9, "killed at call $at");
        $pgdr->ok('verify', '--heal');
        same_objects($main, $good, 'all is mended');
        back_to($main, $kept);
    }
};
done_testing;
