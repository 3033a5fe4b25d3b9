#@ once
# kill -9 in the middle: of backup, init, repo copy and verify --heal, before or within every call that
# changes something in the repository. What was there stays whole and visible; what was not finished is
# never seen; the next run does it.
#
# A sample of the calls; PGDR_TEST_SWEEP=all takes every one.

use strict;
use warnings;
use Test::More;

use Faults qw(fault_in small_node step_for restore_state unnamed_error backups_of json_of every_nth);
use Pgdr;
use PgNode;
use Recovery qw(hold_file);
use TestFile qw(copy_tree files_below flip_bit tree_state);
use TestRun qw(temp_dir poll_until);
use File::Path qw(remove_tree);

my $node = small_node('primary');
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$node->query("CREATE TABLE big AS SELECT n, repeat('x', 100) || n AS t FROM generate_series(1, 3000) n");
$pgdr->ok('init');
$pgdr->ok('backup');
$pgdr->ok('backup');
my $repo = $pgdr->folder;
my $clean = copy_tree($repo, "$repo.clean");

# What must hold of a repository after anything was killed: the backups @$before are there, and nothing
# else but such as are whole; verify finds nothing wrong.
sub wrong_after
{
    my ($p, $before) = @_;
    my %now  = map { $_ => 1 } backups_of($p);
    my @lost = grep { !delete $now{$_} } @$before;
    my $verify = $p->run('verify', '--output=json');
    my @wrong;
    push @wrong, "lost: @lost" if @lost;
    push @wrong, 'more than one new backup: ' . join(' ', sort keys %now) if keys %now > 1;
    push @wrong, 'verify: ' . $verify->describe if !$verify->ok;
    return @wrong;
}

subtest 'backup' => sub {
    my @first = backups_of($pgdr);
    for my $action ('kill', 'torn') {
        my ($committed, @wrong) = (0);
        my $runs = every_nth(
            { fault_in($pgdr), action => $action }, 10,
            [ $pgdr, 'backup' ],
            sub {
                my ($result, $nth) = @_;
                push @wrong, "call $nth: it was not killed: " . $result->describe if $result->{signal} != 9;
                my @now = backups_of($pgdr);
                $committed++ if @now > @first;
                my @bad = wrong_after($pgdr, \@first);
                my $again = $pgdr->run('backup');
                push @bad, 'the next one: ' . $again->describe if !$again->ok || backups_of($pgdr) != @now + 1;
                push @wrong, map { "call $nth: $_" } @bad;
            },
            sub { @first = backups_of($pgdr) });
        is(join("\n", @wrong), '', "$action at $runs calls: what was there is whole, the next one succeeds");
        cmp_ok($committed, '<', 4, '  few were killed behind the commit');
    }
};

# The server's part of a backup whose session is gone: it is over, and the next one begins.
subtest 'backup in its middle' => sub {
    for my $signal (qw(KILL TERM INT HUP)) {
        my @before = backups_of($pgdr);
        my $hold   = hold_file($node->data_dir . '/base/zz_held');
        my $backup = $pgdr->start('backup', '--output=json', { timeout => 40 });
        $hold->reached;
        $backup->signal($signal);
        $hold->release;
        my $result = $backup->wait;
        if ($signal eq 'KILL') {
            is($result->{signal}, 9, 'killed while it reads');
        } else {
            is($result->{rc}, Pgdr::exit_status('CANCELLED'), "SIG$signal while it reads: it says so") or diag($result->describe);
            is(json_of($result)->{error}{code}, 'cancelled', '  in JSON too');
        }
        unlink $node->data_dir . '/base/zz_held';
        is_deeply([ backups_of($pgdr) ], \@before, '  and there is no backup');
        ok($node->poll(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'pgdr%'}), '  nor a session');
        my $in_backup = PgNode::version() >= 15 ? 't' : $node->query('SELECT NOT pg_is_in_backup()');
        is($in_backup, 't', '  nor a backup in the server');
        $pgdr->ok('backup');
    }
    is(join(' ', wrong_after($pgdr, [ backups_of($pgdr) ])), '', 'all is well');
};

