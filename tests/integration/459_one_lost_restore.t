#@ timeout 1800
#@ once
#@ folder it has a gateway of its own
# One of two repositories is lost before a restore, in its middle, and in the middle of the recovery behind
# it. What the other one has comes back whole: at once, or by what the messages say is to be typed next;
# and never is a cluster opened with less.

use strict;
use warnings;
use File::Path qw(remove_tree);
use Test::More;

use Faults qw(sweeps_all small_node held_at calls_of unopened);
use LostRepo;
use PgNode;
use Pgdr;
use Recovery qw(check_cluster);
use Rgw;
use TestFile qw(slurp spit tree_state);
use TestRun qw(temp_dir test_root poll_until);

my $rgw  = Rgw->start;
my $node = small_node('primary', conf => "autovacuum = off\n");
$node->enable_archiving('');
$node->start;
$node->query("CREATE TABLE big AS SELECT n, repeat('x', 100) || n AS t FROM generate_series(1, 3000) n");

# ---- what is there to lose ----

# Both repositories with the same backup, one of them with a newer one too, and the same WAL.
sub filled
{
    my ($kind) = @_;
    my ($pgdr, $repo) = LostRepo::two($kind, $node, $rgw);
    $node->append_conf("archive_command = '" . LostRepo::archive_command($pgdr, $rgw) . "'");
    $node->restart;
    $pgdr->ok('init');
    my %at = (pgdr => $pgdr, repo => $repo, both => $pgdr->json('backup', '--repo=main')->{backup}{id}, segments => []);
    for my $n (1 .. 4) {
        $at{mark} = $node->mark("$kind $n");
        push @{ $at{segments} }, $node->archive_all;
    }
    $pgdr->ok('repo', 'copy', '--from-repo=main', '--to-repo=other');
    $at{marks} = $node->marks;
    $at{want}  = $node->fingerprint;
    $_->save for values %$repo;
    return \%at;
}

