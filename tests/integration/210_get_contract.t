#@ s3
# archive-get, call by call: what it answers, by which exit status, and what it leaves under %p. A
# server in recovery is a folder with its control file and recovery.signal or standby.signal.

use strict;
use warnings;
use Test::More;
use File::Path qw(remove_tree);

use Pgdr;
use PgNode;
use TestFile qw(slurp spit files_below truncate_to truncate_by flip_bit zero_range
  swap_files delete_file with_mode append_to);
use TestRun qw(temp_dir);
use WalRepo qw(wal_objects wal_object wal_files segment_plus segment_size);

my $node = PgNode->init('primary', wal_segsize => 1);
my $spool = temp_dir('spool');
my $pgdr = Pgdr->new(node => $node, cluster_options => { spool => $spool });
my $repo = $pgdr->folder;
my $url  = $pgdr->repo;
my $conf = $pgdr->config_file;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->query("CREATE TABLE t AS SELECT 'row ' || n AS a FROM generate_series(1, 60000) n");
my $data  = $node->data_dir;
my $size  = segment_size($node);
my $last  = $node->archive_all;
my ($first, $second, $third) = map { segment_plus($last, $_ - 4, $size) } 0 .. 2;
my %wal   = map { $_ => slurp("$data/pg_wal/$_") } $first, $second, $third;
$node->stop;

my $next    = segment_plus((grep { length == 24 } wal_files($pgdr))[-1], 1, $size);
my $history = spit(temp_dir('h') . '/00000002.history', "1\t0/100000\tx\n");
$pgdr->ok('archive-push', $history);

