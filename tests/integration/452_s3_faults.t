#@ folder it has a gateway of its own
#@ timeout 1200
#@ once
# Harm to every request in turn, on its way between pgdr and a real S3 server: WAL that is pushed, a
# backup, a restore. What passes is outlived without anything lost or stored twice under another name;
# what does not is named, and the next attempt makes it good.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Rgw;
use S3Proxy qw(%transient %final);
use TestFile qw(slurp tree_state);
use TestRun qw(temp_dir test_root);
use WalRepo qw(segment_plus segment_size);

my $rgw    = Rgw->start;
my $bucket = $rgw->bucket('faults');
my $proxy  = S3Proxy->new($rgw->value('PLAIN'));
my $node   = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
$node->enable_archiving('');
$node->start;
$node->query("CREATE TABLE t AS SELECT 'row ' || n AS a FROM generate_series(1, 100000) n");
my $last = $node->switch_wal;
my $data = $node->data_dir;
my $size = segment_size($node);
my $file = temp_dir('fetch') . '/file';

# A repository below PREFIX: pgdr that reaches it through the proxy, and one that reaches it directly.
sub repository
{
    my ($prefix) = @_;
    my @both;
    for my $where ($proxy->url, 'PLAIN') {
        my %repo = $rgw->repo("$bucket/$prefix", $where);
        push @both, Pgdr->new(node => $node, repo => delete $repo{url}, repo_options => \%repo);
    }
    $both[1]->run('init')->ok or BAIL_OUT("cannot init $prefix");
    return @both;
}

# By itself, unless @more says how far ahead a process that it leaves behind may go.
sub push_wal
{
    my ($pgdr, $segment, @more) = @_;
    push @more, '--wal-ahead=0' if !grep { /^--wal-ahead=/ } @more;
    return $pgdr->run('archive-push', "pg_wal/$segment", @more, { cwd => $data });
}

# What is wrong with the stored segments; nothing when each is there once, whole.
sub wrong_wal
{
    my ($pgdr, @segments) = @_;
    my @wrong;
    my @stored = $pgdr->run('repo', 'ls', '--recurse', 'app/wal/')->{out} =~ m{/([0-9A-F]{24})-[0-9a-f]+ }g;
    push @wrong, "stored are @stored" if "@stored" ne join ' ', sort @segments;
    for my $segment (@segments) {
        unlink $file;
        my $got = $pgdr->run('archive-get', $segment, $file, { cwd => $data });
        push @wrong, $got->describe if !$got->ok || slurp($file) ne slurp("$data/pg_wal/$segment");
    }
    push @wrong, 'the timeline is frozen' if $pgdr->run('repo', 'ls', '--recurse', 'app/timelines/')->{out} =~ /frozen/;
    return @wrong;
}

# Runs CODE(nth) for every request: how often, and what it found wrong.
sub every_request
{
    my ($settings, $code) = @_;
    my @bad;
    my $runs = $proxy->for_every_nth($settings, sub { my ($n) = @_; push @bad, map { "request $n: $_" } $code->($n) });
    return ($runs, @bad);
}

sub verdict
{
    my ($what, $runs, @bad) = @_;
    my $reports = TestRun::sanitizer_reports();
    push @bad, $reports if $reports ne '';
    ok(!@bad, "$what, $runs times") or diag(join "\n", @bad > 4 ? (@bad[0 .. 3], @bad - 4 . ' more') : @bad);
    return;
}

# ---- archive-push ----

# More segments than a push has requests.
my @fresh = map { segment_plus($last, $_ - 6, $size) } 0 .. 6;
for my $what (sort keys %transient) {
    my ($pgdr, $direct) = repository('push-' . $what =~ s/\W+/-/gr);
    my @pushed;
    my ($runs, @bad) = every_request(
        $transient{$what},
        sub {
            my ($n) = @_;
            my $segment = $fresh[$n - 1] // BAIL_OUT('a push has more requests than there are segments');
            my $result = push_wal($pgdr, $segment);
            push @pushed, $segment;
            return $result->ok ? () : $result->describe;
        });
    verdict("push: $what", $runs, @bad, wrong_wal($direct, @pushed));
}

