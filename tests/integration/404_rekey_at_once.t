#@ once
# Two who change the keys of one repository at the same time: one at a time does, the other is told who it
# is; who has slept for longer than his lease is told that he was overtaken; what somebody else left is not
# thrown away. With the repository of tests/golden, so that this needs no server.

use strict;
use warnings;
use File::Path qw(remove_tree);
use Test::More;

use Pgdr;
use TestFile qw(slurp spit files_below tree_state copy_tree flip_bit);
use TestRun qw(temp_dir poll_until);

my $golden = "$ENV{PGDR_TEST_SOURCE}/tests/golden";
my $place  = temp_dir('golden');
system('tar', '-C', $place, '-xf', "$golden/v1.tar") == 0 or die 'cannot unpack';
my $repo = "$place/encrypted";
my $dir  = temp_dir('secrets');
my %passphrase;

for my $name (qw(old one two three)) {
    $passphrase{$name} = spit("$dir/$name", 'pgdr-key-' . join '', map { sprintf '%x', rand 16 } 1 .. 64);
    chmod 0600, "$dir/$name";
}
spit("$dir/golden", "the new passphrase\n");
chmod 0600, "$dir/golden";

my $pgdr = Pgdr->new(repo => $repo,
    repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => "$dir/golden", 'key-cache' => 'no' });
$pgdr->set('cluster app', spool => temp_dir('spool'));
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{old}", '--keep-key');
my $clean = copy_tree($repo, "$place/clean");

sub with { my ($name) = @_; $pgdr->set('repo main', 'passphrase-file' => $passphrase{$name}); return }

sub fresh
{
    remove_tree($repo);
    copy_tree($clean, $repo);
    with('old');
    return;
}

# "all", "nothing", or what is wrong.
sub opens
{
    my ($name) = @_;
    with($name);
    my $verify = $pgdr->run('verify');
    my $defect = Pgdr::defect($verify);
    return $defect if $defect;
    return 'nothing' if $verify->{rc} == Pgdr::exit_status('WRONG_KEY');
    return $verify->{err} =~ /lacks keys.*HINT: 'pgdr init' completes it/s ? 'all, but for the copies' : 'all' if $verify->ok;
    return $verify->describe;
}

sub opens_is
{
    my ($what, %want) = @_;
    my %got = map { $_ => opens($_) } keys %want;
    is_deeply(\%got, \%want, $what);
    return;
}

sub key_folders { return scalar(my @found = glob "$repo/keys/*") }

# The change waits for its new passphrase: by then it has its lease, and has looked at what there is.
my $held = 0;

sub hold_change
{
    my ($name, @how) = @_;
    my $mark = "$dir/held" . ++$held;
    my $process = $pgdr->start('repo', 'rekey', @how,
        "--new-passphrase-command=touch $mark; while [ ! -e $mark.go ]; do sleep 0.05; done; cat $passphrase{$name}");
    poll_until(sub { -e $mark }, 'it has got so far') or diag($process->output_so_far);
    return ($process, "$mark.go");
}

sub lease { return [glob "$repo/keys/leases/*"] }

# ---- while one is at work ----

fresh();
my ($change, $go) = hold_change('one');
is(scalar(@{ lease() }), 1, 'it has a lease');
my $state = tree_state($repo);
my $at_work = qr/nothing was done: somebody else is at work on the keys: 'repo rekey', process \d+ on host '.+', since 20.* UTC.*HINT: wait until/s;
$pgdr->fails('REFUSED', $at_work, 'repo', 'rekey', "--new-passphrase-file=$passphrase{two}");
$pgdr->fails('REFUSED', $at_work, 'repo', 'rekey', "--new-passphrase-file=$passphrase{two}", '--keep-key');
$pgdr->fails('REFUSED', $at_work, 'repo', 'rekey');
my $damaged = "$repo/" . (files_below($repo, qr{^keys/.*\.2$}))[0];
flip_bit($damaged, 100);
$pgdr->fails('REFUSED', $at_work, 'init');
flip_bit($damaged, 100);
is(tree_state($repo), $state, 'they have changed nothing');
$pgdr->ok('verify');
$pgdr->ok('init');
spit($go, '');
my $result = $change->wait;
ok($result->ok, 'and the one that was at work succeeds') or diag($result->describe);
opens_is('the new passphrase opens all', one => 'all', old => 'nothing', two => 'nothing');
is(scalar(@{ lease() }), 0, 'the lease is gone');

# ---- two that begin at the same moment ----

