#@ s3
#@ once
# What archive-push leaves behind stores what waits before the server offers it: faster, and never
# anything else than the archiver does alone. Killed, outdated, misled: nothing is lost, nothing is
# taken for stored that is not, and what is wrong is said by the command.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit copy_tree);
use TestRun qw(run temp_dir poll_until processes_below is_alive);
use WalRepo qw(wal_objects wal_files timeline_marks segment_plus segment_size);

my $node = PgNode->init('primary', wal_segsize => 1);
my $pgdr = Pgdr->new(node => $node, global => { 'log-level' => 'debug', jobs => 2 });
my $data = $node->data_dir;
my $wal  = "$data/pg_wal";
my $status = "$wal/archive_status";
my $folder = "$wal/pgsql_tmp_pgdr_push";
my $hold   = temp_dir('hook') . '/hold';
my $repo = $pgdr->folder;
my $archive = "while test -e $hold; do sleep 0.02; done; " . $pgdr->archive_command;
$pgdr->ok('init');
$node->enable_archiving($archive);
$node->start;
my $size = segment_size($node);
$node->query('CREATE TABLE t(id serial, a text)');
$pgdr->ok('backup');

# The archiver offers nothing more until it is let go.
sub hold_archiver { spit($hold, ''); return }
sub let_go        { unlink $hold;    return }

# N finished segments that wait.
sub backlog
{
    my ($n) = @_;
    hold_archiver();
    return map {
        $node->query('INSERT INTO t(a) SELECT md5(random()::text) FROM generate_series(1, 200)');
        $node->switch_wal
    } 1 .. $n;
}

sub helpers
{
    my %all = processes_below($data);
    my @found = grep { $all{$_} =~ / --helper / } sort keys %all;
    return @found;
}

# What the helper has answered for since the mark.
sub answered
{
    my ($mark) = @_;
    my %seen;
    $seen{$_}++ for $node->log_since($mark) =~ /([0-9A-F]{24}) is stored already, by the process/g;
    my @all = sort keys %seen;
    return @all;
}

# A backlog of which the archiver has taken the first, and the helper has stored the others.
sub stored_ahead
{
    my @all = backlog(@_);
    let_go();
    poll_until(sub { -e "$status/$all[0].done" && -e "$folder/socket" }, 'the helper runs');
    hold_archiver();
    # What the archiver has begun is let through.
    poll_until(sub { wal_objects($pgdr, $all[-1]) }, 'all are stored ahead');
    return grep { -e "$status/$_.ready" } @all;
}

sub no_helper { return poll_until(sub { !helpers() && !-e $folder }, 'the helper is gone', 30) }

sub drained { return poll_until(sub { my @ready = glob "$status/*.ready"; !@ready }, 'all is archived') }

subtest 'a backlog' => sub {
    my $mark = $node->log_mark;
    my @all  = backlog(30);
    let_go();
    ok(drained(), 'all is archived');
    is(scalar(grep { wal_objects($pgdr, $_) == 1 } @all), 30, 'each is stored, once');
    my @by_helper = answered($mark);
    cmp_ok(scalar(@by_helper), '>=', 20, 'most were answered for by the helper');
    is(scalar(grep { !wal_objects($pgdr, $_) } @by_helper), 0, 'truly');
    unlike($node->log_since($mark), qr/archive command failed/, 'and no call failed');
};

subtest 'it is killed' => sub {
    my $mark = $node->log_mark;
    my @all  = backlog(20);
    let_go();
    poll_until(sub { answered($mark) >= 3 }, 'it has begun');
    my @killed = helpers();
    kill 'KILL', @killed;
    ok(@killed == 1, 'there was one');
    my $after = $node->log_mark;
    ok(drained(), 'all is archived');
    is(scalar(grep { wal_objects($pgdr, $_) == 1 } @all), 20, 'each is stored, once');
    unlike($node->log_since($mark), qr/archive command failed/, 'and no call failed');
};

subtest 'a file that is touched or replaced after it was stored' => sub {
    my @waits = stored_ahead(8);
    my $mark  = $node->log_mark;
    my $touched = $waits[1];
    my $bytes = slurp("$wal/$touched");
    spit("$wal/new", $bytes);
    rename "$wal/new", "$wal/$touched";
    let_go();
    ok(drained(), 'all is archived');
    is(scalar(grep { $_ eq $touched } answered($mark)), 0, 'the helper does not answer for another file');
    is(scalar(wal_objects($pgdr, $touched)), 1, 'it is pushed again');
};

subtest 'a second repository is configured' => sub {
    my @waits = stored_ahead(8);
    my $mark  = $node->log_mark;
    my $url   = temp_dir('two') . '/repo';
    my $two   = Pgdr->new(node => $node, repo => $url);
    $two->ok('init');
    $pgdr->set('repo two', url => $url);
    # The archiver may have started a command with what was there before.
    my ($begun, @later) = @waits;
    cmp_ok(scalar(@later), '>=', 3, 'several wait');
    let_go();
    ok(drained(), 'all is archived');
    is(join(' ', grep { !wal_objects($two, $_) } @later), '', 'each is in the second repository, too');
    my @new = backlog(8);
    let_go();
    drained();
    is(join(' ', grep { wal_objects($two, $_) != 1 || wal_objects($pgdr, $_) != 1 } @new), '', 'as are later ones');
    cmp_ok(scalar(grep { my $n = $_; grep { $_ eq $n } @new } answered($mark)), '>=', 3, 'which another helper answers for');
    $pgdr->set('repo two', url => undef);
    no_helper();
};

