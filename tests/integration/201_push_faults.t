#@ folder every call of the file system fails in turn; 452 has the requests of S3
#@ once
# archive-push when the storage fails at any call, or the process dies there: never a part of an object,
# never success without the whole one, and the next push makes it good.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp files_below);
use TestRun qw(temp_dir);
use WalRepo qw(wal_objects timeline_marks segment_plus segment_size);

my $node = PgNode->init('primary', wal_segsize => 1);
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving('');
$pgdr->ok('init');
$node->start;
$node->query("CREATE TABLE t AS SELECT 'row ' || n AS a FROM generate_series(1, 60000) n");
my $last = $node->switch_wal;
$node->stop;

my $data  = $node->data_dir;
my $size  = segment_size($node);
my $n     = 0;
my $fetch = temp_dir('fetch') . '/file';

# A segment that was not pushed yet, and its path.
my @fresh = map { segment_plus($last, $_ - 3, $size) } 0 .. 3;

sub pushed
{
    my ($segment, @more) = @_;
    return $pgdr->run('archive-push', "pg_wal/$segment", { cwd => $data, @more });
}

# Whole or not there: what archive-get thinks of it, and that nothing else lies about.
sub state_of
{
    my ($segment) = @_;
    unlink $fetch;
    my @objects = wal_objects($pgdr, $segment);
    return 'absent' if !@objects;
    my $result = $pgdr->run('archive-get', $segment, $fetch, { cwd => $data });
    return $result->describe if !$result->ok || @objects > 1;
    return slurp($fetch) eq slurp("$data/pg_wal/$segment") ? 'whole' : 'other content';
}

# Runs a push of a segment that is not there with each call failing in turn. The repository is made anew
# each time, so that making the folders is hit, too.
sub every_call
{
    my ($what, %fault) = @_;
    my (@bad, %seen);
    my $repo = $pgdr->repo;
    system 'cp', '-a', $repo, "$repo.clean";
    my $runs = Pgdr::for_every_nth(
        { dir => $repo, %fault },
        sub {
            my ($with, $nth) = @_;
            system "rm -rf $repo && cp -a $repo.clean $repo";
            my $result = pushed($fresh[0], %$with);
            my $state  = state_of($fresh[0]);
            my $end    = $result->{signal} ? 'killed' : $result->ok ? 'success' : 'failure';
            $seen{"$end, $state"}++;
            push @bad, "call $nth: $state after\n" . $result->describe if $state !~ /^(absent|whole)$/;
            push @bad, "call $nth: success, but $state\n"              if $result->ok && $state ne 'whole';
            push @bad, "call $nth: " . $result->describe
              if $end eq 'killed' ? $fault{action} !~ /kill|torn/ : $result->{rc} > 125 || $result->{rc} == 99;
            push @bad, "call $nth: no error is named: " . $result->describe
              if $end eq 'failure' && $result->{err} !~ /ERROR: .*\Q$repo\E/;

            my $again = pushed($fresh[0]);
            my $now   = state_of($fresh[0]);
            push @bad, "call $nth: not made good: $now\n" . $again->describe if !$again->ok || $now ne 'whole';
            push @bad, "call $nth: left behind: $_" for grep { m{(^|/)\.} } files_below($repo);
            push @bad, "call $nth: frozen" if timeline_marks($pgdr, 1);
            return $result;
        });
    system "rm -rf $repo && mv $repo.clean $repo";
    is(join("\n", @bad), '', "$what at each of $runs calls");
    note("$_: $seen{$_}") for sort keys %seen;
    return \%seen;
}

my $seen = every_call('death', action => 'kill');
ok(!$seen->{'success, absent'}, 'never success by dying');
every_call('death in the middle of the call', action => 'torn');
$seen = every_call('a full disk', action => 'ENOSPC', repeat => 1);
ok($seen->{'failure, absent'}, 'which is a failure');
every_call('a full disk for a moment', action => 'ENOSPC');
every_call('an I/O error that passes', action => 'EIO');
every_call('a write that is cut short', action => 'short', ops => 'write');

subtest 'an I/O error that stays' => sub {
    for my $ops ('open,mkdir', 'sync') {
        my $result = pushed($fresh[1], fault => { dir => $pgdr->repo, action => 'EIO', ops => $ops, repeat => 1 });
        is($result->{rc}, Pgdr::exit_status('IO'), "in $ops: a failure, by its name") or diag($result->describe);
        is(state_of($fresh[1]), 'absent', '  nothing is there');
    }
    ok(pushed($fresh[1])->ok, 'and the next push stores it');
    is(state_of($fresh[1]), 'whole', 'whole');
};

subtest 'damage is healed whole or not at all' => sub {
    my ($object) = wal_objects($pgdr, $fresh[1]);
    my $bad = slurp($object);
    substr $bad, length($bad) / 2, 1, chr(ord(substr $bad, length($bad) / 2, 1) ^ 1);
    my @wrong;
    for my $action (qw(kill torn ENOSPC)) {
        Pgdr::for_every_nth(
            { dir => $pgdr->repo, action => $action },
            sub {
                my ($with, $nth) = @_;
                unlink $object;
                TestFile::spit($object, $bad);
                my $result = pushed($fresh[1], %$with);
                my $is_bad = slurp($object) eq $bad;
                my $state  = $is_bad ? 'damaged' : state_of($fresh[1]);
                push @wrong, "$action $nth: $state: " . $result->describe if $state !~ /^(damaged|whole)$/ || $result->ok && $is_bad;
                my $again = pushed($fresh[1]);
                push @wrong, "$action $nth: not healed: " . $again->describe if !$again->ok || state_of($fresh[1]) ne 'whole';
                return $result;
            });
    }
    is(join("\n", @wrong), '', 'with death or a full disk at each call');
};

# Two contents: whoever dies between storing his and freezing the timeline has not been told success.
subtest 'a refusal that dies' => sub {
    my ($object) = wal_objects($pgdr, $fresh[1]);
    my @wrong;
    my $repo = $pgdr->repo;
    # An object of another content under the same name: what another server had pushed.
    my $other = $object =~ s/(.)$/$1 eq '0' ? '1' : '0'/er;
    TestFile::spit($other, slurp($object));
    system 'cp', '-a', $repo, "$repo.clean";
    Pgdr::for_every_nth(
        { dir => $repo, action => 'kill' },
        sub {
            my ($with, $nth) = @_;
            system "rm -rf $repo && cp -a $repo.clean $repo";
            unlink $object;
            my $result = pushed($fresh[1], %$with);
            push @wrong, "kill $nth: success" if $result->ok;
            my $again = pushed($fresh[1]);
            push @wrong, "kill $nth: then " . $again->describe if $again->{rc} != Pgdr::exit_status('CONFLICT');
            my $later = pushed($fresh[2]);
            push @wrong, "kill $nth: later " . $later->describe if $later->{rc} != Pgdr::exit_status('CONFLICT');
            return $result;
        });
    is(join("\n", @wrong), '', 'at any call is a refusal the next time, and the timeline is frozen');
};

done_testing;
