#@ once
# A cluster that is replaced in place has WAL that nowhere else is. All of it is looked at, whatever the
# server thought of it, and is in the repository before the first file is touched; what is saved counts
# for the restore that saves it.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(unchanged);
use TestFile qw(files_below delete_file copy_tree flip_bit);
use TestRun qw(temp_dir);
use File::Path qw(remove_tree);

my $node = PgNode->init('primary', conf => "autovacuum = off\nwal_keep_size = 1GB\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('a');
$pgdr->ok('backup');
my $data = $node->data_dir;
my $b = $node->mark('b');
$node->archive_all;
# From here on the archive gets nothing: one segment is reported as archived and never was, others wait.
$node->append_conf("archive_command = 'true'");
$node->reload;
my $c = $node->mark('c');
my $lie = $node->archive_all;
$node->append_conf("archive_command = 'false'");
$node->reload;
my $d = $node->mark('d');
my $waits = $node->switch_wal;
my $e = $node->mark('e');
my $want = $node->fingerprint;
$node->kill9;
ok(-e "$data/pg_wal/archive_status/$lie.done",    'one segment counts as archived');
ok(-e "$data/pg_wal/archive_status/$waits.ready", 'one waits');
is_deeply([files_below($pgdr->folder, qr{/(?:$lie|$waits)-})], [], 'the repository has neither');
# Files of earlier segments, renamed for later use: their contents are not what their names say.
my ($old) = sort grep { /^[0-9A-F]{24}$/ } files_below("$data/pg_wal");
my @later = map { sprintf '%08X%08X%08X', 1, 0, $_ } 0x40 .. 0x42;
system('cp', "$data/pg_wal/$old", "$data/pg_wal/$_") for @later;
my $kept = copy_tree($data, temp_dir('kept') . '/data');
my $repo = copy_tree($pgdr->folder, temp_dir('kept-repo') . '/repo');

# Both as they were after the crash.
sub again
{
    remove_tree($data);
    copy_tree($kept, $data);
    system('chmod', '-R', 'u+w', $pgdr->folder);
    remove_tree($pgdr->folder);
    copy_tree($repo, $pgdr->folder);
    return;
}

sub restores
{
    my ($name, $marks, $fingerprint, @args) = @_;
    my $json = $pgdr->json('restore', '--delta', '--yes', '--archive-mode=off', @args) or return;
    $node->start;
    $node->wait_promoted;
    is($node->marks, $marks, "$name: marks");
    is($node->fingerprint, $fingerprint, "$name: every row") if $fingerprint;
    $node->stop('immediate');
    return $json;
}

subtest 'latest is the last commit' => sub {
    my $json = restores('latest', 'a b c d e', $want) or return;
    is($json->{result}{rescued_wal}{segments}, 2, 'two segments were saved');
    is($json->{result}{rescued_wal}{tails}, 1, 'and the one that was being written');
    is($json->{result}{rescued_wal}{orphans}, 0, 'and nothing else');
    is_deeply([files_below($pgdr->folder, qr{/(?:$later[0]|$later[1]|$later[2])})], [], 'no file for later use');
    is(scalar(() = files_below($pgdr->folder, qr{/(?:$lie|$waits)-})), 2, 'they are in the repository');
    # What was saved stays, also when the cluster is gone.
    $node->destroy;
    restores('once more, from nothing', 'a b c d e', $want);
    $pgdr->ok('verify');
};

subtest 'a point that only the old cluster has' => sub {
    for my $target (["--target-time=$d->{time}", 'a b c d'], ["--target-xid=$e->{xid}", 'a b c d e'], ["--target-lsn=$d->{lsn_before}", 'a b c']) {
        again();
        # The plan alone changes nothing, and says what would help.
        unchanged([$data, $pgdr->folder], sub {
            my $json = $pgdr->json_fails('UNREACHABLE', 'restore', '--delta', '--dry-run', $target->[0]);
            like($json->{error}{hint}, qr/pg_wal.*may reach further.*without --dry-run/, 'the dry run says where more may be')
              or diag(explain($json));
            $pgdr->json_fails('UNREACHABLE', 'restore', '--delta', $target->[0]);
        });
        restores($target->[0], $target->[1], undef, $target->[0]);
    }
    again();
    my $json = $pgdr->json_fails('UNREACHABLE', 'restore', '--delta', '--yes', '--target-lsn=7F/0');
    like($json->{error}{message}, qr/behind the last recovery point/, 'what nobody has is refused all the same');
    ok(-e "$data/global/pg_control", 'and the cluster is left');
};

subtest 'it cannot be stored' => sub {
    Pgdr::only_in_folder('the file system forbids it, or is full');
    again();
    unchanged([$data], sub {
        my @dirs = split /\n/, `find @{[$pgdr->folder]}/app -type d`;
        chmod 0500, @dirs;
        my $json = $pgdr->json_fails('ACCESS', 'restore', '--delta', '--yes');
        like($json->{error}{message}, qr{cannot save '\Q$data\E/pg_wal/\w{24}': .*Permission denied}, 'it says what it cannot save');
        like($json->{error}{hint}, qr/nothing was changed; copy '\Q$data\E\/pg_wal' to a safe place/, 'and what to do');
        chmod 0700, @dirs;
    });
    # A full disk.
    unchanged([$data], sub {
        my $fault = { dir => $pgdr->folder, action => 'ENOSPC', ops => 'write', repeat => 1 };
        $pgdr->fails('NO_SPACE', qr/cannot save.*No space left/, 'restore', '--delta', '--yes', { fault => $fault });
    });
};

subtest 'it contradicts what is archived' => sub {
    again();
    # Under the name of a waiting segment the repository has another life's.
    my $other = PgNode->from_datadir('other', copy_tree($kept, temp_dir('other') . '/data'));
    $other->append_conf("archive_command = '" . $pgdr->archive_command . "'");
    # The same cluster went on differently from c on: without its later WAL it writes its own.
    my @gone = grep { $_ gt $lie } map { m{([^/]+)$} } glob $other->data_dir . '/pg_wal/' . '[0-9A-F]' x 24;
    unlink map { $other->data_dir . "/pg_wal/$_" } @gone;
    unlink glob $other->data_dir . '/pg_wal/archive_status/*';
    $other->start;
    $other->mark('other life');
    $other->archive_all;
    $other->stop;
    my $json = $pgdr->json('restore', '--delta', '--yes', '--archive-mode=off');
    cmp_ok($json->{result}{rescued_wal}{orphans}, '>', 0, 'it is kept beside');
    my @orphans = files_below($pgdr->folder, qr{orphan/.*$waits});
    is(scalar(@orphans), 1, 'under its name') or diag(join "\n", files_below($pgdr->folder, qr/orphan/));
    $node->start;
    $node->wait_promoted;
    is($node->marks, 'a b c other life', 'and the restored cluster is what the archive says');
    $node->stop;
};

subtest 'pg_wal on another disk, and no pg_control' => sub {
    again();
    my $wal = temp_dir('wal') . '/pg_wal';
    rename "$data/pg_wal", $wal or system('mv', "$data/pg_wal", $wal);
    symlink $wal, "$data/pg_wal" or die;
    delete_file("$data/global/pg_control");
    my $json = restores('through the link', 'a b c d e', $want) or return;
    is($json->{result}{rescued_wal}{segments}, 2, 'two segments were saved');
    is(readlink "$data/pg_wal", $wal, 'the link is still there');
    ok(!-e "$wal/$_", "$_ is gone") for @later;
};

subtest 'a damaged segment in the middle' => sub {
    again();
    # What follows it can be saved, but leads nowhere.
    flip_bit("$data/pg_wal/$waits", 40);
    my $json = $pgdr->json_fails('WAL_MISSING', 'restore', '--delta', '--yes', '--archive-mode=off');
    like($json->{error}{message}, qr/^$waits is not in .*, but later WAL is/, 'the hole is told');
    my ($lsn) = $json->{error}{hint} =~ m{else (--target-lsn=[0-9A-F]+/[0-9A-F]+) restores all that lies before it};
    ok(-e "$data/pg_wal/$waits", 'and nothing is touched');
    restores('what is offered instead', 'a b c', undef, $lsn);
};
done_testing;