subtest 'init' => sub {
    my @wrong;
    my $new   = Pgdr->new(node => $node);
    my $runs = every_nth(
        { fault_in($new, $new->folder =~ s{/repo$}{}r), action => 'kill' }, 30,
        [ $new, 'init' ],
        sub {
            my ($result, $nth) = @_;
            push @wrong, "call $nth: it was not killed: " . $result->describe if $result->{signal} != 9;
            my $again = $new->run('init');
            push @wrong, "call $nth: the next one: " . $again->describe if !$again->ok;
            my $info = $new->run('info', '--output=json');
            push @wrong, "call $nth: info: " . $info->describe if !$info->ok;
            # Copies of the key that were not written are there after the next one.
            my $verify = $new->run('verify');
            push @wrong, "call $nth: verify: " . $verify->describe if !$verify->ok;
        },
        sub { remove_tree($new->folder, { keep_root => Pgdr::in_s3() }) });
    is(join("\n", @wrong), '', "killed at $runs calls, the next one succeeds");
};

# A second repository, for copy and heal.
my $two = Pgdr->new(node => $node, repo => $pgdr->repo);
restore_state($repo, $clean);
$two->set('repo other', url => "$repo.other");
subtest 'repo copy' => sub {
    my @wrong;
    $two->ok('init', '--repo=other');
    my $empty = copy_tree("$repo.other", "$repo.other.clean");
    my @copy  = ('repo', 'copy', '--from-repo=main', '--to-repo=other');
    my $runs  = every_nth(
        { dir => "$repo.other", action => 'kill' }, 10,
        [ $two, @copy ],
        sub {
            my ($result, $nth) = @_;
            push @wrong, "call $nth: it was not killed: " . $result->describe if $result->{signal} != 9;
            my $verify = $two->run('verify', '--repo=other', '--output=json');
            push @wrong, "call $nth: verify: " . $verify->describe if !$verify->ok;
            my $again = $two->run(@copy);
            push @wrong, "call $nth: the next one: " . $again->describe if !$again->ok;
            my $after = $two->run('verify', '--repo=other', '--fast');
            push @wrong, "call $nth: verify after the next one: " . $after->describe if !$after->ok;
        },
        sub { restore_state("$repo.other", $empty) });
    is(join("\n", @wrong), '', "killed at $runs calls, the next one goes on");
    is_deeply([ map { $_->{id} } map { @{ $_->{backups} } } grep { $_->{repository} eq 'other' } @{ json_of($two->run('info', '--output=json'))->{clusters} } ],
        [ backups_of($pgdr) ], 'all backups are there');
    my ($is, $was) = map { tree_state($_) =~ s{^app/leases.*\n}{}gmr } $repo, $clean;
    ok($is eq $was, 'and nothing was changed where they came from');
};

subtest 'verify --heal' => sub {
    my ($id) = backups_of($pgdr);
    flip_bit("$repo/app/packs/$id/0/d0", 1000);
    unlink "$repo/app/packs/$id/0/m0" or die;
    flip_bit("$repo/app/backups/$id/summary", 200);
    # One that the other has, maybe by another digest: it holds none from before the first backup.
    my ($wal) = grep { my @there = glob "$repo.other/" . s/-\w+$/-*/r } files_below($repo, qr{/wal/.*/0000000100000000/[0-9A-F]{24}-});
    flip_bit("$repo/$wal", 150);
    my $damaged = copy_tree($repo, "$repo.damaged");
    my @wrong;
    my $runs = every_nth(
        { fault_in($two), action => 'kill' }, 10,
        [ $two, 'verify', '--heal' ],
        sub {
            my ($result, $nth) = @_;
            push @wrong, "call $nth: it was not killed: " . $result->describe if $result->{signal} != 9;
            my $again = $two->run('verify', '--heal');
            push @wrong, "call $nth: the next one: " . $again->describe if !$again->ok;
        },
        sub { restore_state($repo, $damaged) });
    is(join("\n", @wrong), '', "killed at $runs calls, the next one mends it");
    $pgdr->ok('verify');
};

done_testing;
