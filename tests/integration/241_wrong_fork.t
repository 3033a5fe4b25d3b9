#@ once
# A failover in which the old primary writes on: its segment of the old timeline holds more than the
# new timeline took over, and is archived, while of the new timeline only the history is there yet.
# PostgreSQL would then go on along the old timeline and bring back what is lost. The segment must
# end for it where its timeline was left.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored lsn_number);
use TestFile qw(slurp spit);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects);

my $old  = PgNode->init('old', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $old);
$old->enable_archiving($pgdr);
$old->start;
$pgdr->ok('init');
$old->mark('before');
$pgdr->ok('backup');

# The new primary archives nothing but its history until the gate is opened.
my $new   = PgNode->standby_of($old, 'new');
my $his   = Pgdr->new(node => $new, repo => $pgdr->repo);
my $gate  = temp_dir('gate');
my $open  = "$gate/open";
my $push  = $his->shell_command('archive-push', '"$1"');
spit("$gate/push", "case \$1 in *.history) ;; *) [ -e $open ] || exit 1 ;; esac\n$push\n");
$new->append_conf("archive_command = 'sh $gate/push %p'\n");
$new->start;

# A third server, which lives from the archive alone; it was copied before all that.
my $third = PgNode->from_datadir('third', $old->base_backup(temp_dir('third') . '/data'), conf => "archive_mode = off\n"
      . "restore_command = '" . $pgdr->restore_command . "'\nwal_retrieve_retry_interval = 100ms\n");
spit($third->data_dir . '/standby.signal', '');

$old->mark('common');
$old->wait_for_catchup($new);
$new->promote;
poll_until(sub { wal_objects($his, '00000002.history') }, 'the history is archived') or BAIL_OUT('no history');
my ($fork) = slurp($new->data_dir . '/pg_wal/00000002.history') =~ m{^1\t([0-9A-F]+/[0-9A-F]+)}m;
$new->mark('kept');

# Meanwhile on the old one.
$old->mark('lost 1');
my $segment = $old->archive_all;
$old->mark('lost 2');
$old->archive_all;
my $whole = slurp($old->data_dir . "/pg_wal/$segment");
$old->kill9;
my $at = lsn_number($fork) % (1 << 20);
isnt(substr($whole, $at, 64), "\0" x 64, "the archived $segment goes on behind the fork at $fork");
is(scalar(wal_objects($pgdr, $segment =~ s/^.{8}/00000002/r)), 0, 'of timeline 2 there is no segment');

subtest 'a standby stops at the fork' => sub {
    $third->start;
    ok($third->poll("SELECT pg_last_wal_replay_lsn() >= '$fork'"), 'it comes to the fork');
    # It asks again and again for what comes next.
    $third->wait_for_log(qr/restored log file "$segment"(?:.*restored log file "$segment"){2}/s);
    is($third->query('SELECT pg_last_wal_replay_lsn()'), $fork, 'and no further');
    is($third->marks, 'before common', 'nothing that was lost is there');
};

subtest 'so does a restore' => sub {
    my $server = restored($pgdr, 'early');
    $server->wait_promoted;
    is($server->marks, 'before common', 'nothing that was lost is there');
    my $history = slurp($server->data_dir . '/pg_wal/00000003.history');
    like($history, qr{^1\t\Q$fork\E\t}m, 'it has left timeline 1 where timeline 2 did');
    $server->stop;
};

subtest 'a restore by the server alone, which knows only where the archive is' => sub {
    # The same with what PostgreSQL decides by itself: recovery.signal, no path in restore_command.
    my $data = temp_dir('plain') . '/data';
    $pgdr->ok('restore', "--to=$data");
    my $auto = slurp("$data/postgresql.auto.conf");
    my $command = $pgdr->restore_command;
    $auto =~ s/^restore_command = .*$/restore_command = '$command'/m or die "no restore_command in\n$auto";
    $auto =~ s/^recovery_target_timeline = .*$/recovery_target_timeline = 'latest'/m;
    spit("$data/postgresql.auto.conf", $auto);
    my $server = PgNode->from_datadir('plain', $data);
    $server->start;
    $server->wait_promoted;
    is($server->marks, 'before common', 'nothing that was lost is there');
    $server->stop;
};

subtest 'and both follow when the new timeline is archived' => sub {
    my $first = $segment =~ s/^.{8}/00000002/r;
    my $path  = $new->data_dir . "/pg_wal/$first";
    is(unpack('x4 L', slurp($path)), 1, 'its first segment begins with a page of timeline 1');
    spit($open, '');
    $new->mark('kept, too');
    $new->archive_all;
    is(scalar(wal_objects($pgdr, $first)), 1, 'and is archived');
    ok($third->poll(q{SELECT string_agg(name, ' ' ORDER BY id) FROM marks}, 'before common kept kept, too'), 'the standby follows');
    is($third->fingerprint, $new->fingerprint, 'and is equal');
    my $server = restored($pgdr, 'late');
    $server->wait_promoted;
    is($server->fingerprint, $new->fingerprint, 'a restore, too');
    $server->stop;
    $server = restored($pgdr, 'lost', '--target-timeline=1');
    $server->wait_promoted;
    is($server->marks, 'before common lost 1 lost 2', 'and who asks for the old life gets it');
    $server->stop;
};

done_testing;
