#@ timeout 1800
#@ once
#@ folder it has a gateway of its own
# One of two repositories is lost at some moment of a backup, into it or into the other one. A backup into
# the lost one fails and says of which; one into the other succeeds, with all the WAL that it needs; the
# other one's backups are whole throughout; and when the lost one is made anew, the next backup into it
# succeeds.

use strict;
use warnings;
use Test::More;

use Faults qw(sweeps_all small_node held_at calls_of json_of unnamed_error);
use LostRepo;
use PgNode;
use Pgdr;
use Recovery qw(restored check_cluster);
use Rgw;

my $rgw  = Rgw->start;
my $node = small_node('primary', conf => "autovacuum = off\n");
$node->enable_archiving('');
$node->start;
$node->query("CREATE TABLE big AS SELECT n, repeat('x', 100) || n AS t FROM generate_series(1, 3000) n");

sub backups_in
{
    my ($pgdr, $name) = @_;
    my $info = json_of($pgdr->run('info', "--repo=$name", '--output=json'));
    return join ' ', map { $_->{id} } map { @{ $_->{backups} } } @{ $info->{clusters} // [] };
}

# A backup into one, which is held up at a part of its calls there; the victim is lost meanwhile.
sub lost_in_backup
{
    my ($pgdr, $repo, $victim, $way, $into, $part) = @_;
    my $lost  = $repo->{$victim};
    my $other = $victim eq 'main' ? 'other' : 'main';
    my $place = $repo->{$into}->place;
    my $calls = calls_of($place, $pgdr, 'backup', "--repo=$into");
    my $nth   = 1 + int(($calls - 1) * $part);
    my $before = backups_in($pgdr, $other);
    my $summaries = sub { scalar(() = grep { m{/summary$} } $repo->{$into}->objects) };
    my $summaries_before = $summaries->();
    $node->query("INSERT INTO big SELECT n, 'more' FROM generate_series(1, 100) n");
    my ($backup, $go_on) = held_at({ %$place, nth => $nth }, $pgdr, 'backup', "--repo=$into", '--output=json', { timeout => 400 });
    my $what = "$victim is $way at call $nth of $calls of a backup into $into";
    ok($go_on, "$what: it is held up there") or return;
    my $is_done = $summaries->() > $summaries_before;
    $lost->lose($way);
    $go_on->();
    my $result = $backup->wait;
    is(unnamed_error($result), '', '  no defect');
    if ($into eq $victim) {
        # Behind the commit only its lease is left to be removed.
        ok($is_done || !$result->ok, '  it fails, unless it was complete') or diag($result->describe);
        like($result->{err}, qr/ERROR: .*@{[$lost->words]}/, '  and says of which') if !$result->ok;
        is(backups_in($pgdr, $other), $before, '  the other one has the backups that it had');
    } else {
        ok($result->ok, '  it succeeds') or diag($result->describe);
        my $id = json_of($result)->{backup}{id} // 'none';
        is(backups_in($pgdr, $other), "$before $id", '  and is there, with those of before');
    }
    my $in_backup = PgNode::version() >= 15 ? 't' : $node->query('SELECT NOT pg_is_in_backup()');
    is($in_backup, 't', '  the server is in no backup');
    return;
}

for my $kind ('s3', 'folders') {
    my ($pgdr, $repo) = LostRepo::two($kind, $node, $rgw);
    $node->append_conf("archive_command = '" . LostRepo::archive_command($pgdr, $rgw) . "'");
    $node->restart;
    $pgdr->ok('init');
    $pgdr->ok('backup', "--repo=$_") for qw(main other);
    for my $victim (qw(main other)) {
        my $lost  = $repo->{$victim};
        my $other = $victim eq 'main' ? 'other' : 'main';
        my $way   = ($lost->ways)[0];
        my @cases = (
            [ 'removed', $victim, 0.1 ], [ 'removed', $victim, 0.5 ], [ 'removed', $victim, 0.85 ], [ 'removed', $victim, 0.97 ],
            [ 'removed', $other, 0.2 ], [ $way, $other, 0.9 ]);
        @cases = @cases[ 1, 5 ] if !sweeps_all() && "$kind $victim" ne 's3 main';
        # A backup waits two minutes for a gateway that is dead.
        unshift @cases, map { [ $way, $victim, $_ ] } 0.1, 0.5, 0.97 if sweeps_all() && $way ne 'removed';
        for my $n (0 .. $#cases) {
            subtest "$kind: $victim is lost, case $n" => sub {
                lost_in_backup($pgdr, $repo, $victim, @{ $cases[$n] });
                return if $n < $#cases && do { renew($pgdr, $lost, $victim); 1 };
                survives($pgdr, $other);
                renew($pgdr, $lost, $victim);
                $pgdr->ok('verify');
                my $want = $node->fingerprint;
                my $copy = restored($pgdr, 'renewed', "--repo=$victim");
                $copy->wait_promoted;
                is($copy->fingerprint, $want, 'a restore from the new one alone has every row');
                $copy->stop;
                $copy->destroy;
            };
        }
    }
}

# The lost one is made anew, and takes a backup.
sub renew
{
    my ($pgdr, $lost, $victim) = @_;
    $lost->become_empty;
    $pgdr->ok('init');
    $pgdr->ok('backup', "--repo=$victim");
    $node->archive_all;
    return;
}

# What the other one has, while the lost one is away.
sub survives
{
    my ($pgdr, $other) = @_;
    $pgdr->ok('verify', "--repo=$other");
    my $want = $node->fingerprint;
    # It has the end of its newest backup; and what was written before.
    my $copy = restored($pgdr, 'survivor', "--repo=$other");
    $copy->wait_promoted;
    is($copy->fingerprint, $want, 'a restore from the other one alone has every row');
    check_cluster($copy);
    $copy->destroy;
    return;
}

$node->stop;
done_testing;
