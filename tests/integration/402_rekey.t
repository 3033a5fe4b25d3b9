#@ folder every call of the file system fails in turn
#@ once
# repo rekey: whatever call it dies in, or cannot do, what was stored stays readable with one of the two
# passphrases, no WAL gets a second name, and the next call completes it. It may run while a backup and
# archive_command do.

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use Test::More;

use Faults qw(sweeps_all);
use Pgdr;
use PgNode;
use Recovery qw(hold_file);
use TestFile qw(slurp spit files_below copy_tree);
use TestRun qw(temp_dir test_root);
use WalRepo qw(wal_objects timeline_marks);

my $dir = temp_dir('secrets');
my %passphrase;

sub passphrase
{
    my ($name, $text) = @_;
    $passphrase{$name} = spit("$dir/$name", $text // 'pgdr-key-' . join '', map { sprintf '%x', rand 16 } 1 .. 64);
    chmod 0600, "$dir/$name";
    return "$dir/$name";
}

passphrase($_) for qw(old new newer);
passphrase('golden', "the new passphrase\n");

# ---- killed, or failing, at each step: with the repository of tests/golden, which has two keys ----

my $golden = "$ENV{PGDR_TEST_SOURCE}/tests/golden";
my $place  = temp_dir('golden');
system('tar', '-C', $place, '-xf', "$golden/v1.tar") == 0 or die 'cannot unpack';
my $repo = "$place/encrypted";
my ($tablespace) = slurp("$golden/v1.expected") =~ /^tablespace (\d+)/m;
my $offline = Pgdr->new(repo => $repo,
    repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => $passphrase{golden}, 'key-cache' => 'no' });
my $data = test_root() . '/restored';
$offline->set('cluster app', spool => temp_dir('spool'));
$offline->ok('restore', "--to=$data", '--type=immediate', "--tablespace-map=$tablespace=$data.space", '-y');
$offline->set('cluster app', 'data-directory' => $data);
# The first was pushed under the first key, the other one under the second.
my @segments = ('00000001000000000000000C', '00000002000000000000000E');
make_path("$data/pg_wal");
$offline->ok('archive-get', $_, "$data/pg_wal/$_") for @segments, '00000002.history';
$offline->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{old}", '--keep-key');

sub with { my ($name) = @_; $offline->set('repo main', 'passphrase-file' => $passphrase{$name}); return }

# What a passphrase is good for: "all", "nothing" (it is refused), or what is wrong.
sub opens
{
    my ($name) = @_;
    with($name);
    my $verify = $offline->run('verify');
    my @push = map { $offline->run('archive-push', "$data/pg_wal/$_") } @segments;
    my $defect = join '', map { Pgdr::defect($_) } $verify, @push;
    return $defect if $defect;
    for my $segment (@segments) {
        return "$segment has a second name: " . $push[0]->describe . $push[1]->describe if wal_objects($offline, $segment) != 1;
    }
    return 'a timeline is frozen: ' . $push[0]->describe . $push[1]->describe if timeline_marks($offline, 1) || timeline_marks($offline, 2);
    my $wrong_key = Pgdr::exit_status('WRONG_KEY');
    # A wrap of which a copy is missing is worth a finding, and nothing is lost by it.
    my @findings = grep { !m{^keys/} } $verify->{out} =~ /^ERROR:\s+(\S+)/mg;
    my $is_whole = $verify->ok || $verify->{rc} == Pgdr::exit_status('FINDINGS') && $verify->{out} =~ /ERROR/ && !@findings;
    return 'all' if $is_whole && $push[0]->ok && $push[1]->ok;
    return 'nothing' if $verify->{rc} == $wrong_key && !grep { $_->{rc} == 0 || $_->{err} !~ /passphrase/ } @push;
    return 'part: ' . join "\n", map { $_->describe } $verify, @push;
}

with('old');
is(opens('old'), 'all', 'the old passphrase opens all');
is(opens('new'), 'nothing', 'and the new one nothing yet');
my $clean = copy_tree($repo, "$place/clean");

