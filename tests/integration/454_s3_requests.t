#@ folder it has a gateway of its own
#@ once
# What the documentation says of requests to S3 is true: how many each command makes, that those which
# do not depend on each other do not wait for each other, and that connections are kept.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Rgw;
use S3Proxy;
use TestFile qw(slurp);
use TestRun qw(temp_dir);

my $rgw   = Rgw->start;
my $proxy = S3Proxy->new($rgw->value('PLAIN'));
my %repo  = $rgw->repo($rgw->bucket('requests'), $proxy->url);
my %near  = $rgw->repo('requests');
my $node  = PgNode->init('primary', wal_segsize => 1);
my $pgdr  = Pgdr->new(node => $node, repo => delete $repo{url}, repo_options => \%repo);
my $near  = Pgdr->new(node => $node, repo => delete $near{url}, repo_options => \%near);
my $docs  = slurp("$ENV{PGDR_TEST_SOURCE}/docs/s3.md");
my $file  = temp_dir('fetch') . '/file';
$node->enable_archiving($near);
$node->start;
$near->ok('init');
$node->query('CREATE TABLE t AS SELECT generate_series(1, 1000) n');
my $archived = $node->archive_all;
my $data     = $node->data_dir;

# Runs a command; its requests by kind, and the TestRun::Result.
sub requests
{
    my ($delay, @args) = @_;
    $proxy->set(delay => $delay);
    my $result = $pgdr->run(@args);
    my %n = (all => scalar $proxy->requests);
    for ($proxy->requests) {
        $n{/^GET \S+\?/ ? 'list' : /^GET / ? 'get' : /^PUT / ? 'put' : 'other'}++;
    }
    return (\%n, $result);
}

# "5 (3 lists, 1 get, 1 put)" as in the table of the documentation.
sub summary
{
    my ($n) = @_;
    my @kinds = map { $n->{$_} ? "$n->{$_} $_" . ($n->{$_} > 1 ? 's' : '') : () } qw(list get put other);
    return "$n->{all} (" . join(', ', @kinds) . ')';
}

sub documented
{
    my ($what) = @_;
    my ($said) = $docs =~ /^\| \Q$what\E \| (\d+ \([^)]*\))/m or return 'nothing';
    return $said;
}

my $segment = $node->query('SELECT pg_walfile_name(pg_switch_wal())');
$near->ok('archive-push', "pg_wal/$segment", { cwd => $data });
for my $case (
    ['archive-push of a segment',                    'archive-push', "pg_wal/$segment"],
    ['archive-get of a segment',                     'archive-get',  $segment, $file],
    ['archive-get of one that is not there',         'archive-get',  '0000000100000000000000AA', $file],
    ['archive-get of a .history that is not there',  'archive-get',  '00000002.history', $file])
{
    my ($what, @args) = @$case;
    my ($n, $result) = requests(0, @args, { cwd => $data });
    is(summary($n), documented($what), $what);
    is($result->{rc}, $what =~ /not there/ ? 1 : 0, 'and its status') or diag($result->describe);
}

# Three of the five requests of an archive-get wait 700 ms each, one beside the other.
unlink $file;
my ($n, $result) = requests(700, 'archive-get', $segment, $file, { cwd => $data });
ok($result->ok && -s $file, 'a distant archive-get') or diag($result->describe);
cmp_ok($result->{seconds}, '>', 1.4, 'needs two round trips');
cmp_ok($result->{seconds}, '<', 3.4, 'and not five');

(undef, $result) = requests(0, 'backup', '--verbose');
my ($made, $over) = $result->{err} =~ /(\d+) requests over (\d+) connections/;
ok($result->ok && $made > 20 && $over <= 6, "a backup's connections are kept: @{[$made // '']} requests over @{[$over // '']}")
  or diag($result->describe);

# Nothing of it depends on how much is stored: a listing for each prefix, and the ends of windows.
($n, $result) = requests(0, 'info');
ok($result->ok, 'info') or diag($result->describe);
is(summary($n), documented('info of a cluster with one backup'), 'info of a cluster with one backup');

# What is asked of each segment, and of each backup, is not asked one after the other.
$near->ok('backup');
$node->query('SELECT pg_switch_wal() FROM (SELECT pg_create_restore_point($$x$$)) p') for 1 .. 24;
$node->archive_all;
my $to = temp_dir('planned') . '/to';
($n, $result) = requests(200, 'restore', '--dry-run', "--to=$to");
ok($result->ok && $n->{all} > 35, "the plan of a restore: $n->{all} requests") or diag($result->describe);
cmp_ok($result->{seconds}, '<', 0.2 * ($n->{all} - 8), 'of them many at once');

done_testing;
