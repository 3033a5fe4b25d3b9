#@ s3
#@ once
#@ smallfs 64
# A server archives while its repository is missing, full, read-only or forbidden, or its
# configuration is: it keeps its WAL and goes on; when all is well again, everything arrives, and nothing twice.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit files_below);
use TestRun qw(temp_dir run poll_until small_fs fill_fs);
use WalRepo qw(wal_objects timeline_marks segment_plus segment_size);

my $disk = small_fs();
my $node = PgNode->init('primary', wal_segsize => 1);
my $pgdr = Pgdr->new(node => $node, Pgdr::unless_s3(repo => "$disk/repo"));
my $repo = $pgdr->folder;
my $url  = $pgdr->repo;
my $conf = $pgdr->config_file;
my $data = $node->data_dir;
my $status = "$data/pg_wal/archive_status";

$node->enable_archiving($pgdr);
$node->start;
my $size = segment_size($node);
$pgdr->ok('init');
$node->query('CREATE TABLE t(a text)');
$node->archive_all;

sub everywhere
{
    my ($mode) = @_;
    return sub { system('chmod', '-R', $mode, $repo) == 0 or die };
}

# name => [what breaks it, what mends it, what the server's log says]
my @outages = (
    [ 'missing',        sub { rename $repo, "$repo.away" }, sub { rename "$repo.away", $repo }, qr/@{[Pgdr::says_gone()]}.*HINT: .*pgdr init/s ],
    [ 'an empty folder', sub { rename $repo, "$repo.away"; mkdir $repo }, sub { rmdir $repo; rename "$repo.away", $repo }, qr/\Q$url\E/ ],
    Pgdr::unless_s3([ 'read-only',      everywhere('a-w'), everywhere('u+w'), qr/Permission denied/ ],
    [ 'forbidden',      sub { chmod 0, $repo }, sub { chmod 0755, $repo }, qr/Permission denied/ ],
    [ 'full',           sub { fill_fs($disk, 0) }, sub { unlink "$disk/filler" }, qr/No space left/ ]),
    [ 'of unknown encryption', sub { $pgdr->set_wrong_encryption }, sub { $pgdr->set_right_encryption }, qr/encrypt/ ],
    [ 'without a configuration', sub { rename $conf, "$conf.away" }, sub { rename "$conf.away", $conf }, qr/no configuration file/ ],
    [ 'misconfigured',  sub { rename $conf, "$conf.away"; spit($conf, "[repo main]\nurl = $url\ncolor = red\n") },
        sub { rename "$conf.away", $conf }, qr/color/ ],
);

# Three segments that are finished during the outage.
sub write_some
{
    my ($text) = @_;
    my @new;
    for my $i (1 .. 3) {
        $node->query("INSERT INTO t SELECT '$text $i ' || md5(n::text) FROM generate_series(1, 100) n");
        push @new, $node->switch_wal;
    }
    return @new;
}

for my $outage (@outages) {
    my ($what, $break, $mend, $says) = @$outage;
    subtest "the repository is $what" => sub {
        my $mark = $node->log_mark;
        $break->();
        my @new = write_some($what);
        $node->wait_for_log($says, $mark);
        $node->wait_for_log(qr/archive command failed with exit code \d+/, $mark);
        # Nothing of PostgreSQL's own cleaning up may take what is not archived.
        $node->query('CHECKPOINT') for 1 .. 2;
        is(scalar(grep { -s "$data/pg_wal/$_" } @new), 3, 'the server keeps the WAL');
        is(scalar(grep { -e "$status/$_.ready" } @new), 3, 'to be archived');
        is(scalar(grep { -e "$status/$_.done" } @new), 0, 'and takes none of it for archived');
        my @codes = $node->log_since($mark) =~ /archive command failed with exit code (\d+)/g;
        my @bad   = grep { $_ < 1 || $_ > 125 } @codes;
        is("@bad", '', 'every exit status is one that the archiver survives');

        $mend->();
        my %bytes = map { $_ => slurp("$data/pg_wal/$_") } @new;
        $node->archive_all;
        for my $segment (@new) {
            my $to = temp_dir('back') . '/file';
            $pgdr->run('archive-get', $segment, $to, { cwd => $data });
            ok(-e $to && slurp($to) eq $bytes{$segment}, "$segment arrived, byte for byte");
        }
    };
}

is(scalar(timeline_marks($pgdr, 1)), 0, 'no timeline is frozen');
is(join(' ', grep { m{(^|/)\.} } files_below($repo)), '', 'nothing half-written lies about');

subtest 'kill -9 of the server between the push and its .done' => sub {
    my $pushed = temp_dir('hook') . '/pushed';
    # Only the segment it is told of is held up.
    $node->append_conf("archive_command = '" . $pgdr->archive_command . " && { test ! -e $pushed.hold || { touch $pushed && sleep 600; }; }'");
    $node->reload;
    spit("$pushed.hold", '');
    my $segment = $node->switch_wal;
    poll_until(sub { -e $pushed }, 'the segment is pushed');
    $node->kill9;
    ok(-e "$status/$segment.ready", 'the server does not know that it is archived');
    is(scalar(wal_objects($pgdr, $segment)), 1, 'but it is');
    unlink "$pushed.hold";
    $node->start;
    $node->archive_all;
    ok(-e "$status/$segment.done", 'the second push succeeds');
    is(scalar(wal_objects($pgdr, $segment)), 1, 'and stores nothing new');
};

subtest 'kill -9 at any moment' => sub {
    for my $round (1 .. 4) {
        my $load = $node->pgbench_start(args => [ '-f', spit(temp_dir('sql') . '/f', "INSERT INTO t SELECT repeat(md5(random()::text), 50) FROM generate_series(1, 50);\n") ]);
        my $from = $node->query('SELECT pg_walfile_name(pg_current_wal_lsn())');
        poll_until(sub { $node->query('SELECT pg_walfile_name(pg_current_wal_lsn())') gt segment_plus($from, 1 + $round, $size) }, 'some WAL is written');
        $node->kill9;
        $load->stop;
        $node->start;
    }
    my $last = $node->archive_all;
    my @missing = grep { !wal_objects($pgdr, $_) } map { segment_plus($last, -$_, $size) } 0 .. 20;
    is("@missing", '', 'all segments are there in the end');
    is(scalar(timeline_marks($pgdr, 1)), 0, 'none was refused');
};

subtest 'the WAL is one unbroken line' => sub {
    $pgdr->ok('backup');
    my $doc = $pgdr->json('verify');
    ok($doc->{ok}, 'verify finds nothing') or diag(explain($doc->{findings}));
};

done_testing;
