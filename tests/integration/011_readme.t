#@ folder the examples of the page name directories
#@ once
# README.md, followed to the letter by somebody who has never seen pgdr, on a server that is set up as
# Debian does it: its configuration is not in the data directory.
use strict;
use warnings;
use Test::More;

use DocPage;
use File::Basename qw(basename dirname);
use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to);
use TestRun qw(poll_until);

my $page   = DocPage->new('README.md');
my $node   = PgNode->init('main');
my $root   = $page->machine($node);
my $conf   = "$root/etc/postgresql";
my $pgdr   = $page->path_of('pgdr');
my $prefix = dirname(dirname(Pgdr::program()));
my $copy_port = PgNode::free_port();
$page->replace('port=5433' => "port=$copy_port", '-p 5433' => "-p $copy_port");

# --- installation: ./check and make distcheck build; here is what they leave ---

$page->next_block('./quickstart');
my $install = $page->next_block('apt-get install');
my ($list) = $install =~ /\$\((.*)\)/ or die 'where is the list of packages?';
like(qx(cd '$ENV{PGDR_TEST_SOURCE}' && $list), qr/^libzstd-dev$/m, 'the list of packages');
ok(-f "$prefix/$_", "$_ is installed")
  for 'bin/pgdr', 'share/man/man1/pgdr.1', 'share/bash-completion/completions/pgdr',
  (map { "share/doc/pgdr/examples/pgdr.$_" } qw(conf.sample cron)),
  (map { ("lib/systemd/system/pgdr-$_.service", "lib/systemd/system/pgdr-$_.timer") } qw(backup verify));

