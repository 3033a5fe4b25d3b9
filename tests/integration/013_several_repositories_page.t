#@ folder the examples of the page name directories
# docs/several-repositories.md, followed to the letter.
#@ once
use strict;
use warnings;
use Test::More;

use DocPage;
use PgNode;
use TestFile qw(slurp spit append_to flip_bit);

my $page = DocPage->new('docs/several-repositories.md');
my $node = PgNode->init('main');
my $root = $page->machine($node);
my ($main, $offsite) = ("$root/srv/pgdr", "$root/mnt/offsite/pgdr");

# The backups that a repository has.
sub backups
{
    my ($repo) = @_;
    return scalar(() = glob "$repo/app/backups/*/summary");
}

$page->shell("(umask 077; pgdr keygen >$root/etc/pgdr/passphrase)");
my $text = $page->next_block('[repo offsite]');
my ($init, $check) = split /\n/, $page->next_block('pgdr init');
$page->set_up($root, $text, $init);
like($page->shell($check)->{out}, qr/repository main.*repository offsite/s, 'check looks at both');
$page->shell($page->next_block('backup --repo=main'));
is(backups($main) . backups($offsite), '11', 'a backup in each');
$page->shell('pgdr backup');
is(backups($main) . backups($offsite), '21', 'without --repo into the first');
like($page->shell('pgdr info')->{out}, qr/repository main.*repository offsite/s, 'info shows both');

# --- copy ---

my $copy = $page->next_block('repo copy');
$page->shell($copy);
is(backups($main) . backups($offsite), '23', 'it copies what is not there');
$page->shell($copy);
is(backups($main) . backups($offsite), '23', '... once');

# --- one is away ---

rename $offsite, "$offsite.away" or die;
$node->query('CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) AS n');
my $want = $node->fingerprint;
my $push = "$root/mnt/push";
my $file = $node->switch_wal;
my ($only) = $page->text =~ /`pgdr (archive-push --repo=main %p)`/ or die 'where is the command?';
append_to("$root/etc/postgresql/postgresql.conf", "archive_command = '" . $page->path_of('pgdr') . " $only'\n");
$page->shell("pg_ctl -s -D $root/etc/postgresql reload");
$node->archive_all;
like(join(' ', glob "$main/app/wal/*/*/*/$file-*"), qr/$file/, 'the other one has the segment');
is(TestRun::run('sh', '-c', "pgdr restore --to=$root/srv/copy", { env => $page->env })->{rc}, 20, 'a restore is refused');
$page->shell($page->next_block('restore --repo=main'));
rename "$offsite.away", $offsite or die;
is(join(' ', glob "$offsite/app/wal/*/*/*/$file-*"), '', 'there is a hole');
$page->shell($page->next_block('repo copy'));
like(join(' ', glob "$offsite/app/wal/*/*/*/$file-*"), qr/$file/, 'it is closed');

# --- one is damaged ---

my ($pack) = sort { -s $b <=> -s $a } glob "$main/app/packs/*/0/d*";
flip_bit($pack, int((-s $pack) / 2));
my ($wal) = glob "$main/app/wal/*/*/*/$file-*";
unlink $wal or die;
is(TestRun::run('sh', '-c', 'pgdr verify', { env => $page->env })->{rc}, 23, 'verify finds the damage');
$page->shell("pgdr restore --to=$root/srv/whole", 'a restore takes it from the other one');
$page->shell($page->next_block('verify --heal'));
$page->shell('pgdr verify');
ok(-e $wal, 'what was lost is there again');

$page->shell('systemctl stop postgresql');
$page->done;
done_testing;
