# A cluster with pgbench running is backed up several times, more is written, it is killed and its data
# directory deleted. A restore to each kind of target yields exactly the rows committed on the right
# side of it. What is right is told by pg_waldump and by the marks.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(lsn_number lsn_text xact_ends keep_wal ledger_load ledger ledger_after check_cluster);
use TestFile qw(slurp spit);
use TestRun qw(poll_until);

my $node = PgNode->init('primary', conf => "wal_keep_size = 4GB\ncheckpoint_timeout = 30s\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->pgbench_init(1);
my $load = ledger_load($node);

my (@backup, %mark, @point);
for my $phase (1 .. 3) {
    push @backup, $pgdr->json('backup')->{backup};
    $mark{"a$phase"} = $node->mark("a$phase");
    $point[$phase] = lsn_number($node->query("SELECT pg_create_restore_point('point $phase')"));
    $mark{"b$phase"} = $node->mark("b$phase");
}
# A moment without load, so that the whole database can be compared.
$load->stop('TERM');
$mark{quiet} = $node->mark('quiet');
my $quiet = $node->fingerprint;
$load = ledger_load($node);
$mark{last} = $node->mark('last');
my $last_file = $node->archive_all;
my $table = $node->query("SELECT pg_relation_filepath('ledger')");
# The archiver does not stop here, nor does pgbench: the server dies under load.
poll_until(sub { $node->query("SELECT count(*) FROM ledger WHERE xid > $mark{last}{xid}") > 20 }, 'more is written');
$node->kill9;
$load->stop;
my $wal  = keep_wal($node);
my @ends = xact_ends($wal, 1, $table);
$node->destroy;

cmp_ok(scalar(grep { !$_->{commit} && $_->{wrote} } @ends), '>', 5, 'some were rolled back');

# What archived WAL holds: a commit counts when its record ends in the last segment.
my $boundary = (hex(substr $last_file, 8, 8) << 32) + (hex(substr $last_file, 16, 8) + 1) * 16 * 1024 * 1024;
my @archived = grep { $_->{lsn} + $_->{len} <= $boundary } @ends;
cmp_ok(scalar(@archived), '<', scalar(@ends), 'some were never archived');

# A commit in the middle between two LSNs, with a time that no other one has.
sub pick
{
    my ($after, $before) = @_;
    my %times;
    $times{ $_->{time} }++ for @archived;
    my @found = grep { $_->{lsn} > $after && $_->{lsn} < ($before // $boundary) && $_->{commit} && $_->{wrote} && $times{ $_->{time} } == 1 } @archived;
    return $found[ @found / 2 ];
}

# Up to, not including, the first for which it is true.
sub until_first
{
    my ($code) = @_;
    my @list;
    for (@archived) {
        last if $code->();
        push @list, $_;
    }
    return @list;
}

# The newest backup that ends at or before an LSN.
sub backup_before
{
    my ($lsn) = @_;
    my @before = grep { lsn_number($_->{stop_lsn}) <= $lsn } @backup;
    return (sort { lsn_number($a->{stop_lsn}) <=> lsn_number($b->{stop_lsn}) } @before)[-1]{id};
}

# What every transaction of pgbench leaves equal.
my $balances = q{SELECT count(DISTINCT s) FROM (SELECT sum(abalance) FROM pgbench_accounts UNION ALL
    SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL
    SELECT sum(delta) FROM pgbench_history) x(s)};

# Restores with ARGUMENTS onto the place of the lost cluster; WANT is what must be there. Options:
# backup (id expected), marks, fingerprint, action (promote, or what to do until it is promoted).
sub restores
{
    my ($name, $args, $want, %opt) = @_;
    subtest $name => sub {
        my $json = $pgdr->json('restore', '--archive-mode=off', @$args);
        is($json->{plan}{backup}, $opt{backup}, 'from the newest backup that leads there') if $opt{backup};
        $opt{action} ? $opt{action}->() : $node->start;
        $node->wait_promoted;
        is(ledger($node), ledger_after(@$want), 'exactly the rows on the right side');
        is($node->query($balances), 1, 'and in all tables alike');
        is($node->marks, $opt{marks}, 'marks') if $opt{marks};
        is($node->fingerprint, $opt{fingerprint}, 'every row of every table') if $opt{fingerprint};
        check_cluster($node);
        $node->destroy;
    };
    return;
}

my $first = lsn_number($backup[0]{stop_lsn});
my ($second, $third) = map { lsn_number($_->{stop_lsn}) } @backup[1, 2];

# latest: all that was archived, and that is more than the newest backup has.
restores('latest', [], \@archived, backup => $backup[2]{id},
    marks => 'a1 b1 a2 b2 a3 b3 quiet last');
restores('a given backup', ["--backup=$backup[0]{id}"], \@archived, backup => $backup[0]{id});

# immediate: the end of the backup.
restores('immediate', ['--type=immediate'], [until_first(sub { $_->{lsn} >= $third })], backup => $backup[2]{id});
restores('immediate, an older backup', ['--type=immediate', "--backup=$backup[1]{id}"],
    [until_first(sub { $_->{lsn} >= $second })], marks => 'a1 b1');

# time: by the marks, and at the microsecond of a commit.
restores('time', ["--target-time=$mark{quiet}{time}"], [until_first(sub { $_->{lsn} >= lsn_number($mark{quiet}{lsn}) })],
    backup => $backup[2]{id}, marks => 'a1 b1 a2 b2 a3 b3 quiet', fingerprint => $quiet);
my $c = pick($second, $third);
restores('time of a commit', ["--target-time=$c->{time}+00"], [until_first(sub { $_->{time} gt $c->{time} })],
    backup => backup_before($c->{lsn}));
restores('time of a commit, exclusive', ["--type=time", "--target=$c->{time}+00", '--target-exclusive'],
    [until_first(sub { $_->{time} ge $c->{time} })], backup => backup_before($c->{lsn}));

# lsn: where a commit begins, and between two records.
$c = pick($first, $second);
restores('lsn of a commit', ['--target-lsn=' . lsn_text($c->{lsn})], [until_first(sub { $_->{lsn} > $c->{lsn} })],
    backup => $backup[0]{id});
restores('lsn of a commit, exclusive', ['--target-lsn=' . lsn_text($c->{lsn}), '--target-exclusive'],
    [until_first(sub { $_->{lsn} >= $c->{lsn} })], backup => $backup[0]{id});
restores('lsn between', ["--target-lsn=$mark{a2}{lsn_before}"],
    [until_first(sub { $_->{lsn} > lsn_number($mark{a2}{lsn_before}) })], marks => 'a1 b1', backup => $backup[1]{id});

# xid
$c = pick($third);
restores('xid', ["--target-xid=$c->{xid}"], [until_first(sub { $_->{lsn} > $c->{lsn} })], backup => $backup[2]{id});
restores('xid, exclusive', ['--type=xid', "--target=$c->{xid}", '--target-exclusive'],
    [until_first(sub { $_->{lsn} >= $c->{lsn} })], backup => $backup[2]{id});
restores('xid before the last backups', ["--target-xid=$mark{b1}{xid}"],
    [until_first(sub { $_->{lsn} >= lsn_number($mark{b1}{lsn}) })], backup => $backup[0]{id}, marks => 'a1 b1');

# name
for my $n (1, 3) {
    restores("restore point $n", ["--target-name=point $n"], [until_first(sub { $_->{lsn} >= $point[$n] })],
        backup => $backup[ $n - 1 ]{id}, marks => join ' ', map({ ("a$_", "b$_") } 1 .. $n - 1), "a$n");
}

# What PostgreSQL does at the target.
$c = pick($third);
my @to_c = until_first(sub { $_->{lsn} > $c->{lsn} });
restores('pause', ["--target-xid=$c->{xid}", '--target-action=pause'], \@to_c, action => sub {
    $node->start;
    my $is_paused = PgNode::version() >= 14 ? q{pg_get_wal_replay_pause_state() = 'paused'} : 'pg_is_wal_replay_paused()';
    ok($node->poll("SELECT $is_paused"), 'it pauses');
    is(ledger($node), ledger_after(@to_c), 'and can be read');
    ok(!$node->psql('CREATE TABLE no(i int)')->ok, 'but not written');
    $node->query('SELECT pg_wal_replay_resume()');
});
restores('shutdown', ["--target-xid=$c->{xid}", '--target-action=shutdown'], \@to_c, action => sub {
    $node->start(wait => 0);
    poll_until(sub { !$node->is_running && $node->control_data->{'Database cluster state'} eq 'shut down in recovery' }, 'it stops')
      or return;
    ok($node->log_contains(qr/shutdown at recovery target/), 'it stops at the target');
    # The files are the restored cluster's at that point: with another action it opens there.
    $node->append_conf("recovery_target_action = 'promote'");
    my $auto = $node->data_dir . '/postgresql.auto.conf';
    spit($auto, slurp($auto) =~ s/^recovery_target_action = 'shutdown'$//mr);
    $node->start;
});

done_testing;
