#@ once
# A restore that is killed, or that the disk fails, at many points: what it leaves is never a directory
# that PostgreSQL would start with half of the files, and --delta goes on from there and ends with
# exactly what an undisturbed restore makes.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use TestFile qw(tree_state copy_tree);
use TestRun qw(temp_dir);
use File::Path qw(remove_tree);

my $node = PgNode->init('primary');
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
# Large files of several kinds, so that pages are written, too, and not only small files.
$node->query('CREATE TABLE t AS SELECT i, md5(i::text) m FROM generate_series(1, 20000) i; CREATE INDEX ON t(m)');
$node->query('CREATE TABLE zeros(i int)');
$pgdr->ok('backup');
$node->query('UPDATE t SET i = -i WHERE i % 3 = 0; CREATE TABLE new AS SELECT generate_series(1, 1000) i');
my $mark = $node->mark('a');
$node->query('CHECKPOINT');
$node->archive_all;
$node->stop;
my @target = ("--target-xid=$mark->{xid}");

# A folder without what tells when it was made.
sub look
{
    my ($dir) = @_;
    return join '', grep { !/^(postgresql\.auto\.conf|pgdr\.restoring): / } split /(?<=\n)/, tree_state($dir);
}

my $good_dir = temp_dir('good') . '/data';
$pgdr->ok('restore', "--to=$good_dir", @target);
my $good = look($good_dir);

sub same
{
    my ($got, $want, $name) = @_;
    my %got  = map { $_ => 1 } split /\n/, $got;
    my %want = map { $_ => 1 } split /\n/, $want;
    my @differences = (map({ "- $_" } grep { !$got{$_} } sort keys %want), map({ "+ $_" } grep { !$want{$_} } sort keys %got));
    splice @differences, 10;
    return ok(!@differences, $name) || diag(join "\n", @differences);
}

# Runs restore with a fault at each of these calls of those it makes; AGAIN gives a fresh folder for
# each, $old is what was in it.
sub at_points
{
    my ($action, $old, $again, @args) = @_;
    my $dir   = $again->();
    my $total = $pgdr->run('restore', "--to=$dir", @target, @args, { fault => { dir => $dir, action => 'count' } })->{calls};
    cmp_ok($total, '>', 100, "there are many calls ($total)");
    my @points = (2 .. 4, map({ int($total * $_ / 4) } 1 .. 3), $total - 4 .. $total);
    @points = @points[grep { $_ % 2 } 0 .. $#points] if $action eq 'EIO';
    my %seen;
    for my $n (@points) {
        remove_tree($dir);
        $dir = $again->();
        my $result = $pgdr->run('restore', "--to=$dir", @target, @args, { fault => { dir => $dir, action => $action, nth => $n } });
        subtest "$action at call $n" => sub {
            ok($result->{faults}, 'it was hit');
            if ($action ne 'EIO') {
                is($result->{signal}, 9, 'it was killed');
            } else {
                isnt($result->{rc}, 0, 'it failed') or return;
                is($result->{rc}, Pgdr::exit_status('IO'), 'by its name') or diag($result->describe);
                like($result->{err}, qr/ERROR: cannot .*\Q$dir\E/, 'with the file') or diag($result->describe);
            }
            if (-e "$dir/global/pg_control") {
                my $now = look($dir);
                $seen{ $now eq $good ? 'done' : 'not begun' }++;
                same($now, $old, 'the old cluster is whole') if $now ne $good;
            } else {
                $seen{between}++;
                my $start = $node->command('postgres', '-D', $dir);
                like($start->{err}, qr/could not (find|open|locate).*(system|global|data|control)|not.*valid data|does not exist|No such file/si,
                    'PostgreSQL does not start with it') or diag($start->describe);
            }
            if (-e "$dir/pgdr.restoring" && !-e "$dir/global/pg_control") {
                $pgdr->fails('REFUSED', qr/was interrupted.*HINT: add --delta/s, 'restore', "--to=$dir", @target);
            }
            $pgdr->ok('restore', "--to=$dir", @target, '--delta', '--yes');
            same(look($dir), $good, 'and all is as it should be');
            ok(!-e "$dir/pgdr.restoring", 'nothing tells of the interruption');
        };
    }
    remove_tree($dir);
    return \%seen;
}

my $fresh = 0;
subtest 'into an empty folder' => sub {
    my $again = sub {
        my $dir = temp_dir('fresh' . ++$fresh);
        chmod 0700, $dir;
        return $dir;
    };
    my $seen = at_points('kill', '', $again);
    cmp_ok($seen->{between}, '>', 3, 'most kills leave no cluster');
    at_points('EIO', '', $again);
};

subtest 'over the cluster' => sub {
    my $kept  = copy_tree($node->data_dir, temp_dir('kept') . '/data');
    my $old   = look($kept);
    my $again = sub { return copy_tree($kept, temp_dir('over' . ++$fresh) . '/data') };
    my $seen = at_points('torn', $old, $again, '--delta', '--yes');
    cmp_ok($seen->{between}, '>', 3, 'most kills leave no cluster');
    cmp_ok($seen->{$_} // 0, '>', 0, "and some: $_") for 'not begun', 'done';
};

# Even when it was complete but for the last step, and was then used: it is a cluster with WAL of its
# own, which is saved before it is replaced.
subtest 'killed at the end, started, and replaced again' => sub {
    my $dir = temp_dir('end') . '/data';
    my $total = $pgdr->run('restore', "--to=$dir", { fault => { dir => $dir, action => 'count' } })->{calls};
    remove_tree($dir);
    my $result = $pgdr->run('restore', "--to=$dir", '--archive-mode=preserve', { fault => { dir => $dir, action => 'kill', nth => $total - 1 } });
    is($result->{signal}, 9, 'killed');
    ok(-e "$dir/pgdr.restoring" && -e "$dir/global/pg_control", 'complete but for the marker');
    my $copy = PgNode->from_datadir('end', $dir);
    $copy->append_conf("archive_command = 'false'");
    $copy->start;
    $copy->wait_promoted;
    $copy->mark('written after that');
    $copy->kill9;
    my $json = $pgdr->json_fails('REFUSED', 'restore', "--to=$dir", '--delta');
    like($json->{error}{message}, qr/would replace the cluster/, 'it counts as a cluster');
    $json = $pgdr->json('restore', "--to=$dir", '--delta', '--yes');
    cmp_ok($json->{result}{rescued_wal}{segments} + $json->{result}{rescued_wal}{tails}, '>', 0, 'its WAL is saved');
};
done_testing;
