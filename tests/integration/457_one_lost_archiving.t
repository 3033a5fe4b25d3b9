#@ timeout 1800
#@ once
#@ folder it has a gateway of its own
# One of two repositories is lost while WAL is archived into both: in the middle of a push, and for longer,
# under load. The other one gets every segment all the same, and a backup too; when the lost one is made
# anew, archiving goes on into both, and the next backup into it is whole.

use strict;
use warnings;
use Test::More;

use Faults qw(sweeps_all small_node held_at calls_of);
use LostRepo;
use PgNode;
use Pgdr;
use Recovery qw(restored check_cluster);
use Rgw;
use TestFile qw(slurp);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(segment_plus);

my $rgw  = Rgw->start;
my $node = small_node('primary', conf => "autovacuum = off\nwal_keep_size = 1GB\narchive_timeout = 0\n");
my $data = $node->data_dir;
my $size = 1 << 20;
# Set to nothing, it leaves all to be archived.
$node->enable_archiving('');
$node->start;
$node->query('CREATE TABLE t(i int, a text)');

sub archives_with
{
    my ($command) = @_;
    $node->append_conf("archive_command = '$command'");
    $node->restart;
    return;
}

# A segment with some rows.
sub write_segment
{
    $node->query("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 500) i");
    return $node->switch_wal;
}

# Whether this repository alone gives the segments that the server has.
sub gives
{
    my ($pgdr, $name, @segments) = @_;
    for my $segment (@segments) {
        my $to     = temp_dir('got') . '/file';
        my $result = $pgdr->run('archive-get', "--repo=$name", $segment, $to, { cwd => $data });
        return "$segment: " . $result->describe if !$result->ok;
        return "$segment: other bytes" if slurp($to) ne slurp("$data/pg_wal/$segment");
    }
    return 'all';
}

# ---- one push ----

# The repository is lost when the push has come so far in one of the two.
sub lost_in_push
{
    my ($pgdr, $repo, $victim, $way, $in, $part) = @_;
    my $lost  = $repo->{$victim};
    my $other = $victim eq 'main' ? 'other' : 'main';
    # Each command stores its own segment.
    $pgdr->set('cluster app', 'wal-ahead' => 0);
    poll_until(sub { !-e "$data/pg_wal/pgsql_tmp_pgdr_push" }, 'no process is left behind');
    # The first one into an empty place makes folders, too.
    $pgdr->run('archive-push', 'pg_wal/' . write_segment(), { cwd => $data });
    my $calls = calls_of($repo->{$in}->place, $pgdr, 'archive-push', 'pg_wal/' . write_segment(), { cwd => $data });
    my $nth   = 1 + int(($calls - 1) * $part);
    my @new   = (write_segment(), write_segment());
    my ($process, $go_on) = held_at({ %{ $repo->{$in}->place }, nth => $nth }, $pgdr, 'archive-push', "pg_wal/$new[0]", { cwd => $data });
    my $what  = "$victim is $way at call $nth of $calls in $in";
    ok($go_on, "$what: it is held up there") or return;
    $lost->lose($way);
    $go_on->();
    my $result = $process->wait;
    is(Pgdr::defect($result), '', '  no defect');
    # What lies in a repository already when it is lost cannot be known to be lost.
    if (!($result->ok && $victim eq 'main' && $in eq 'other')) {
        cmp_ok($result->{rc}, '>=', 1, '  it is no success') or diag($result->describe);
        cmp_ok($result->{rc}, '<=', 125, '  nor one that the archiver dies of');
        like($result->{err}, qr/ERROR: .*$new[0] was stored in 1 of 2 repositories: .*@{[$lost->words]}/, '  and it says where')
          or diag($result->describe);
        is(gives($pgdr, $other, @new), 'all', '  the other one has it, and what waits behind it');
    } else {
        is(gives($pgdr, $other, $new[0]), 'all', '  the other one has it');
    }
    $lost->become_empty;
    $pgdr->ok('init');
    $pgdr->ok('archive-push', "pg_wal/$_", { cwd => $data }) for @new;
    is(gives($pgdr, $_, @new), 'all', "  and afterwards $_ has both") for qw(main other);
    $pgdr->set('cluster app', 'wal-ahead' => undef);
    return;
}