# What a recovering server's folder is to archive-get.
sub recovering
{
    my ($signal) = @_;
    my $dir = temp_dir($signal // 'no-signal');
    mkdir "$dir/$_" for qw(global pg_wal);
    spit("$dir/global/pg_control", slurp("$data/global/pg_control"));
    spit("$dir/$signal.signal", '') if $signal;
    return $dir;
}
my $oneshot = recovering('recovery');
my $standby = recovering('standby');
my $nobody  = recovering();

# archive-get as a server runs it: (the result, what lies under %p).
sub get
{
    my ($dir, $file, @opt) = @_;
    my $to     = "$dir/pg_wal/RECOVERYXLOG";
    my $result = $pgdr->run('archive-get', $file, 'pg_wal/RECOVERYXLOG', { cwd => $dir, @opt });
    my $left   = -e $to ? slurp($to) : undef;
    unlink $to;
    my @junk = files_below("$dir/pg_wal");
    die "left behind: @junk" if @junk;
    return ($result, $left);
}

# Tests an answer: 'found', 'absent', or 'doubt' with what is said, from both kinds of server.
sub answers
{
    my ($want, $file, $what, $says) = @_;
    my $bytes = $file =~ /history/ ? slurp($history) : $want eq 'found' ? $wal{$file} : undef;
    for my $dir ($oneshot, $standby) {
        my $mode   = $dir eq $standby ? 'standby' : 'recovery';
        my ($result, $left) = get($dir, $file);
        my $code   = { found => 0, absent => 1, doubt => $dir eq $standby ? 1 : 254 }->{$want};
        my $wrong  = Pgdr::defect($result);
        $wrong .= "the exit status is not $code\n" if $result->{rc} != $code;
        $wrong .= "the content is not that of the segment\n" if $want eq 'found' && (!defined $left || $left ne $bytes);
        $wrong .= "something lies under %p\n" if $want ne 'found' && defined $left;
        $wrong .= "no error is logged\n" if $want eq 'doubt' && $result->{err} !~ /ERROR: /;
        $wrong .= "what is logged does not match $says\n" if defined $says && $result->{err} !~ $says;
        ok(!$wrong, "$what: $want for a server in $mode") or diag($wrong . $result->describe);
    }
    return;
}

subtest 'plain answers' => sub {
    answers('found', $_, $_) for $first, $second, $third;
    answers('absent', $next, 'the segment behind the last');
    answers('absent', segment_plus($next, 1, $size), 'one further on');
    answers('absent', '00000003.history', 'a timeline that nobody took');
    my ($result, $left) = get($standby, '00000002.history');
    is($left, slurp($history), 'a history file');
    answers('doubt', $_, "'$_'", qr/is not the name of a WAL file/) for 'RECOVERYXLOG', '../../secret', "$first.gz", '';
    ($result) = get($nobody, $next);
    is($result->{rc}, 1, 'absent, asked by nobody that recovers');
};

subtest 'where to' => sub {
    my $whole = $wal{$first};
    my $dir   = temp_dir('to here');
    my $try   = sub {
        my ($to, $cwd, $path) = @_;
        $pgdr->ok('archive-get', $first, $to, { cwd => $cwd });
        is(-e $path ? slurp($path) : '', $whole, "  '$to' is $path");
        unlink $path;
    };
    $try->("$dir/x", $oneshot, "$dir/x");
    $try->('x', $oneshot, "$oneshot/x");
    $try->('./pg_wal/../x', $oneshot, "$oneshot/x");
    $try->('x', $dir, "$dir/x");
    (my $above = $oneshot) =~ s{/([^/]+)$}{};
    $try->("$1/pg_wal/$first", $above, "$oneshot/pg_wal/$first");
    spit("$dir/x", 'an old file, longer or shorter');
    $try->("$dir/x", $oneshot, "$dir/x");
    is((stat spit("$dir/y", ''))[2] & 0111, 0, 'no odd mode');

    my $fails = sub {
        my ($to, $re) = @_;
        my $result = $pgdr->run('archive-get', $first, $to, { cwd => $oneshot });
        is($result->{rc}, 254, "'$to': doubt") or diag($result->describe);
        like($result->{err}, $re, '  and why');
    };
    $fails->("$dir/nowhere/x", qr/cannot create '.*nowhere.x'.*No such file/);
    $fails->($dir, qr/is not a plain file/);
    $fails->('/dev/null', qr/is not a plain file/);
    ok(-c '/dev/null', 'which is still there');
    with_mode($dir, 0500, sub { $fails->("$dir/x", qr/Permission denied/) });
    spit("$dir/x", 'old');
    flip_bit(wal_object($pgdr, $first), 5000);
    $fails->("$dir/x", qr/cannot read .*(zstd frame|digest in its name|sealed under this name)/);
    is(slurp("$dir/x"), 'old', 'a failure leaves what was there before');
    unlink wal_object($pgdr, $first);
    $pgdr->ok('archive-push', spit(temp_dir('again') . "/$first", $wal{$first}));
    is_deeply([ grep { m{^\.|/\.} } files_below($dir) ], [], 'nothing hidden is left');
};

# Faults that make the answer a doubt: [what, break, mend, what is said].
sub saved
{
    my ($object) = @_;
    my $bytes = slurp($object);
    return sub { unlink $object; spit($object, $bytes) };
}
my $object  = wal_object($pgdr, $second);
my $other   = wal_object($pgdr, $third);
my ($hist)  = wal_objects($pgdr, '00000002.history');
my $moved   = sub { my ($path) = @_; return (sub { rename $path, "$path.away" or die }, sub { rename "$path.away", $path or die }) };
my $mode    = sub { my ($path, $to) = @_; my $was = (stat $path)[2] & 07777; return (sub { chmod $to, $path }, sub { chmod $was, $path }) };
my $damaged = sub { my ($path, $how) = @_; my $mend = saved($path); return ($how, $mend) };
(my $folder = $object) =~ s{/[^/]+$}{};

my @faults = (
    [ 'the repository is gone',       $moved->($repo),           Pgdr::says_gone() ],
    [ 'an empty folder is in its place', sub { rename $repo, "$repo.away"; mkdir $repo }, sub { rmdir $repo; rename "$repo.away", $repo }, qr/\Q$url\E/ ],
    Pgdr::unless_s3([ 'the repository is forbidden', $mode->($repo, 0), qr/Permission denied/ ]),
    [ "the cluster's folder is gone", $moved->("$repo/app"),     qr/no WAL at all of system \d+ of cluster 'app' in '\Q$url\E'.*HINT/s ],
    [ 'the WAL is gone',              $moved->("$repo/app/wal"), qr/no WAL at all of system/ ],
    [ 'another cluster is asked',     sub { rename "$repo/app", "$repo/app2" }, sub { rename "$repo/app2", "$repo/app" }, qr/no WAL at all of system/ ],
    Pgdr::unless_s3([ 'the folder of the segment is forbidden', $mode->($folder, 0), qr/Permission denied/ ],
        [ 'the object is forbidden', $mode->($object, 0), qr/Permission denied/ ]),
    [ 'a flipped bit',                $damaged->($object, sub { flip_bit($object, (-s $object) / 2) }), qr/cannot read .*\Q$second\E/ ],
    [ 'a flipped bit in the header',  $damaged->($object, sub { flip_bit($object, 20) }), qr/cannot read .*\Q$second\E/ ],
    [ 'a flipped bit in the footer',  $damaged->($object, sub { flip_bit($object, -20) }), qr/cannot read .*\Q$second\E/ ],
    [ 'zeros',                        $damaged->($object, sub { zero_range($object, 4096, 4096) }), qr/cannot read .*\Q$second\E/ ],
    [ 'cut off',                      $damaged->($object, sub { truncate_by($object, 4096) }), qr/cannot read .*\Q$second\E/ ],
    [ 'empty',                        $damaged->($object, sub { truncate_to($object, 0) }), qr/cannot read .*\Q$second\E/ ],
    [ "exchanged with another segment's", (sub { swap_files($object, $other) }) x 2, qr/cannot read .*\Q$second\E/ ],
    [ 'deleted, later ones present',  $damaged->($object, sub { delete_file($object) }), qr/$second is not in .*there is a hole.*HINT/s ],
    [ 'two contents',                 sub { spit($object =~ s/(.)$/$1 eq '0' ? '1' : '0'/er, slurp($object)) },
        sub { unlink $object =~ s/(.)$/$1 eq '0' ? '1' : '0'/er }, qr/two different contents of $second.*HINT.*repo resolve $second/s ],
    [ 'the wrong encryption setting', sub { $pgdr->set_wrong_encryption }, sub { $pgdr->set_right_encryption }, qr/encrypt/ ],
    [ 'no configuration file',        $moved->($conf),           qr/no configuration file/ ],
    [ 'a typing error in it',         $damaged->($conf, sub { append_to($conf, "[global]\ncolor = red\n") }), qr/color/ ],
);

for my $fault (@faults) {
    my ($what, $break, $mend, $says) = @$fault;
    $break->();
    answers('doubt', $second, $what, $says);
    $mend->();
    answers('found', $second, "  mended");
}

subtest 'histories in doubt' => sub {
    my @these = (
        Pgdr::unless_s3([ 'unreadable', $mode->($hist, 0), qr/Permission denied/ ]),
        [ 'damaged', $damaged->($hist, sub { flip_bit($hist, (-s $hist) / 2) }), qr/cannot read .*00000002/ ],
        [ 'two contents', sub { spit($hist =~ s/(.)$/$1 eq '0' ? '1' : '0'/er, slurp($hist)) },
            sub { unlink $hist =~ s/(.)$/$1 eq '0' ? '1' : '0'/er }, qr/two different contents of 00000002\.history.*HINT.*repo resolve/s ],
        [ 'the repository is gone', $moved->($repo), Pgdr::says_gone() ],
        [ 'their folder is gone', $moved->($hist =~ s{/[^/]+/[^/]+$}{}r), qr/no WAL at all/ ]);
    for my $fault (@these) {
        my ($what, $break, $mend, $says) = @$fault;
        $break->();
        my ($result, $left) = get($oneshot, '00000002.history');
        is($result->{rc}, 254, "$what: doubt in recovery");
        like($result->{err}, $says, '  and why');
        is($left, undef, '  nothing under %p');
        $mend->();
    }
};

subtest 'a history that is missing although its timeline is known' => sub {
    my $third = spit(temp_dir('h3') . '/00000003.history', "1\t0/100000\tx\n2\t0/200000\ty\n");
    $pgdr->ok('archive-push', $third);
    rename $hist, "$hist.away";
    # What a standby's spool remembers is the subject of another test.
    remove_tree($spool);
    answers('doubt', '00000002.history', 'a later one is there', qr/00000002\.history is not in .* but timeline 3 is/);
    answers('absent', '00000001.history', 'the first timeline never has one');
    answers('absent', '00000004.history', 'the next free one');
    unlink wal_object($pgdr, '00000003.history');
    my $segment = '00000002' . substr $next, 8;
    (my $copy = $object) =~ s{/00000001/}{/00000002/};
    $copy =~ s{[^/]+/([^/]+)$}{00000002} or die;
    system 'mkdir', '-p', "$copy" . substr($next, 8, 8);
    spit("$copy" . substr($next, 8, 8) . '/' . "$segment-" . ('0' x 32), 'x');
    answers('doubt', '00000002.history', 'WAL of it is there', qr/00000002\.history is not in .* but timeline 2 is/);
    system 'rm', '-r', $copy =~ s{/[^/]+$}{}r;
    rename "$hist.away", $hist;
};

subtest 'tails and .partial' => sub {
    # The segment behind the last one, with half of its WAL.
    my $whole  = $wal{$third};
    my $object = wal_object($pgdr, $third);
    my @later  = grep { my ($name) = m{/([^/]+)-[0-9a-f]+$}; $name gt $third } map { "$repo/$_" } files_below($repo, qr{/wal/.*/00000001/});
    my $keep   = temp_dir('later');
    my $n      = 0;
    my %back;
    for my $path (@later, $object) {
        my $aside = "$keep/" . $n++;
        rename $path, $aside or die;
        $back{$path} = $aside;
    }
    my $half    = substr($whole, 0, $size / 2) . "\0" x ($size / 2);
    my $partial = spit(temp_dir('p') . "/$third.partial", $half);
    answers('absent', $third, 'nothing of it is there');
    $pgdr->ok('archive-push', $partial);

    my ($result, $left) = get($oneshot, $third);
    is($result->{rc}, 0, 'a .partial is served where the WAL ends');
    is(length($left // ''), $size, '  as a whole segment');
    is(substr($left // '', 0, $size / 2 - 16384), substr($whole, 0, $size / 2 - 16384), '  with its content');

    # What the asking server has itself.
    my $own = "$oneshot/pg_wal/$third";
    my $ask = sub {
        my ($bytes) = @_;
        spit($own, $bytes);
        my $r = $pgdr->run('archive-get', $third, 'pg_wal/RECOVERYXLOG', { cwd => $oneshot });
        my $l = -e "$oneshot/pg_wal/RECOVERYXLOG" ? 'served' : 'nothing';
        unlink "$oneshot/pg_wal/RECOVERYXLOG";
        is(slurp($own), $bytes, "  the server's own copy is untouched");
        unlink $own;
        return "$r->{rc} $l";
    };
    is($ask->($half), '1 nothing', 'a server that has as much is told to use its own');
    is($ask->($whole), '1 nothing', 'one that has more, too');
    is($ask->(substr($whole, 0, $size / 4) . "\0" x ($size / 4 * 3)), '0 served', 'one that has less gets it');
    is($ask->($wal{$second}), '0 served', 'an old segment under that name counts for nothing');
    is($ask->("\0" x $size), '0 served', 'nor does one of zeros');

    rename $back{ (reverse @later)[0] }, (reverse @later)[0];
    answers('doubt', $third, 'something later is there', qr/there is a hole/);
    rename((reverse @later)[0], $back{ (reverse @later)[0] });

    # The finished one stands above all pieces.
    rename $back{$object}, $object;
    answers('found', $third, 'finished meanwhile');
    rename $back{$_}, $_ for @later;
    unlink wal_objects($pgdr, "$third.partial");
};

subtest 'each moment of dying or failing' => sub {
    my $whole = $wal{$first};
    my @wrong;
    for my $action (qw(kill torn ENOSPC EIO short)) {
        my $dir = "$oneshot/pg_wal";
        Pgdr::for_every_nth(
            { dir => $dir, action => $action, repeat => $action eq 'ENOSPC' ? 1 : 0 },
            sub {
                my ($with, $nth) = @_;
                my $result = $pgdr->run('archive-get', $first, 'pg_wal/RECOVERYXLOG', { cwd => $oneshot, %$with });
                my $left   = -e "$dir/RECOVERYXLOG" ? slurp("$dir/RECOVERYXLOG") : undef;
                push @wrong, "$action $nth: success, but nothing is there" if $result->ok && !defined $left;
                push @wrong, "$action $nth: a part is there"               if defined $left && $left ne $whole;
                push @wrong, "$action $nth: " . $result->describe          if !$result->ok && !$result->{signal} && $result->{rc} != 254;
                unlink "$dir/RECOVERYXLOG";
                push @wrong, "$action $nth: left behind: $_" for files_below($dir);
                unlink map { "$dir/$_" } files_below($dir);
                return $result;
            });
    }
    is(join("\n", @wrong), '', 'leaves the whole segment under %p or nothing');
};

subtest 'four calls in a row' => sub {
    my $time = sub {
        my ($dir) = @_;
        my $seconds = 0;
        $seconds += (get($dir, $_))[0]{seconds} for $next, $next, '00000003.history', '00000001.history';
        return $seconds;
    };
    cmp_ok($time->($standby), '<', 5, 'are quick');
    rename $repo, "$repo.away";
    cmp_ok($time->($standby), '<', 5, 'also without a repository');
    rename "$repo.away", $repo;
};

done_testing;
