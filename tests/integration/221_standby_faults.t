#@ timeout 1200
# A standby that lives from the archive alone meets the same faults: it stays up, says what is wrong,
# replays nothing that it should not, and has caught up when all is well again.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to truncate_to truncate_by flip_bit zero_range swap_files delete_file);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_object);

my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
my $repo = $pgdr->folder;
my $url  = $pgdr->repo;
my $conf = $pgdr->config_file;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('first');
$node->archive_all;

# While the gate is shut the archive has nothing for the standby: time for the test to prepare.
my $dir  = temp_dir('standby');
my $gate = "$dir/shut";
my $bin  = "$dir/pgdr";
symlink $pgdr->program, $bin;
spit("$dir/get", "if [ -e $gate ]; then exit 1; fi\n" . ($pgdr->restore_command =~ s/^\S+/$bin/r =~ s/%f/"\$1"/r =~ s/%p/"\$2"/r) . "\n");
$node->base_backup("$dir/data");
spit("$dir/data/standby.signal", '');
my $standby = PgNode->from_datadir('standby', "$dir/data", conf => <<"CONF");
restore_command = 'sh $dir/get %f %p'
wal_retrieve_retry_interval = 100ms
archive_mode = off
CONF
$standby->start;
$standby->poll('SELECT count(*) FROM marks', 1) or BAIL_OUT('the standby does not replay');

sub moved { my ($path) = @_; return (sub { rename $path, "$path.away" or die }, sub { rename "$path.away", $path or die }) }

# Change a file, and the way back; the file is known only when it is time.
my ($object, $later, $bytes);
sub damaged { my ($how) = @_; return (sub { $bytes = slurp($object); $how->($object) }, sub { unlink $object; spit($object, $bytes) }) }

my ($is_twin, $of, $was);
my @faults = (
    [ 'the repository is gone',    moved($repo),        qr/ERROR: @{[Pgdr::says_gone()]}/ ],
    [ 'a folder without a repository is in its place', sub { rename $repo, "$repo.away"; mkdir $repo }, sub { rmdir $repo; rename "$repo.away", $repo }, qr/ERROR: .*\Q$url\E/ ],
    [ "the cluster's folder is gone", moved("$repo/app"), qr/ERROR: there is no WAL at all of system/ ],
    Pgdr::unless_s3([ 'permission is gone', sub { chmod 0, $repo }, sub { chmod 0755, $repo }, qr/ERROR: .*Permission denied/ ],
    [ 'permission for one folder is gone', sub { ($of) = $object =~ m{(.*)/}; $was = (stat $of)[2] & 07777; chmod 0, $of }, sub { chmod $was, $of }, qr/ERROR: .*Permission denied/ ]),
    [ 'a bit flipped',             damaged(sub { flip_bit($_[0], (-s $_[0]) / 2) }), qr/ERROR: cannot read / ],
    [ 'a hole of zeros',           damaged(sub { zero_range($_[0], 92, 256) }), qr/ERROR: cannot read / ],
    [ 'the object is cut off',     damaged(sub { truncate_by($_[0], 200) }), qr/ERROR: cannot read / ],
    [ 'the object is empty',       damaged(sub { truncate_to($_[0], 0) }), qr/ERROR: cannot read / ],
    [ 'two objects are exchanged', (sub { swap_files($object, $later) }) x 2, qr/ERROR: cannot read / ],
    [ 'the object is deleted, a later one is there', damaged(\&delete_file), qr/ERROR: .* but later WAL is .*there is a hole/ ],
    [ 'there are two contents',    sub { $is_twin = $object =~ s/(.)$/$1 eq '0' ? '1' : '0'/er; spit($is_twin, slurp($object)) },
        sub { unlink $is_twin }, qr/ERROR: there are two different contents/ ],
    [ 'the encryption setting is wrong', sub { $pgdr->set_wrong_encryption }, sub { $pgdr->set_right_encryption }, qr/ERROR: .*encrypt/ ],
    [ 'the configuration is gone', moved($conf),        qr/ERROR: there is no configuration file/ ],
    [ 'the configuration has a typing error', sub { rename $conf, "$conf.away"; spit($conf, slurp("$conf.away") . "[global]\ncolor = red\n") },
        sub { rename "$conf.away", $conf }, qr/ERROR: .*color/ ],
);

# Rows in two new segments; the first of them is the one that is hit.
my $rows = 1;
sub write_more
{
    $node->mark('row ' . ++$rows);
    $object = wal_object($pgdr, $node->archive_all);
    $node->mark('row ' . ++$rows);
    $later = wal_object($pgdr, $node->archive_all);
    return $rows - 2;
}

my $leader = $standby->postmaster_pid;
for my $fault (@faults) {
    my ($what, $break, $mend, $says) = @$fault;
    subtest $what => sub {
        spit($gate, '');
        my $before = write_more();
        $break->();
        my $mark = $standby->log_mark;
        unlink $gate;
        $standby->wait_for_log($says, $mark);
        is($standby->postmaster_pid, $leader, 'the standby stays up');
        is($standby->query('SELECT pg_is_in_recovery()'), 't', 'as a standby');
        is($standby->query('SELECT count(*) FROM marks'), $before, 'with the rows of before');
        unlike($standby->log_since($mark), qr/FATAL|PANIC/, 'and without a complaint of its own');
        $mend->();
        ok($standby->poll('SELECT count(*) FROM marks', $rows), 'it catches up');
    };
}

subtest 'pgdr is gone' => sub {
    # The shell's own status, 127, is the one that a standby does not survive; it must not open either.
    spit($gate, '');
    write_more();
    rename $bin, "$bin.away";
    unlink $gate;
    poll_until(sub { !$standby->is_running }, 'the standby stops') or return fail('it does not stop');
    like($standby->log_since(0), qr/not found/, 'its log says why');
    is($standby->control_data->{'Database cluster state'}, 'in archive recovery', 'it was not opened');
    rename "$bin.away", $bin;
    $standby->start;
    ok($standby->poll('SELECT count(*) FROM marks', $rows), 'started again, it catches up');
};

subtest 'restarted while the repository is gone' => sub {
    spit($gate, '');
    write_more();
    rename $repo, "$repo.away";
    unlink $gate;
    $standby->restart(mode => 'immediate');
    is($standby->query('SELECT pg_is_in_recovery()'), 't', 'it comes up with what it has');
    rename "$repo.away", $repo;
    ok($standby->poll('SELECT count(*) FROM marks', $rows), 'and catches up');
};

is($standby->fingerprint, $node->fingerprint, 'in the end both hold the same');
$standby->promote;
is($standby->marks, $node->marks, 'also when it is promoted');
done_testing;
