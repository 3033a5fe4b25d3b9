#@ once
# Keys of a later version of the format: they are called that, by every command, and nothing is written
# beside them, or over them. With the repositories of tests/golden, so that this needs no server.

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use Test::More;

use Envelope qw(of_version);
use Pgdr;
use TestFile qw(slurp spit files_below tree_state copy_tree);
use TestRun qw(temp_dir test_root);

my $golden = "$ENV{PGDR_TEST_SOURCE}/tests/golden";
my $dir    = temp_dir('golden');
system('tar', '-C', $dir, '-xf', "$golden/v1.tar") == 0 or die 'cannot unpack';
spit("$dir/golden", "the new passphrase\n");
spit("$dir/passphrase", 'pgdr-key-' . 'ab' x 32); # needs no stretching
spit("$dir/newer", 'pgdr-key-' . 'cd' x 32);
chmod 0600, map { "$dir/$_" } qw(golden passphrase newer);
my ($tablespace) = slurp("$golden/v1.expected") =~ /^tablespace (\d+)/m;

my $later = qr/is of a later version: format version 2 .*; this pgdr reads version 1.*HINT: use the pgdr version that wrote it, or a later one/s;

sub later { my ($file) = @_; spit($file, of_version(2, slurp($file))); return }

for my $kind ('encrypted', 'plain') {
    my $repo = "$dir/$kind";
    my $pgdr = Pgdr->new(repo => $repo,
        repo_options => $kind eq 'plain' ? {} : { encryption => 'aes-256-gcm', 'passphrase-file' => "$dir/passphrase", 'key-cache' => 'no' });
    my $spool = temp_dir("spool-$kind");
    $pgdr->set('cluster app', spool => $spool);
    $pgdr->ok('repo', 'rekey', '--keep-key', "--passphrase-file=$dir/golden", "--new-passphrase-file=$dir/passphrase")
      if $kind eq 'encrypted';
    my $data = test_root() . "/restored-$kind";
    $pgdr->ok('restore', "--to=$data", '--type=immediate', "--tablespace-map=$tablespace=$data.space", '-y');
    $pgdr->set('cluster app', 'data-directory' => $data);
    my $segment = '00000001000000000000000C';
    make_path("$data/pg_wal");
    $pgdr->ok('archive-get', $segment, "$data/pg_wal/$segment");
    # Where init would otherwise have something to do.
    $pgdr->ok('init');
    my $clean = copy_tree($repo, "$dir/clean-$kind");

    my $all_fail = sub {
        my ($name) = @_;
        my $state = tree_state($repo);
        subtest "$kind, $name" => sub {
            for my $command (['info'], ['verify'], ['backup'], ['init'], ['restore', '--to=' . test_root() . '/none'],
                $kind eq 'plain' ? () : (['repo', 'rekey'], ['repo', 'rekey', "--new-passphrase-file=$dir/newer"])) {
                my $result = $pgdr->fails('VERSION', $later, @$command);
                unlike($result->{err}, qr/damaged|pgdr init|anew/, 'it is not called damaged, nor to be written anew');
            }
            my $push = $pgdr->fails('VERSION', $later, 'archive-push', "$data/pg_wal/$segment");
            my $get = $pgdr->run('archive-get', $segment, "$data/pg_wal/none");
            cmp_ok($get->{rc}, '>', 125, 'archive-get ends recovery') or diag($get->describe);
            is(tree_state($repo), $state, 'nothing was written');
        };
        remove_tree($repo);
        copy_tree($clean, $repo);
        return;
    };

    # All of them; one of two; the only copies that are left of one.
    my @folders = glob "$repo/keys/*";
    later($_) for map { glob "$_/*" } @folders;
    $all_fail->('all keys');
    if (@folders > 1) {
        later($_) for glob "$folders[0]/*";
        $all_fail->('the first of two');
        later($_) for glob "$folders[1]/*";
        $all_fail->('the second of two');
    }
    my @copies = glob "$folders[0]/*.[123]";
    unlink @copies[0, 1];
    later($copies[2]);
    $all_fail->('the last copy of one');
    later($_) for map { glob "$_/*" } @folders, "$repo/*/backups/*/key";
    $all_fail->('those beside the backups, too');

    # Of a key that opens all the same: one copy, or a whole wrap more. It stays as it is.
    later($copies[1]);
    my $before = slurp($copies[1]);
    $pgdr->ok('info');
    my $verify = $pgdr->fails('FINDINGS', qr//, 'verify');
    like($verify->{out}, qr/^ERROR:\s+keys\/\S+\.2: format version 2 .*\n\s+HINT: use the pgdr version/m, 'verify names the one copy');
    $pgdr->ok('init');
    is(slurp($copies[1]), $before, "$kind: one copy of a later version is not written over");
    my ($beside) = glob "$repo/*/backups/*/key";
    later($beside);
    $before = slurp($beside);
    like($pgdr->ok('init')->{err}, qr/^$|stays as it is: format version 2/, 'init says at most that it leaves it');
    is(slurp($beside), $before, "$kind: nor a copy beside a backup");
    $pgdr->ok('repo', 'rekey', "--new-passphrase-file=$dir/newer") if $kind eq 'encrypted';
    is(slurp($beside), $before, "$kind: nor does a change of the passphrase") if $kind eq 'encrypted';
}

done_testing;
