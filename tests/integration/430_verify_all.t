#@ once
# verify reads every byte that is stored: whatever object a bit is flipped in, a finding names it, and says
# what can no longer be restored by it, or that nothing needs it; which is then tried.

use strict;
use warnings;
use Test::More;

use Faults qw(fault_in small_node backups_of restore_state);
use Pgdr;
use PgNode;
use TestFile qw(slurp spit files_below flip_bit copy_tree);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_object wal_files tail_objects segment_of);

my $SEG  = 1 << 20;
my $node = small_node('primary');
my $pgdr = Pgdr->new(node => $node);
my $repo = $pgdr->folder;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');

# WAL before the first backup.
$node->mark('a');
my $early = $node->archive_all;
$node->archive_all;
$node->archive_all;
my $first = $pgdr->json('backup')->{backup};
$node->archive_all;
poll_until(sub { grep { /\.backup$/ } wal_files($pgdr) }, 'a .backup file') or BAIL_OUT('no .backup file');
my $b = $node->mark('b');
$node->archive_all;
$node->mark('c');
my $behind = $node->archive_all;
$node->mark('d');
$node->archive_all;

# A backup that was killed behind its last pack, which holds maps: nobody uses those.
my $puts = $pgdr->run('backup', { fault => { fault_in($pgdr), action => 'count', ops => 'link' } })->{calls};
my $unused;
for my $nth (3 .. $puts) {
    $pgdr->run('backup', '--type=full', { fault => { fault_in($pgdr), action => 'kill', ops => 'link', nth => $nth } });
    ($unused) = grep { my $f = $_; !grep { $f =~ /\Q$_\E/ } backups_of($pgdr) } files_below("$repo/app", qr{^packs/.*/m\d+$});
    last if $unused;
}
ok($unused, "a pack of no backup: $unused") or BAIL_OUT('no pack');

# WAL of the server that was not archived is saved: its last piece as a tail.
$node->mark('e');
$node->kill9;
my $segment = wal_object($pgdr, $behind);
my $stored  = slurp($segment);
$pgdr->ok('restore', '--delta', '--yes', "--target-xid=$b->{xid}");
$node->start;
$node->wait_promoted;
$node->mark('f2');
$pgdr->ok('backup', '--type=full');
$node->archive_all;
is(scalar(tail_objects($pgdr)), 1, 'a tail of the old timeline');
poll_until(sub { grep { /^00000002.*\.backup$/ } wal_files($pgdr) }, 'the second .backup file') or BAIL_OUT('no .backup file');

# WAL that was set aside, as `repo resolve` leaves it; an encrypted object cannot be moved by hand.
my @set_aside = Pgdr::in_s3() ? () : do {
    my ($system) = $segment =~ m{/wal/([^/]+)/};
    my ($name)   = $segment =~ m{([^/]+)$};
    my $dir      = "$repo/app/orphan/$system/there";
    mkdir $_ for "$repo/app/orphan", "$repo/app/orphan/$system", $dir;
    spit("$dir/$name", $stored);
    "$dir/$name";
};
$node->stop;
is_deeply($pgdr->json('verify')->{findings}, [], 'all is well');
my $clean = copy_tree($repo, "$repo.clean");

my ($two) = grep { $_ ne $first->{id} } reverse backups_of($pgdr);
my ($partial_tail) = tail_objects($pgdr);
my ($label) = grep { /^00000001.*\.backup$/ } wal_files($pgdr);
my ($lease) = map { "$repo/app/leases/$_" } files_below("$repo/app/leases", qr/./);
ok($lease, 'a lease of the one that was killed') or BAIL_OUT('no lease');

sub packed { my ($id, $what) = @_; return "$repo/app/" . (files_below("$repo/app", qr{^packs/\Q$id\E/.*/$what\d+$}))[0] }

