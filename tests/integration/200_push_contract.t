#@ s3
# archive-push, file by file: what is stored, what is refused, how it says so, and what it leaves. The
# server archives nothing by itself: every push here is one of the test.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit files_below copy_tree tree_state truncate_to truncate_by flip_bit zero_range with_mode);
use TestRun qw(temp_dir run poll_until);
use WalRepo qw(wal_objects wal_object tail_objects timeline_marks segment_plus segment_size patched);

my $node = PgNode->init('primary', wal_segsize => 1);
my $pgdr = Pgdr->new(node => $node);
# Set to nothing, it leaves all to be archived.
$node->enable_archiving('');

# The same cluster lived twice from here on: other content under the same names.
my $twin = PgNode->from_datadir('twin', copy_tree($node->data_dir, temp_dir('copy') . '/data'));
my $data = $node->data_dir;
my $wal  = "$data/pg_wal";
my $size = segment_size($node);
$pgdr->ok('init');

# Several segments with records that cross their borders.
sub fill
{
    my ($server, $text) = @_;
    $server->start;
    $server->query("CREATE TABLE t AS SELECT '$text' || n AS a FROM generate_series(1, 60000) n");
    my $segment = $server->switch_wal;
    $server->stop;
    return $segment;
}

my $last = fill($node, 'one ');
fill($twin, 'two ');
my @segments = map { segment_plus($last, $_ - 3, $size) } 0 .. 3;
is(scalar(grep { -s "$wal/$_" } @segments), 4, 'four finished segments to push');
my ($first, $second, $third) = @segments;
my ($even) = grep { /[02468ACE]$/ } @segments;