# The data directory that a restore made, but for what names the moment and the repository.
sub content { return tree_state($_[0]) =~ s/^(?:postgresql\.auto\.conf|pgdr\.restoring): .*\n//mgr }

# Starts it; every row must come back.
sub recovers
{
    my ($at, $to, $name) = @_;
    my $server = PgNode->from_datadir('restored', $to);
    $server->start;
    $server->wait_promoted;
    is($server->marks, $at->{marks}, "$name: all marks");
    is($server->fingerprint, $at->{want}, "$name: every row");
    check_cluster($server);
    $server->destroy;
    return;
}

# The server stops, because nobody knows where the WAL ends, and its log says how to go on; that is done.
sub goes_on_as_told
{
    my ($at, $victim, $server) = @_;
    my $pgdr = $at->{pgdr};
    my $has_stopped = sub { $server->log_contains(qr/startup process failure|archive recovery complete/) && !$server->is_running };
    ok(poll_until($has_stopped, 'the server stops'), '  in doubt where the WAL ends it stops') or return;
    my $log = $server->log_since(0);
    unlike($log, qr/archive recovery complete/, '  and does not open');
    is($server->control_data->{'Database cluster state'}, 'in archive recovery', '  as its control file says');
    like($log, qr/ERROR: .*@{[$at->{repo}{$victim}->words]}.*HINT: [^\n]*if repository '$victim' is lost for good, take \[repo $victim\] out of the configuration/s,
        '  its log says what is to be done')
      or diag($server->log_end);
    my %was = %{ $pgdr->{sections}{"repo $victim"} };
    $pgdr->set("repo $victim", map { $_ => undef } keys %was);
    $server->start;
    $server->wait_promoted;
    is($server->marks, $at->{marks}, '  when it was done: all marks');
    is($server->fingerprint, $at->{want}, '  and every row');
    check_cluster($server);
    $server->destroy;
    $pgdr->set("repo $victim", %was);
    return;
}

# ---- before the restore ----

sub lost_before
{
    my ($at, $victim, $way) = @_;
    my ($pgdr, $lost) = ($at->{pgdr}, $at->{repo}{$victim});
    my $to = temp_dir('before') . '/data';
    $lost->lose($way);
    my $json = $pgdr->json_fails('REFUSED', 'restore', "--to=$to");
    like($json->{error}{message}, qr/repository '$victim' cannot be read/, '  it says which one');
    like($json->{error}{hint}, qr/the same command with --repo=\w+$/, '  and what to type');
    my ($more) = $json->{error}{hint} =~ /(--repo=\w+)$/;
    isnt($more, "--repo=$victim", '  which is the other one');
    ok(!-e $to, '  and nothing is made');
    $pgdr->ok('restore', "--to=$to", $more);
    recovers($at, $to, '  with that');
    $lost->come_back;
    return;
}

# ---- in its middle ----

my $tree;

sub lost_in_restore
{
    my ($at, $victim, $way, $part) = @_;
    my ($pgdr, $lost) = ($at->{pgdr}, $at->{repo}{$victim});
    my $to    = temp_dir('middle') . '/data';
    my $place = { dir => $to };
    my $calls = calls_of($place, $pgdr, 'restore', "--to=$to");
    $tree //= content($to);
    is(content($to), $tree, '  undisturbed, both give the same') if $part == 0;
    remove_tree($to);
    my $nth = 1 + int(($calls - 1) * $part);
    my ($restore, $go_on) = held_at({ dir => $to, nth => $nth }, $pgdr, 'restore', "--to=$to");
    ok($go_on, "$victim is $way at call $nth of $calls: it is held up there") or return;
    $lost->lose($way);
    $go_on->();
    my $result = $restore->wait;
    is(Pgdr::defect($result), '', '  no defect');
    ok($result->ok, '  the restore ends well with what the other one has') or diag($result->describe);
    if ($victim eq 'main' && $part < 0.5) {
        like($result->{err}, qr/WARNING: .*@{[$lost->words]}/, '  and says what it missed') or diag($result->describe);
    }
    ok(content($to) eq $tree, '  with the same files as ever');
    # Its recovery comes to the end of the WAL.
    my $server = PgNode->from_datadir('restored', $to);
    $server->start(wait => 0);
    goes_on_as_told($at, $victim, $server);
    $lost->come_back;
    return;
}

# The newest backup is in the lost one only.
sub lost_with_backup
{
    my ($at, $way) = @_;
    my ($pgdr, $lost) = ($at->{pgdr}, $at->{repo}{main});
    my $to = temp_dir('alone') . '/data';
    $pgdr->ok('backup', '--repo=main');
    $node->archive_all;
    my $calls = calls_of({ dir => $to }, $pgdr, 'restore', "--to=$to");
    remove_tree($to);
    my ($restore, $go_on) = held_at({ dir => $to, nth => 5 }, $pgdr, 'restore', "--to=$to", { timeout => 300 });
    ok($go_on, "a backup that only main has; main is $way") or return;
    $lost->lose($way);
    $go_on->();
    my $result = $restore->wait;
    isnt($result->{rc}, 0, '  the restore fails');
    like($result->{err}, qr/ERROR: .*@{[$lost->words]}.*HINT: .*the same command with --delta goes on from here$/sm, '  and says of what, and what to do')
      or diag($result->describe);
    is(unopened($to), '', '  nothing that a server would open is left');
    my $again = $pgdr->fails('REFUSED', qr/repository 'main' cannot be read.*HINT: .*the same command with --repo=other$/ms,
        'restore', "--to=$to", '--delta');
    $pgdr->ok('restore', "--to=$to", '--delta', '--repo=other');
    recovers($at, $to, '  so told: from the other one');
    $lost->come_back;
    return;
}

# ---- in the middle of recovery ----

# A restored cluster whose restore_command waits in front of a file.
sub stopping_at
{
    my ($at, $file, @args) = @_;
    my $to = temp_dir('recovery') . '/data';
    $at->{pgdr}->ok('restore', "--to=$to", @args);
    my $auto = slurp("$to/postgresql.auto.conf");
    my ($command) = $auto =~ /^restore_command = '(.*)'$/m or BAIL_OUT("no restore_command in\n$auto");
    $command =~ s/''/'/g;
    $command =~ s/%f/"\$1"/;
    $command =~ s/%p/"\$2"/;
    my $hook = temp_dir('hook');
    spit("$hook/get", <<"SH");
if [ "\$1" = $file ] && [ ! -e $hook/asked ]; then
    touch $hook/asked
    until [ -e $hook/go ]; do sleep 0.02; done
fi
$command
SH
    spit("$to/postgresql.auto.conf", $auto =~ s/^restore_command = .*$/restore_command = 'sh $hook\/get %f %p'/mr);
    my $server = PgNode->from_datadir('restored', $to);
    $server->start(wait => 0);
    poll_until(sub { -e "$hook/asked" }, "recovery asks for $file") or BAIL_OUT($server->log_end);
    return ($server, sub { spit("$hook/go", '') });
}

sub lost_in_recovery
{
    my ($at, $victim, $way, $n) = @_;
    my $lost = $at->{repo}{$victim};
    my ($server, $go_on) = stopping_at($at, $at->{segments}[$n]);
    $lost->lose($way);
    $go_on->();
    ok(1, "$victim is $way when segment $n is asked for");
    goes_on_as_told($at, $victim, $server);
    $lost->come_back;
    return;
}

# Also when nothing of the lost one is needed up to the target, it is not known which timelines are taken.
sub lost_before_target
{
    my ($at, $victim, $way) = @_;
    my $lost = $at->{repo}{$victim};
    my ($server, $go_on) = stopping_at($at, $at->{segments}[1], "--target-xid=$at->{mark}{xid}");
    $lost->lose($way);
    $go_on->();
    ok(1, "$victim is $way on the way to a target");
    goes_on_as_told($at, $victim, $server);
    like($server->log_since(0), qr/recovery stopping (?:before|after) /, '  at which it stops');
    $lost->come_back;
    return;
}

for my $kind ('s3', 'folders') {
    my $at = filled($kind);
    undef $tree;
    for my $victim (qw(main other)) {
        my $lost = $at->{repo}{$victim};
        my ($way, $again) = ($lost->ways, $lost->ways);
        my $is_sample = !sweeps_all();
        subtest "$kind: $victim is lost before the restore" => sub { lost_before($at, $victim, $_) for $way, $is_sample ? () : $again };
        subtest "$kind: $victim is lost in its middle" => sub {
            my @parts = !$is_sample ? (map { $_ / 10 } 0 .. 10) : $kind eq 's3' ? (0, 0.4) : (0.2);
            lost_in_restore($at, $victim, $_ == 0.4 ? $way : $again, $_) for @parts;
        };
        subtest "$kind: $victim is lost in the recovery" => sub {
            my @files = !$is_sample ? (0 .. $#{ $at->{segments} }) : $kind eq 's3' ? (0) : (-1);
            lost_in_recovery($at, $victim, $_ ? $way : $again, $_) for @files;
        };
        next if $is_sample && "$kind $victim" ne 's3 main';
        subtest "$kind: $victim is lost on the way to a target" => sub { lost_before_target($at, $victim, $way) };
    }
    subtest "$kind: the only one with the backup is lost" => sub { lost_with_backup($at, 'removed') };
}
$node->stop;
done_testing;