for my $what (sort keys %final) {
    my ($pgdr, $direct) = repository('push-' . $what =~ s/\W+/-/gr);
    my ($with, $exit, $message) = @{ $final{$what} };
    my @pushed;
    # From then on: what is asked ahead of need is asked again before it is an error.
    my ($runs, @bad) = every_request(
        { %$with, times => 0 },
        sub {
            my ($n) = @_;
            my $segment = $fresh[$n - 1];
            my $result  = push_wal($pgdr, $segment);
            my $hit     = $proxy->calm;
            my @wrong;
            push @wrong, $result->describe
              if $hit && ($result->{rc} != Pgdr::exit_status($exit) || $result->{err} !~ $message);
            my $again = push_wal($pgdr, $segment);
            push @pushed, $segment;
            push @wrong, 'not made good: ' . $again->describe if !$again->ok;
            return @wrong;
        });
    verdict("push: $what", $runs, @bad, wrong_wal($direct, @pushed));
}

# Answers that are no S3: never success without the object.
for my $what (qw(garbage noise flip)) {
    my ($pgdr, $direct) = repository("push-$what");
    my @pushed;
    my ($runs, @bad) = every_request(
        { action => $what },
        sub {
            my ($n) = @_;
            my $segment = $fresh[$n - 1];
            my $result  = push_wal($pgdr, $segment);
            push @pushed, $segment if $result->ok;
            return $result->ok || $result->{err} =~ /ERROR: .+/ ? () : $result->describe;
        });
    my @wrong = wrong_wal($direct, @pushed);
    # One that is stored though the push failed is no harm.
    @wrong = grep { !/^stored are/ } @wrong;
    verdict("push: $what", $runs, @bad, @wrong);
}

# A process that archive-push leaves behind stores what follows: whichever of the two is hit, every
# command ends well.
for my $i (0 .. keys(%transient) - 1) {
    my $what = (sort keys %transient)[$i];
    my ($pgdr, $direct) = repository('ahead-' . $what =~ s/\W+/-/gr);
    my (@bad, $hit);
    for my $nth (1 + $i, 14 + $i) {
        $proxy->set(%{ $transient{$what} }, nth => $nth);
        for my $segment (@fresh) {
            my $result = push_wal($pgdr, $segment, '--wal-ahead=4MiB');
            push @bad, $result->describe if !$result->ok;
        }
        $hit += $proxy->calm;
    }
    push @bad, 'nothing was hit' if !$hit;
    verdict("push, ahead: $what", scalar @fresh, @bad, wrong_wal($direct, @fresh));
}

# ---- how long ----

{
    my ($pgdr) = repository('long');
    $proxy->set(action => 'refuse', arg => '503 SlowDown', nth => 1, times => 0);
    $pgdr->fails('BUSY', qr/gave up after 6 attempts.*SlowDown/s, 'info');
    is(scalar $proxy->requests, 6, 'a server that is always busy is asked six times');
    $proxy->set(action => 'stall', arg => 20, nth => 3);
    my $result = push_wal($pgdr, $fresh[0], '--io-timeout=1s');
    ok($result->ok, 'a connection on which nothing is said any more') or diag($result->describe);
    cmp_ok($result->{seconds}, '<', 15, 'is given up');
    $proxy->set(action => 'clock', arg => 7200, nth => 1, times => 0);
    $pgdr->fails('NOT_FOUND', qr/clock is .* behind that of/, 'info');
    $proxy->set(action => 'refuse', arg => '403 RequestTimeTooSkewed', nth => 1, times => 0);
    $pgdr->fails('AUTH', qr/RequestTimeTooSkewed.*HINT: set .*clock/s, 'info');
    $proxy->set;
}

# ---- backup ----

