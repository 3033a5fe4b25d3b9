#@ once
# Servers whose archive_command or restore_command is wrong, and servers side by side in one
# repository: each WAL comes to its own cluster, or is refused in words that say what to correct.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit tree_state files_below);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects wal_files segment_size segment_plus);

# Two clusters in one configuration, with the smallest segments and with large ones.
my %node = map { $_ => PgNode->init($_, wal_segsize => $_ eq 'small' ? 1 : 64, conf => "autovacuum = off\n"
      . ($_ eq 'small' ? '' : "min_wal_size = 128MB\n")) } qw(small large);
my $pgdr = Pgdr->new(node => $node{small}, cluster => 'small');
my %dir  = map { $_ => $node{$_}->data_dir } keys %node;
$pgdr->add_cluster('large', $node{large});
my %command = map { my $of = $_; $of => join ' ', Pgdr::program(), '--config=' . $pgdr->config_file, "--cluster=$of", 'archive-push', '%p' } keys %node;
for my $name (sort keys %node) {
    $node{$name}->enable_archiving($command{$name});
    $node{$name}->start;
}
$pgdr->ok('init');

subtest 'two sizes of segments side by side' => sub {
    for my $name (sort keys %node) {
        $node{$name}->mark($name);
        my $segment = $node{$name}->archive_all;
        my $bytes   = slurp("$dir{$name}/pg_wal/$segment");
        is(length $bytes, segment_size($node{$name}), "a segment of $name");
        my $to = temp_dir('back') . '/x';
        $pgdr->ok("--cluster=$name", 'archive-get', $segment, $to, { cwd => $dir{$name} });
        ok(-e $to && slurp($to) eq $bytes, '  comes back');
        $pgdr->ok("--cluster=$name", 'backup');
        $node{$name}->mark('after');
        $node{$name}->archive_all;
        my $copy = restored($pgdr, "copy-$name", "--cluster=$name");
        $copy->wait_promoted;
        is($copy->marks, "$name after", '  and is restored');
        $copy->stop;
    }
};

# archive_command and what it is set to anew.
sub archives_with
{
    my ($server, $command) = @_;
    $server->append_conf("archive_command = '$command'");
    $server->restart; # a new archiver, which does not wait out the failures of the one before
    return;
}

subtest "archive_command names another cluster" => sub {
    my $server = $node{large};
    archives_with($server, $command{small});
    my $before = join ' ', files_below($pgdr->folder); # what was still on its way has arrived
    my $mark    = $server->log_mark;
    my $segment = $server->switch_wal;
    $server->wait_for_log(qr/ERROR: this server is system \d+, but "data-directory" of cluster 'small'.*HINT: name this server's cluster in archive_command/s, $mark);
    is(join(' ', files_below($pgdr->folder)), $before, 'nothing was stored');
    ok(-e "$dir{large}/pg_wal/archive_status/$segment.ready", 'the segment waits');
    archives_with($server, $command{large});
    $server->archive_all;
    ok(scalar(wal_objects($pgdr, $segment)), 'and is archived when that is corrected');
};

subtest 'archive_command names no cluster, a wrong one, a wrong file' => sub {
    my $server = $node{large};
    my @these  = (
        [ $command{large} =~ s/--cluster=large//r,       qr/ERROR: .*cluster.*HINT/s ],
        [ $command{large} =~ s/--cluster=large/--cluster=lrage/r, qr/ERROR: .*lrage.*HINT: .*large/s ],
        [ $command{large} =~ s/--config=\S+/--config=\/nowhere\/pgdr.conf/r, qr{ERROR: there is no configuration file '/nowhere/pgdr.conf'} ],
        [ $command{large} =~ s/%p/%f/r,                  qr/ERROR: cannot open .*HINT: .*%p/s ],
        [ $command{large} =~ s/%p//r,                    qr/ERROR: archive-push lacks an argument/ ]);
    for my $this (@these) {
        my ($command, $says) = @$this;
        my $mark = $server->log_mark;
        archives_with($server, $command);
        my $segment = $server->switch_wal;
        $server->wait_for_log($says, $mark);
        ok(-e "$dir{large}/pg_wal/archive_status/$segment.ready", "$segment waits");
        ok($server->is_ready, '  and the server runs');
        unlike($server->log_since($mark), qr/PANIC|FATAL/, '  as does its archiver');
    }
    archives_with($server, $command{large});
    $server->archive_all;
    pass('all is archived in the end');
};

subtest 'restore_command names another cluster' => sub {
    my $to = temp_dir('wrong') . '/data';
    $pgdr->ok('restore', '--cluster=large', "--to=$to");
    my $auto = slurp("$to/postgresql.auto.conf");
    $auto =~ s{--cluster=''large''}{--cluster=small} or die "no --cluster in\n$auto";
    spit("$to/postgresql.auto.conf", $auto);
    my $server = PgNode->from_datadir('wrong', $to);
    $server->start(wait => 0);
    ok(poll_until(sub { !$server->is_running && $server->log_since(0) =~ /shut down/ }, 'it stops'), 'recovery stops');
    like($server->log_since(0), qr/ERROR: there is no WAL at all of system \d+ of cluster 'small'.*HINT: .*change restore_command/s, 'and says why');
    unlike($server->log_since(0), qr/archive recovery complete|ready to accept connections/, 'nothing was opened');
};

subtest 'a segment of another cluster in pg_wal' => sub {
    # Copied by hand, with the .ready that makes the archiver take it.
    my $other   = PgNode->init('other', wal_segsize => 1);
    my $segment = segment_plus((sort grep { /^[0-9A-F]{24}$/ } wal_files($pgdr))[-1], 100, 1 << 20);
    my ($file)  = sort glob $other->data_dir . '/pg_wal/0*';
    my $server  = $node{small};
    my $mark    = $server->log_mark;
    spit("$dir{small}/pg_wal/$segment", slurp($file));
    spit("$dir{small}/pg_wal/archive_status/$segment.ready", '');
    $server->switch_wal;
    $server->wait_for_log(qr/ERROR: .*$segment' belongs to the system \d+, this cluster is \d+.*HINT: .*move it away/s, $mark);
    is(scalar(wal_objects($pgdr, $segment)), 0, 'is not stored');
    unlink "$dir{small}/pg_wal/$segment", "$dir{small}/pg_wal/archive_status/$segment.ready";
    $server->archive_all;
    pass('moved away, the archiver goes on');
};

subtest '%p in every form' => sub {
    my $server  = $node{small};
    my ($folder) = $dir{small} =~ m{/([^/]+)$};
    for my $path ('%p', '$PWD/%p', './%p', 'pg_wal/%f', "../$folder/%p") {
        archives_with($server, $command{small} =~ s/%p/$path/r);
        my $segment = $server->archive_all;
        is(scalar(wal_objects($pgdr, $segment)), 1, "$path: $segment is archived");
    }
};

done_testing;