my (%seen, @bad);
for my $round (1 .. 12) {
    fresh();
    my @how  = $round % 3 ? () : ('--keep-key');
    my %process = map { $_ => $pgdr->start('repo', 'rekey', @how, "--new-passphrase-file=$passphrase{$_}") } qw(one two);
    my %done = map { $_ => $process{$_}->wait } qw(one two);
    my @won  = grep { $done{$_}->ok } qw(one two);
    my %opens = map { $_ => opens($_) } qw(old one two);
    my @want = @won ? ($won[0]) : ('old');
    push @bad, "round $round: both succeeded" if @won > 1;
    push @bad, map { "round $round: " . $done{$_}->describe }
      grep { !$done{$_}->ok && ($done{$_}{err} !~ /somebody else.*HINT/s && $done{$_}{err} !~ /passphrase does not fit.*HINT/s) } qw(one two);
    push @bad, "round $round: @won won: " . join ', ', map { "$_: $opens{$_}" } sort keys %opens
      if join(' ', grep { $opens{$_} ne 'nothing' } sort keys %opens) ne "@want" || $opens{ $want[0] } ne 'all';
    push @bad, "round $round: a lease is left" if @{ lease() };
    $seen{ @won ? 'one won' : 'none won' }++;
}
is(join("\n", @bad), '', 'of two that begin together one succeeds at most, and what it says is so') or diag(explain(\%seen));
ok($seen{'one won'}, 'and one does: ' . join ', ', map { "$seen{$_} times $_" } sort keys %seen);

# ---- killed ----

fresh();
($change, $go) = hold_change('one');
$change->signal('KILL');
$change->wait;
is(scalar(@{ lease() }), 1, 'who was killed leaves a lease');
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{two}");
opens_is('which holds up nobody on that host', two => 'all', old => 'nothing');
is(scalar(@{ lease() }), 0, 'and goes');

# ---- asleep: the lease lapses, somebody else goes on, the sleeper wakes ----

fresh();
($change, $go) = hold_change('one');
my ($of_sleeper) = @{ lease() };
utime time - 3600, time - 3600, $of_sleeper or die;
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{two}");
spit($go, '');
$result = $change->wait;
is($result->{rc}, Pgdr::exit_status('CANCELLED'), 'the sleeper is told that he was overtaken') or diag($result->describe);
opens_is('what the other one did stands', two => 'all', old => 'nothing', one => 'nothing');
with('two');
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{three}");
opens_is('and the next one finds all in order', three => 'all', two => 'nothing');

# ---- somebody's new data key is not thrown away ----

# An interrupted change: its new data key is there, and nothing else of it.
fresh();
my $folders = key_folders();
my $killed = $pgdr->run('repo', 'rekey', "--new-passphrase-file=$passphrase{one}",
    { fault => { dir => "$repo/keys", ops => 'link', action => 'kill', nth => 5 } });
is($killed->{signal}, 9, 'killed behind the first wraps');
is(key_folders(), $folders + 2, 'a new data key is there (and a lease)');
opens_is('the passphrase stays in force', old => 'all', one => 'nothing');
with('old');
$state = tree_state($repo);
my $stranger = qr/is wrapped under neither the configured nor the new passphrase.*new data key.*HINT: complete that one first/s;
$pgdr->fails('REFUSED', $stranger, 'repo', 'rekey', "--new-passphrase-file=$passphrase{two}");
$pgdr->fails('REFUSED', $stranger, 'repo', 'rekey');
(my $now = tree_state($repo)) =~ s{^.*keys/leases.*\n}{}mg;
$state =~ s{^.*keys/leases.*\n}{}mg;
is($now, $state, 'nothing was done');
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{one}");
opens_is('the same once more completes it', one => 'all', old => 'nothing');
is(key_folders(), $folders + 1, 'with the data key that it had made');

# Without a new data key nothing of value was begun, and another passphrase may be chosen.
fresh();
$killed = $pgdr->run('repo', 'rekey', '--keep-key', "--new-passphrase-file=$passphrase{one}",
    { fault => { dir => "$repo/keys", ops => 'link', action => 'kill', nth => 6 } });
is($killed->{signal}, 9, 'killed behind the first wraps');
$pgdr->ok('repo', 'rekey', "--new-passphrase-file=$passphrase{two}");
opens_is('the first choice is gone', two => 'all', one => 'nothing', old => 'nothing');
fresh();
$killed = $pgdr->run('repo', 'rekey', '--keep-key', "--new-passphrase-file=$passphrase{one}",
    { fault => { dir => "$repo/keys", ops => 'unlink', action => 'kill', nth => 1 } });
is($killed->{signal}, 9, 'killed before the first removal');
opens_is('both open all', one => 'all', old => 'all, but for the copies');
with('old');
$pgdr->ok('repo', 'rekey');
opens_is('without a new passphrase it is called off', old => 'all', one => 'nothing');

done_testing;