my ($pgdr, $direct) = repository('backup');
$node->enable_archiving($direct);
$node->restart;
$node->query('CHECKPOINT');
my @kinds = sort keys %transient;
my $last_backup;
{
    my ($runs, @bad) = (0);
    # Each kind meets other requests: a prime step, from other starts.
    for my $i (0 .. $#kinds) {
        my ($some, @wrong) = every_request(
            { %{ $transient{ $kinds[$i] } }, from => 1 + $i, step => 29 },
            sub {
                my $result = $pgdr->run('backup');
                return $result->ok ? () : "$kinds[$i]: " . $result->describe;
            });
        $runs += $some;
        push @bad, @wrong;
    }
    verdict('backup: all that passes', $runs, @bad);
    my ($some, @wrong) = every_request(
        { %{ $final{'403 AccessDenied'}[0] }, step => 5, times => 0 },
        sub {
            my $result = $pgdr->run('backup');
            # Once it is committed, all that is left is to take its lease away, which need not be.
            my $hit = grep { / refuse$/ && !m{^DELETE \S+/leases/} } $proxy->requests;
            return $result->ok ? () : $result->describe if !$hit;
            return $result->{rc} != Pgdr::exit_status('ACCESS') || $result->{err} !~ /HINT: allow/ ? $result->describe : ();
        });
    verdict('backup: AccessDenied from a request on', $some, @wrong);
    $last_backup = $pgdr->json('backup')->{backup}{id};
    # A backup that was refused between its manifest and its summary is told as one never committed.
    my $found = Pgdr::decode($direct->run('verify', '--output=json'));
    my @wrong_now = map { "$_->{object}: $_->{problem}" } grep { $_->{problem} !~ /never committed|before it was committed/ } @{ $found->{findings} };
    cmp_ok($found->{checked}{backups}, '>', 10, 'all backups are looked at');
    is("@wrong_now", '', 'all that is stored is whole');
}

# ---- restore ----

my $want = $node->fingerprint;
$node->archive_all;
$node->stop;
sub restored
{
    my ($through) = @_;
    my $to     = temp_dir('restored') . '/data';
    # Named, because one whose summary is damaged makes room for the one before.
    my $result = $through->run('restore', "--to=$to", '--type=immediate', "--backup=$last_backup");
    return ($to, $result);
}
my ($reference, $first) = restored($direct);
ok($first->ok, 'a restore without harm') or diag($first->describe);
my $same = tree_state($reference);
{
    my ($runs, @bad) = (0);
    for my $i (0 .. $#kinds) {
        my ($some, @wrong) = every_request(
            { %{ $transient{ $kinds[$i] } }, from => 1 + 3 * $i, step => 97 },
            sub {
                my ($to, $result) = restored($pgdr);
                my $state = $result->ok ? tree_state($to) : $same;
                system 'rm', '-rf', $to;
                return "$kinds[$i]: " . $result->describe if !$result->ok;
                return is_same($state, $same) ? () : "$kinds[$i]: what was restored differs";
            });
        $runs += $some;
        push @bad, @wrong;
    }
    verdict('restore: all that passes', $runs, @bad);
    my ($some, @wrong) = every_request(
        { action => 'flip', step => 37 },
        sub {
            my ($to, $result) = restored($pgdr);
            my $state = $result->ok ? tree_state($to) : $same;
            system 'rm', '-rf', $to;
            return 'what was restored differs' if !is_same($state, $same);
            return $result->ok || $result->{err} =~ /ERROR: .+/ ? () : $result->describe;
        });
    verdict('restore: a bit flipped on the way', $some, @wrong);
    # An object, not a listing: it is read once more, and then it is right.
    ($some, @wrong) = every_request(
        { action => 'flip', match => '^GET [^?]+$', step => 5 },
        sub {
            my ($to, $result) = restored($pgdr);
            my $state = $result->ok ? tree_state($to) : '';
            system 'rm', '-rf', $to;
            return $result->ok && is_same($state, $same) ? () : $result->describe;
        });
    verdict('restore: a bit of an object flipped on the way', $some, @wrong);
}

# Alike but for what is different each time: the configuration names the folder.
sub is_same
{
    my ($one, $other) = map { join "\n", grep { !/auto\.conf|pgdr/ } split /\n/ } @_;
    return $one eq $other;
}

done_testing;
