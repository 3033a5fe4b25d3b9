#@ s3
#@ once
# archive-push and archive-get with two repositories: success only when both have it; an answer from
# whichever can give it; and never the end of the WAL while one of them has more, or may have.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit flip_bit copy_tree);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects wal_object tail_objects segment_plus segment_size);

my $node = PgNode->init('primary', wal_segsize => 1);
my $pgdr = Pgdr->new(node => $node);
my %url  = (one => $pgdr->repo, two => temp_dir('two') . '/repo');
my %repo = (one => $pgdr->folder, two => $url{two});
$pgdr->set('repo two', url => $url{two});
$pgdr->ok('init');
$node->enable_archiving($pgdr);
$node->start;

# A standby that streams: what it holds of an unfinished segment can be pushed as a tail.
my $standby = PgNode->standby_of($node, 'standby', conf => "archive_mode = off\nrestore_command = ''\n");
$standby->start;
my $data = $node->data_dir;
my $size = segment_size($node);

# The same, for the second repository's objects.
my $only_two = bless { %$pgdr, repo => $url{two} }, 'Pgdr';

sub in_each
{
    my ($segment) = @_;
    return join ' ', map { scalar wal_objects($_, $segment) } $pgdr, $only_two;
}

sub get
{
    my ($segment, $signal) = @_;
    my $dir = temp_dir('asks');
    mkdir "$dir/$_" for qw(global pg_wal);
    spit("$dir/global/pg_control", slurp("$data/global/pg_control"));
    spit("$dir/$signal.signal", '');
    my $result = $pgdr->run('archive-get', $segment, 'pg_wal/RECOVERYXLOG', { cwd => $dir });
    return ($result, -e "$dir/pg_wal/RECOVERYXLOG" ? slurp("$dir/pg_wal/RECOVERYXLOG") : undef);
}

sub answer_is
{
    my ($want, $segment, $what) = @_;
    my ($result, $bytes) = get($segment, 'recovery');
    is($result->{rc}, $want, $what) or diag($result->describe);
    return ($result, $bytes);
}

my $first  = $node->archive_all;
my $second = $node->archive_all;
my %bytes  = map { $_ => slurp("$data/pg_wal/$_") } $first, $second;

subtest 'a push goes to both' => sub {
    is(in_each($_), '1 1', $_) for $first, $second;
    for my $name (sort keys %repo) {
        my $other = $name eq 'one' ? 'two' : 'one';
        my $segment = $node->switch_wal;
        poll_until(sub { -e "$data/pg_wal/archive_status/$segment.done" }, 'archived');
        unlink wal_objects($_, $segment) for $pgdr, $only_two;
        rename $repo{$name}, "$repo{$name}.away";
        my $result = $pgdr->run('archive-push', "pg_wal/$segment", { cwd => $data });
        is($result->{rc}, Pgdr::exit_status('NOT_FOUND'), "repository $name is gone: a failure") or diag($result->describe);
        like($result->{err}, qr/stored in 1 of 2 repositories.*\Q$url{$name}\E/s, '  that says which');
        rename "$repo{$name}.away", $repo{$name};
        is(in_each($segment), $name eq 'one' ? '0 1' : '1 0', '  though the other has it');
        $pgdr->ok('archive-push', "pg_wal/$segment", { cwd => $data });
        is(in_each($segment), '1 1', '  and afterwards both');
    }
};

subtest 'one of them is enough for a segment that is there' => sub {
    my ($object) = wal_objects($pgdr, $first);
    my $good = slurp($object);
    my ($result, $bytes);

    for my $name (sort keys %repo) {
        rename $repo{$name}, "$repo{$name}.away";
        ($result, $bytes) = answer_is(0, $first, "repository $name is gone");
        is($bytes, $bytes{$first}, '  the other answers');
        like($result->{err}, qr/WARNING: .*\Q$url{$name}\E/, '  and it is said') if $name eq 'one';
        rename "$repo{$name}.away", $repo{$name};
    }
    unlink $object;
    ($result, $bytes) = answer_is(0, $first, 'a hole in one');
    is($bytes, $bytes{$first}, '  the other answers');
    spit($object, $good);
    flip_bit($object, length($good) / 2);
    ($result, $bytes) = answer_is(0, $first, 'damage in one');
    is($bytes, $bytes{$first}, '  the other answers');
    like($result->{err}, qr/WARNING: cannot read .*\Q$url{one}\E/, '  and it is said');
    unlink $object;
    spit($object, $good);
};

subtest 'absent is only what no repository has' => sub {
    my $last = $node->archive_all;
    my $next = segment_plus($last, 1, $size);
    answer_is(1, $next, 'both answer that it is not there');
    for my $name (sort keys %repo) {
        rename $repo{$name}, "$repo{$name}.away";
        my ($result) = answer_is(254, $next, "repository $name is gone: a doubt");
        like($result->{err}, qr/ERROR: .*\Q$url{$name}\E/, '  that says which');
        ($result) = get($next, 'standby');
        is($result->{rc}, 1, '  1 for a standby');
        rename "$repo{$name}.away", $repo{$name};
    }
    rename "$repo{two}/app", "$repo{two}/aside";
    answer_is(1, $next, 'one that never had anything says nothing against it');
    rename "$repo{two}/aside", "$repo{two}/app";

    # A hole for both, with later WAL in one of them only.
    my $before = segment_plus($last, -1, $size);
    my @gone   = (wal_object($pgdr, $last), map { wal_object($_, $before) } $pgdr, $only_two);
    rename $_, "$_.away" for @gone;
    my ($result) = answer_is(254, $before, 'a hole, with later WAL in the second only');
    like($result->{err}, qr/there is a hole/, '  is called one');
    rename "$_.away", $_ for @gone;
};

