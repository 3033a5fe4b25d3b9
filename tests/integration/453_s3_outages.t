#@ folder it has a gateway of its own
#@ timeout 1200
#@ once
# S3 as it is in the long run: rights that are as narrow as docs/s3.md says, credentials that are used
# up, a gateway that is killed in the middle of a backup and of a restore, a bucket that is full, and
# uploads in parts that break off.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Rgw;
use S3Proxy qw(%transient %final);
use TestFile qw(slurp);
use TestRun qw(poll_until run temp_dir test_root);

my $rgw    = Rgw->start;
my $bucket = $rgw->bucket('outages');
my $proxy  = S3Proxy->new($rgw->value('PLAIN'));
my $node   = PgNode->init('primary', wal_segsize => 1);

sub repository
{
    my (%repo) = @_;
    return Pgdr->new(node => $node, repo => delete $repo{url}, repo_options => \%repo);
}

my $direct = repository($rgw->repo("$bucket/main"));
$node->enable_archiving($direct);
$node->start;
$node->query("CREATE TABLE t AS SELECT n, md5(n::text) AS a FROM generate_series(1, 200000) n");
$direct->ok('init');
$direct->ok('backup');
my $data = $node->data_dir;

# ---- rights: the policies of the documentation, word for word ----

my $docs = slurp("$ENV{PGDR_TEST_SOURCE}/docs/s3.md");
sub limited
{
    my ($who) = @_;
    my ($policy) = $docs =~ /^### \Q$who\E\n.*?(^    \{.*?^    \}\n)/ms or BAIL_OUT("no policy for $who");
    $policy =~ s{BUCKET}{$bucket}g;
    $policy =~ s{/PREFIX/}{/main/}g;
    return repository($rgw->repo("$bucket/main", 'STS'), $rgw->session($policy));
}

my $segment = $node->switch_wal;
my $archiver = limited('The server: archive-push and archive-get');
$archiver->ok('archive-push', "pg_wal/$segment", { cwd => $data });
my $file = temp_dir('fetch') . '/file';
$archiver->ok('archive-get', $segment, $file, { cwd => $data });
my $backer = limited('Backups');
$backer->ok('check');
$backer->ok('backup');
my $reader = limited('Restore, info and verify');
$reader->ok('info');
$reader->ok('restore', '--to=' . test_root() . '/by-reader', '--type=immediate');
$reader->ok('verify');
$reader->fails('ACCESS', qr/HINT: allow .* s3:PutObject/, 'backup');

# ---- no room ----

my $small = $rgw->bucket('small', 'small');
my %small = (
    $rgw->repo("$small/repo"), 's3-key' => $rgw->value('SMALL_KEY'), 's3-secret' => $rgw->value('SMALL_SECRET'));
my $tight = repository(%small);
$tight->ok('init');
$rgw->quota(4096);
# The gateway looks at what is stored now and then.
my $result;
$segment = $node->switch_wal;
poll_until(
    sub {
        $result = $tight->run('archive-push', "pg_wal/$segment", { cwd => $data });
        return !$result->ok;
    },
    'the quota is enforced');
is($result->{rc}, Pgdr::exit_status('NO_SPACE'), 'a full bucket');
like($result->{err}, qr/QuotaExceeded.*HINT: /s, 'is named');
$rgw->quota(1 << 30);
poll_until(sub { $tight->run('archive-push', "pg_wal/$segment", { cwd => $data })->ok }, 'the quota is lifted');
unlink $file;
$tight->ok('archive-get', $segment, $file, { cwd => $data });

# ---- credentials that are used up ----

my %used = $rgw->session;
my $late = repository($rgw->repo("$bucket/main", 'STS'), %used, 's3-token' => $used{'s3-token'} =~ s/A/B/r);
$late->fails('CONFIG', qr/400 InvalidArgument.*HINT: .*s3-token/s, 'info');
$proxy->set(action => 'refuse', arg => '400 ExpiredToken', nth => 1, times => 0);
repository($rgw->repo("$bucket/main", $proxy->url))
  ->fails('AUTH', qr/ExpiredToken.*HINT: the temporary credentials are no longer valid/s, 'info');
$proxy->set;

# ---- the gateway dies and comes back ----

my $through = repository($rgw->repo("$bucket/main", $proxy->url));
sub survives
{
    my ($what, $after, @args) = @_;
    $proxy->set(delay => 30);
    my $process = $through->start(@args);
    poll_until(sub { $proxy->requests >= $after }, "$what has made $after requests") or return fail("$what: too quick");
    ok($process->running, "$what is under way");
    $rgw->kill;
    my $seen = $proxy->requests;
    poll_until(sub { $proxy->requests > $seen + 2 }, "$what meets no gateway");
    $rgw->restart;
    my $result = $process->wait;
    ok($result->ok, "$what outlives the gateway's death") or diag($result->describe);
    $proxy->set;
    return;
}
survives('a backup', 8, 'backup');
my $want = $node->fingerprint;
my $mark = $node->mark('the end');
$node->archive_all;
my $to = test_root() . '/restored';
survives('a restore', 20, 'restore', "--to=$to");
$node->stop;
my $copy = PgNode->from_datadir('copy', $to);
$copy->start;
$copy->wait_promoted;
is($copy->query('SELECT count(*), sum(n) FROM t'), '200000|20000100000', 'all rows are there');
$copy->check_amcheck;
$copy->stop;
ok($direct->json('verify')->{ok}, 'and all that is stored is whole');

# ---- uploads in parts ----

my $program = "$ENV{PGDR_TEST_STAGE}/test_s3";
my %env = ($rgw->env, PGDR_TEST_S3_BUCKET => $bucket, PGDR_TEST_S3_PLAIN => $proxy->url);
my @changing = (match => '^(?:POST|PUT|DELETE)');
for my $what ('answer lost', 'connection dropped', '500 InternalError', '200 with an error in it') {
    my @bad;
    my $runs = $proxy->for_every_nth(
        { %{ $transient{$what} }, @changing },
        sub {
            my ($n) = @_;
            my $result = run($program, 'large', { env => \%env });
            push @bad, "request $n: " . $result->describe if !$result->ok;
        });
    ok($runs >= 5 && !@bad, "parts: $what, $runs times") or diag(@bad);
}
my @left_by_loss = $rgw->uploads($bucket);
cmp_ok(scalar @left_by_loss, '<=', 1, 'only an upload whose very name was lost is left');
{
    my @bad;
    my $runs = $proxy->for_every_nth(
        { %{ $final{'403 AccessDenied'}[0] }, match => '^(?:POST|PUT)' },
        sub {
            my ($n) = @_;
            my $result = run($program, 'large', { env => \%env });
            push @bad, "request $n: " . $result->describe
              if ($proxy->counts)[1] && ($result->ok || $result->{err} !~ /AccessDenied/);
        });
    ok($runs >= 5 && !@bad, "parts: refused, $runs times") or diag(@bad);
}
is(scalar $rgw->uploads($bucket), scalar @left_by_loss, 'an upload that fails is aborted');

done_testing;
