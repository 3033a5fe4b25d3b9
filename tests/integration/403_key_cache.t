#@ folder the cache of keys lies on this machine, whatever the repository is
# The key cache: what a stretched passphrase leaves behind is used when it is ours, right and readable, and
# never otherwise; a wrong passphrase is noticed at once, whatever is kept.
#@ once

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use Test::More;

use Pgdr;
use TestFile qw(slurp spit files_below tree_state flip_bit truncate_to copy_tree);
use TestRun qw(temp_dir test_root);

my $golden = "$ENV{PGDR_TEST_SOURCE}/tests/golden";
my $dir    = temp_dir('golden');
system('tar', '-C', $dir, '-xf', "$golden/v1.tar") == 0 or die 'cannot unpack';
my $repo = "$dir/encrypted";

sub passphrase
{
    my ($text) = @_;
    spit("$dir/passphrase", "$text\n");
    chmod 0600, "$dir/passphrase";
    return "$dir/passphrase";
}

my $right = 'the new passphrase';
my $pgdr = Pgdr->new(repo => $repo, repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => passphrase($right) });
$pgdr->set('cluster app', spool => temp_dir('spool'));
my $runtime = temp_dir('runtime');
my $cache   = "$runtime/pgdr";

# Stretching takes 128 MiB: that tells whether it was done.
sub opens
{
    my ($name, $want) = @_;
    my $result = $pgdr->ok('info', { env => { XDG_RUNTIME_DIR => $runtime }, name => $name });
    is($result->{err}, '', "$name: in silence");
    is(($result->{peak_kb} > 100_000 ? 'stretched' : 'cached'), $want, "$name: $want") or diag("$result->{peak_kb} KiB");
    return;
}

sub refused
{
    my ($name) = @_;
    $pgdr->fails('WRONG_KEY', qr/passphrase does not fit/, 'info', { env => { XDG_RUNTIME_DIR => $runtime }, name => $name });
    return;
}

sub fresh { remove_tree($cache); opens('the first time', 'stretched'); opens('the second time', 'cached'); return }

# ---- what is kept ----

fresh();
is(sprintf('%04o', (stat $cache)[2] & 07777), '0700', 'the folder is its owner\'s alone');
my @files = files_below($cache);
is(scalar(@files), 1, 'one key is kept');
is(sprintf('%04o', (stat "$cache/$files[0]")[2] & 07777), '0600', 'and so is the file');
unlike(slurp("$cache/$files[0]"), qr/passphrase/, 'the passphrase is not in it');

# ---- a passphrase that is wrong is not covered by it ----

passphrase('another passphrase');
refused('a wrong passphrase');
passphrase($right);
opens('the right one again', 'cached');

# ---- damaged, cut off, empty, too long, somebody's link, not readable: as if it were not there ----

my $file = "$cache/$files[0]";
my $good = slurp($file);
for my $case (
    ['a bit of the key', sub { flip_bit($file, 3) }],
    ['a bit of its check', sub { flip_bit($file, 40) }],
    ['cut off', sub { truncate_to($file, length($good) - 1) }],
    ['empty', sub { spit($file, '') }],
    ['zeros', sub { spit($file, "\0" x length $good) }],
    ['not readable', sub { chmod 0, $file }],
    ['a folder', sub { unlink $file; mkdir $file }],
    ['a link to a good one', sub { unlink $file; spit("$dir/elsewhere", $good); symlink "$dir/elsewhere", $file }],
    ['a link to nothing', sub { unlink $file; symlink "$dir/nowhere", $file }],
  ) {
    my ($name, $damage) = @$case;
    $damage->();
    opens($name, 'stretched');
    ok(!-e "$dir/nowhere", "$name: nothing is written elsewhere");
    remove_tree($file) if -d $file && !-l $file;
    fresh() if !-f $file || -l $file || slurp($file) ne $good;
    opens("$name: then it is whole again", 'cached');
    $good = slurp($file);
}

# ---- a folder that others can read, or that is none ----

chmod 0755, $cache;
opens('a folder that others can read is not used', 'stretched');
chmod 0700, $cache;
opens('until it is closed', 'cached');
rename $cache, "$runtime/other" or die;
symlink "$runtime/other", $cache;
opens('nor is a link in its place', 'stretched');
unlink $cache;
spit($cache, 'a file');
opens('nor a file', 'stretched');
is(slurp($cache), 'a file', 'which is left alone');
unlink $cache;
rename "$runtime/other", $cache or die;
chmod 0500, $cache;
opens('a folder that cannot be written is read', 'cached');
chmod 0700, $cache;

# ---- stale ----

# A cached key is of one wrap's salt: after a change of the passphrase there is another one.
spit("$dir/newer", "a newer passphrase\n");
chmod 0600, "$dir/newer";
$pgdr->ok('repo', 'rekey', '--keep-key', "--new-passphrase-file=$dir/newer", { env => { XDG_RUNTIME_DIR => $runtime } });
refused('the old passphrase, whose key is still kept');
passphrase('a newer passphrase');
my $result = $pgdr->ok('info', { env => { XDG_RUNTIME_DIR => $runtime } });
opens('the new one', 'cached');

# With a command the passphrase is asked for once an hour.
$pgdr->set('repo main', 'passphrase-file' => undef, 'passphrase-command' => "echo asked >>$dir/asked; cat $dir/passphrase");
opens('a command: the key is young', 'cached');
ok(!-e "$dir/asked", 'so nobody is asked');
utime time - 3700, time - 3700, glob "$cache/*";
opens('it is old', 'cached');
is(slurp("$dir/asked"), "asked\n", 'so the command is asked whether the passphrase is still the same');
utime time + 3700, time + 3700, glob "$cache/*";
unlink "$dir/asked";
opens('it is of the future', 'cached');
ok(-e "$dir/asked", 'which is no better');
passphrase('a wrong one');
utime time - 3700, time - 3700, glob "$cache/*";
refused('the command gives another passphrase now');
passphrase('a newer passphrase');

# Nothing is kept when that is asked for.
remove_tree($cache);
$pgdr->set('repo main', 'key-cache' => 'no');
opens('without a cache', 'stretched');
opens('without a cache, again', 'stretched');
ok(!-e $cache, 'and nothing is kept');

done_testing;