# A pgdr called as the server calls it: in the data directory.
sub push_fails { return $pgdr->fails(@_[0, 1], 'archive-push', $_[2], { cwd => $data, %{ $_[3] // {} } }) }
sub push_ok    { return $pgdr->ok('archive-push', $_[0], { cwd => $data, %{ $_[1] // {} } }) }

# The exit status of a failure must be one that the archiver survives, and nothing may be stored.
sub refused
{
    my ($exit, $re, $path, $opt) = @_;
    my $before = tree_state($pgdr->folder);
    my $result = push_fails($exit, $re, $path, $opt);
    ok($result->{rc} >= 1 && $result->{rc} <= 125, "  exit status $result->{rc}: the archiver lives on");
    is(tree_state($pgdr->folder), $before, '  nothing was stored');
    return $result;
}

# What archive-get hands back is the file that went in.
sub comes_back
{
    my ($file, $path) = @_;
    my $to = temp_dir('back') . '/file';
    $pgdr->ok('archive-get', $file, $to, { cwd => $data });
    ok(-e $to && slurp($to) eq slurp($path), "  $file comes back byte for byte");
    return;
}

subtest 'what is pushed is there' => sub {
    push_ok("pg_wal/$_") for @segments;
    is(scalar(wal_objects($pgdr, $_)), 1, "$_ is one object") for @segments;
    comes_back($_, "$wal/$_") for @segments;
    is(scalar(tail_objects($pgdr)), 0, 'no tail');
};

subtest 'the same again' => sub {
    # S3 is not asked whether it is there: it is put again, under the same name.
    my $look = sub { Pgdr::in_s3() ? join(' ', files_below($pgdr->folder)) : tree_state($pgdr->folder, mtime => 1) };
    my $before = $look->();
    push_ok("pg_wal/$first");
    push_ok("$wal/$first");
    is($look->(), $before, 'succeeds and writes nothing');
};

subtest 'a damaged object is healed by the push of the same content' => sub {
    my $object = wal_object($pgdr, $second);
    my $good   = slurp($object);
    my $len    = length $good;
    my %damage = (
        'header'    => sub { flip_bit($object, 3) },
        'salt'      => sub { flip_bit($object, 40) },
        'content'   => sub { flip_bit($object, int $len / 2) },
        'table'     => sub { flip_bit($object, -120) },
        'footer'    => sub { flip_bit($object, -5) },
        'cut'       => sub { truncate_by($object, 1000) },
        'empty'     => sub { truncate_to($object, 0) },
        'zeros'     => sub { zero_range($object, 92, 4096) },
        'exchanged' => sub { chmod 0600, $object; spit($object, slurp(wal_object($pgdr, $third))) });
    for my $what (sort keys %damage) {
        $damage{$what}->();
        isnt(slurp($object), $good, "$what: damaged");
        my $result = push_ok("pg_wal/$second");
        like($result->{err}, Pgdr::in_s3() ? qr/^$/ : qr/is damaged and is written again/, '  it says so, where it looked');
        comes_back($second, "$wal/$second");
        is(scalar(wal_objects($pgdr, $second)), 1, '  and is one object');
    }
};

subtest 'WAL that does not belong here' => sub {
    my $dir = temp_dir('odd');
    my $good = "$wal/$third";
    my $free = segment_plus($last, 5, $size);
    my $as   = sub { return patched($good, "$dir/$third", @_) };
    mkdir "$dir/sub";

    my $sysid = $node->control_data->{'Database system identifier'};
    refused('MISMATCH', qr/belongs to the system \d+, this cluster is $sysid.*HINT/s, $as->(24 => pack 'Q', 4711));
    my $other = PgNode::version() == 15 ? 0xD10D : 0xD110;
    my $major = PgNode::version() == 15 ? 14     : 15;
    refused('MISMATCH', qr/written by PostgreSQL $major, this cluster is @{[PgNode::version()]}/, $as->(0 => pack 'S', $other));
    refused('VERSION', qr/\Q$dir\E/, $as->(0 => pack 'S', 0xD0FF));
    refused('MISMATCH', qr/says 2097152 in its header; this cluster's segments have 1048576/,
        patched("$wal/$even", "$dir/$even", 32 => pack 'L', 2 << 20));
    refused('MISMATCH', qr{holds the WAL at \S+, its name says \S+}, spit("$dir/$free", slurp($good)));
    refused('MISMATCH', qr/timeline 7, which is not known to be an ancestor of 1/, $as->(4 => pack 'L', 7));
    refused('MISMATCH', qr/timeline 1, which is not known to be an ancestor of 2/,
        spit("$dir/00000002" . substr($third, 8), slurp($good)));
};

subtest 'files that are damaged' => sub {
    my $dir  = temp_dir('damaged');
    my $file = "$dir/$third";
    my $whole = slurp("$wal/$third");
    my $try  = sub { my ($bytes, $re) = @_; refused('DAMAGED', $re, spit($file, $bytes)) };

    $try->('', qr/is empty/);
    $try->("\0" x $size, qr/begins with zeros/);
    $try->(substr($whole, 0, $size / 2), qr/has \d+ bytes instead of the $size/);
    $try->(substr($whole, 0, $size - 1), qr/has \d+ bytes instead of the $size/);
    $try->(substr($whole, 0, 8192) . "\0" x ($size - 8192), qr/$third is not whole.*HINT.*pg_switch_wal/s);
    mkdir "$dir/archive_status";
    spit("$dir/archive_status/$third.ready", "");
    $try->(substr($whole, 0, 8192) . "\0" x ($size - 8192), qr/$third is not whole.*HINT.*check the disk/s);
    $try->(substr($whole, 0, $size / 2) . "\0" x ($size / 2), qr/is not whole/);
    # In a row: the bytes that fill up between two records belong to no record, so to no checksum.
    my $in_row = index $whole, 'one ', 300_000;
    cmp_ok($in_row, '>', 0, 'a row in the middle');
    my $flipped = $whole;
    substr($flipped, $in_row, 1) ^= "\x01";
    $try->($flipped, qr/is not whole/);
    $try->("x" x $size, qr/\Q$file\E/);
    for my $long ("$whole\0", $whole x 2) {
        refused('MISMATCH', qr/\Q$file\E.* has \d+ bytes/, spit($file, $long));
    }
};

subtest 'names and paths' => sub {
    my $dir = temp_dir('with space');
    spit("$dir/$first", slurp("$wal/$first"));
    push_ok("$dir/$first");
    push_ok("./pg_wal/../pg_wal/$first");
    push_ok("pg_wal//$first");
    push_ok("$wal/$first", { cwd => '/' });
    push_ok("pg_wal/$first", { cwd => '/' });
    push_ok("data/pg_wal/$first", { cwd => $data =~ s{/data$}{}r });

    refused('NOT_FOUND', qr/cannot open .*pg_wal.*No such file/, 'pg_wal/' . segment_plus($last, 9, $size));
    refused('USAGE', qr/is not the name of a WAL file/, "pg_wal/$_") for 'archive_status', 'x', lc "00000001000000000000000A", "$first.gz", "${first}0", 'RECOVERYXLOG';
    refused('USAGE', qr/is not the name of a WAL file/, '00000001000000000000FFFF');
    refused('USAGE', qr/./, '');
    mkdir "$dir/$second";
    push_fails('DAMAGED', qr/\Q$dir\E.* is not a file/, "$dir/$second");
    with_mode("$dir/$first", 0, sub { refused('ACCESS', qr/Permission denied/, "$dir/$first") });
    run('mkfifo', "$dir/$third");
    push_fails('DAMAGED', qr/\Q$dir\E.* is not a file/, "$dir/$third", { timeout => 20 });
};

subtest 'history, .backup and .partial' => sub {
    my $dir     = temp_dir('other');
    my $history = spit("$dir/00000005.history", "1\t0/1500000\tno recovery target specified\n");
    push_ok($history);
    comes_back('00000005.history', $history);
    push_ok($history);
    my $other = spit("$dir/sub.history", "1\t0/1400000\tno recovery target specified\n");
    rename $other, $history;
    my $result = push_fails('CONFLICT', qr/00000005\.history.*with other content: [0-9a-f]+ there, [0-9a-f]+ here.*HINT.*timeline 5/s, $history);
    is(scalar(wal_objects($pgdr, '00000005.history')), 2, 'both contents are kept');
    is(scalar(timeline_marks($pgdr, 1)) + timeline_marks($pgdr, 5), 0, 'no timeline is frozen by it');
    push_ok("pg_wal/$first");

    refused('DAMAGED', qr/00000006\.history/, spit("$dir/00000006.history", $_)) for '', "hello\n", "7\t0/1000000\tx\n", "1\t0/10";
    refused('USAGE', qr/is not the name/, spit("$dir/6.history", "1\t0/1500000\tx\n"));

    my $backup = spit("$dir/$first.00000028.backup", "START WAL LOCATION: 0/2000028\n");
    push_ok($backup);
    comes_back("$first.00000028.backup", $backup);
    refused('DAMAGED', qr/is empty/, spit($backup, ''));

    my $partial = spit("$dir/$third.partial", substr(slurp("$wal/$third"), 0, $size / 2) . "\0" x ($size / 2));
    push_ok($partial);
    comes_back("$third.partial", $partial);
};

subtest 'the wrong configuration' => sub {
    my $dir = temp_dir('conf');
    my $in  = { cwd => $data, no_config => 1 };
    my $try = sub {
        my ($exit, $re, @args) = @_;
        my $result = $pgdr->fails($exit, $re, @args, 'archive-push', "pg_wal/$last", $in);
        ok($result->{rc} >= 1 && $result->{rc} <= 125, "  exit status $result->{rc}");
    };
    $try->('CONFIG', qr/nowhere\.conf/, "--config=$dir/nowhere.conf");
    $try->('CONFIG', qr/colour/, '--config=' . spit("$dir/a", "[global]\ncolour = red\n"));
    $try->('CONFIG', qr/repo/, '--config=' . spit("$dir/b", "[cluster app]\nport = 1\n"));
    $try->('CONFIG', qr/cluster/, '--config=' . spit("$dir/c", "[repo r]\nurl = $dir\n"));
    $try->('CONFIG', qr/[nN]o.*app2|app2.*not/, '--config=' . $pgdr->config_file, '--cluster=app2');
    $try->('USAGE', qr/--frobnicate/, '--config=' . $pgdr->config_file, '--frobnicate');
    $pgdr->fails('USAGE', qr/archive-push/, 'archive-push', { cwd => $data });
    $pgdr->fails('USAGE', qr/archive-push/, 'archive-push', "pg_wal/$last", 'more', { cwd => $data });
};

subtest 'the wrong repository' => sub {
    my $repo = $pgdr->folder;
    my $url  = $pgdr->repo;
    my $path = "pg_wal/$first";
    rename $repo, "$repo.away";
    push_fails('NOT_FOUND', qr/\Q$url\E.*HINT.*init/s, $path);
    mkdir $repo;
    push_fails('NOT_FOUND', qr/\Q$url\E/, $path);
    is(tree_state($repo, without_mode => 1), ".: dir\n", 'nothing is written into a folder that is no repository');
    rmdir $repo;
    rename "$repo.away", $repo;
    push_ok($path);

    my $before = tree_state($repo);
    $pgdr->set_wrong_encryption;
    push_fails('CONFIG', qr/encrypt/, $path);
    $pgdr->set_right_encryption;
    is(tree_state($repo), $before, 'the wrong encryption setting writes nothing');
};

subtest 'other content under the same name is refused, and the timeline freezes' => sub {
    my $there = "$wal/$second";
    my $here  = $twin->data_dir . "/pg_wal/$second";
    isnt(slurp($there), slurp($here), 'two contents of one segment');
    push_ok("pg_wal/$second");
    my $result = push_fails('CONFLICT',
        qr/'$second' is in '\S+' with other content: ([0-9a-f]{8,}) there, ([0-9a-f]{8,}) here.*HINT.*repo resolve $second/s, $here, { cwd => $twin->data_dir });
    my ($old, $new) = $result->{err} =~ /([0-9a-f]{8,}) there, ([0-9a-f]{8,}) here/;
    isnt($old, $new, 'both are named');
    is(scalar(wal_objects($pgdr, $second)), 2, 'and both are kept');
    is_deeply([ map { /-([0-9a-f]+)$/ } wal_objects($pgdr, $second) ], [ sort $old, $new ], 'under these digests');

    push_fails('CONFLICT', qr/timeline 1 .* is frozen.*HINT.*repo resolve $second/s, $_) for "pg_wal/$third", "pg_wal/$second", $twin->data_dir . "/pg_wal/$third";
    push_ok("pg_wal/$first");
};

done_testing;
