package BenchCases;

# What is measured: each function is one part of the bench (see bench.pl) and prints its tables.

use strict;
use warnings;
use BenchData;
use BenchReport;
use BenchRun qw(must take_turns median say_progress);
use BenchS3;
use BenchTools;
use PgNode;
use TestFile qw(files_below copy_tree slurp spit);
use Time::HiRes;
use TestRun qw(temp_dir poll_until time_limit);

# Memory has one bound, whatever is backed up.
use constant MEMORY_MAX => 256 * 2**20;

sub scale      { return $ENV{BENCH_SCALE} }
sub turns      { return $ENV{BENCH_RUNS} }
sub many_turns { return 3 * $ENV{BENCH_RUNS} }

# How many of what there are FULL of at scale 1.
sub scaled
{
    my ($full, $least) = @_;
    my $n = int $full * scale();
    return $n < $least ? $least : $n;
}

# ---- backup and restore of a cluster ----

my %node;

sub large_node { return $node{large} //= BenchData::large('large', scale()) }

sub large
{
    my $node = large_node();
    both_ways('', $node, 'posix', {
        backup  => { wall => 0.5, cpu => 0.55, stored => 1.05 },
        restore => { wall => 0.6, cpu => 0.4 } });
    memory($node, 'posix');
    my $quarter = BenchData::large('quarter', scale() / 4);
    memory($quarter, 'posix');
    $quarter->stop;
    $quarter->destroy;
    return;
}

sub encrypted
{
    my $node = large_node();
    both_ways(', encrypted', $node, 'encrypted', {});
    memory($node, 'encrypted');
    return;
}

sub small
{
    my $node = BenchData::small_files('small', scaled(100_000, 300));
    both_ways('', $node, 'posix', { backup => {}, restore => { wall => 0.35 } });
    memory($node, 'posix');
    $node->stop;
    return;
}

# Full backups in turn, then restores of the last ones in turn.
sub both_ways
{
    my ($note, $node, $kind, $targets) = @_;
    my $contenders = $kind eq 'encrypted' ? \&BenchTools::contenders : \&BenchTools::contenders_and_floor;
    backups_and_restores("$node->{bench_what}$note", $node, $targets, $contenders->($kind, $node));
    return;
}

sub backups_and_restores
{
    my ($what, $node, $targets, @tools) = @_;
    say_progress("backups of $what");
    my $backups = take_turns(turns(), [map { backup_turn($node, $_) } @tools]);
    tables("Full backup of $what", $backups, $targets->{backup} // {});
    say_progress("restores of $what");
    my $restores = take_turns(turns(), [map { restore_turn($node, $_) } @tools]);
    tables("Full restore of $what", $restores, $targets->{restore} // {});
    forget($node, @tools);
    return;
}

# One against pgBackRest and, where it took part, one of encrypted against plain.
sub tables
{
    my ($title, $results, $targets) = @_;
    my %targets = %$targets;
    my $sealed  = delete $targets{encrypted};
    BenchReport::table($title, $results, 'pgdr', 'pgBackRest', \%targets);
    return if !$results->{'pgdr-encrypted'};
    my %both = map { $_ => $results->{$_} } qw(pgdr pgdr-encrypted);
    BenchReport::table("$title, encrypted against plain", \%both, 'pgdr-encrypted', 'pgdr', { wall => $sealed });
    return;
}

# Nobody archives into a repository that is gone.
sub forget
{
    my ($node, @tools) = @_;
    BenchData::archive_with($node, 'exit 0');
    $_->remove for @tools;
    return;
}

sub backup_turn
{
    my ($node, $tool) = @_;
    return {
        name    => $tool->name,
        beside  => $tool->beside,
        prepare => sub {
            $tool->create;
            BenchData::archive_with($node, $tool->archive_script);
            BenchData::warm($node->data_dir);
        },
        command => sub { $tool->backup },
        after   => sub { $_[1]{stored} = $tool->stored } };
}

# Incremental backups behind a full one, with nothing, little and much changed since the last.
sub incremental
{
    my $node  = large_node();
    my @tools = BenchTools::contenders('posix', $node);
    say_progress("incremental backups of $node->{bench_what}");
    for my $tool (@tools) {
        $tool->create;
        BenchData::archive_with($node, $tool->archive_script);
        must(@{ $tool->backup });
    }
    for my $case ([ 0, { wall => 0.3 } ], [ 0.001, { wall => 0.5, stored => 0.3 } ], [ 0.05, { wall => 0.6, stored => 0.5 } ]) {
        my ($part, $targets) = @$case;
        my $results = take_turns(turns(), [map { incremental_turn($node, $_, $_ == $tools[0] ? $part : 0) } @tools]);
        my $title   = sprintf 'Incremental backup of %s, %g %% changed', $node->{bench_what}, 100 * $part;
        BenchReport::table($title, $results, 'pgdr', 'pgBackRest', $targets);
        BenchReport::verdict("$title: stored, kB", median(map { $_->{stored} } @{ $results->{pgdr} }) / 1000, 100, '%.0f') if !$part;
    }
    forget($node, @tools);
    return;
}

# PART of the pages are changed before it: all contenders of a turn see the same changes.
sub incremental_turn
{
    my ($node, $tool, $part) = @_;
    my $before;
    return {
        name    => $tool->name,
        prepare => sub {
            BenchData::archive_with($node, 'exit 0');
            BenchData::change_pages($node, $part);
            BenchData::archive_with($node, $tool->archive_script);
            BenchData::warm($node->data_dir);
            $before = $tool->stored;
        },
        command => sub { $tool->incremental },
        after   => sub { $_[1]{stored} = $tool->stored - $before } };
}

# Each into a folder of its own that is emptied, not removed: ext4 without a journal takes minutes to
# use a deleted inode again, and whoever creates files meanwhile pays for the search.
sub restore_turn
{
    my ($node, $tool) = @_;
    my $to;
    return {
        name    => $tool->name,
        beside  => $tool->beside,
        prepare => sub {
            $to = temp_dir('restored');
            chmod 0700, $to;
            BenchData::warm($tool->places);
        },
        command => sub { $tool->restore($to) },
        after   => sub {
            check_restored($node, $tool->name, $to) if $_[0] == 0 && $tool->name ne 'floor';
            empty_files($to);
        } };
}

sub empty_files
{
    my ($dir) = @_;
    for my $file (files_below($dir)) {
        truncate "$dir/$file", 0 or die "cannot empty $dir/$file: $!\n";
    }
    return;
}

# A restore that cannot be started, or that has other rows, has cost nothing worth measuring.
sub check_restored
{
    my ($node, $name, $to) = @_;
    my $copy = PgNode->from_datadir('copy', $to);
    $copy->start;
    $copy->wait_promoted;
    my ($got, $want) = map { $node->{bench_rows}->($_) } $copy, $node;
    die "what $name restored has other rows:\n$got\ninstead of\n$want\n" if $got ne $want;
    $copy->stop;
    return;
}

# The largest sum over all processes of the command, by runs of their own: see measure.c.
sub memory
{
    my ($node, $kind) = @_;
    my @tools = BenchTools::contenders($kind, $node);
    my $what  = $node->{bench_what} . ($kind eq 'posix' ? '' : ", $kind");
    say_progress("memory for $what");
    for my $step ([backup => \&backup_turn], [restore => \&restore_turn]) {
        my ($name, $turn) = @$step;
        my $results = take_turns(1, [map { $turn->($node, $_) } @tools], tree => 1);
        delete $_->{stored} for map { @$_ } values %$results;
        BenchReport::table("Memory of a $name of $what", $results, 'pgdr', 'pgBackRest', {});
        BenchReport::verdict("Memory of a $name of $what, MiB", median(map { $_->{tree} } @{ $results->{pgdr} }) / 2**20,
            MEMORY_MAX / 2**20, '%.0f');
    }
    forget($node, @tools);
    return;
}

# ---- WAL ----

sub wal
{
    my $n        = many_turns();
    my $archived = scaled(50_000, 256);
    my ($node, @names) = BenchData::segments('wal', 2 * $n, $archived);
    my @fresh = splice @names, $n;
    my $plain = one_segment($node, 'posix', 'One segment', { push => { wall => 0.4 }, get => { wall => 0.4 } }, @names);
    one_segment($node, 'encrypted', 'One segment, encrypted', {}, @names);
    return if !grep { $_ eq 'growth' } split ' ', $ENV{BENCH_ONLY};
    say_progress("$archived segments in the repositories");
    BenchTools::fill_with_segments($_, $names[0], $archived) for @{ $plain->{tools} };
    my $full = { push => push_turns($node, $plain->{tools}, @fresh), get => get_turns($node, $plain->{tools}, @fresh) };
    grown("archive-push with $archived segments there", $plain->{push}, $full->{push});
    grown("archive-get with $archived segments there", $plain->{get}, $full->{get});
    return;
}

# Pushes the named segments in turn and gets them again.
sub one_segment
{
    my ($node, $kind, $title, $targets, @names) = @_;
    my @tools = $kind eq 'encrypted' ? BenchTools::contenders($kind, $node) : BenchTools::contenders_and_floor($kind, $node);
    return segments_through($title, $node, $targets, \@tools, @names);
}

sub segments_through
{
    my ($title, $node, $targets, $tools, @names) = @_;
    say_progress($title);
    $_->create for @$tools;
    my %results = (
        tools => [grep { $_->name ne 'floor' } @$tools],
        push  => push_turns($node, $tools, @names),
        get   => get_turns($node, $tools, @names));
    tables("$title: archive-push", $results{push}, $targets->{push} // {});
    tables("$title: archive-get",  $results{get},  $targets->{get}  // {});
    return \%results;
}

sub push_turns
{
    my ($node, $tools, @names) = @_;
    my $turn = sub {
        my ($tool) = @_;
        return {
            name    => $tool->name, cwd => $node->data_dir, beside => $tool->beside,
            command => sub { $tool->push("pg_wal/$names[$_[0]]") } };
    };
    return take_turns(scalar @names, [map { $turn->($_) } @$tools]);
}

# In an order in which nobody fetches the next one beforehand.
sub get_turns
{
    my ($node, $tools, @names) = @_;
    my $to   = 'pg_wal/RECOVERYXLOG';
    my $data = $node->data_dir;
    my @back = reverse @names;
    my $turn = sub {
        my ($tool) = @_;
        return {
            name    => $tool->name, cwd => $data, beside => $tool->beside,
            command => sub { $tool->get($back[$_[0]], $to) },
            after   => sub { must('cmp', "$data/$to", "$data/pg_wal/$back[$_[0]]"); unlink "$data/$to" } };
    };
    return take_turns(scalar @names, [map { $turn->($_) } @$tools]);
}

# The same with little and with much there: it may not take more. Processor time is compared, for
# these two did not take turns.
sub grown
{
    my ($title, $before, $after) = @_;
    my $limit = 1.25;
    BenchReport::table($title, $after, 'pgdr', 'pgBackRest', {});
    my ($was, $is) = map { median(map { $_->{cpu} } @{ $_->{pgdr} }) } $before, $after;
    BenchReport::verdict("$title: CPU, against few", $is / $was, $limit, '%.2f');
    return;
}

# ---- a backlog ----

# What a server waits for: archive-push as it calls it, one segment after the other, of which many wait.
sub drain { return drain_into('posix', '', 0.4) }

sub drain_s3
{
    drain_into('s3',         ' through S3', 0.5);
    drain_into('s3-latency', sprintf(' through S3 with %d ms', BenchS3::DELAY), 0.6);
    return;
}

sub recorded { return @{ $node{recorded} //= [BenchData::segments_behind('recorded', 4 * many_turns())] } }

sub drain_into
{
    my ($kind, $note, $target) = @_;
    my ($node, undef, undef, @names) = recorded();
    my @tools = BenchTools::contenders_and_floor($kind, $node);
    my $title = "Backlog of @{[scalar @names]} segments$note";
    say_progress($title);
    my (%calls, %rest);
    for my $turn (1 .. 2) {
        for my $tool ($tools[0], $tools[1], $tools[1]->asynchronous, $tools[2]) {
            $tool->create;
            my ($calls, $rest) = drained_by($tool, $node, @names);
            push @{ $calls{ $tool->name } }, @$calls;
            push @{ $rest{ $tool->name } }, { wall => $rest };
        }
    }
    BenchReport::table("$title: one call of archive_command", \%calls, 'pgdr', 'pgBackRest', { wall => $target });
    BenchReport::table("$title: one call, pgBackRest asynchronous", \%calls, 'pgdr', 'pgBackRest async', {});
    BenchReport::table("$title: all behind the first", \%rest, 'pgdr', 'pgBackRest', {});
    BenchReport::table("$title: all behind the first, pgBackRest asynchronous", \%rest, 'pgdr', 'pgBackRest async', { wall => 0.5 });
    my @ms = sort { $a <=> $b } map { 1000 * $_->{wall} } @{ $calls{pgdr} };
    BenchReport::verdict("$title: one call, p50, ms", median(@ms),            5,  '%.1f');
    BenchReport::verdict("$title: one call, p99, ms", $ms[int(0.99 * $#ms)], 50, '%.1f');
    $_->remove for @tools;
    return;
}

# ([{wall} of every call that archived a segment], seconds from the first one's end to the last one's)
sub drained_by
{
    my ($tool, $node, @names) = @_;
    my $data   = copy_tree($node->data_dir, temp_dir('backlog') . '/data');
    my $status = "$data/pg_wal/archive_status";
    my $file   = temp_dir('calls') . '/calls';
    my $log    = BenchRun::tool('measure') . " --append $file";
    unlink glob "$status/*";
    spit("$status/$_.ready", '') for @names;
    my $server = PgNode->from_datadir('backlog', $data,
        conf => "archive_mode = on\narchive_command = '$log @{[$tool->archive_command($data)]}'\n");
    must('sync', '-f', TestRun::test_root());
    $server->start;
    poll_until(sub { !grep { !-e "$status/$_.done" } @names }, 'all is archived', time_limit());
    my @ends = sort { $a <=> $b } map { (Time::HiRes::stat("$status/$_.done"))[10] } @names;
    $server->stop('immediate');
    my @calls = map { my ($wall, $failed) = (split)[0, 4]; $failed ? () : { wall => $wall } } split /\n/, slurp($file);
    $server->destroy;
    return (\@calls, $ends[-1] - $ends[0]);
}

# ---- recovery ----

# What recovery waits for: archive-get as PostgreSQL calls it, one segment after the other. The floor is cp.
sub replay { return replay_from('posix', '', 0.4) }

sub replay_s3
{
    replay_from('s3',         ' through S3', 0.5);
    replay_from('s3-latency', sprintf(' through S3 with %d ms', BenchS3::DELAY), 0.6);
    return;
}

sub replay_from
{
    my ($kind, $note, $target) = @_;
    my ($node, $base, $kept, @names) = recorded();
    my @tools = BenchTools::contenders_and_floor($kind, $node);
    say_progress("recovery of @{[scalar @names]} segments$note");
    $_->create for @tools;
    for my $tool (grep { $_->name ne 'floor' } @tools) {
        must(@{ $tool->push("pg_wal/$_") }, { cwd => $node->data_dir }) for @names;
    }
    my (%calls, %whole);
    for my $turn (1 .. 2) {
        for my $tool ($tools[0], $tools[1], $tools[1]->asynchronous, $tools[2]) {
            my ($calls, $whole) = recovery_with($tool, $base, $kept);
            push @{ $calls{ $tool->name } }, @$calls;
            push @{ $whole{ $tool->name } }, { wall => $whole };
        }
    }
    my $title = "Recovery of @{[scalar @names]} segments$note";
    BenchReport::table("$title: one call of restore_command", \%calls, 'pgdr', 'pgBackRest', { wall => $target });
    BenchReport::table("$title: one call, pgBackRest asynchronous", \%calls, 'pgdr', 'pgBackRest async', {});
    BenchReport::table("$title: replay", \%whole, 'pgdr', 'pgBackRest', { wall => 0.7 });
    BenchReport::table("$title: replay, pgBackRest asynchronous", \%whole, 'pgdr', 'pgBackRest async', {});
    my ($ours, $floor) = map { median(map { $_->{wall} } @{ $whole{$_} }) } 'pgdr', 'floor';
    BenchReport::verdict("$title: replay against cp", $ours / $floor, 1.1, '%.2f');
    $_->remove for @tools;
    return;
}

# ([{wall} of every call that handed a segment over], seconds of the redo)
sub recovery_with
{
    my ($tool, $base, $kept) = @_;
    my $data  = copy_tree($base, temp_dir('recovery') . '/data');
    my $file  = temp_dir('calls') . '/calls';
    my $log   = BenchRun::tool('measure') . " --append $file";
    my $node  = PgNode->from_datadir('recovery', $data,
        conf => "restore_command = '$log @{[$tool->restore_command($data, $kept)]}'\narchive_mode = off\n");
    spit("$data/recovery.signal", '');
    must('sync', '-f', TestRun::test_root());
    $node->start;
    $node->wait_promoted;
    my ($redo) = $node->log_since(0) =~ /redo done at .* elapsed: ([\d.]+) s/ or die $node->log_end;
    $node->stop('immediate');
    my @calls = map { my ($wall, $status) = (split)[0, 4]; $status ? () : { wall => $wall } } split /\n/, slurp($file);
    $node->destroy;
    return (\@calls, $redo);
}

# ---- S3 ----

# A third of the data: all contenders' repositories are in the memory of the server at once.
sub s3
{
    my $node = s3_node();
    s3_both('s3', ' through S3', { wall => 0.6 }, { wall => 0.5 });
    memory($node, 's3');
    return;
}

sub s3_latency
{
    my $note = sprintf ' through S3 with %d ms', BenchS3::DELAY;
    s3_both('s3-latency', $note, { wall => 0.6 }, { wall => 0.6 });
    return;
}

sub s3_both
{
    my ($kind, $note, $cluster, $segment) = @_;
    my $node   = s3_node();
    my $sealed = 1.15;
    my @targets = map { { %$_, encrypted => $sealed } } $cluster, $segment;
    backups_and_restores("$node->{bench_what}$note", $node, { backup => $targets[0], restore => $targets[0] },
        BenchTools::contenders_and_floor($kind, $node), BenchTools::pgdr_encrypted($kind, $node));
    my ($stopped, @names) = s3_segments();
    my @tools = (BenchTools::contenders_and_floor($kind, $stopped), BenchTools::pgdr_encrypted($kind, $stopped));
    segments_through("One segment$note", $stopped, { push => $targets[1], get => $targets[1] }, \@tools, @names);
    $_->remove for @tools;
    return;
}

sub s3_node { return $node{s3} //= BenchData::large('s3', scale() / 3) }

sub s3_segments { return @{ $node{'s3 segments'} //= [BenchData::segments('s3-wal', many_turns(), 256)] } }

# ---- many backups ----

sub growth
{
    my $most = scaled(500, 10);
    my $few  = int $most / 10;
    my $node = BenchData::server('many');
    my ($tool) = BenchTools::contenders('posix', $node);
    $tool->create;
    BenchData::archive_with($node, $tool->archive_script);
    $node->pgbench_init(1);
    say_progress("$most backups");
    my %with;
    for my $n (1 .. $most) {
        $node->pgbench(10);
        must(@{ $tool->backup });
        $with{$n} = many_backups_turns($tool) if $n == $few || $n == $most;
    }
    for my $what (sort keys %{ $with{$few} }) {
        my $results = { "$most backups" => $with{$most}{$what}, "$few backups" => $with{$few}{$what} };
        BenchReport::table($what, $results, "$most backups", "$few backups", {});
        BenchReport::verdict("$what with $most backups, s", median(map { $_->{wall} } @{ $with{$most}{$what} }), 1, '%.2f');
    }
    $node->stop;
    return;
}

sub many_backups_turns
{
    my ($tool) = @_;
    my $to = temp_dir('planned');
    return take_turns(turns(), [
        { name => 'info', command => sub { $tool->command('info') } },
        { name => 'restore --dry-run', command => sub { $tool->command('restore', '--dry-run', "--to=$to") } }]);
}

1;
