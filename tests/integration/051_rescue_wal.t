#@ folder docs/rescue.py reads directories
#@ once
# docs/rescue.py and WAL: segments of another size, byte for byte; the tail of a segment that was never
# finished; the way from a backup to a younger timeline; two clusters in one repository; holes and damage.

use strict;
use warnings;
use File::Path qw(remove_tree);
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to files_below flip_bit truncate_by delete_file);
use TestRun qw(temp_dir test_root);
use WalRepo qw(wal_object tail_objects segment_plus segment_of);

my $rescue = "$ENV{PGDR_TEST_SOURCE}/docs/rescue.py";
my $size   = 1024 * 1024;
my $count  = 0;

sub rescue
{
    my @args   = @_;
    my $result = TestRun::run('python3', $rescue, @args);
    my $root   = test_root();
    ok($result->ok && $result->{err} eq '', 'rescue.py ' . join(' ', @args) =~ s{\Q$root\E/}{}gr)
      or diag($result->describe);
    return $result->{out};
}

sub rescue_fails
{
    my ($re, $name, @args) = @_;
    my $result = TestRun::run('python3', $rescue, @args);
    ok($result->{rc} == 1 && $result->{err} =~ $re && $result->{err} !~ /Traceback/, $name)
      or diag("want: $re\n" . $result->describe);
    return;
}

sub new_dir { return test_root() . '/out.' . ++$count }

# Restores the newest backup, or another, with ARGUMENTS; starts it; the marks it has.
sub marks_of
{
    my ($repo, @args) = @_;
    my $to = new_dir();
    rescue('restore', $repo, '--cluster=app', @args, $to);
    my $server = PgNode->from_datadir("restored$count", $to);
    $server->start;
    $server->wait_promoted;
    my $marks = $server->marks;
    $server->stop;
    $server->check_checksums;
    remove_tree($to);
    return $marks;
}

my $node = PgNode->init('primary', wal_segsize => 1, conf => "max_wal_size = 64MB\nwal_keep_size = 1GB\n");
my $pgdr = Pgdr->new(node => $node);
my $repo = $pgdr->repo;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
my $backup = $pgdr->json('backup')->{backup};
$node->mark('one');
$node->pgbench_init(1);
my $last = $node->archive_all;
my $first = segment_of(1, $backup->{start_lsn}, $size);

# ---- segments as they were ----

my $out = new_dir();
rescue('wal', $repo, $out, "--from=$first", "--to=$last");
my @segments = files_below($out);
cmp_ok(scalar(@segments), '>', 10, 'many segments');
is($segments[0], $first, 'from the first one asked for');
is($segments[-1], $last, 'to the last one');
is(scalar(grep { slurp("$out/$_") ne slurp($node->data_dir . "/pg_wal/$_") } @segments), 0, 'each is what the server wrote');

# ---- the piece that was not finished ----

$node->mark('two');
$node->kill9;
is(marks_of($repo, 'latest'), 'one', 'what was archived is there');
# pgdr saves the rest of pg_wal before it replaces the data directory.
$pgdr->ok('restore', '--delta', '-y');
cmp_ok(scalar(tail_objects($pgdr)), '>', 0, 'it is a tail');
is(marks_of($repo, 'latest'), 'one two', 'and now the tail too');
is(marks_of($repo, 'latest', '--wal=' . new_dir()), 'one two', 'also in a folder');
is(marks_of($repo, 'latest', "--to=$last"), 'one', 'but not when an earlier end is asked for');

# ---- a younger timeline ----

$node->start;
$node->wait_promoted;
$node->mark('three');
$node->archive_all;
$node->mark('four');
my $on_two = $node->archive_all;
like($on_two, qr/^00000002/, 'it is on timeline 2');
is(marks_of($repo, 'latest'), 'one two three four', 'the newest timeline is followed');
is(marks_of($repo, $backup->{id}, '--timeline=1'), 'one two', 'or an older one');
$out = new_dir();
rescue('wal', $repo, $out, "--to=$on_two");
ok(-e "$out/00000002.history", 'with its history');
is(scalar(grep { /^00000002[0-9A-F]{16}$/ && slurp("$out/$_") ne slurp($node->data_dir . "/pg_wal/$_") } files_below($out)), 0,
    'the segments of timeline 2 are what the server wrote');
$node->stop;

# ---- another cluster ----

my $other = PgNode->init('other');
$pgdr->add_cluster('other', $other);
$other->enable_archiving($pgdr->archive_command =~ s/--cluster=app/--cluster=other/r);
$other->start;
$pgdr->ok('backup', '--cluster=other');
$other->mark('theirs');
$other->archive_all;
$other->stop;
rescue_fails(qr/2 backups are called 'latest'/, 'with two clusters one must be named', 'restore', $repo, 'latest', new_dir());
like(rescue('list', $repo), qr/^cluster app\n  \S+.*\ncluster other\n  \S+/, 'both are listed');
is(marks_of($repo, 'latest'), 'one two three four', 'one is restored');

# ---- holes and damage ----

my $hole = segment_plus($last, -3, $size);
my $object = wal_object($pgdr, $hole);
rename $object, test_root() . '/hole' or die;
rescue_fails(qr/segment $hole is not in the repository, but later ones are/, 'a hole is not the end', 'restore', $repo, 'latest',
    '--cluster=app', new_dir());
rename test_root() . '/hole', $object or die;

my $whole = slurp($object);
for my $case (
    ['a bit in its header', sub { flip_bit($object, 30) }, qr/CRC of its header/],
    ['a bit in its content', sub { flip_bit($object, 200) }, qr/not those of its SHA-256/],
    ['a bit in its footer', sub { flip_bit($object, -60) }, qr/CRC of its footer/],
    ['its end cut off', sub { truncate_by($object, 1) }, qr/is damaged/],
    ['nothing in it', sub { spit($object, '') }, qr/is damaged/],
    ['another segment under its name', sub { spit($object, slurp(wal_object($pgdr, $first))) }, qr/not what its name and table say/],
  ) {
    chmod 0600, $object;
    $case->[1]->();
    rescue_fails(qr/'\Q$object\E' .*$case->[2]/, "a segment with $case->[0] is refused", 'wal', $repo, new_dir(), "--from=$hole", '--cluster=app');
    spit($object, $whole);
}
(my $twin = $object) =~ s/[0-9a-f]{32}$/0123456789abcdef0123456789abcdef/;
spit($twin, $whole);
rescue_fails(qr/2 different files $hole/, 'of two contents none is chosen', 'wal', $repo, new_dir(), "--from=$hole", '--cluster=app');
delete_file($twin);

done_testing;
