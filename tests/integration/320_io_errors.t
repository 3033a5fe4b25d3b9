#@ folder it is the file system that fails; 452 and 453 have the faults of S3
#@ once
# A full disk and input/output errors at any call that writes, in backup, init and restore: an error that
# names what happened and where; never a backup or a data directory that looks whole and is not; and when
# the trouble is over, the next run succeeds.
#
# A sample of the calls; PGDR_TEST_SWEEP=all takes every one. (archive-push: 201_push_faults.t)

use strict;
use warnings;
use Test::More;

use Faults qw(small_node restore_state unnamed_error unopened backups_of json_of every_nth);
use Pgdr;
use PgNode;
use TestFile qw(copy_tree tree_state);
use TestRun qw(temp_dir);

my $node = small_node('primary');
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$node->query("CREATE TABLE big AS SELECT n, repeat('x', 100) || n AS t FROM generate_series(1, 3000) n");
$pgdr->ok('init');
$pgdr->ok('backup');
my $repo = $pgdr->repo;
my ($first) = backups_of($pgdr);

# The trouble: a name, libfault's settings, the exit statuses that it may lead to.
my $needs_space = 'open,write,sync,close,link,mkdir,rename';
my @troubles = (
    [ 'a full disk',                   { action => 'ENOSPC', ops => $needs_space, repeat => 1 }, qw(NO_SPACE) ],
    [ 'a disk that is full once',      { action => 'ENOSPC', ops => $needs_space }, qw(NO_SPACE) ],
    [ 'an I/O error once',             { action => 'EIO' },                 qw(IO) ],
    [ 'a quota',                       { action => 'EDQUOT', ops => 'write,sync,open' }, qw(NO_SPACE) ],
    [ 'fsync fails',                   { action => 'EIO', ops => 'sync' },  qw(IO) ],
    [ 'a read-only remount',           { action => 'EROFS', repeat => 1 },  qw(ACCESS) ],
    [ 'short writes',                  { action => 'short', ops => 'write' } ],
);

# What is wrong with a run that met trouble: it may succeed, when it could try again.
sub error_defect
{
    my ($result, $dir, @allowed) = @_;
    my $wrong = unnamed_error($result);
    return $wrong if $wrong ne '' || $result->ok;
    my %allowed = map { Pgdr::exit_status($_) => 1 } @allowed;
    return 'another error than expected: ' . $result->describe if !$allowed{ $result->{rc} };
    return "it is not said where: " . $result->describe if $result->{err} !~ /ERROR: .*\Q$dir\E/;
    return '';
}

# ---- backup ----

my $stuck = 0;
for my $trouble (@troubles) {
    my ($name, $fault, @allowed) = @$trouble;
    my (@wrong, @before);
    my ($failed, $succeeded) = (0, 0);
    my $runs = every_nth(
        { dir => $repo, program => 'pgdr', %$fault }, 4,
        [ $pgdr, 'backup', '--output=json' ],
        sub {
            my ($result, $nth) = @_;
            my @bad = error_defect($result, $repo, @allowed);
            my @new = backups_of($pgdr);
            push @bad, "lost: $_" for grep { my $id = $_; !grep { $_ eq $id } @new } @before;
            $result->ok ? $succeeded++ : $failed++;
            push @bad, 'it failed, and there is a backup: ' . $result->describe if !$result->ok && @new > @before;
            push @bad, 'it succeeded, and there is none' if $result->ok && @new == @before;
            if ($result->ok) {
                my $verify = $pgdr->run('verify', "--backup=$new[-1]");
                push @bad, 'it is not whole: ' . $verify->describe if !$verify->ok;
            }
            push @wrong, map { "call $nth: $_" } grep { $_ ne '' } @bad;
        },
        sub {
            @before = backups_of($pgdr);
        });
    is(join("\n", @wrong), '', "backup, $name at each of $runs calls: $failed failed, $succeeded succeeded");
    ok($failed, '  some failed')     if $fault->{repeat};
    ok(!$failed, '  and nothing came of it') if $fault->{action} eq 'short';
    # What was begun could be taken back, but where nothing at all could be changed any more.
    my $verify  = $pgdr->run('verify', '--fast', '--output=json');
    $stuck ||= $fault->{action} eq 'EROFS';
    my @strange = grep { !$stuck || $_->{problem} !~ /never committed|before it was committed/ } @{ json_of($verify)->{findings} };
    ok(!@strange && unnamed_error($verify) eq '', '  verify: nothing is half done') or diag($verify->describe);
}
ok($node->poll(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'pgdr%'}), 'no session is left');

# ---- init ----

my $new = Pgdr->new(node => $node);
for my $trouble (@troubles) {
    my ($name, $fault, @allowed) = @$trouble;
    my @wrong;
    my $above = $new->repo =~ s{/repo$}{}r;
    my $runs = every_nth(
        { %$fault, dir => $above, ops => $fault->{ops} // $needs_space }, 6,
        [ $new, 'init' ],
        sub {
            my ($result, $nth) = @_;
            my @bad = error_defect($result, $above, @allowed);
            my $again = $new->run('init');
            push @bad, 'the next one: ' . $again->describe if !$again->ok;
            my $verify = $new->run('verify');
            push @bad, 'then verify: ' . $verify->describe if !$verify->ok;
            push @wrong, map { "call $nth: $_" } grep { $_ ne '' } @bad;
        },
        sub { system 'rm', '-rf', $new->repo });
    is(join("\n", @wrong), '', "init, $name at each of $runs calls: the next one makes it good");
}

# ---- restore ----

my $to = temp_dir('restored') . '/data';
my $tree = sub { tree_state($to) =~ s/^postgresql\.auto\.conf: file \d+ \K[0-9a-f]+/-/mr };
$pgdr->ok('restore', "--to=$to", "--backup=$first");
my $want = $tree->();
for my $trouble (@troubles) {
    my ($name, $fault, @allowed) = @$trouble;
    my (@wrong, $failed);
    my @args = ('restore', "--to=$to", "--backup=$first", '--output=json');
    my $runs = every_nth(
        { dir => $to, %$fault }, 3,
        [ $pgdr, @args ],
        sub {
            my ($result, $nth) = @_;
            my @bad = error_defect($result, $to, @allowed);
            if ($result->ok) {
                push @bad, 'it succeeded with another tree' if $tree->() ne $want;
            } else {
                $failed++;
                # Only a restore that is complete but for the removal of its mark may be opened.
                push @bad, unopened($to) if -d $to && $tree->() =~ s/^pgdr\.restoring: .*\n//mr ne $want;
                my $again = $pgdr->run(@args, '--delta', '--yes');
                push @bad, 'the next one: ' . $again->describe if !$again->ok;
                push @bad, 'the next one gives another tree' if $again->ok && $tree->() ne $want;
            }
            push @wrong, map { "call $nth: $_" } grep { $_ ne '' } @bad;
        },
        sub { system 'rm', '-rf', $to });
    is(join("\n", @wrong), '', "restore, $name at each of $runs calls");
    ok($failed, '  some failed') if $fault->{repeat};
}

done_testing;
