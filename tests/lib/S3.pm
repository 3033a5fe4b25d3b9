package S3;

# A small S3 client for the tests, independent of pgdr's: Signature V4, path style, without TLS (Perl's
# core has none). What is refused dies.

use strict;
use warnings;
use Carp qw(croak);
use Digest::MD5 qw(md5_base64);
use Digest::SHA qw(sha256_hex hmac_sha256 hmac_sha256_hex);
use HTTP::Tiny;
use POSIX qw(strftime);

# new(ADDRESS, KEY, SECRET): ADDRESS is http://host:port.
sub new
{
    my ($class, $address, $key, $secret) = @_;
    my ($host) = $address =~ m{^http://([^/]+)$} or croak "'$address' is no address without TLS";
    my $http = HTTP::Tiny->new(timeout => 60, proxy => undef, http_proxy => undef);
    return bless { host => $host, key => $key, secret => $secret, http => $http }, $class;
}

sub escape
{
    my ($text, $also) = @_;
    my $kept = $also // '';
    $text =~ s{([^A-Za-z0-9_.~\-$kept])}{sprintf '%%%02X', ord $1}ge;
    return $text;
}

# request(METHOD, PATH, {QUERY}, BODY, {service, headers}): the answer's body; dies unless the status is 2xx.
sub request
{
    my ($self, $method, $path, $query, $body, %opt) = @_;
    $body //= '';
    my $service = $opt{service} // 's3';
    my @now     = gmtime;
    my $time    = strftime('%Y%m%dT%H%M%SZ', @now);
    my $scope   = substr($time, 0, 8) . "/us-east-1/$service/aws4_request";
    # Only S3 takes bodies that are not signed: a digest of all that is stored would be half of the work.
    my $digest = $service eq 's3' ? 'UNSIGNED-PAYLOAD' : sha256_hex($body);
    my %header = ('x-amz-date' => $time, 'x-amz-content-sha256' => $digest, 'content-type' => 'application/octet-stream',
        %{ $opt{headers} // {} });
    my %signed    = (%header, host => $self->{host});
    my $names     = join ';', sort keys %signed;
    my $where     = escape($path, '/');
    my $asked     = join '&', map { escape($_) . '=' . escape($query->{$_}) } sort keys %{ $query // {} };
    my $canonical = join "\n", $method, $where, $asked, (map { "$_:$signed{$_}" } sort keys %signed), '', $names, $digest;
    my $secret    = "AWS4$self->{secret}";
    $secret = hmac_sha256($_, $secret) for split m{/}, $scope;
    my $signature = hmac_sha256_hex(join("\n", 'AWS4-HMAC-SHA256', $time, $scope, sha256_hex($canonical)), $secret);
    $header{authorization} = "AWS4-HMAC-SHA256 Credential=$self->{key}/$scope, SignedHeaders=$names, Signature=$signature";
    my $url    = "http://$self->{host}$where" . ($asked eq '' ? '' : "?$asked");
    my $answer = $self->{http}->request($method, $url, { headers => \%header, content => $body });
    croak "$method $url: $answer->{status} $answer->{content}" if !$answer->{success};
    return $answer->{content};
}

# make_bucket(BUCKET, ACL): ACL is S3's name of one; private, unless it is given.
sub make_bucket
{
    my ($self, $bucket, $acl) = @_;
    $self->request('PUT', "/$bucket", {}, '', headers => { 'x-amz-acl' => $acl // 'private' });
    return;
}

# Dies when there is still something in it.
sub remove_bucket { my ($self, $bucket) = @_; $self->request('DELETE', "/$bucket"); return }

# The bytes of an object; nothing when there is none.
sub get
{
    my ($self, $bucket, $key) = @_;
    my $bytes = eval { $self->request('GET', "/$bucket/$key") };
    croak $@ if !defined $bytes && $@ !~ /: 404 .*NoSuchKey/s;
    return $bytes;
}

sub put { my ($self, $bucket, $key, $bytes) = @_; $self->request('PUT', "/$bucket/$key", {}, $bytes); return }

# list(BUCKET, PREFIX): {key => what tells one content and upload from another} of all objects there.
sub list
{
    my ($self, $bucket, $prefix) = @_;
    my (%found, $more);
    do {
        my %query = ('list-type' => 2, prefix => $prefix, defined $more ? ('continuation-token' => $more) : ());
        my $text  = $self->request('GET', "/$bucket", \%query);
        while ($text =~ m{<Contents>(.*?)</Contents>}sg) {
            my ($key, $time, $tag) = map { $1 =~ m{<$_>(.*?)</$_>}s ? $1 : croak "no $_ in: $text" } qw(Key LastModified ETag);
            $found{ plain($key) } = "$time $tag";
        }
        ($more) = $text =~ m{<NextContinuationToken>(.*?)</};
        $more = plain($more) if defined $more;
    } while (defined $more);
    return \%found;
}

sub plain
{
    my ($text) = @_;
    my %of = (lt => '<', gt => '>', quot => '"', apos => "'", amp => '&');
    $text =~ s/&(\w+);/$of{$1} \/\/ croak "what is '&$1;'?"/ge;
    return $text;
}

# delete(BUCKET, KEY...): removes them; one that is not there is no error.
sub delete
{
    my ($self, $bucket, @keys) = @_;
    while (my @some = splice @keys, 0, 1000) {
        my $body = '<Delete><Quiet>true</Quiet>' . join('', map { "<Object><Key>$_</Key></Object>" } @some) . '</Delete>';
        my $text = $self->request('POST', "/$bucket", { delete => '' }, $body, headers => { 'content-md5' => md5_base64($body) . '==' });
        croak "cannot delete: $text" if $text =~ /<Error>/;
    }
    return;
}

# The keys of uploads in parts that were begun and neither completed nor aborted.
sub uploads
{
    my ($self, $bucket) = @_;
    return $self->request('GET', "/$bucket", { uploads => '' }) =~ m{<Upload>.*?<Key>([^<]*)</Key>}sg;
}

1;