# ---- the server's own archiving ----

sub lost_under_load
{
    my ($pgdr, $repo, $victim, $way) = @_;
    my $lost  = $repo->{$victim};
    my $other = $victim eq 'main' ? 'other' : 'main';
    archives_with($pgdr->archive_command);
    my $before = $node->archive_all;
    my $mark   = $node->log_mark;
    my $load   = $node->pgbench_start(args => [ '-f', load_file(), '--rate=20' ]);
    my $moved  = sub { my ($n) = @_; return $node->query('SELECT pg_walfile_name(pg_current_wal_lsn())') ge segment_plus($before, $n, $size) };
    poll_until(sub { $moved->(2) }, 'there is load');
    $lost->lose($way);
    poll_until(sub { $moved->(8) }, 'it goes on') or fail('the server does not go on');
    $load->stop('TERM');
    $node->wait_for_log(qr/ERROR: .* was stored in 1 of 2 repositories: .*@{[$lost->words]}/, $mark);
    my $last = write_segment();
    my @all  = ($before);
    push @all, segment_plus($all[-1], 1, $size) while $all[-1] lt $last;
    cmp_ok(scalar(@all), '>', 8, 'segments were finished meanwhile');
    ok(poll_until(sub { gives($pgdr, $other, $last) eq 'all' }, "$other has the last segment"), 'the other one gets them');
    is(gives($pgdr, $other, @all), 'all', '  every one');
    is(scalar(grep { -e "$data/pg_wal/archive_status/$_.ready" } $last), 1, '  and the server keeps what the lost one has not');

    my $backup = $pgdr->json('backup', "--repo=$other")->{backup};
    $node->mark("$victim is $way");
    my $end  = $node->switch_wal;
    my $want = $node->fingerprint;
    ok(poll_until(sub { gives($pgdr, $other, $end) eq 'all' }, "$other has the end"), 'also behind a backup');
    my $copy = restored($pgdr, 'survivor', "--repo=$other");
    $copy->wait_promoted;
    is($copy->fingerprint, $want, 'a restore from the other one alone has every row');
    check_cluster($copy);
    $copy->destroy;

    $lost->become_empty;
    $pgdr->ok('init');
    $node->archive_all;
    is(gives($pgdr, $_, $end), 'all', "made anew: $_ has what waited") for qw(main other);
    $pgdr->ok('check');
    $backup = $pgdr->json('backup', "--repo=$victim")->{backup};
    $node->mark("$victim is back");
    $node->archive_all;
    $want = $node->fingerprint;
    $pgdr->ok('verify');
    $copy = restored($pgdr, 'renewed', "--repo=$victim");
    $copy->wait_promoted;
    is($copy->fingerprint, $want, 'a restore from the new one alone has every row');
    $copy->stop;
    $copy->destroy;
    archives_with('');
    return;
}

my $load_file;

sub load_file
{
    return $load_file //= TestFile::spit(temp_dir('sql') . '/load.sql', "INSERT INTO t SELECT i, repeat(md5(random()::text), 20) FROM generate_series(1, 100) i;\n");
}

for my $kind ('s3', 'folders') {
    my ($pgdr, $repo) = LostRepo::two($kind, $node, $rgw);
    $pgdr->ok('init');
    for my $victim (qw(main other)) {
        my @ways = $repo->{$victim}->ways;
        subtest "$kind: $victim is lost in the middle of a push" => sub {
            my @points = ([ main => 0 ], [ main => 0.5 ], [ main => 1 ], [ other => 0.5 ], [ other => 0 ], [ other => 1 ]);
            splice @points, 4 if !sweeps_all();
            splice @points, 0, 2 if !sweeps_all() && $kind eq 'folders';
            my $n = 0;
            lost_in_push($pgdr, $repo, $victim, $ways[ $n++ % @ways ], @$_) for @points;
        };
        next if !sweeps_all() && $kind eq 'folders' && $victim eq 'other'; # as with S3
        subtest "$kind: $victim is lost under load" => sub { lost_under_load($pgdr, $repo, $victim, $ways[0]) };
    }
}
$node->stop;
done_testing;
