#@ once
# A cluster is restored in place to a wrong moment, and lives on. What timeline 1 did behind that moment
# is in the repository still: info shows it, verify checks it, a restore brings it back; and what is lost
# of it is told, with what that costs.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored plan_of lsn_number lsn_text);
use TestFile qw(delete_file flip_bit copy_tree);
use TestRun qw(temp_dir);
use WalRepo qw(wal_object segment_of segment_plus);
use Faults qw(restore_state);

my $SEG  = 1 << 20;
my $node = PgNode->init('primary', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
my $backup = $pgdr->json('backup')->{backup};
my %mark;
$mark{a} = $node->mark('a');
for my $name (qw(b c d e)) {
    $node->archive_all;
    $mark{$name} = $node->mark($name);
}
$node->archive_all;
my $rows = $node->fingerprint;

sub windows { my (@args) = @_; return @{ $pgdr->json('info', @args)->{clusters}[0]{windows} } }

my ($before) = windows();
is($before->{timeline}, 1, 'at first there is timeline 1');
is_deeply($before->{forks}, [], 'which nobody has left');
my $shown = $pgdr->ok('info');
unlike($shown->{out}, qr/was left/, '  and nothing is said of that');

# The wrong moment.
$node->kill9;
$node->destroy;
$pgdr->ok('restore', "--target-xid=$mark{b}{xid}");
$node->start;
$node->wait_promoted;
is($node->marks, 'a b', 'restored too far back');
$node->mark('f2');
$pgdr->ok('backup');
$node->mark('g2');
$node->archive_all;
my $clean = copy_tree($pgdr->folder, $pgdr->folder . '.clean');

subtest 'info shows both futures' => sub {
    my ($one, $two) = windows();
    is("$one->{timeline} $two->{timeline}", '1 2', 'a window of each');
    is_deeply([ @$one{qw(from_time to_time from_lsn to_lsn)} ], [ @$before{qw(from_time to_time from_lsn to_lsn)} ],
        'that of timeline 1 is what it was, to its end');
    is(scalar(@{ $one->{backups} }), 1, '  with its backup');
    is(scalar(@{ $two->{backups} }), 2, 'timeline 2 has that, and its own');
    my ($fork) = @{ $one->{forks} };
    is($fork->{timeline}, 2, 'timeline 2 has left it');
    ok(lsn_number($fork->{lsn}) >= lsn_number($mark{b}{lsn}) && lsn_number($fork->{lsn}) <= lsn_number($mark{c}{lsn}), "  between b and c, at $fork->{lsn}");
    is_deeply($two->{forks}, [], 'nobody has left that');
    is_deeply([ grep { $_->{missing} || $_->{conflict} || $_->{damaged} } $one, $two ], [], 'both end where the WAL does');
    my $text = $pgdr->ok('info');
    like($text->{out}, qr/^timeline 1 was left by timeline 2 at \Q$fork->{lsn}\E: --target-timeline=1 goes on behind that$/m, 'the text says how to get there');
};

subtest 'and it can be had' => sub {
    my $copy = restored($pgdr, 'forward', '--target-timeline=1');
    $copy->wait_promoted;
    is($copy->fingerprint, $rows, 'every row of the old future');
    $copy->stop;
    my $plan = plan_of($pgdr, '--to=' . temp_dir('current') . '/data', '--target-timeline=current', "--backup=$backup->{id}", "--target-xid=$mark{e}{xid}");
    is($plan->{timeline}, 1, 'also as the current timeline of the backup');
};

subtest 'verify looks at all of it' => sub {
    my $json = $pgdr->json('verify');
    my @segments = glob $pgdr->folder . '/app/wal/*/0000000[12]/*/' . '?' x 24 . '-*';
    is($json->{checked}{wal_segments}, scalar(@segments), 'every segment of both timelines');
    $json = $pgdr->json('verify', '--fast');
    is($json->{checked}{wal_segments}, scalar(@segments), 'also by name alone');
};

# A segment of timeline 1 behind the fork.
my $behind = segment_of(1, $mark{d}{lsn}, $SEG);

# What verify says about the windows: one finding, which names the segment.
sub finding
{
    my ($what, @args) = @_;
    my $json = $pgdr->json_fails('FINDINGS', 'verify', @args);
    my @findings = @{ $json->{findings} };
    is(scalar(@findings), 1, 'one finding') or diag(explain(\@findings));
    like($findings[0]{object}, qr/\Q$what\E/, '  about the segment');
    is($findings[0]{severity}, 'error', '  which is no mere warning');
    return $findings[0];
}

for my $case (
    [ 'a lost segment behind the fork', sub { delete_file(wal_object($pgdr, $behind)) }, qr/^the segment is missing$/, '--fast' ],
    [ 'a damaged one', sub { flip_bit(wal_object($pgdr, $behind), 300) }, qr/^cannot read/ ])
{
    my ($name, $harm, $problem, @fast) = @$case;
    subtest $name => sub {
        $harm->();
        my $start = lsn_text(hex(substr $behind, 16) * $SEG);
        for my $args ([], [@fast]) {
            my $f = finding($behind, @$args);
            like($f->{problem}, $problem, '  what is wrong');
            is_deeply($f->{windows}, ["timeline 1: restorable with --target-timeline=1 up to $start"], '  what it costs');
            is_deeply($f->{backups}, [], '  no backup');
        }
        # Both sides of what it says.
        my $before_it = '--target-lsn=' . lsn_text(lsn_number($start) - 1);
        my $last = restored($pgdr, 'last', '--target-timeline=1', $before_it);
        $last->wait_promoted;
        is($last->marks, 'a b c', 'up to there it can be restored');
        $last->stop;
        my $to = temp_dir('beyond') . '/data';
        $pgdr->fails($problem =~ /missing/ ? 'WAL_MISSING' : 'DAMAGED', qr/$behind/, 'restore', "--to=$to", '--target-timeline=1',
            '--target-lsn=' . lsn_text(lsn_number($start) + 100));
        my $copy = restored($pgdr, 'two');
        $copy->wait_promoted;
        is($copy->marks, 'a b f2 g2', 'timeline 2 does not suffer');
        $copy->stop;
        if (@fast) {
            my ($one, $two) = windows();
            is($one->{missing}, $behind, 'info names the hole');
            cmp_ok(lsn_number($one->{to_lsn}), '<=', lsn_number($start), '  and ends before it');
            cmp_ok(lsn_number($one->{to_lsn}), '>', lsn_number($start) - $SEG, '  in the segment before');
            is($two->{missing}, undef, 'timeline 2 has none');
            like($pgdr->ok('info')->{out}, qr/ $behind is missing$/m, 'the text, too');
        }
        restore_state($pgdr->folder, $clean);
    };
}

subtest 'a segment that both futures need' => sub {
    my $shared = segment_of(1, $backup->{stop_lsn}, $SEG);
    my $first  = segment_plus($shared, 1, $SEG);
    delete_file(wal_object($pgdr, $first));
    my $f = finding($first);
    is(scalar(grep { /^timeline 1: restorable with --target-timeline=1 up to [0-9A-F\/]+$/ } @{ $f->{windows} }), 1, 'timeline 1 ends there')
      or diag(explain($f->{windows}));
    is(scalar(grep { /^timeline 2: restorable with --target-timeline=2 up to [0-9A-F\/]+, and from backup \S+ on$/ } @{ $f->{windows} }),
        1, 'timeline 2 begins again with its own backup') or diag(explain($f->{windows}));
    my @windows = windows();
    is(join(' ', map { "$_->{timeline}:" . ($_->{missing} // '-') } @windows), "1:$first 2:-", 'info tells the hole once');
    restore_state($pgdr->folder, $clean);
};

subtest 'the end of the old future is damaged' => sub {
    my ($last) = reverse sort glob $pgdr->folder . '/app/wal/*/00000001/*/' . '?' x 24 . '-*';
    flip_bit($last, -150); # in its index
    my ($one, $two) = windows();
    like($one->{damaged}, qr/^0{7}1[0-9A-F]{16}: /, 'info says so, and shows what is before it');
    is($two->{damaged}, undef, 'and the rest all the same');
    restore_state($pgdr->folder, $clean);
};

# Another repository has it all: several lost segments are one finding, and are written again.
subtest 'mended from another repository' => sub {
    my $other = $pgdr->folder . '.other';
    $pgdr->set('repo other', url => $other);
    $pgdr->ok('init', '--repo=other');
    $pgdr->ok('repo', 'copy', '--from-repo=main', '--to-repo=other');
    # From the one behind the fork's to the last but one.
    my ($fork) = map { $_->{forks}[0]{lsn} } windows('--repo=main');
    my $at = segment_plus(segment_of(1, $fork, $SEG), 1, $SEG);
    my @lost;
    while ($at lt segment_of(1, $mark{e}{lsn}, $SEG)) {
        push @lost, $at;
        delete_file(wal_object($pgdr, $at));
        $at = segment_plus($at, 1, $SEG);
    }
    cmp_ok(scalar(@lost), '>', 1, scalar(@lost) . ' segments are lost');
    my $n = @lost - 1;
    my $f = finding($lost[0], '--repo=main');
    is($f->{problem}, "the segment is missing, and $n behind it, up to $lost[-1]", 'which is one hole');
    my $json = $pgdr->json('verify', '--heal');
    is(scalar(@{ $json->{damaged} }), 1, 'told once');
    ok(wal_object($pgdr, $_), "$_ is there again") for @lost;
};
done_testing;
