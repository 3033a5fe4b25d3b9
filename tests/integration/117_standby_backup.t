#@ once
# A backup of a standby: pages are ahead of the record at which the backup began to be consistent, the
# primary writes on meanwhile. A restore from it is as good as from one of the primary, to every point
# behind it, and to the earliest one.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(lsn_number xact_ends keep_wal ledger_load ledger ledger_after restored plan_of check_cluster);
use TestFile qw(slurp);
use TestRun qw(temp_dir poll_until);

my $node = PgNode->init('primary', conf => "wal_keep_size = 4GB\nautovacuum_naptime = 1s\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->pgbench_init(1);
my $standby = PgNode->standby_of($node, 'standby');
my $his = Pgdr->new(node => $standby, repo => $pgdr->repo);
$his->set('cluster app', primary => $node->connstr);
$standby->start;
my $load = ledger_load($node);
$node->mark('first');
$node->wait_for_catchup($standby);

my @backup;
for my $round (1 .. 2) {
    $node->query('CHECKPOINT');
    push @backup, $his->json('backup')->{backup};
    ok($backup[-1]{from_standby}, 'it is marked as a standby\'s') or diag(explain($backup[-1]));
    $node->mark("after $round");
}
$load->stop('TERM');
$node->mark('quiet');
my $want = $node->fingerprint;
my $last = $node->mark('last');
my $table = $node->query("SELECT pg_relation_filepath('ledger')");
$node->archive_all;
$_->kill9 for $standby, $node;
my @ends = xact_ends(keep_wal($node), 1, $table);

for my $b (@backup) {
    subtest "backup $b->{stop_lsn}" => sub {
        my $copy = restored($pgdr, 'latest', "--backup=$b->{id}");
        $copy->wait_promoted;
        is(ledger($copy), ledger_after(@ends), 'every commit');
        is($copy->marks, 'first after 1 after 2 quiet last', 'and all marks');
        check_cluster($copy);
        # The earliest point.
        $copy = restored($pgdr, 'immediate', "--backup=$b->{id}", '--type=immediate');
        $copy->wait_promoted;
        my $stop = lsn_number($b->{stop_lsn});
        my @until = grep { $_->{lsn} < $stop } @ends;
        my $got   = ledger($copy);
        is($got, ledger_after(@until), 'exactly the commits before the place where the backup stops');
        check_cluster($copy);
        # A point just behind.
        my ($next) = grep { $_->{lsn} >= $stop && $_->{commit} && $_->{wrote} } @ends;
        $copy = restored($pgdr, 'next', "--backup=$b->{id}", "--target-xid=$next->{xid}");
        $copy->wait_promoted;
        is(ledger($copy), ledger_after(grep { $_->{lsn} <= $next->{lsn} } @ends), 'the first commit behind it');
        check_cluster($copy);
    };
}

subtest 'in place of the primary' => sub {
    $node->destroy;
    my $json = $pgdr->json('restore', "--target-xid=$last->{xid}", '--target-exclusive');
    is($json->{plan}{backup}, $backup[-1]{id}, 'from the newest');
    ok(!-e $node->data_dir . '/standby.signal', 'it is no standby');
    like("@{ $json->{plan}{warnings} }", qr/taken from a standby on host '[^']+'.*configuration/, 'whose configuration it has is told');
    $node->set_address;
    $node->append_conf("archive_command = '" . $pgdr->archive_command . "'");
    $node->start;
    $node->wait_promoted;
    is($node->fingerprint, $want, 'every row');
    $node->mark('goes on');
    $node->archive_all;
    check_cluster($node);
};
done_testing;