SKIP: {
    skip 'systemd-analyze is not installed', 1 if system('command -v systemd-analyze >/dev/null 2>&1');
    # The units, with a program that exists; a page of the manual that is not installed here is no fault.
    my $units = "$root/units";
    mkdir $units or die;
    for my $unit (glob "$prefix/lib/systemd/system/pgdr-*") {
        my $text = slurp($unit);
        $text =~ s{^(ExecStart=)\S+/pgdr\b}{$1/bin/true}mg;
        $text =~ s{^Documentation=.*\n|^User=.*\n}{}mg;
        spit($units . '/' . basename($unit), $text);
    }
    is(qx(systemd-analyze verify $units/* 2>&1), '', 'systemd takes the units');
}

# --- set-up ---

my $config = $page->next_block('[repo main]');
spit("$root/etc/pgdr/pgdr.conf", $config);
$page->shell('pgdr config');
$page->shell('systemctl start postgresql');
$page->shell($page->next_block('pgdr init'));
append_to("$conf/postgresql.conf", $page->next_block('archive_mode'));
$page->shell('systemctl restart postgresql');
$page->shell($page->next_block('pgdr check'));
$page->shell($page->next_block('pgdr backup'));

$page->shell($page->next_block('pgdr.cron'));
my @jobs = slurp("$root/etc/cron.d/pgdr") =~ /^[0-9*]+ [0-9*]+ \S+ \S+ \S+\s+postgres\s+(.+)/mg;
is(scalar @jobs, 2, 'the cron file has two jobs');
for my $unit (map { "$prefix/lib/systemd/system/pgdr-$_.service" } qw(backup verify)) {
    my @commands = slurp($unit) =~ /^ExecStart=(.+)/mg;
    ok(scalar @commands, "$unit does something");
    push @jobs, @commands;
}
for my $job (@jobs) {
    ok($job =~ s{/\S+/bin/pgdr\b}{$pgdr}g, "a job with pgdr's whole path");
    my $result = $page->shell($job);
    is($result->{out} . $result->{err}, '', '... says nothing');
}
my @backups = glob "$root/srv/pgdr/app/backups/*";
cmp_ok(scalar @backups, '>=', 3, 'the jobs took backups');
# The page shows two.
system('rm', '-rf', $_) for @backups[2 .. $#backups];

$node->query('CREATE ROLE backup LOGIN');
my $grant = $page->next_block('GRANT');
if (PgNode::version() < 15) {
    for my $name (qw(start stop)) {
        my ($old) = $page->text =~ /`(pg_${name}_backup\([^`]*\))`/ or die "no pg_${name}_backup";
        $grant =~ s/pg_backup_$name\([^)]*\)/$old/ or die "no pg_backup_$name";
    }
}
$node->query($grant);
$page->shell('pgdr --user=backup check');
$page->shell('pgdr --user=backup backup');
system('rm', '-rf', (glob "$root/srv/pgdr/app/backups/*")[-1]);

$page->shell($page->next_block('pgdr keygen'));
(my $encrypted = $config) =~ s{/pgdr$}{/encrypted}m or die 'where is the url?';
my $settings = $page->next_block('encryption =');
$encrypted =~ s/^(url = .*\n)/$1$settings/m;
spit("$root/etc/pgdr/encrypted.conf", $encrypted);
$page->shell("pgdr --config=$root/etc/pgdr/encrypted.conf init");
$page->shell("pgdr --config=$root/etc/pgdr/encrypted.conf backup --archive-timeout=1s || exit 0", 'a backup whose WAL goes elsewhere');
like(join(' ', glob "$root/srv/encrypted/keys/*/*"), qr/\.1 /, 'it has keys');

# --- the disaster ---

$node->query('CREATE DATABASE app');
$node->query('CREATE TABLE orders AS SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n', db => 'app');
my $want = $node->fingerprint;
$node->query('SELECT pg_sleep(0.02)');
my $when = $node->query(q{SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')});
$node->query('SELECT pg_sleep(0.02)');
$node->query('DROP TABLE orders', db => 'app');
my $dropped = $node->query(q{SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')});
$node->archive_all;
$page->replace('2026-11-23 02:59:00+00' => $when);

$page->transcript($page->next_block('pgdr info'));
$page->transcript($page->next_block('--dry-run'));
ok(!-e "$root/srv/copy", 'nothing was made');
my @said = $page->transcript($page->next_block('install -d'));
my $start = $page->next_block('pg_ctl start');
my ($hint) = $said[-1] =~ /^  (\S*pg_ctl start .*)$/m;
s{^.*?(?=pg_ctl start)}{}s, s{'}{}g for my ($typed, $told) = ((split /\n/, $start)[0], $hint // '');
$told =~ s/CONF\b/$conf/;
$told =~ s/PORT\b/$copy_port/;
is($told, $typed, 'the restore ended with the command that the page has next');
$page->transcript($start);
poll_until(sub { slurp("$root/srv/copy/start.log") =~ /archive recovery complete/ }, 'the copy has replayed');
poll_until(sub { ($page->typed("psql -p $copy_port -Atc 'select pg_is_in_recovery()'"))[1] eq "f\n" }, 'and is open');
$page->transcript($page->next_block('pg_is_in_recovery'));
like(slurp(TestRun::test_root() . '/orders.sql'), qr/^COPY public\.orders /m, 'the table is fetched from the copy');
is($node->query('SELECT count(*) FROM pg_tables WHERE tablename = $$orders$$', db => 'app'), 0, '... only');
$page->shell("pg_ctl -s -w -D $root/srv/copy stop");

# Something that is not archived yet, in one segment.
$node->query('CREATE TABLE not_archived AS SELECT 1 AS one');
poll_until(sub { !glob $node->data_dir . '/pg_wal/archive_status/*.ready' }, 'nothing waits to be archived');
$page->transcript($page->next_block('--delta'));
$node->wait_promoted;
is($node->fingerprint, $want, 'the cluster is as it was');
$node->wait_for_log(qr/archive recovery complete/, 0);
$page->shell('pgdr check && pgdr backup');

# "What it did before is not lost."
$page->shell("pgdr restore --target-time='$dropped' --to=$root/srv/later");
like($page->shell("pgdr restore --target-time='$dropped' --to=$root/srv/again --dry-run --output=json")->{out},
    qr/"timeline":\s*1\b/, 'the life before the restore can be reached');
$page->done;
done_testing;
