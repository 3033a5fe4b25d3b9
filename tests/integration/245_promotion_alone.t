#@ once
# The end of a recovery while no repository can be asked. PostgreSQL has removed its signal file when it
# asks for the last time, for the history of the timeline that it comes from; an answer that stops it
# there leaves a server that opens on its old timeline, beside the one that it is to replace.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit append_to);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects);

my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
my $repo = $pgdr->folder;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$pgdr->ok('backup');

# A standby with a configuration of its own.
sub standby
{
    my ($primary, $name) = @_;
    my $standby = PgNode->standby_of($primary, $name);
    my $his     = Pgdr->new(node => $standby, repo => $pgdr->repo);
    $standby->append_conf("wal_retrieve_retry_interval = 100ms\nrestore_command = '" . $his->restore_command . "'\n"
          . "archive_command = '" . $his->archive_command . "'\n");
    $standby->start;
    return ($standby, $his);
}

sub timeline { return hex substr $_[0]->query('SELECT pg_walfile_name(pg_current_wal_insert_lsn())'), 0, 8 }

sub moved { my ($path) = @_; return (sub { rename $path, "$path.away" or die }, sub { rename "$path.away", $path or die }) }

my $tli     = 1;
my $primary = $node;
for my $what ('the repository is gone', 'the spool is gone, too', 'the configuration is gone', 'the configuration has a typing error') {
    subtest $what => sub {
        my ($standby, $his) = standby($primary, "next$tli");
        my $conf   = $his->config_file;
        my $spool  = $his->{sections}{'cluster app'}{spool};
        my %faults = (
            'the repository is gone'    => [ moved($repo) ],
            'the spool is gone, too'    => [ sub { rename $repo, "$repo.away"; rename $spool, "$spool.away" }, sub { rename "$repo.away", $repo } ],
            'the configuration is gone' => [ moved($conf) ],
            'the configuration has a typing error' => [ sub { rename $conf, "$conf.away"; spit($conf, slurp("$conf.away") . "[global]\ncolor = red\n") },
                sub { rename "$conf.away", $conf } ]);
        $primary->mark("on $tli");
        $primary->archive_all;
        $primary->mark("streamed on $tli");
        $primary->wait_for_catchup($standby);
        my $rows = $primary->fingerprint;
        $primary->kill9;
        $faults{$what}[0]->();
        my $mark = $standby->log_mark;
        $standby->promote;
        is(timeline($standby), ++$tli, "is promoted onto timeline $tli");
        is($standby->fingerprint, $rows, '  with all rows');
        like($standby->log_since($mark), qr/(?:ERROR|WARNING): /, '  and says what is wrong');
        my @steps = slurp($standby->data_dir . sprintf '/pg_wal/%08X.history', $tli) =~ /^(\d+)\t/mg;
        is("@steps", join(' ', 1 .. $tli - 1), '  all its ancestors are in its history');
        $faults{$what}[1]->();
        $standby->archive_all;
        is(scalar(wal_objects($pgdr, sprintf '%08X.history', $tli)), 1, '  which is archived afterwards');
        $primary = $standby;
    };
}

subtest 'all of them can be restored' => sub {
    my $copy = restored($pgdr, 'copy');
    $copy->wait_promoted;
    is($copy->fingerprint, $primary->fingerprint, 'a restore from the first backup goes over all timelines');
    $copy->stop;
};

subtest 'a restore that ends while the repository is gone' => sub {
    my $target = $primary->mark('the target');
    $primary->mark('behind it');
    $primary->archive_all;
    my $to = temp_dir('pause') . '/data';
    $pgdr->ok('restore', "--to=$to", "--target-lsn=$target->{lsn}", '--target-action=pause');
    my $copy = PgNode->from_datadir('pause', $to);
    $copy->start;
    ok($copy->poll(q{SELECT pg_is_wal_replay_paused()}), 'waits at its target');
    rename $repo, "$repo.away";
    $copy->query('SELECT pg_wal_replay_resume()');
    # It asks which timelines are taken, and is not told a lie.
    ok(poll_until(sub { !$copy->is_running }, 'stopped'), 'and stops when it cannot ask which timelines are taken');
    like($copy->log_since(0), qr/ERROR: @{[Pgdr::says_gone()]}.*FATAL:  could not restore file/s, 'it says why');
    rename "$repo.away", $repo;
    $copy->start;
    ok($copy->poll(q{SELECT pg_is_wal_replay_paused()}), 'started again, it is there again');
    $copy->query('SELECT pg_wal_replay_resume()');
    $copy->wait_promoted;
    is($copy->query('SELECT name FROM marks ORDER BY id DESC LIMIT 1'), 'the target', 'the rows are those of the target');
    cmp_ok(timeline($copy), '>', $tli, 'on a timeline of its own');
    $copy->stop;
};

done_testing;
