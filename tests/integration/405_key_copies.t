#@ once
# The copies of the keys beside backups: should keys/ be lost, each of them alone opens all that was ever
# stored, by the passphrase that is in force and by no other one; wherever a change of the keys was
# interrupted, the next one completes them.

use strict;
use warnings;
use File::Path qw(remove_tree);
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit files_below tree_state copy_tree flip_bit);
use TestRun qw(temp_dir test_root);

my $dir = temp_dir('secrets');
my %passphrase;

for my $name (qw(old new newer)) {
    $passphrase{$name} = spit("$dir/$name", 'pgdr-key-' . join '', map { sprintf '%x', rand 16 } 1 .. 64);
    chmod 0600, "$dir/$name";
}

my $node = PgNode->init('primary', conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node, repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => $passphrase{old} });
my $repo = $pgdr->folder;
$pgdr->ok('init');
$node->enable_archiving($pgdr);
$node->start;
my $first = $pgdr->json('backup')->{backup}{id};
# What is archived from now on is under another data key than the backup.
$pgdr->ok('repo', 'rekey');
my $mark = $node->mark('under the second key');
my $second = $pgdr->json('backup')->{backup}{id};
$node->mark('at the end');
my $want = $node->fingerprint;
$node->archive_all;
$node->stop;

sub with { my ($name) = @_; $pgdr->set('repo main', 'passphrase-file' => $passphrase{$name}); return }
sub copies { return map { "$repo/app/backups/$_/key" } $first, $second }
sub folders { return scalar(my @found = glob "$repo/keys/*") }

# CODE runs while keys/ is lost, and all copies but that of one backup; with each of them in turn.
sub from_each_copy
{
    my ($code) = @_;
    rename "$repo/keys", "$dir/keys" or die;
    for my $id ($first, $second) {
        my @others = grep { !/$id/ } copies();
        rename $_, "$dir/other" or die for @others;
        $code->($id);
        rename "$dir/other", $_ or die for @others;
    }
    rename "$dir/keys", "$repo/keys" or die;
    return;
}

my $restores = 0;

# All rows are there: the WAL of all data keys was read.
sub restores
{
    my ($name) = @_;
    my $to = test_root() . '/to' . ++$restores;
    $pgdr->ok('restore', "--backup=$first", "--to=$to", { name => "$name: restore" }) or return;
    my $server = PgNode->from_datadir("restored$restores", $to);
    $server->start;
    $server->wait_promoted;
    is($server->fingerprint, $want, "$name: every row is back");
    $server->destroy;
    return;
}

# What each passphrase opens by the copies alone: "name of those that do".
sub copies_open
{
    my @open;
    from_each_copy(sub {
        my ($id) = @_;
        for my $name (qw(old new newer)) {
            with($name);
            my $info = $pgdr->run('info');
            push @open, $name if $info->ok;
            push @open, Pgdr::defect($info) || $info->describe if !$info->ok && $info->{rc} != Pgdr::exit_status('WRONG_KEY');
        }
    });
    return "@open";
}

# ---- a new data key ----

from_each_copy(sub { restores("keys/ is lost, the copy beside $_[0] is left") });
$pgdr->ok('init');
$pgdr->ok('verify');

# ---- a new passphrase ----

my $kept = copy_tree("$repo/app/backups/$first", "$dir/kept");
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{new}");
is(copies_open(), 'new new', 'all copies open by the new passphrase, and by it alone');
with('new');
from_each_copy(sub { restores("with the new passphrase, the copy beside $_[0] is left") if $_[0] eq $first });
my $verify = $pgdr->ok('verify');
unlike($verify->{err}, qr/lacks keys/, 'verify finds nothing wrong with them');

# Who has kept an old copy and the old passphrase can read what was there then: the page says so.
my ($now) = slurp((copies())[0]);
spit((copies())[0], slurp("$kept/key"));
is(copies_open(), 'old new', 'a copy that somebody has kept opens by the passphrase of its day');

# ---- a copy that is out of date, damaged or missing: verify says so, init mends it ----

with('new');
my $state = tree_state("$repo/keys");
my @cases = (
    ['out of date', sub { },                               qr/lacks keys of the repository, or has them under another passphrase/],
    ['damaged',     sub { flip_bit((copies())[0], 150) },  qr/key: .*SHA-256/],
    ['missing',     sub { unlink((copies())[0]) or die },  qr/spare copy of the keys is missing/]);
for my $case (@cases) {
    my ($what, $damage, $says) = @$case;
    $damage->();
    $verify = $pgdr->run('verify');
    like($verify->{out} . $verify->{err}, $says, "$what: verify says so");
    like($pgdr->ok('init')->{err}, qr/copies of the keys beside backups .* are complete now: 1/, "$what: init mends it");
    $verify = $pgdr->ok('verify');
    is($verify->{err}, '', "$what: then verify is content");
}
is(copies_open(), 'new new', 'all copies are complete');
with('new');
is(tree_state("$repo/keys"), $state, 'keys/ was left alone');
my $whole = tree_state($repo);
$pgdr->ok('init');
is(tree_state($repo), $whole, 'init does nothing when there is nothing to do');

# The last wrap of a key, which this passphrase does not open, is kept.
my ($id) = TestRun::run('zstd', '-dcqf', "$kept/key")->{out} =~ /"key":"(\w+)"/;
my $lost = "$repo/keys/$id";
spit((copies())[0], slurp("$kept/key"));
unlink +(copies())[1] or die;
rename $lost, "$dir/lost" or die;
$pgdr->run('init');
my $text = TestRun::run('zstd', '-dcqf', (copies())[0])->{out};
like($text, qr/"key":"\Q$id\E"/, 'what init cannot open it does not throw away');
rename "$dir/lost", $lost or die;
$pgdr->ok('init');
is(copies_open(), 'new new', 'and when the key is back, all copies are complete');

# ---- a change that is interrupted while it writes the copies ----

with('new');
my $clean = copy_tree($repo, "$dir/clean");
for my $action (Pgdr::unless_s3(qw(kill EIO))) {
    my @bad;
    my $runs = Pgdr::for_every_nth({ dir => "$repo/app", ops => 'rename', action => $action, $action eq 'EIO' ? (repeat => 1) : () }, sub {
        my ($with, $n) = @_;
        remove_tree($repo);
        copy_tree($clean, $repo);
        with('new');
        my $rekey = $pgdr->run('repo', 'rekey', "--new-passphrase-file=$passphrase{newer}", $with);
        return $rekey if !$rekey->{faults};
        my $opens = copies_open();
        push @bad, "call $n: the copies open by: $opens" if $opens !~ /^(new|newer) (new|newer)$/;
        push @bad, "call $n: " . $rekey->describe
          if $action eq 'EIO' && $rekey->{err} !~ /ERROR: .*; both passphrases open the repository$/m;
        for my $name (qw(new newer)) {
            with($name);
            my $info = $pgdr->run('info');
            push @bad, "call $n: $name: " . $info->describe if !$info->ok;
        }
        with('new');
        my $again = $pgdr->run('repo', 'rekey', "--new-passphrase-file=$passphrase{newer}");
        push @bad, "call $n: again: " . $again->describe if !$again->ok;
        $opens = copies_open();
        push @bad, "call $n: again: the copies open by: $opens" if $opens ne 'newer newer';
        return $rekey;
    });
    is(join("\n", @bad), '', "$action at each of $runs copies: nothing is lost, and the next one completes them");
}

done_testing;
