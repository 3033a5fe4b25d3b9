# Restore, write on, restore again: to before the fork, to the other branch, and criss-cross. All in
# one place and with archiving, so that every life of the cluster is in the repository.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored plan_of check_cluster);
use TestFile qw(files_below slurp);
use TestRun qw(temp_dir);

my $node = PgNode->init('primary', conf => 'autovacuum = off');
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('a');
my $one = $pgdr->json('backup')->{backup};
my %mark = map { $_ => $node->mark($_) } qw(b c);
my %at;

# What the server holds is remembered under a name, and the server is lost.
sub lose
{
    my ($name) = @_;
    $at{$name} = { marks => $node->marks, rows => $node->fingerprint, tli => timeline() };
    $node->archive_all;
    $node->kill9;
    $node->destroy;
    return;
}

# The same for a moment within a life; more follows.
sub moment
{
    my ($name) = @_;
    $at{$name} = { marks => $node->marks, rows => $node->fingerprint, tli => timeline() };
    $at{$name}{time} = $node->query(q{SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US+00')});
    $node->query("SELECT pg_create_restore_point('$name')");
    return;
}

sub timeline { return $node->query('SELECT timeline_id FROM pg_control_checkpoint()') }

# Restores in place and opens.
sub back_to
{
    my ($name, $want, @args) = @_;
    subtest $name => sub {
        my $json = $pgdr->json('restore', @args);
        $node->start;
        $node->wait_promoted;
        is($node->marks, $want, 'the marks of that way');
        $node->query('CHECKPOINT');
    };
    return;
}

# Restores a copy, which archives nothing, and compares it with what was remembered.
sub copy_is
{
    my ($name, $want, @args) = @_;
    subtest $name => sub {
        my $copy = restored($pgdr, 'copy', @args);
        $copy->wait_promoted;
        is($copy->marks, $want->{marks}, 'marks');
        is($copy->fingerprint, $want->{rows}, 'all rows') if $want->{rows};
        check_cluster($copy);
        $copy->destroy;
    };
    return;
}

moment('in 1');
lose('end of 1');
back_to('to before the end: timeline 2', 'a b', "--target-xid=$mark{b}{xid}");
is(timeline(), 2, 'a new timeline');
$mark{d2} = $node->mark('d2');
my $two = $pgdr->json('backup')->{backup};
is($two->{timeline}, 2, 'a backup of timeline 2');
$mark{e2} = $node->mark('e2');
moment('in 2');
lose('end of 2');

# The timelines that info shows windows of.
sub windows { return join ' ', map { $_->{timeline} } @{ $pgdr->json('info')->{clusters}[0]{windows} } }

is(windows(), '1 2', 'timeline 1 goes on behind the fork: info shows both futures');
back_to('latest: timeline 3', 'a b d2 e2');
$mark{f3} = $node->mark('f3');
moment('in 3');
lose('end of 3');
is(windows(), '1 3', 'the end of timeline 2 is on the way to 3, that of 1 is not');

back_to('the other branch: timeline 4', 'a b c', '--target-timeline=1');
is(timeline(), 4, 'a new timeline');
$mark{g4} = $node->mark('g4');
moment('in 4');
lose('end of 4');

subtest 'copies of every life' => sub {
    copy_is('without an option: the life that was lived last', $at{'end of 4'});
    copy_is('timeline 3',   $at{'end of 3'}, '--target-timeline=3');
    copy_is('timeline 2',   $at{'end of 2'}, '--target-timeline=2');
    copy_is('timeline 1',   $at{'end of 1'}, '--target-timeline=1');
    copy_is('timeline 0x3', $at{'end of 3'}, '--target-timeline=0x3');
    copy_is('the own timeline of a backup', $at{'end of 1'}, "--backup=$one->{id}", '--target-timeline=current');
    copy_is('the own timeline of another',  $at{'end of 2'}, "--backup=$two->{id}", '--target-timeline=current');
    copy_is('the latest from a backup',     $at{'end of 3'}, "--backup=$two->{id}");
    copy_is('a point of timeline 2 on the way to 3', { marks => 'a b d2' }, '--target-timeline=3', "--target-lsn=$mark{d2}{lsn}");
    copy_is("a time of timeline $_->{tli}", $_, "--target-time=$_->{time}") for map { $at{$_} } 'in 1', 'in 2', 'in 3', 'in 4';
    copy_is('before all forks', { marks => 'a b' }, "--target-lsn=$mark{b}{lsn}");
    my $plan = plan_of($pgdr, '--to=' . temp_dir('plan'), '--target-timeline=3', "--target-xid=$mark{f3}{xid}");
    is("$plan->{backup} $plan->{timeline}", "$two->{id} 3", 'from the newest backup on the way');
    $plan = plan_of($pgdr, '--to=' . temp_dir('plan'), '--target-timeline=4', "--target-xid=$mark{g4}{xid}");
    is("$plan->{backup} $plan->{timeline}", "$one->{id} 4", 'and on the other way');
};

subtest 'ways that do not exist' => sub {
    my $to = temp_dir('no') . '/data';
    $pgdr->fails('UNREACHABLE', qr/backup \Q$two->{id}\E on timeline 2 does not lie on the way to timeline 4/,
        'restore', "--to=$to", "--backup=$two->{id}", '--target-timeline=4');
    $pgdr->fails('NOT_FOUND', qr/no 00000009\.history/, 'restore', "--to=$to", '--target-timeline=9');
    # Timeline 4 left 1 behind c: on its way there is no d2.
    $pgdr->fails('UNREACHABLE', qr/transaction/, 'restore', "--to=$to", '--target-timeline=1', '--target-xid=' . ($mark{g4}{xid} + 1000));
    ok(!-e $to, 'nothing is written');
};

# Criss-cross: on the way to timeline 4, but stopping before it begins.
back_to('before the fork, on the way to 4: timeline 5', 'a b', '--target-timeline=4', "--target-lsn=$mark{b}{lsn}");
is(timeline(), 5, 'a new timeline');
$node->mark('h5');
my $three = $pgdr->json('backup')->{backup};
is($three->{timeline}, 5, 'a backup of it');
$node->mark('i5');
lose('end of 5');
copy_is('timeline 5', $at{'end of 5'});
copy_is('timeline 5, from the first backup', $at{'end of 5'}, "--backup=$one->{id}");
back_to('on from there: timeline 6', 'a b h5 i5', "--backup=$one->{id}", '--target-timeline=5');
$node->mark('j6');
lose('end of 6');
copy_is("timeline $_", $at{"end of $_"}, "--target-timeline=$_") for 6, 4, 3;
# Each of 1, 2 and 5 was left at its very end by another one, on the way to which all of it lies.
is(windows(), '3 4 6', 'info shows the ends of all ways, and nothing twice');
$pgdr->ok('verify');

# A failover loses nothing, but for a while nobody writes: a time in that gap is reached on the way
# over both timelines.
subtest 'a time between two lives' => sub {
    my $one  = PgNode->init('one', conf => 'autovacuum = off');
    my $gap  = Pgdr->new(node => $one);
    $one->enable_archiving($gap);
    $one->start;
    $gap->ok('init');
    my $two = PgNode->standby_of($one, 'two');
    my $his = Pgdr->new(node => $two, repo => $gap->repo);
    $two->append_conf("archive_command = '" . $his->archive_command . "'");
    $two->start;
    $gap->ok('backup');
    $one->mark($_) for qw(a b);
    $one->wait_for_catchup($two);
    my $time = $one->query(q{SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US+00')});
    my $rows = $one->fingerprint;
    $one->kill9;
    $two->promote;
    $two->mark('c');
    $two->archive_all;
    my $copy = restored($his, 'gap', "--target-time=$time");
    $copy->wait_promoted;
    is($copy->fingerprint, $rows, 'all that the first one wrote');
    $_->stop for $copy, $two;
};
done_testing;
