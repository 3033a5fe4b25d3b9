#!/usr/bin/perl
# Measures and prints; started by the program beside it, whose head says what steers it.
use strict;
use warnings;
use BenchCases;
use BenchReport;
use BenchRun qw(must say_progress);
use BenchTools;
use PgNode;
use Pgdr;

$| = 1;
my %cases = (
    large        => \&BenchCases::large,
    incremental  => \&BenchCases::incremental,
    encrypted    => \&BenchCases::encrypted,
    small        => \&BenchCases::small,
    wal          => \&BenchCases::wal,
    drain        => \&BenchCases::drain,
    'drain-s3'   => \&BenchCases::drain_s3,
    replay       => \&BenchCases::replay,
    'replay-s3'  => \&BenchCases::replay_s3,
    s3           => \&BenchCases::s3,
    's3-latency' => \&BenchCases::s3_latency,
    growth       => \&BenchCases::growth);

sub first_line
{
    my ($text) = $_[0] =~ /^(.*)$/m;
    return $text;
}

sub proc
{
    my ($file, $re) = @_;
    open my $fh, '<', "/proc/$file" or return '?';
    local $/;
    return <$fh> =~ $re ? $1 : '?';
}

sub machine
{
    my $cpus   = () = proc('cpuinfo', qr/(.*)/s) =~ /^processor\s*:/mg;
    my $memory = proc('meminfo', qr/^MemTotal:\s*(\d+)/m) / 2**20;
    my $system = first_line(must('df', '--output=fstype', TestRun::test_root())->{out} =~ s/^.*\n//r);
    return sprintf '%d × %s, %.0f GiB of memory, %s, Linux %s, load %s at the start', $cpus,
      proc('cpuinfo', qr/^model name\s*:\s*(.*)$/m), $memory, $system,
      proc('sys/kernel/osrelease', qr/(\S+)/), proc('loadavg', qr/(\S+)/);
}

my $begun = time;
print "# Figures of ", POSIX::strftime('%Y-%m-%d', gmtime), "\n\n";
print '- ', first_line(must(Pgdr::program(), 'version')->{out}), "\n";
print '- ', BenchTools::PgBackRest::version(), "\n";
print '- ', first_line(must(PgNode::program(undef, 'postgres'), '--version')->{out}), "\n";
print '- ', machine(), "\n";
print "- BENCH_SCALE=$ENV{BENCH_SCALE} BENCH_RUNS=$ENV{BENCH_RUNS}, two workers each\n\n";
$cases{$_}->() for split ' ', $ENV{BENCH_ONLY};
BenchReport::print_targets();
printf "Measured in %.0f minutes.\n", (time - $begun) / 60;
