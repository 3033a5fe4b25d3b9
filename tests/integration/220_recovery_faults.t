#@ timeout 1200
# One-shot recovery (recovery.signal) that meets a fault in the middle: PostgreSQL takes a restore_command
# that fails for the end of the WAL, and opens without the rest. So it must stop instead, with every
# kind of fault; and when that is mended, go on and be complete.

use strict;
use warnings;
use File::Path qw(remove_tree);
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to copy_tree truncate_to truncate_by flip_bit zero_range swap_files
  delete_file);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_object segment_plus);

my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
# What was fetched before the fault would not meet it: 212 has that.
my $pgdr = Pgdr->new(node => $node, cluster_options => { 'wal-ahead' => 0 });
my $repo = $pgdr->folder;
my $url  = $pgdr->repo;
my $conf = $pgdr->config_file;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('before the backup');
$pgdr->ok('backup');
my @segments;
for my $i (1 .. 6) {
    $node->mark("row $i");
    push @segments, $node->archive_all;
}
my $want = $node->fingerprint;
my $all  = $node->marks;
$node->stop('immediate');
my ($hit, $later) = @segments[ 2, 3 ];

# What restore leaves, with a restore_command that stops in front of a segment until the test has done
# what it wants to do in the middle of recovery.
my $base = temp_dir('base') . '/data';
$pgdr->ok('restore', "--to=$base");
my $auto = slurp("$base/postgresql.auto.conf");
my ($command) = $auto =~ /^restore_command = '(.*)'$/m or BAIL_OUT("no restore_command in\n$auto");
$command =~ s/''/'/g;
$command =~ s/%f/"\$1"/;
$command =~ s/%p/"\$2"/;
my $bin = temp_dir('bin') . '/pgdr';
symlink $pgdr->program, $bin;
$command =~ s/\Q@{[$pgdr->program]}\E/$bin/ or BAIL_OUT("no pgdr in $command");
my $hook = temp_dir('hook');
spit("$hook/get", <<"SH");
if [ "\$1" = $hit ] && [ ! -e $hook/asked ]; then
    touch $hook/asked
    until [ -e $hook/go ]; do sleep 0.02; done
fi
if [ -e $hook/kill ]; then kill -9 \$\$; fi
$command
SH
$auto =~ s/^restore_command = .*$/restore_command = 'sh $hook\/get %f %p'/m;
spit("$base/postgresql.auto.conf", $auto);

# A change and the way back, for things with a path.
sub moved { my ($path) = @_; return (sub { rename $path, "$path.away" or die }, sub { rename "$path.away", $path or die }) }
sub mode  { my ($path, $to) = @_; my $was = (stat $path)[2] & 07777; return (sub { chmod $to, $path }, sub { chmod $was, $path }) }

sub damaged
{
    my ($path, $how) = @_;
    my $bytes = slurp($path);
    return ($how, sub { unlink $path; spit($path, $bytes) });
}

my $object = wal_object($pgdr, $hit);
my $other  = wal_object($pgdr, $later);
(my $twin = $object) =~ s/(.)$/$1 eq '0' ? '1' : '0'/e;
(my $dir  = $object) =~ s{/[^/]+$}{};

# [what, break it, mend it, what the server's log says]
my @faults = (
    [ 'the repository is gone',      moved($repo),        Pgdr::says_gone() ],
    [ 'another file system is empty in its place', sub { rename $repo, "$repo.away"; mkdir $repo }, sub { rmdir $repo; rename "$repo.away", $repo }, qr/ERROR: .*\Q$url\E/ ],
    [ "the cluster's folder is gone", moved("$repo/app"), qr/no WAL at all of system/ ],
    Pgdr::unless_s3([ 'permission is gone', mode($repo, 0), qr/Permission denied/ ],
        [ 'permission for one folder is gone', mode($dir, 0), qr/Permission denied/ ]),
    [ 'a bit flipped',               damaged($object, sub { flip_bit($object, (-s $object) / 2) }), qr/cannot read .*$hit/ ],
    [ 'a hole of zeros',             damaged($object, sub { zero_range($object, 92, 512) }), qr/cannot read .*$hit/ ],
    [ 'the object is cut off',       damaged($object, sub { truncate_by($object, 200) }), qr/cannot read .*$hit/ ],
    [ 'the object is empty',         damaged($object, sub { truncate_to($object, 0) }), qr/cannot read .*$hit/ ],
    [ 'two objects are exchanged',   (sub { swap_files($object, $other) }) x 2, qr/cannot read .*$hit/ ],
    [ 'the object is deleted',       damaged($object, sub { delete_file($object) }), qr/$hit is not in .*there is a hole/ ],
    [ 'there are two contents',      sub { spit($twin, slurp($object)) }, sub { unlink $twin }, qr/two different contents of $hit/ ],
    [ 'the encryption setting is wrong', sub { $pgdr->set_wrong_encryption }, sub { $pgdr->set_right_encryption }, qr/encrypt/ ],
    [ 'the configuration is gone',   moved($conf),        qr/no configuration file/ ],
    [ 'the configuration has a typing error', damaged($conf, sub { append_to($conf, "[global]\ncolor = red\n") }), qr/color/ ],
    [ 'pgdr is gone',                moved($bin),         qr/not found/ ],
    [ 'pgdr is killed',              sub { spit("$hook/kill", '') }, sub { unlink "$hook/kill" }, qr/terminated by signal|exit code 137/ ],
);

for my $fault (@faults) {
    my ($what, $break, $mend, $says) = @$fault;
    subtest $what => sub {
        unlink "$hook/asked", "$hook/go";
        my $data   = copy_tree($base, temp_dir('case') . '/data');
        my $server = PgNode->from_datadir('restored', $data);
        $server->start(wait => 0);
        poll_until(sub { -e "$hook/asked" }, 'recovery is in the middle') or return fail('recovery does not come there');
        $break->();
        spit("$hook/go", '');
        poll_until(sub { !$server->is_running }, 'the server is down') or return fail('the server does not stop');
        like($server->log_since(0), $says, 'the log says why');
        unlike($server->log_since(0), qr/archive recovery complete|selected new timeline/, 'recovery did not end');
        is($server->control_data->{'Database cluster state'}, 'in archive recovery', 'nor was it opened');
        $mend->();
        $server->start;
        $server->wait_promoted;
        is($server->marks, $all, 'afterwards all rows are there');
        is($server->fingerprint, $want, 'and equal');
        $server->stop('immediate');
        $server->destroy;
    };
}

done_testing;
