package BenchReport;

# Tables of what was measured, and at the end what became of the targets. A cell is "median (least)";
# a ratio is that of the medians and, in brackets, that of the least.

use strict;
use warnings;
use List::Util qw(max);
use BenchRun qw(median best);

# Columns: field of a result => [heading, the unit as a number, its name].
my %columns = (
    wall   => ['wall'],
    cpu    => ['CPU'],
    server => ["server's CPU"],
    stored => ['stored'],
    tree   => ['peak memory']);
my @order = qw(wall cpu server stored tree);

my @verdicts;

# table(TITLE, {name => [result...]}, OF, AGAINST, {column => at most}): prints it with the ratios
# OF : AGAINST, and both to the floor when that took part, and keeps the verdicts on the ratios.
sub table
{
    my ($title, $results, $of, $against, $targets) = @_;
    my @names = grep { $results->{$_} } $of, $against, 'floor';
    my @columns = grep { defined $results->{$of}[0]{$_} } @order;
    print "## $title\n\n";
    print_row('', map { $columns{$_}[0] } @columns);
    print_row('---', map { '---' } @columns);
    for my $name (@names) {
        print_row($name, map { cell($results, $name, $_) } @columns);
    }
    my @pairs = map { [$of, $_] } grep { $_ ne $of } @names;
    push @pairs, ['floor', $against] if $results->{floor} && $results->{$against};
    for my $pair (@pairs) {
        print_row(join(' : ', @$pair), map { ratio_cell($results, @$pair, $_) } @columns);
    }
    print_row('target', map { $targets->{$_} ? "≤ $targets->{$_}" : '' } @columns) if %$targets;
    print "\n";
    for my $column (grep { $targets->{$_} } @columns) {
        my ($ratio) = ratios($results, $of, $against, $column);
        verdict("$title: $columns{$column}[0]", $ratio, $targets->{$column}, '%.2f');
    }
    return;
}

# A figure that is not a ratio: FORMAT shows it and its target.
sub verdict
{
    my ($what, $figure, $target, $format) = @_;
    push @verdicts,
      [$what, sprintf($format, $figure), '≤ ' . sprintf($format, $target), $figure <= $target ? 'met' : '**missed**'];
    return;
}

sub print_targets
{
    return if !@verdicts;
    print "## Targets\n\n";
    print_row(@$_) for ['', 'measured', 'target', ''], [('---') x 4], @verdicts;
    print "\n";
    return;
}

sub print_row
{
    print '| ', join(' | ', @_), " |\n";
    return;
}

# (that of the medians, that of the least)
sub ratios
{
    my ($results, $of, $against, $column) = @_;
    return map { quotient($_->(values_of($results, $of, $column)), $_->(values_of($results, $against, $column))) }
      \&median, \&best;
}

sub quotient { return $_[1] ? $_[0] / $_[1] : 0 }

sub values_of
{
    my ($results, $name, $column) = @_;
    return map { $_->{$column} // 0 } @{ $results->{$name} };
}

sub ratio_cell
{
    my ($results, $of, $against, $column) = @_;
    return '' if grep { !defined $results->{$_}[0]{$column} } $of, $against;
    return sprintf '%.2f (%.2f)', ratios($results, $of, $against, $column);
}

# All contenders of a column have the same unit.
sub cell
{
    my ($results, $name, $column) = @_;
    return '' if !defined $results->{$name}[0]{$column};
    my @all = values_of($results, $name, $column);
    my $top = max(map { values_of($results, $_, $column) } keys %$results);
    my ($unit, $suffix, $digits) =
        $column eq 'tree'   ? (2**20, 'MiB', 0)
      : $column eq 'stored' ? (1e6,   'MB',  $top < 1e8 ? 1 : 0)
      : $top < 1            ? (1e-3,  'ms',  $top < 0.02 ? 1 : 0)
      :                       (1,     's',   2);
    my @shown = map { sprintf "%.${digits}f", $_ / $unit } median(@all), best(@all);
    return $shown[0] eq $shown[1] ? "$shown[0] $suffix" : "$shown[0] ($shown[1]) $suffix";
}

1;
