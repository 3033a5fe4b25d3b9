#@ folder the examples of the page name directories
# docs/encryption.md, followed to the letter: set-up, the ways to give a passphrase, a new one, and each
# loss that the page says can be survived.
#@ once
use strict;
use warnings;
use Test::More;

use DocPage;
use File::Copy qw(copy);
use PgNode;
use TestFile qw(slurp spit);

my $page = DocPage->new('docs/encryption.md');
my $node = PgNode->init('main');
my $root = $page->machine($node);
my $file = "$root/etc/pgdr/passphrase";
my $conf = "$root/etc/pgdr/pgdr.conf";

sub is_wrong_key
{
    my ($command, $what) = @_;
    my $result = TestRun::run('sh', '-c', $command, { env => $page->env });
    is($result->{rc}, 14, $what) or diag($result->describe);
    return;
}

sub verify_finds
{
    my ($re, $what) = @_;
    my $result = TestRun::run('sh', '-c', 'pgdr verify', { env => $page->env });
    like("$result->{rc} $result->{out}", qr/\A23 .*$re/s, $what) or diag($result->describe);
    return;
}

# --- setting it up ---

$page->shell($page->next_block('pgdr keygen'));
like(slurp($file), qr/\Apgdr-key-[0-9a-f]{64}\n\z/, 'a passphrase of 256 bits');
is((stat $file)[2] & 07777, 0600, '... for its owner alone');
my $text = $page->next_block('[repo main]');
my ($init, $check) = split /\n/, $page->next_block('pgdr init');
$page->set_up($root, $text, $init);
$page->shell($check);
$page->shell('pgdr backup');
$page->shell('pgdr verify');

# --- the ways to give it ---

chomp(my $passphrase = slurp($file));
my @ways = ("passphrase-command = cat $file\n", '', '');
my @env  = ('', "PGDR_PASSPHRASE=$passphrase", "PGDR_REPO_MAIN_PASSPHRASE=$passphrase");
for my $i (0 .. 2) {
    (my $other = $text) =~ s/^passphrase-file.*\n/$ways[$i]/m;
    spit($conf, $other);
    my $how = $ways[$i] ? 'passphrase-command' : $env[$i] =~ s/=.*//r;
    $page->shell("$env[$i] pgdr info", $how);
}
spit($conf, $text);
chmod 0644, $file;
like($page->shell('pgdr info')->{err}, qr/WARNING: everybody can read the passphrase/, 'it warns of an open file');
chmod 0600, $file;
like(TestRun::run('sh', '-c', "pgdr info --passphrase=x", { env => $page->env })->{err}, qr/would show its value to every user/,
    'no passphrase on the command line');

# --- keys: the first block is a drawing ---

$page->next_block('wrapping key');
my @copies = glob "$root/srv/pgdr/keys/*/*";
is(scalar @copies, 3, 'three copies of the key');
is(scalar(() = glob "$root/srv/pgdr/app/backups/*/key"), 1, '... and one beside the backup');
unlink $copies[0] or die;
spit($copies[1], 'damaged');
$page->shell('pgdr info', 'one good copy is enough');
verify_finds(qr/this copy of the key is missing.*'pgdr init' writes the others again/s, '... and verify says so');
$page->shell('pgdr init');
$page->shell('pgdr verify', 'init writes the others again');

# --- a new passphrase and data key ---

copy($file, "$root/old") or die;
my $rekey = $page->next_block('repo rekey');
my ($mv) = $rekey =~ /^(mv .*)$/m or die 'where is the mv?';
$rekey =~ s/^mv .*\n//m;
$page->shell($rekey);
is_wrong_key('pgdr info', 'the old passphrase does not open it');
$page->shell($mv);
$page->shell('pgdr check && pgdr backup && pgdr verify');
is(scalar(() = glob "$root/srv/pgdr/keys/*"), 2, 'there are two data keys');
spit("$root/other", "no passphrase of mine\n");
is_wrong_key("pgdr --passphrase-file=$root/other info", 'a wrong passphrase is told from damage');

# --- losses ---

my ($first, $second) = map { m{([^/]+)$} } sort { -M $b <=> -M $a } glob "$root/srv/pgdr/keys/*";
rename "$root/srv/pgdr/keys", "$root/keys" or die;
like($page->shell('pgdr check', 'without keys/ the copies beside the backups serve')->{err},
    qr/WARNING: the 'keys' folder .* is empty.*HINT: 'pgdr init'/s, '... with a warning');
verify_finds(qr/all copies of the key are missing.*the copies beside the backups are used/s, '... and verify says so');
my (undef, $newer) = glob "$root/srv/pgdr/app/backups/*";
rename "$newer/key", "$root/newer.key" or die;
$page->shell("pgdr restore --type=immediate --to=$root/srv/old", 'the copy beside an older backup opens all, by the new passphrase');
is_wrong_key("pgdr --passphrase-file=$root/old info", '... and not by the old one');
rename "$root/newer.key", "$newer/key" or die;
$page->shell('pgdr init');
is(scalar(() = glob "$root/srv/pgdr/keys/*/*.1"), 2, 'init writes keys/ anew');
$page->shell('pgdr check && pgdr backup');
$page->shell('pgdr verify');

for my $lost ($first, $second) {
    rename "$root/srv/pgdr/keys/$lost", "$root/$lost" or die;
    verify_finds(qr/written under key $lost, .*'pgdr init' looks for a copy/,
        'a part of keys/ is lost, and what to do is said');
    $page->shell('pgdr init');
    $page->shell('pgdr check && pgdr verify', '... then it is there again');
}
rename "$root/srv/pgdr/keys/$first", "$root/$first.again" or die;
$page->shell('pgdr repo rekey');
is(scalar(() = glob "$root/srv/pgdr/keys/*/*.1"), 3, 'rekey completes keys/, too');
$page->shell('pgdr check && pgdr backup && pgdr verify');
$page->shell("pgdr restore --to=$root/srv/copy");

# --- without stretching there is no cache; with it there is ---

(my $weak = $text) =~ s{/pgdr$}{/weak}m;
$weak =~ s/^passphrase-file.*\n/passphrase = correct horse\n/m;
spit("$root/etc/pgdr/weak.conf", $weak);
chmod 0600, "$root/etc/pgdr/weak.conf";
mkdir "$root/run" or die;
chmod 0700, "$root/run";
$page->set_env(XDG_RUNTIME_DIR => "$root/run");
$page->shell('pgdr info');
is(join(' ', glob "$root/run/pgdr/*"), '', 'a passphrase of keygen is not cached');
$page->shell("pgdr --config=$root/etc/pgdr/weak.conf --no-key-cache init");
is(join(' ', glob "$root/run/pgdr/*"), '', 'without the key cache nothing is');
$page->shell("pgdr --config=$root/etc/pgdr/weak.conf info");
isnt(join(' ', glob "$root/run/pgdr/*"), '', 'a passphrase that people think of is');
is((stat "$root/run/pgdr")[2] & 07777, 0700, '... for its user alone');
spit("$root/etc/pgdr/weak.conf", $weak =~ s/horse/house/r);
is_wrong_key("pgdr --config=$root/etc/pgdr/weak.conf info", 'the cache serves for its own passphrase only');

$page->shell('systemctl stop postgresql');
$page->done;
done_testing;
