package Rgw;

# An S3 server of a test: Ceph's RADOS gateway, started and ended by tests/lib/rgw (whose head says
# what it is). Where it cannot be had the test fails and says why: half of what pgdr promises would
# be untested. PGDR_TEST_SKIP_S3=1 skips such tests instead.

use strict;
use warnings;
use Carp qw(croak);
use Test::More ();
use S3;
use TestFile qw(slurp spit);
use TestRun qw(test_root run);

my $shared;
my $script = __FILE__ =~ s{[^/]+$}{rgw}r;
my $number = 0;

# start(): a server with three users (main, other, small) and no bucket.
sub start
{
    my ($class) = @_;
    Test::More::plan(skip_all => 'PGDR_TEST_SKIP_S3 is set') if $ENV{PGDR_TEST_SKIP_S3};
    my $dir    = test_root() . '/rgw' . ($number++ || '');
    my $result = run('perl', $script, 'start', $dir, '--watch', $$);
    croak "there is no S3 server to test with (PGDR_TEST_SKIP_S3=1 skips these tests): $result->{err}" if $result->{rc} == 3;
    croak "the S3 server does not start: " . $result->describe if !$result->ok;
    return described($class, $dir, $result->{out});
}

# The one of the whole run of tests/run, when repositories are to be in S3; others use it, too.
sub shared
{
    my ($class) = @_;
    my $dir = $ENV{PGDR_TEST_RGW} // croak 'PGDR_TEST_RGW is not set: start the test with tests/run --repo=s3';
    $shared //= described($class, $dir, slurp("$dir/description"));
    return $shared;
}

sub described
{
    my ($class, $dir, $text) = @_;
    my %of = $text =~ /^PGDR_TEST_S3_(\w+)=(.*)$/mg;
    return bless { dir => $dir, of => \%of, env => { $text =~ /^(\w+)=(.*)$/mg } }, $class;
}

# A client of it that is not pgdr's.
sub client
{
    my ($self) = @_;
    return S3->new(map { $self->value($_) } qw(PLAIN KEY SECRET));
}

# What `rgw start` printed, as environment variables.
sub env { return %{ $_[0]{env} } }

# A value of it: PLAIN, TLS, STS, HOST, TLS_HOST (addresses), CA, OTHER_CA (files), KEY, SECRET, …
sub value
{
    my ($self, $name) = @_;
    return $self->{of}{$name} // croak "there is no $name";
}

sub command
{
    my ($self, $command, @args) = @_;
    my $result = run('perl', $script, $command, $self->{dir}, @args);
    croak "rgw $command: " . $result->describe if !$result->ok;
    return $result->{out};
}

# Its processes: the gateway, the monitor and the OSD.
sub pids
{
    my ($self) = @_;
    return map { slurp("$self->{dir}/pid.$_") } qw(gateway mon osd);
}

# bucket(NAME[, USER[, ACL]]): makes one; its name.
sub bucket
{
    my ($self, $name, @more) = @_;
    $self->command('bucket', $name, @more);
    return $name;
}

# The keys of uploads to a bucket that were begun and neither completed nor aborted.
sub uploads
{
    my ($self, $bucket) = @_;
    return split /\n/, $self->command('uploads', $bucket);
}

# What the user "small" may store in all.
sub quota { my ($self, $bytes) = @_; return $self->command('quota', $bytes) }

# As by a crash; it comes back at the same addresses.
sub kill    { return $_[0]->command('kill') }
sub restart { return $_[0]->command('restart') }

# It keeps its connections and says nothing.
sub pause  { return $_[0]->command('pause') }
sub resume { return $_[0]->command('resume') }

# Temporary credentials for the address STS: (s3-key, s3-secret, s3-token and their values). POLICY is
# the text of an IAM policy that bounds them; without it they may do everything.
sub session
{
    my ($self, $policy) = @_;
    my @file = defined $policy ? (test_root() . '/policy.json') : ();
    spit($file[0], $policy) if @file;
    my %of = $self->command('session', @file) =~ /^SESSION_(\w+)=(.*)$/mg;
    return map { ("s3-\L$_" => $of{$_}) } qw(KEY SECRET TOKEN);
}

# repo(BUCKET[, WHERE]): the settings of a repository in it, for Pgdr->new(repo_options => {…}): WHERE
# is PLAIN (default), TLS or STS, or another address (a proxy).
sub repo
{
    my ($self, $bucket, $where) = @_;
    my $endpoint = $self->{of}{ $where // 'PLAIN' } // $where;
    my %more = ($where // '') eq 'TLS' ? ('s3-ca-file' => $self->value('CA')) : ();
    return (
        url => "s3://$bucket", 's3-endpoint' => $endpoint, 's3-style' => 'path', 's3-key' => $self->value('KEY'),
        's3-secret' => $self->value('SECRET'), %more);
}

1;
