# A server's clock that is set back: the times of commits are then out of order in the WAL. A time
# means what it means to PostgreSQL: everything before the first end of a transaction with a later
# time. The plan says what is left out by that.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored plan_of clock_env xact_ends keep_wal);
use TestFile qw(slurp spit);
use TestRun qw(temp_dir);

my $node = PgNode->init('primary', conf => 'autovacuum = off');
my $pgdr = Pgdr->new(node => $node);
my ($env, $clock) = clock_env();
$node->enable_archiving($pgdr);
$node->start(env => $env);
$pgdr->ok('init');
$pgdr->ok('backup');

my %mark;
sub at
{
    my ($offset, $name) = @_;
    spit("$clock.new", $offset);
    rename "$clock.new", $clock or die;
    $mark{$name} = $node->mark($name);
    return;
}

at(0,    'a');
at(3600, 'b');
at(0,    'c');     # later than b in the WAL, earlier by its time
$node->switch_wal;
at(60, 'd');       # and in another segment
at(7200, 'e');
$node->query('BEGIN; INSERT INTO marks(name) VALUES (\'never\'); ROLLBACK');
$node->switch_wal;
at(-7200, 'f');    # before everything
at(10800, 'g');
$node->archive_all;

# A time by the clock of the test's start.
sub time_text
{
    my ($seconds) = @_;
    my $a = $mark{a}{time};
    return $node->query("SELECT to_char(timestamptz '$a' + interval '$seconds s', 'YYYY-MM-DD HH24:MI:SS.US+00')");
}

# What PostgreSQL itself makes of the same time.
sub native
{
    my ($name, $time, $inclusive) = @_;
    my $to = temp_dir($name) . '/data';
    $pgdr->ok('restore', "--to=$to", "--target-lsn=$mark{a}{lsn}");
    my $conf = slurp("$to/postgresql.auto.conf");
    $conf =~ s/^recovery_target_lsn = .*$/recovery_target_time = '$time'/m or die;
    $conf =~ s/^recovery_target_inclusive = .*$/recovery_target_inclusive = $inclusive/m or die;
    $conf =~ s{ --target-end=[0-9A-F]+/[0-9A-F]+}{} or die;
    spit("$to/postgresql.auto.conf", $conf);
    my $clone = PgNode->from_datadir($name, $to);
    $clone->start;
    $clone->wait_promoted;
    my $marks = $clone->marks;
    $clone->stop;
    return $marks;
}

sub ours
{
    my ($name, @args) = @_;
    my $clone = restored($pgdr, $name, @args);
    $clone->wait_promoted;
    my $marks = $clone->marks;
    $clone->stop;
    return $marks;
}

# Seconds, what is in, what comes next, and the first that is left out although its time is earlier.
my @cases = ([30, 'a', 'b', 'c'], [1800, 'a', 'b', 'c'], [5400, 'a b c d', 'e', 'f'], [9000, 'a b c d e f', 'g', '']);
for my $case (@cases) {
    my ($seconds, $want, $next, $left_out) = @$case;
    my $time = time_text($seconds);
    subtest "$seconds seconds" => sub {
        is(ours("ours-$seconds", "--target-time=$time"), $want, 'the marks before the first later time');
        is(native("native-$seconds", $time, 'on'), $want, 'as PostgreSQL itself has it');
        my $plan = plan_of($pgdr, '--to=' . temp_dir('plan'), "--target-time=$time");
        my $warning = join ' ', @{ $plan->{warnings} };
        like($warning, qr/clock went backwards: transaction $mark{$left_out}{xid} /, 'the plan warns') if $left_out;
        is($warning, '', 'no warning') if !$left_out;
        is($plan->{first_out}{xid}, $mark{$next}{xid}, 'and says what comes next');
    };
}

# At the microsecond of a commit whose time comes again: inclusive and exclusive.
my ($b) = grep { $_->{xid} == $mark{b}{xid} } xact_ends(keep_wal($node));
my $time = "$b->{time}+00";
is(ours('at-b', "--target-time=$time"), native('native-at-b', $time, 'on'), 'at a commit');
is(ours('at-b-x', "--target-time=$time", '--target-exclusive'), native('native-at-b-x', $time, 'off'), 'at a commit, exclusive');
$node->stop;
done_testing;