# name => [object, what the finding says, whether a restore of everything succeeds all the same]
my $none = qr/; no backup needs it, and no recovery window$/;
my @objects = (
    [ 'a data pack',               packed($two, 'd'),                       qr/./ ],
    [ 'a map pack',                packed($two, 'm'),                       qr/./ ],
    [ 'a manifest',                "$repo/app/backups/$two/manifest",       qr/./ ],
    [ 'a packs list',              "$repo/app/backups/$two/packs",          qr/./ ],
    [ 'a summary',                 "$repo/app/backups/$two/summary",        qr/./ ],
    [ 'keys beside a backup',      "$repo/app/backups/$two/key",            qr/./, 1 ],
    [ 'a copy of the keys',        "$repo/" . (files_below($repo, qr{^keys/.*\.2$}))[0], qr/./, 1 ],
    [ 'WAL before the first backup', wal_object($pgdr, $early),             $none,  1 ],
    [ 'WAL of a backup',           wal_object($pgdr, segment_of(1, $first->{start_lsn}, $SEG)), qr/^cannot read/, 0,
        qr/^timeline 1: restorable with --target-timeline=1 only from backup \S+ on; timeline 2: / ],
    [ 'WAL behind the fork',       $segment,                                qr/^cannot read/, 1, qr{^timeline 1: restorable with --target-timeline=1 up to } ],
    [ 'a tail at the end of the old timeline', $partial_tail,               qr/^cannot read/, 1, qr{^timeline 1: restorable with --target-timeline=1 up to } ],
    [ 'a .backup file',            wal_object($pgdr, $label),               qr/; no restore needs it: it is PostgreSQL's note of a backup$/, 1 ],
    [ 'a history',                 wal_object($pgdr, '00000002.history'),   qr/^cannot read/ ],
    [ 'a pack that nobody uses',   "$repo/app/$unused",                     qr/; no backup uses it$/, 1 ],
    map({ [ 'WAL that was set aside', $_, qr/; no restore needs it: it is WAL that was set aside$/, 1 ] } @set_aside),
    [ 'a lease',                   $lease,                                  qr/; nothing is lost by it: a lease lapses by itself$/, 1 ],
);
for my $o (@objects) {
    my ($name, $path, $problem, $harmless, $windows) = @$o;
    (my $object = $path) =~ s{^\Q$repo\E/(?:app/)?}{};
    subtest $name => sub {
        flip_bit($path, int((-s $path) / 2));
        my $json = $pgdr->json_fails('FINDINGS', 'verify');
        my @found = grep { $_->{object} =~ /\Q$object\E$/ } @{ $json->{findings} };
        is(scalar(@found), 1, "one finding about $object") or diag(explain($json->{findings}));
        is(scalar(@{ $json->{findings} }), 1, '  and no other') or diag(explain($json->{findings})) if $harmless || $windows;
        like($found[0]{problem}, $problem, '  what it says');
        like(join('; ', @{ $found[0]{windows} }), $windows, '  which windows suffer') if $windows;
        is_deeply([ @{ $found[0]{windows} }, @{ $found[0]{backups} } ], [], '  and that nothing suffers') if $problem =~ /no|nothing/ && !$windows && $harmless;
        $json = $pgdr->json_fails('FINDINGS', 'verify', '--without-key');
        is(scalar(grep { $_->{object} =~ /\Q$object\E$/ } @{ $json->{findings} }), 1, '  without the key, too') if $object !~ /^leases/;
        if ($harmless) {
            my $to = temp_dir('all') . '/data';
            $pgdr->ok('restore', "--to=$to", { name => 'what nothing needs, no restore misses' });
        }
        restore_state($repo, $clean);
    };
}

subtest 'every object is read' => sub {
    my $json = $pgdr->json('verify');
    my $n = $json->{checked};
    my @files = files_below("$repo/app", qr/./);
    my @ids = backups_of($pgdr);
    my @of_backups = grep { my $f = $_; grep { $f =~ m{^backups/\Q$_\E/} } @ids } @files;
    is($n->{packs} + $n->{wal_segments} + $n->{other_objects} + @of_backups, scalar(@files), 'what is counted is what is there')
      or diag(explain($n), join "\n", @files);
    $json = $pgdr->json('verify', '--without-key');
    is($json->{checked}{objects}, scalar(@files), 'also without the key');
};

subtest 'one backup alone' => sub {
    # What it does not lead over is not looked at.
    flip_bit($_, 300) for wal_object($pgdr, $early), $segment, wal_object($pgdr, $label), "$repo/app/$unused", @set_aside;
    $pgdr->ok('verify', "--backup=$two");
    my $json = $pgdr->json_fails('FINDINGS', 'verify', "--backup=$first->{id}");
    is(join(' ', map { $_->{object} =~ m{([^/]+)$} } @{ $json->{findings} }), $segment =~ s{.*/}{}r, 'the older one leads over the old future')
      or diag(explain($json->{findings}));
    $pgdr->ok('verify', '--fast');
    restore_state($repo, $clean);
};

subtest 'what pgdr has not put there' => sub {
    mkdir "$repo/app/notes" or die;
    spit("$repo/app/notes/todo", "buy a disk\n");
    my $json = $pgdr->json('verify');
    is(join(' ', map { "$_->{severity} $_->{object}" } @{ $json->{findings} }), 'warning notes/todo', 'is a warning');
    restore_state($repo, $clean);
};
done_testing;
