package BenchRun;

# Running what is measured. Contenders take turns (A B A B …), so that a machine that is busy with
# something else is unfair to nobody; before each turn, unmeasured, its own preparation runs and what
# earlier turns wrote is brought to the disk.

use strict;
use warnings;
use Exporter qw(import);
use TestFile qw(slurp);
use TestRun qw(test_root run time_limit);

our @EXPORT_OK = qw(tool must measured take_turns median best say_progress);

# The path of a program of the bench: measure or floor.
sub tool { return "$ENV{PGDR_BENCH_TOOLS}/bench-$_[0]" }

sub say_progress
{
    my ($text) = @_;
    print STDERR POSIX::strftime('%H:%M:%S', localtime), " $text\n";
    return;
}

# Runs a command that has to succeed; its TestRun::Result.
sub must
{
    my (@cmd) = @_;
    my $opt = ref $cmd[-1] eq 'HASH' ? pop @cmd : {};
    my $result = run(@cmd, { timeout => time_limit(), %$opt });
    die $result->describe . "\n" if !$result->ok;
    return $result;
}

# measured({OPTIONS}, COMMAND, ARGUMENT...): what one run cost: {wall, cpu}, in seconds. Options: cwd =>
# folder, tree => 1: {tree}, in bytes (see measure.c: the times are worth nothing then).
sub measured
{
    my ($opt, @cmd) = @_;
    my $file   = test_root() . '/measured';
    my @tree   = $opt->{tree} ? ('--tree') : ();
    my $result = must(tool('measure'), @tree, $file, @cmd, { $opt->{cwd} ? (cwd => $opt->{cwd}) : () });
    my ($wall, $user, $system, $peak, $status) = split ' ', slurp($file);
    die "exit status $status\n" . $result->describe . "\n" if $status;
    return $opt->{tree} ? { tree => $peak } : { wall => $wall, cpu => $user + $system };
}

# take_turns(N, [{contender}...]): each contender N times, in turn. A contender is {name,
# prepare => CODE, command => CODE that returns [COMMAND...], cwd, after => CODE}; CODE is called with
# the number of the turn, from 0. Returns name => [what measured() gave...]. With beside => CODE, which
# tells the processor time of somebody else so far, also {server}, what that one needed meanwhile.
sub take_turns
{
    my ($n, $contenders, %opt) = @_;
    my %results;
    for my $turn (0 .. $n - 1) {
        for my $c (@$contenders) {
            $c->{prepare}->($turn) if $c->{prepare};
            must('sync', '-f', test_root());
            my %how = ($c->{cwd} ? (cwd => $c->{cwd}) : (), $opt{tree} ? (tree => 1) : ());
            my @cmd    = @{ $c->{command}->($turn) };
            my $before = $c->{beside} ? $c->{beside}->() : undef;
            my $one    = measured(\%how, @cmd);
            $one->{server} = $c->{beside}->() - $before if $c->{beside} && !$opt{tree};
            say_progress(sprintf '  %s: %.1f s', $c->{name}, $one->{wall}) if ($one->{wall} // 0) > 10;
            $c->{after}->($turn, $one) if $c->{after};
            push @{ $results{ $c->{name} } }, $one;
        }
    }
    return \%results;
}

sub median
{
    my @sorted = sort { $a <=> $b } @_;
    my $middle = int @sorted / 2;
    return @sorted % 2 ? $sorted[$middle] : ($sorted[ $middle - 1 ] + $sorted[$middle]) / 2;
}

sub best
{
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[0];
}

1;