subtest 'the repository goes away' => sub {
    my $repo = $pgdr->folder;
    my $mark = $node->log_mark;
    my @old  = stored_ahead(4);
    my @all  = backlog(12);
    rename $repo, "$repo.away";
    run('true'); # in S3, too
    select undef, undef, undef, 1.2; # for so long the helper believes what it has seen
    let_go();
    $node->wait_for_log(qr/@{[Pgdr::says_gone()]}/, $mark);
    $node->wait_for_log(qr/archive command failed with exit code/, $mark);
    ok(!-e $repo || Pgdr::in_s3(), 'nothing was written to its place');
    is(scalar(grep { -e "$status/$_.done" } @all), 0, 'nothing that came later is taken for archived');
    rename "$repo.away", $repo;
    run('true');
    $node->reload;
    ok(drained(), 'all is archived when it is back');
    is(join(' ', grep { wal_objects($pgdr, $_) != 1 } @old, @all), '', 'each is stored, once');
};

subtest 'without a helper' => sub {
    no_helper();
    $pgdr->set('cluster app', 'wal-ahead' => 0);
    my $mark = $node->log_mark;
    my @all  = backlog(6);
    let_go();
    my %seen;
    poll_until(sub { $seen{$_}++ for helpers(); my @ready = glob "$status/*.ready"; !@ready }, 'all is archived');
    is(join(' ', sort keys %seen), '', 'wal-ahead=0: no process is left behind');
    ok(!-e $folder, 'nor a folder');
    is(scalar(answered($mark)), 0, 'and all is stored by the commands');
    $pgdr->set('cluster app', 'wal-ahead' => undef);
};

subtest 'the server stops' => sub {
    for my $how ('fast', 'immediate') {
        my @waits = stored_ahead(6);
        ok(helpers() == 1, 'a helper runs');
        let_go();
        $node->stop($how);
        ok(poll_until(sub { !helpers() && !-e $folder }, 'it is gone', 2), "$how: it is gone soon, and its folder");
        $node->start;
    }
    drained();
};

subtest 'what was archived is whole' => sub {
    my $want = $node->fingerprint;
    $node->archive_all;
    my $doc = $pgdr->json('verify');
    ok($doc->{ok}, 'verify finds nothing') or diag(explain($doc->{findings}));
    my $to = temp_dir('restored') . '/data';
    $pgdr->ok('restore', "--to=$to", { timeout => 300 });
    my $copy = PgNode->from_datadir('copy', $to, conf => "archive_mode = off\n");
    $copy->start;
    $copy->wait_promoted;
    is($copy->fingerprint, $want, 'all rows are back');
    $copy->stop;
};

subtest 'a repository that is gone a moment after it was seen' => sub {
    my @all = stored_ahead(2);
    let_go();
    $node->archive_all;
    my ($last) = backlog(1);
    $pgdr->ok('archive-push', "pg_wal/$last", { cwd => $data });
    is(scalar(helpers()), 1, 'the helper has just looked at it');
    my ($next) = backlog(1);
    rename $repo, "$repo.away" or die "cannot move the repository: $!";
    my $result = $pgdr->run('archive-push', "pg_wal/$next", { cwd => $data });
    ok(!$result->ok, 'nothing is taken for stored') or diag($result->describe);
    rename "$repo.away", $repo or die "cannot move it back: $!";
    let_go();
    $node->archive_all;
    is(scalar(wal_objects($pgdr, $next)), 1, 'it is stored when the repository is back');
};

subtest 'another server has stored other content under a name' => sub {
    $node->archive_all;
    $node->stop;
    no_helper();
    my $twin = PgNode->from_datadir('twin', copy_tree($data, temp_dir('twin') . '/data'), conf => "archive_mode = off\nwal_keep_size = 512MB\n");
    $twin->start;
    my $taken;
    $twin->query("INSERT INTO t(a) VALUES ('twin')"), $taken = $twin->switch_wal for 1 .. 6;
    $twin->stop;
    $node->start;
    my @all = backlog(14);
    my ($at) = grep { $all[$_] eq $taken } 0 .. $#all;
    ok(defined $at && $at > 1 && $at < 10, 'in the middle of what waits') or diag("$taken in @all");
    $pgdr->ok('archive-push', "pg_wal/$taken", { cwd => $twin->data_dir });
    my $mark = $node->log_mark;
    let_go();
    $node->wait_for_log(qr/(?:with other content|is frozen).*?HINT.*repo resolve/s, $mark);
    $node->wait_for_log(qr/archive command failed with exit code 16/, $mark);
    no_helper();
    is(join(' ', grep { !-e "$status/$_.done" } @all[ 0 .. $at - 1 ]), '', 'what comes before is archived');
    is(join(' ', grep { -e "$status/$_.done" } @all[ $at .. $#all ]), '', 'nothing else is taken for archived');
    cmp_ok(scalar(timeline_marks($pgdr, 1)), '>=', 1, 'the timeline is frozen');
    # Some that come later may have been on their way when it was found.
    my @later = backlog(3);
    $mark = $node->log_mark;
    let_go();
    $node->wait_for_log(qr/archive command failed with exit code 16/, $mark);
    no_helper();
    is(join(' ', grep { wal_objects($pgdr, $_) } @later), '', 'nothing more is stored');
};

done_testing;
