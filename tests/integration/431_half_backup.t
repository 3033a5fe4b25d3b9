#@ once
# Half a backup: its summary is missing. Was it never committed, or was that lost? A lease tells who was at
# it; but one that was left behind tells of both. So a live lease is silent, one that was left is a warning,
# and none is a loss.

use strict;
use warnings;
use Test::More;

use Faults qw(fault_in small_node backups_of every_nth restore_state);
use Pgdr;
use PgNode;
use Recovery qw(hold_file);
use TestFile qw(slurp spit files_below delete_file copy_tree);
use TestRun qw(temp_dir run poll_until);

my $node = small_node('primary');
my $pgdr = Pgdr->new(node => $node);
my $repo = $pgdr->folder;
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$pgdr->ok('backup');
my ($first) = backups_of($pgdr);

sub leases { return map { "$repo/app/leases/$_" } files_below("$repo/app/leases", qr/./) }

# Killed behind the commit, when it is about to take its lease away: that is one of the last removals.
my $calls = $pgdr->run('backup', { fault => { fault_in($pgdr), action => 'count', ops => 'unlink' } })->{calls};
my ($late, $lease);
for my $nth (reverse 1 .. $calls) {
    my %before = map { $_ => 1 } backups_of($pgdr);
    $pgdr->run('backup', { fault => { fault_in($pgdr), action => 'kill', ops => 'unlink', nth => $nth } });
    ($lease) = leases();
    ($late)  = grep { !$before{$_} } backups_of($pgdr);
    last if $lease;
}
ok($late, 'it is committed') or BAIL_OUT('no backup');
is(scalar(leases()), 1, 'and its lease is left') or BAIL_OUT('no lease');
is_deeply($pgdr->json('verify')->{findings}, [], 'all is well');

my $summary = "$repo/app/backups/$late/summary";
my $kept = slurp($summary);
my $clean = copy_tree($repo, "$repo.clean");

# The findings of verify, which ends so.
sub findings
{
    my ($status, @args) = @_;
    my $json = $status ? $pgdr->json_fails($status, 'verify', @args) : $pgdr->json('verify', @args);
    is($json->{ok} ? 1 : 0, $status ? 0 : 1, '"ok" says the same');
    return @{ $json->{findings} };
}

subtest 'lost, and the lease was left' => sub {
    delete_file($summary);
    for my $args ([], ['--fast']) {
        my ($f, @more) = findings(undef, @$args);
        is(scalar(@more), 0, 'one finding') or diag(explain(\@more));
        is($f->{severity}, 'warning', '  a warning');
        is($f->{object}, "backups/$late/summary", '  about the summary');
        is_deeply($f->{backups}, [$late], '  of that backup');
        like($f->{problem}, qr/^it is missing: .* was killed, either before it was committed, or behind that, and then this object was lost$/, '  what it can be');
        like($f->{hint}, qr/'pgdr verify --heal' .*'pgdr backup'/, '  what to type');
    }
    my $text = $pgdr->ok('verify');
    like($text->{out}, qr{^warning: backups/\Q$late\E/summary: it is missing.*^    backups: \Q$late\E\n    HINT: }ms, 'the text says so, too');
};

subtest 'lost, and no lease' => sub {
    delete_file($lease);
    my ($f) = findings('FINDINGS');
    is($f->{severity}, 'error', 'an error');
    like($f->{problem}, qr/never committed, or this object was lost$/, '  what it can be');
    restore_state($repo, $clean);
};

subtest 'only the summary is there' => sub {
    # It was put behind the manifest: whatever a lease says, that was lost.
    delete_file("$repo/app/backups/$late/manifest");
    my @f = findings('FINDINGS');
    is(scalar(grep { $_->{severity} eq 'error' && $_->{object} eq "backups/$late/manifest" } @f), 1, 'an error') or diag(explain(\@f));
    restore_state($repo, $clean);
};

subtest 'mended from another repository' => sub {
    $pgdr->set('repo other', url => "$repo.other");
    $pgdr->ok('init', '--repo=other');
    $pgdr->ok('repo', 'copy', '--from-repo=main', '--to-repo=other');
    delete_file($summary);
    my $json = $pgdr->json('verify', '--heal');
    is_deeply($json->{findings}, [], 'nothing is left');
    ok(-e $summary, 'the summary is there');
    ok(scalar(grep { $_ eq $late } backups_of($pgdr)), 'and the backup');
    $pgdr->set('repo other', url => undef);
    restore_state($repo, $clean);
};

# While one is made, what is there of it is nobody's business.
subtest 'in the making' => sub {
    Pgdr::only_in_folder('a lease is made older, and read as it lies there');
    my $hold   = hold_file($node->data_dir . '/base/zz_held');
    my $backup = $pgdr->start('backup', '--output=json', { timeout => 40 });
    $hold->reached;
    my ($live, $id);
    for my $one (grep { $_ ne $lease } leases()) {
        my $text = run('zstd', '-dcq', $one)->{out};
        ($live, $id) = ($one, $1) if $text =~ /"what":"backup"/ && $text =~ /"backups":\["([^"]+)"/;
    }
    # As if it had come further: a manifest without a summary.
    mkdir "$repo/app/backups/$id" or die "mkdir: $!";
    spit("$repo/app/backups/$id/manifest", slurp("$repo/app/backups/$first/manifest"));
    is_deeply([ findings(undef, '--fast') ], [], 'verify says nothing');
    # He has not renewed his lease for too long: nobody can say whether he is at it still.
    utime time - 20 * 60, time - 20 * 60, $live or die "utime: $!";
    is(join(' ', map { "$_->{severity} $_->{object}" } findings(undef, '--fast')), "warning backups/$id/summary", 'when it has lapsed, that is a warning');
    utime undef, undef, $live;
    $backup->signal('KILL');
    $hold->release;
    $backup->wait;
    unlink $node->data_dir . '/base/zz_held';
    my @f = findings(undef, '--fast');
    is(join(' ', map { "$_->{severity} $_->{object}" } @f), "warning backups/$id/summary", 'when it was killed, that is a warning') or diag(explain(\@f));
    # What the server has archived meanwhile stays.
    unlink $live, "$repo/app/backups/$id/manifest";
};

# Killed anywhere, and nothing of the leftovers is an error, nor is it silent where there is half a backup.
subtest 'killed anywhere' => sub {
    my $half = 0;
    my @wrong;
    my $runs = every_nth(
        { fault_in($pgdr), action => 'kill', ops => 'link' }, 12,
        [ $pgdr, 'backup' ],
        sub {
            my ($result, $nth) = @_;
            my %is = map { $_ => 1 } backups_of($pgdr);
            my @halves = grep { !$is{$_} } map { m{^(\S+)/manifest$} } files_below("$repo/app/backups", qr{/manifest$});
            my $verify = $pgdr->run('verify', '--output=json');
            my $json   = Pgdr::decode($verify) // {};
            my $told   = join ' ', map { "$_->{severity} $_->{object}" } @{ $json->{findings} };
            my $want   = join ' ', map { "warning backups/$_/summary" } sort @halves;
            push @wrong, "call $nth: " . $verify->describe if !$verify->ok || $told ne $want;
            $half = @halves;
        });
    is(join("\n", @wrong), '', "at $runs calls: half a backup is a warning, all else nothing");
    ok($half, "half a backup was left $half times");
};
done_testing;
