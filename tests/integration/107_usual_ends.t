#@ once
# What failovers, switchovers, old primaries that come back and clones leave in one archive is no finding
# for verify, and info shows each future once: a timeline that ended where another one went on has no
# window of its own, one that has more than that has.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit);
use TestRun qw(temp_dir poll_until);
use WalRepo qw(wal_objects wal_files);

my $old  = PgNode->init('old', wal_segsize => 1, conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $old);
$old->enable_archiving($pgdr);
$old->start;
$pgdr->ok('init');
$pgdr->ok('backup');

# A standby that archives into the same repository, as (on, always) its archive_mode says.
sub standby
{
    my ($primary, $name, $mode) = @_;
    my $standby = PgNode->standby_of($primary, $name);
    my $his     = Pgdr->new(node => $standby, repo => $pgdr->repo);
    $standby->append_conf("archive_mode = $mode\narchive_command = '" . $his->archive_command . "'\n");
    $standby->start;
    return $standby;
}

sub windows { return map { "$_->{timeline}" . ($_->{missing} // $_->{conflict} // $_->{damaged} // '') } @{ $pgdr->json('info')->{clusters}[0]{windows} } }

# Nothing is wrong, by content and by name alone; and these are the windows.
sub all_is_well
{
    my ($want, $name) = @_;
    subtest $name => sub {
        for my $args ([], ['--fast']) {
            my $json = $pgdr->json('verify', @$args);
            is_deeply($json->{findings}, [], 'verify finds nothing') or diag(explain($json->{findings}));
        }
        is(join(' ', windows()), $want, 'the windows of info');
    };
    return;
}

$old->mark('a');
$old->archive_all;
all_is_well('1', 'one timeline');

# --- a failover, in the middle of a segment ---

my $new = standby($old, 'new', 'on');
$old->mark('b');
$old->archive_all;
$old->mark('c');
$old->query(q{SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))});
$old->wait_for_catchup($new);
$old->kill9;
$new->promote;
poll_until(sub { wal_objects($pgdr, '00000002.history') }, 'the history is archived') or BAIL_OUT('no history');
poll_until(sub { grep { /^00000001.*\.partial$/ } wal_files($pgdr) }, 'and the piece of the old timeline') or BAIL_OUT('no .partial');
$new->mark('d');
$new->archive_all;
all_is_well('2', 'a failover');

# --- the old primary comes back and writes on ---

$old->start;
$old->mark('lost');
$old->archive_all;
$old->mark('lost, too');
$old->archive_all;
$old->stop;
my ($partial) = grep { /\.partial$/ } wal_files($pgdr);
ok(scalar(wal_objects($pgdr, substr $partial, 0, 24)), 'its segment of the fork is there, finished and as a .partial');
all_is_well('1 2', 'an old primary that lived on');

# --- a switchover ---

my $next = standby($new, 'next', 'always');
$new->mark('e');
$new->wait_for_catchup($next);
$new->stop; # it waits until all is archived, and sent
$next->promote;
$next->mark('f');
$next->archive_all;
all_is_well('1 3', 'a switchover');

# --- a clone that archives by mistake, and has not got further than its history ---

subtest 'a clone' => sub {
    my $to = temp_dir('clone') . '/data';
    $pgdr->ok('restore', "--to=$to", '--target-timeline=1', '--archive-mode=preserve');
    my $clone = PgNode->from_datadir('clone', $to);
    my $wrong = Pgdr->new(node => $clone, repo => $pgdr->repo);
    my $dir   = temp_dir('gate');
    spit("$dir/push", "case \$1 in *.history) ;; *) [ -e $dir/open ] || exit 1 ;; esac\n" . $wrong->shell_command('archive-push', '"$1"') . "\n");
    $clone->append_conf("archive_mode = on\narchive_command = 'sh $dir/push %p'\n");
    $clone->start;
    $clone->wait_promoted;
    is($clone->marks, 'a b c lost lost, too', 'it has the old future');
    poll_until(sub { wal_objects($pgdr, '00000004.history') }, 'its history is archived') or return;
    all_is_well('1 3', 'a history alone adds nothing');
    spit("$dir/open", '');
    $clone->mark('g');
    $clone->archive_all;
    all_is_well('3 4', 'with its WAL the old future is on its way');
    $clone->stop;
    my $copy = restored($pgdr, 'old', '--target-timeline=1');
    $copy->wait_promoted;
    is($copy->marks, 'a b c lost lost, too', 'which can be had by its own number all the same');
    $copy->stop;
};
$next->stop;
done_testing;