subtest 'a tail in one, more in the other' => sub {
    # The first repository gets a tail of the segment, then falls out; the second gets the segment.
    $node->mark('in the tail');
    my $segment = $node->query('SELECT pg_walfile_name(pg_current_wal_lsn())');
    $node->wait_for_catchup($standby);
    $pgdr->ok('archive-push', "pg_wal/$segment", '--repo=main', { cwd => $standby->data_dir });
    is(scalar(tail_objects($pgdr, $segment)), 1, 'the first has a tail');
    is(scalar(tail_objects($only_two, $segment)), 0, 'the second has not');
    my ($result, $bytes) = answer_is(0, $segment, 'which is served as long as there is nothing else');
    is(length($bytes // ''), $size, '  as a segment');

    my $tail = slurp((tail_objects($pgdr, $segment))[0]);
    my $path = (tail_objects($pgdr, $segment))[0];
    $node->mark('behind it');
    $node->archive_all;
    my $whole = slurp("$data/pg_wal/$segment");
    unlink wal_objects($pgdr, $segment);
    spit($path, $tail) if !-e $path;
    ($result, $bytes) = answer_is(0, $segment, 'when the second has the segment');
    ok(defined $bytes && $bytes eq $whole, '  that is what is served');
    unlink wal_objects($only_two, $segment);
    $node->mark('in the next');
    my $next = $node->archive_all;
    unlink wal_objects($pgdr, $next);
    ($result) = answer_is(254, $segment, 'when the second has only what comes behind it, it is a hole');
    like($result->{err}, qr/there is a hole/, '  and called one');
};

# Two contents of a segment in one of them: its digest is that repository's own, so a made-up one will do.
sub twin_of { my ($object) = @_; return $object =~ s/(.)$/$1 eq '0' ? '1' : '0'/er }

subtest 'a conflict in one is not settled by the other' => sub {
    my $what = $node->archive_all;
    for my $has ($pgdr, $only_two) {
        my $object = wal_object($has, $what);
        spit(twin_of($object), slurp($object));
        # The first that has a whole segment answers, and later ones are not asked.
        my $first_is_good = $has == $only_two;
        my ($result, $bytes) = answer_is($first_is_good ? 0 : 254, $what, $has == $pgdr ? 'two contents in the first' : 'two contents in the second');
        like($result->{err}, qr/ERROR: there are two different contents of $what in '\Q@{[$has->repo]}\E'.*HINT.*repo resolve $what/s, '  and is named') if !$first_is_good;
        is($bytes, undef, '  nothing is handed over') if !$first_is_good;
        # As soon as both are needed, it counts.
        if ($first_is_good) {
            my $good = wal_object($pgdr, $what);
            rename $good, "$repo{one}/aside" or die;
            answer_is(254, $what, '  which counts when it is asked');
            rename "$repo{one}/aside", $good or die;
        }
        unlink twin_of($object);
    }
};

subtest 'resolving it' => sub {
    # Two servers that share the archive, of which one sees the second repository only.
    $node->stop;
    my $twin = PgNode->from_datadir('twin', copy_tree($data, temp_dir('twin-data') . '/data'), conf => "archive_mode = off\n");
    $_->start for $node, $twin;
    $node->mark('right');
    my $segment = $node->archive_all;
    $twin->mark('wrong');
    is($twin->switch_wal, $segment, 'both have finished the same segment');
    my $other = spit(temp_dir('other') . "/$segment", slurp($twin->data_dir . "/pg_wal/$segment"));
    $twin->stop;
    my ($right) = wal_object($only_two, $segment) =~ /-([0-9a-f]+)$/;
    $pgdr->fails('CONFLICT', qr/$segment/, 'archive-push', '--repo=two', $other, { cwd => $data });
    my $later = $node->switch_wal;
    $node->wait_for_log(qr/stored in 1 of 2 repositories: timeline 1 of 'app' is frozen in '\Q$url{two}\E'.*HINT: .*'pgdr repo resolve $segment'/s);
    is(in_each($segment), '1 2', 'two contents in the second');
    is(in_each($later), '1 0', 'what follows is taken by the first, and the archiver waits');
    my $shown = $pgdr->ok('repo', 'resolve', $segment);
    like($shown->{out}, qr/in repository two.*\b$right\b/s, 'the command of the hint shows both, without --repo');
    $pgdr->fails('USAGE', qr/no content of $segment has a digest that begins with '0123456789'/, 'repo', 'resolve', $segment, '--keep=0123456789');
    $pgdr->ok('repo', 'resolve', $segment, "--keep=$right");
    is(in_each($segment), '1 1', 'one is left');
    $node->archive_all;
    is(in_each($later), '1 1', 'and the archiver goes on');
};

done_testing;
