package BenchS3;

# Repositories in S3: Ceph's gateway over TLS (see Rgw.pm), started for the whole bench and used by all
# contenders in turn, each with a bucket of its own; near, or through bench-delay as if it were far away.

use strict;
use warnings;
use BenchRun qw(tool);
use Rgw;
use TestFile qw(slurp);
use TestRun qw(temp_dir start poll_until);

# Of the distant server: milliseconds of a round trip.
use constant DELAY => 30;

my ($rgw, $far, @counted, %buckets);

sub server { return $rgw //= Rgw->start }

# (host, port) of the server, or of what delays.
sub address
{
    my ($distant) = @_;
    my ($host, $port) = server()->value('TLS') =~ m{^https://(.+):(\d+)$};
    return ($host, $port) if !$distant;
    if (!$far) {
        my $file    = temp_dir('delay') . '/port';
        my $process = start(tool('delay'), DELAY, "$host:$port", $file, { timeout => 86400 });
        poll_until(sub { -e $file }, 'the delaying server listens') or die "bench-delay does not start\n";
        chomp($far = slurp($file));
        push @counted, $process->{pid};
    }
    return ($host, $far);
}

# Processor time so far of all that is the server: the gateway, what is behind it, and what delays.
sub cpu
{
    my $sum = 0;
    for my $pid (server()->pids, @counted) {
        my @field = slurp("/proc/$pid/stat") =~ s/^.*\) //sr =~ /\S+/g;
        $sum += $field[11] + $field[12];
    }
    return $sum / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# As the kinds in BenchTools; the bucket has the contender's name. The floor's is everybody's.
sub kind
{
    my ($distant) = @_;
    my ($host, $port) = address($distant);
    my %s3     = server()->repo('pgdr', "https://$host:$port");
    my $ca     = server()->value('CA');
    my $remove = sub {
        my ($name) = @_;
        server()->command('remove', $name) if delete $buckets{$name};
    };
    return {
        pgdr       => { %s3, 's3-ca-file' => $ca },
        pgbackrest => {
            'repo1-type' => 's3', 'repo1-path' => '/', 'repo1-s3-bucket' => 'pgbackrest', 'repo1-s3-region' => 'us-east-1',
            'repo1-s3-uri-style' => 'path', 'repo1-s3-endpoint' => 's3.localhost', 'repo1-storage-host' => $host,
            'repo1-storage-port' => $port, 'repo1-storage-ca-file' => $ca, 'repo1-s3-key' => $s3{'s3-key'},
            'repo1-s3-key-secret' => $s3{'s3-secret'} },
        floor  => ["https://$host:$port/floor", $ca],
        remove => $remove,
        reset  => sub {
            my ($name) = @_;
            $remove->($name);
            $buckets{$name} = 1;
            server()->bucket($name, 'main', $name eq 'floor' ? 'public-read-write' : 'private');
        },
        stored => sub { return },
        places => sub { return },
        beside => \&cpu };
}

1;
