#@ once
# Names that come again: a cluster initialised anew under the name of its predecessor, whose archive is
# still there with the same segments and a second timeline; and a cluster that is given another size
# of its WAL segments, which begins its numbers again.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit);
use TestRun qw(temp_dir);
use WalRepo qw(wal_objects wal_files segment_plus segment_size);

my $first = PgNode->init('first', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr  = Pgdr->new(node => $first);
my $data  = $first->data_dir;
$first->enable_archiving($pgdr);
$first->start;
$pgdr->ok('init');
$first->mark('one');
my $old = $pgdr->json('backup')->{backup};
$first->mark('two');
$first->archive_all;

# Its second timeline.
$first->kill9;
$first->destroy;
$pgdr->ok('restore');
$first->start;
$first->wait_promoted;
$first->mark('three');
my $rows_of_first = $first->fingerprint;
$first->archive_all;
my $system_of_first = $first->control_data->{'Database system identifier'};
$first->stop;
$first->destroy;
is(scalar(wal_objects($pgdr, '00000002.history')), 1, 'the archive knows a second timeline');

# The successor, in the same place with the same configuration.
my $second = PgNode->init('second', wal_segsize => 1, conf => "autovacuum = off\nmin_wal_size = 32MB\n", data => $data);
$pgdr->set('cluster app', host => $second->host, port => $second->port);
$second->enable_archiving($pgdr);
$second->start;
isnt($second->control_data->{'Database system identifier'}, $system_of_first, 'a new system');

subtest 'a cluster initialised anew' => sub {
    $second->mark('new one');
    $second->archive_all;
    my ($name) = grep { scalar(wal_objects($pgdr, $_)) == 2 } wal_files($pgdr);
    ok($name, ($name // 'no segment') . ' has the name of one of the other, and is archived');
    $second->mark('new two');
    my $new = $pgdr->json('backup')->{backup};
    ok($new->{id}, 'is backed up');
    $second->mark('new three');
    $second->archive_all;

    my $copy = restored($pgdr, 'copy');
    $copy->wait_promoted;
    is($copy->fingerprint, $second->fingerprint, 'and restored');
    ok(-e $copy->data_dir . '/pg_wal/00000002.history', "  onto a second timeline of its own");
    $copy->stop;

    # A standby looks for timelines by itself.
    my $standby = PgNode->from_datadir('standby', $second->base_backup(temp_dir('standby') . '/data'), conf => "archive_mode = off\n"
          . "wal_retrieve_retry_interval = 100ms\nrestore_command = '" . $pgdr->restore_command . "'\n");
    spit($standby->data_dir . '/standby.signal', '');
    $second->mark('new four');
    $second->archive_all;
    $standby->start;
    ok($standby->poll(q{SELECT string_agg(name, ' ' ORDER BY id) FROM marks}, 'new one new two new three new four'),
        'a standby of it starts, and follows');
    unlike($standby->log_since(0), qr/FATAL|not a child/, '  without regard to the timelines of the other');
    $standby->promote;
    is(hex substr($standby->query('SELECT pg_walfile_name(pg_current_wal_insert_lsn())'), 0, 8), 2, '  and takes the next one of its own');
    $standby->stop;
};

subtest 'the predecessor' => sub {
    my $copy = restored($pgdr, 'predecessor', "--backup=$old->{id}");
    $copy->wait_promoted;
    is($copy->fingerprint, $rows_of_first, 'is restored as it was, over both of its timelines');
    $copy->stop;
};

my $system = $second->control_data->{'Database system identifier'};
my $end_of_small;
subtest 'another size of segments' => sub {
    $second->stop;
    $end_of_small = (sort map { m{/wal/$system-1048576/00000001/.*/([0-9A-F]{24})-} ? $1 : () } map { wal_objects($pgdr, $_) } wal_files($pgdr))[-1];
    $second->must('pg_resetwal', '-D', $data, '--wal-segsize=16');
    $second->start;
    is(segment_size($second), 16 << 20, 'the cluster has segments of 16 MiB');
    $second->mark('large one');
    my $segment = $second->archive_all;
    my ($object) = wal_objects($pgdr, $segment);
    ok($object, "$segment is archived");
    $pgdr->ok('backup');
    $second->mark('large two');
    $segment = $second->archive_all;
    my $copy = restored($pgdr, 'large');
    $copy->wait_promoted;
    is($copy->fingerprint, $second->fingerprint, 'a restore gives all rows');
    $copy->stop;

    # And back to one that it had, where it comes upon names of its own.
    $second->stop;
    $second->must('pg_resetwal', '-D', $data, '--wal-segsize=1', '-l', '000000010000000000000400');
    $second->start;
    $second->mark('small again');
    $segment = $second->archive_all;
    is(scalar(wal_objects($pgdr, $segment)), 1, "$segment is archived");
    $pgdr->ok('backup');
    $second->mark('the last');
    $second->archive_all;
    $copy = restored($pgdr, 'small');
    $copy->wait_promoted;
    is($copy->fingerprint, $second->fingerprint, 'a restore gives all rows');
    $copy->stop;
};

subtest 'all of them are in one repository' => sub {
    my %names;
    m{/wal/([^/]+)/} and $names{$1}++ for map { wal_objects($pgdr, $_) } wal_files($pgdr);
    is_deeply([ sort keys %names ], [ sort "$system_of_first-1048576", $system, "$system-1048576" ], 'each system and size under a name of its own');
    # pg_resetwal leaves out a piece of WAL: that is true of the last system and size, and of no other.
    my $verified = $pgdr->json_fails('FINDINGS', 'verify');
    my @objects = map { $_->{object} } @{ $verified->{findings} // [] };
    is("@objects", segment_plus($end_of_small, 1, 1 << 20), 'nothing is wrong but the gap that pg_resetwal made') or diag(explain($verified));
};

done_testing;