for my $how (['--keep-key'], []) {
    for my $action (qw(kill EIO)) {
        my (@bad, %seen);
        # One error alone is made good by trying again.
        # Every call in one of the four; the model in tests/model has them all in order, and several at once.
        my $step = sweeps_all() || $action eq 'kill' && !@$how ? 1 : 5;
        my $runs = Pgdr::for_every_nth(
            { dir => $repo, action => $action, ops => 'link,unlink', step => $step, $action eq 'EIO' ? (repeat => 1) : () },
            sub {
                my ($with, $n) = @_;
                remove_tree($repo);
                copy_tree($clean, $repo);
                with('old');
                my $rekey = $offline->run('repo', 'rekey', "--new-passphrase-file=$passphrase{new}", @$how, $with);
                my %opens = map { $_ => opens($_) } qw(old new);
                $seen{"$opens{old}, $opens{new}"}++ if "$opens{old}$opens{new}" =~ /^(all|nothing)+$/;
                my $state = "call $n (" . ($rekey->{signal} ? 'killed' : "exit $rekey->{rc}") . "): old: $opens{old}; new: $opens{new}\n";
                push @bad, $state if "$opens{old}, $opens{new}" !~ /^(all, all|all, nothing|nothing, all)$/;
                push @bad, "call $n: success, but the old passphrase still opens it\n" if $rekey->ok && $opens{old} ne 'nothing';
                # Again, as the user would.
                if ($opens{new} ne 'all' || $opens{old} ne 'nothing') {
                    with($opens{old} eq 'all' ? 'old' : 'new');
                    my $again = $offline->run('repo', 'rekey', "--new-passphrase-file=$passphrase{new}", @$how);
                    push @bad, "$state again: " . $again->describe if !$again->ok;
                    %opens = map { $_ => opens($_) } qw(old new);
                    push @bad, "$state and again: old: $opens{old}; new: $opens{new}\n" if "$opens{old}, $opens{new}" ne 'nothing, all';
                }
                return $rekey;
            });
        my $name = "rekey @$how, $action at each of $runs calls";
        is(join('', @bad), '', "$name: nothing is lost");
        cmp_ok(scalar(keys %seen), '>', 1, "$name: " . join '; ', map { "$seen{$_} times $_" } sort keys %seen);
    }
}

# ---- while a backup runs ----

# The one file that the configuration names, with the passphrase that is right now.
sub in_use { my ($name) = @_; return passphrase('current', slurp($passphrase{$name})) }

my $node = PgNode->init('primary', conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node,
    repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => in_use('old'), 'key-cache' => 'no' });
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->pgbench_init(1);
my $first = $pgdr->json('backup')->{backup}{id};
my $hold   = hold_file($node->data_dir . '/zz_held');
my $backup = $pgdr->start('backup', '--output=json');
$hold->reached;
my $mark = $node->mark('during');
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{new}");
# The hosts follow at once.
in_use('new');
$hold->release;
my $result = $backup->wait;
ok($result->ok, 'the backup goes on and ends well') or diag($result->describe);
my $id = Pgdr::decode($result)->{backup}{id};
$node->mark('after');
my $want = $node->fingerprint;
$node->archive_all;
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{newer}");
$pgdr->fails('WRONG_KEY', qr/passphrase does not fit/, 'info');
in_use('newer');
$node->mark('later');
$node->archive_all;
my $later = $node->fingerprint;
$pgdr->ok('verify');
$node->kill9;
for my $from ($first, $id) {
    my $to = test_root() . "/to-$from";
    $pgdr->ok('restore', "--backup=$from", "--to=$to");
    my $server = PgNode->from_datadir("restored-$from", $to);
    $server->start;
    $server->wait_promoted;
    is($server->fingerprint, $later, 'every row is back');
    $server->stop;
    $server->check_checksums;
}

done_testing;
