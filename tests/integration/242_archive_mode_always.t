#@ once
# A standby with archive_mode = always hands everything on that it was given, a segment too that was
# a tail when it got it. Under the name of the finished segment that would keep the real one out for
# ever.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects tail_objects timeline_marks);

my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('0');
$pgdr->ok('backup');
my $restore = $pgdr->restore_command;

my $feeder = PgNode->standby_of($node, 'feeder', conf => "archive_mode = off\nrestore_command = ''\n");
$feeder->start;

# It lives from the archive alone.
my $always = PgNode->from_datadir('always', $node->base_backup(temp_dir('always') . '/data'), conf => "archive_mode = always\n"
      . "restore_command = '$restore'\nwal_retrieve_retry_interval = 100ms\n");
my $his = Pgdr->new(node => $always, repo => $pgdr->repo);
$always->append_conf("archive_command = '" . $his->archive_command . "'\n");
spit($always->data_dir . '/standby.signal', '');

sub rows_are
{
    my ($server, $want) = @_;
    return ok($server->poll(q{SELECT string_agg(name, ' ' ORDER BY id) FROM marks}, $want), $server->name . " has the rows $want");
}

sub push_tail
{
    my ($segment) = @_;
    $node->wait_for_catchup($feeder);
    $pgdr->ok('archive-push', "pg_wal/$segment", { cwd => $feeder->data_dir, name => 'a tail is pushed' });
    return;
}

$node->archive_all;
$node->mark($_) for 1, 2;
my $segment = $node->query('SELECT pg_walfile_name(pg_current_wal_lsn())');
push_tail($segment);
$always->start;
rows_are($always, '0 1 2');

subtest 'the archiver of the standby' => sub {
    my $status = $always->data_dir . "/pg_wal/archive_status/$segment";
    ok(poll_until(sub { -e "$status.ready" || -e "$status.done" }, 'noted for archiving'), 'has been given the tail to archive');
    ok(poll_until(sub { -e "$status.done" }, 'archived'), 'and has got rid of it');
    like($always->log_since(0), qr/$segment ends at .*stored as the tail of an unfinished segment/, 'as what it is');
    is(scalar(wal_objects($pgdr, $segment)), 0, 'there is no finished segment');
    is(scalar(timeline_marks($pgdr, 1)), 0, 'and nothing is frozen');
};

subtest 'the primary goes on' => sub {
    $node->mark($_) for 3, 4;
    is($node->archive_all, $segment, 'and finishes that segment, which is archived');
    is(scalar(wal_objects($pgdr, $segment)), 1, 'it is one object');
    rows_are($always, '0 1 2 3 4');
    is($always->fingerprint, $node->fingerprint, 'all is there');
};

subtest 'what the archive holds then' => sub {
    my $copy = restored($pgdr, 'copy');
    $copy->wait_promoted;
    is($copy->marks, '0 1 2 3 4', 'is complete');
    $copy->stop;
};

subtest 'a tail, and the standby is promoted' => sub {
    $node->mark(5);
    my $last = $node->query('SELECT pg_walfile_name(pg_current_wal_lsn())');
    push_tail($last);
    rows_are($always, '0 1 2 3 4 5');
    $node->kill9;
    $always->promote;
    $always->mark(6);
    $always->archive_all;
    is(scalar(wal_objects($pgdr, $last)), 0, 'the last segment of timeline 1 is not there as a finished one');
    my $copy = restored($pgdr, 'promoted');
    $copy->wait_promoted;
    is($copy->marks, '0 1 2 3 4 5 6', 'a restore goes over the fork');
    is($copy->fingerprint, $always->fingerprint, 'and is complete');
    $copy->stop;
    # The old primary is started by mistake and archives the real one: that is later WAL of a
    # timeline that was left, and changes nothing.
    $node->start;
    $node->archive_all;
    $node->stop;
    $copy = restored($pgdr, 'after all');
    $copy->wait_promoted;
    is($copy->fingerprint, $always->fingerprint, 'also when the old primary comes back for a while');
    $copy->stop;
};

done_testing;
