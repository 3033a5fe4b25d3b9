# Targets that are hard to hit, and targets that cannot be: what lies behind the last commit, names
# used twice, subtransactions, prepared and rolled back ones, what lies outside of every recovery
# window, and WAL that is missing on the way. What cannot be reached is refused before anything is
# written.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(lsn_number lsn_text restored plan_of);
use TestFile qw(files_below delete_file);
use TestRun qw(temp_dir test_root);

my $node = PgNode->init('primary', conf => "max_prepared_transactions = 5\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->query('CREATE TABLE t(what text)');
my $before_all = $node->mark('before all');
$node->query("SELECT pg_create_restore_point('early')");
my $one = $pgdr->json('backup')->{backup};
my $a   = $node->mark('a');

sub restore_point { return $node->query("SELECT pg_create_restore_point('$_[0]')") }

# A transaction with subtransactions: two that stay, one rolled back. Rows tell their ids.
my ($top, $sub1, $sub2, $sub_gone) = split /\n/, $node->query(<<'SQL');
BEGIN;
INSERT INTO t VALUES ('top') RETURNING xmin;
SAVEPOINT one;
INSERT INTO t VALUES ('sub one') RETURNING xmin;
RELEASE one;
SAVEPOINT two;
INSERT INTO t VALUES ('sub two') RETURNING xmin;
SAVEPOINT gone;
INSERT INTO t VALUES ('gone') RETURNING xmin;
ROLLBACK TO gone;
COMMIT;
SQL
my $b = $node->mark('b');
# More than a commit record holds in a page: 300 subtransactions.
my ($many) = $node->query(<<'SQL');
DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        BEGIN
            INSERT INTO t VALUES ('many ' || i);
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END $$;
SELECT xmin FROM t WHERE what = 'many 255';
SQL
my $c = $node->mark('c');
my ($aborted) = $node->query("BEGIN; INSERT INTO t VALUES ('aborted') RETURNING xmin; ROLLBACK");
my $d = $node->mark('d');
my ($prepared) = $node->query("BEGIN; INSERT INTO t VALUES ('prepared') RETURNING xmin; PREPARE TRANSACTION 'p'");
my $e = $node->mark('e');
$node->query("COMMIT PREPARED 'p'");
my $f = $node->mark('f');
restore_point('twice');
$node->query("INSERT INTO t VALUES ('between')");
restore_point('twice');
restore_point('Once');
my $g = $node->mark('g');
$node->archive_all;

# What a server has that was restored with ARGUMENTS: marks, and rows of t apart from the 300.
sub outcome
{
    my ($name, @args) = @_;
    my $clone = restored($pgdr, $name, @args);
    $clone->wait_promoted;
    my $marks = $clone->marks;
    my $rows  = $clone->query(q{SELECT coalesce(string_agg(what, ', ' ORDER BY what), '') FROM t WHERE what NOT LIKE 'many%'});
    my $many  = $clone->query(q{SELECT count(*) FROM t WHERE what LIKE 'many%'});
    $clone->stop;
    return "$marks | $rows | $many";
}

subtest 'subtransactions' => sub {
    my $all = 'sub one, sub two, top';
    is(outcome('sub1', "--target-xid=$sub1"), "before all a | $all | 0", 'a subtransaction stands for its transaction');
    is(outcome('sub2x', "--target-xid=$sub2", '--target-exclusive'), 'before all a |  | 0', 'also exclusively');
    is(outcome('gone', "--target-xid=$sub_gone"), 'before all a |  | 0', 'one that was rolled back ended before its transaction');
    is(outcome('many', "--target-xid=$many"), "before all a b | $all | 300", 'one of 300');
    my $plan = plan_of($pgdr, '--to=' . temp_dir('plan'), "--target-xid=$sub1");
    is($plan->{last_in}{xid}, $top, 'the plan names the transaction');
    like("@{ $plan->{warnings} }", qr/$sub1 is a subtransaction of transaction $top/, 'and says why');
};

subtest 'rolled back and prepared' => sub {
    my $plan = plan_of($pgdr, '--to=' . temp_dir('plan'), "--target-xid=$aborted");
    like("@{ $plan->{warnings} }", qr/transaction $aborted was rolled back/, 'a rolled back transaction: a warning');
    is(outcome('aborted', "--target-xid=$aborted"), 'before all a b c | sub one, sub two, top | 300', 'and its end is a target');
    is(outcome('prepared', "--target-xid=$prepared"), 'before all a b c d e | prepared, sub one, sub two, top | 300',
        'a prepared transaction ends with COMMIT PREPARED');
    is(outcome('prepared-x', "--target-xid=$prepared", '--target-exclusive'), 'before all a b c d e | sub one, sub two, top | 300',
        'and not with PREPARE');
};

subtest 'restore points' => sub {
    my $to = temp_dir('twice') . '/data';
    my $json = $pgdr->json_fails('UNREACHABLE', 'restore', "--to=$to", '--target-name=twice');
    my @lsns = $json->{error}{message} =~ m{\b([0-9A-F]+/[0-9A-F]+)\b}g;
    is(scalar(@lsns), 2, 'a name used twice: both places are named') or diag($json->{error}{message});
    ok(!-e $to, 'and nothing is written');
    # The places that are named are good targets, and the first does not see what was written between.
    unlike(outcome('twice-1', "--target-lsn=$lsns[0]"), qr/between/, 'the first');
    like(outcome('twice-2', "--target-lsn=$lsns[1]"), qr/between/, 'the second');
    $pgdr->fails('UNREACHABLE', qr/restore point 'once' is not in/, 'restore', "--to=$to", '--target-name=once');
    like(outcome('once', '--target-name=Once'), qr/ f \| between/, 'a name used once');
};

subtest 'a time behind the last commit' => sub {
    my $to   = temp_dir('behind') . '/data';
    my $last = $node->mark('last');
    my $when = $node->query(q{SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US+00')});
    my $want = $node->fingerprint;
    $node->archive_all;
    $pgdr->fails('UNREACHABLE', qr/lies behind the last recovery point.*newest record is of \d{4}-/s,
        'restore', "--to=$to", "--target-time=$when");
    ok(!-e $to, 'nothing is written');
    # A record with a later time shows that the WAL is complete to the target.
    restore_point('later');
    $node->archive_all;
    my $clone = restored($pgdr, 'reached', "--target-time=$when");
    $clone->wait_promoted;
    is($clone->fingerprint, $want, 'it is reached when later WAL is there, though without a commit');
    $clone->stop;
    my $future = $node->query(q{SELECT to_char(clock_timestamp() + '1 hour', 'YYYY-MM-DD HH24:MI:SS+00')});
    $pgdr->fails('UNREACHABLE', qr/lies behind the last recovery point/, 'restore', "--to=$to", "--target-time=$future");
};

subtest 'outside of what is there' => sub {
    my $to    = temp_dir('outside') . '/data';
    my @base  = ('restore', "--to=$to");
    my $first = qr/before the first recovery point, the end of backup \Q$one->{id}\E: \d{4}-/;
    $pgdr->fails('UNREACHABLE', $first, @base, "--target-time=$before_all->{time}");
    $pgdr->fails('UNREACHABLE', $first, @base, "--target-lsn=$before_all->{lsn}");
    $pgdr->fails('UNREACHABLE', qr/does not end in the archived WAL behind backup \Q$one->{id}\E/, @base,
        "--target-xid=$before_all->{xid}");
    $pgdr->fails('UNREACHABLE', qr/restore point 'early' is not in the archived WAL behind backup \Q$one->{id}\E/, @base,
        '--target-name=early');
    $pgdr->fails('UNREACHABLE', qr/does not end in the archived WAL/, @base, '--target-xid=4000000000');
    $pgdr->fails('UNREACHABLE', qr{archived WAL ends at [0-9A-F]+/[0-9A-F]+}, @base, '--target-lsn=7F/0');
    ok(!-e $to, 'nothing is written');
};

subtest 'WAL is missing on the way' => sub {
    my $to    = temp_dir('hole') . '/data';
    my $left  = $node->mark('left of the hole');
    $node->archive_all;
    my $lost  = $node->mark('in the hole');
    my $file  = $node->archive_all;
    my $right = $node->mark('right of the hole');
    restore_point('right');
    $node->archive_all;
    my ($object) = files_below($pgdr->folder, qr{/$file-});
    delete_file($pgdr->folder . "/$object");
    my @targets = (
        "--target-time=$right->{time}", "--target-lsn=$right->{lsn_before}", "--target-xid=$right->{xid}",
        '--target-name=right', '--type=latest', "--target-xid=$lost->{xid}");
    for my $target (@targets) {
        my $json = $pgdr->json_fails('WAL_MISSING', 'restore', "--to=$to", $target);
        like($json->{error}{message}, qr/$file/, 'the missing segment is named');
        is($json->{plan}{reachable} ? 'reachable' : 'not', 'not', 'the plan says so, too');
    }
    ok(!-e $to, 'nothing is written');
    # PostgreSQL 15 and later ask for the missing segment all the same, because they read ahead.
    like(outcome('left', "--target-xid=$left->{xid}"), qr/left of the hole/, 'what lies before the hole is reached');

    like(outcome('name', '--target-name=Once'), qr/ f \| between/, 'a restore point, too');
    my $plan = plan_of($pgdr, "--to=$to", '--target-name=Once');
    like("@{ $plan->{warnings} }", qr/second time cannot be seen.*$file/, 'but that it is the only one is not sure');

    # A backup behind the hole makes what follows reachable, for every kind of target.
    my $two  = $pgdr->json('backup')->{backup};
    my $more = $node->mark('more');
    restore_point('more');
    $node->mark('end');
    $node->archive_all;
    for my $target ("--target-time=$more->{time}", "--target-lsn=$more->{lsn}", "--target-xid=$more->{xid}", '--target-name=more', '--type=latest') {
        is(plan_of($pgdr, "--to=$to", $target)->{backup}, $two->{id}, "$target: from the backup behind the hole");
    }
    like(outcome('right', '--target-name=more'), qr/right of the hole more \|/, 'and it has all');
};

$node->stop;
done_testing;
