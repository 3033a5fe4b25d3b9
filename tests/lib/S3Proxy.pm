package S3Proxy;

# What stands between pgdr and the S3 server in tests of faults: tests/lib/s3-proxy, whose head says
# what it can do.

use strict;
use warnings;
use Carp qw(croak);
use Exporter qw(import);
use TestFile qw(slurp spit);
use TestRun qw(temp_dir poll_until start);

our @EXPORT_OK = qw(%transient %final);

# What goes by when it is tried again: name => settings. And what does not: name => [settings, error's
# name, what is said].
our %transient = (
    'connection dropped'      => { action => 'drop' },
    'answer lost'             => { action => 'lost' },
    'answer reset'            => { action => 'cut' },
    'answer short'            => { action => 'short' },
    '503 SlowDown'            => { action => 'refuse', arg => '503 SlowDown' },
    '500 InternalError'       => { action => 'refuse', arg => '500 InternalError' },
    '500 after it was done'   => { action => 'refuse_after', arg => '500 InternalError' },
    '429'                     => { action => 'refuse', arg => '429' },
    '400 RequestTimeout'      => { action => 'refuse', arg => '400 RequestTimeout' },
    '200 with an error in it' => { action => 'inside', arg => 'InternalError' },
    'done twice'              => { action => 'twice' },
    'request spoilt'          => { action => 'spoil' });
our %final = (
    '403 AccessDenied'  => [{ action => 'refuse', arg => '403 AccessDenied' },  'ACCESS', qr/AccessDenied.*HINT: allow/s],
    '400 ExpiredToken'  => [{ action => 'refuse', arg => '400 ExpiredToken' },  'AUTH', qr/ExpiredToken.*HINT: .*temporary/s],
    '403 QuotaExceeded' => [{ action => 'refuse', arg => '403 QuotaExceeded' }, 'NO_SPACE', qr/QuotaExceeded/]);

# new(ADDRESS): a proxy to http://ADDRESS, as a URL.
sub new
{
    my ($class, $address) = @_;
    my ($target) = $address =~ m{^http://(.+)$} or croak "'$address' is no address without TLS";
    my $dir  = temp_dir('proxy');
    my $self = bless { dir => $dir }, $class;
    $self->set;
    my $program = __FILE__ =~ s{[^/]+$}{s3-proxy}r;
    $self->{process} = start('perl', $program, $dir, $target, { timeout => 86400 });
    poll_until(sub { -e "$dir/port" }, 'the proxy listens') or croak 'the proxy does not start';
    return $self;
}

sub url { return 'http://127.0.0.1:' . slurp("$_[0]{dir}/port") }

# set(NAME => VALUE, ...): what it does from now on, counting anew; the log is emptied. Nothing: it only
# passes requests on.
sub set
{
    my ($self, %control) = @_;
    my $dir = $self->{dir};
    unlink "$dir/held", "$dir/go";
    spit("$dir/control.new", join '', map { "$_=$control{$_}\n" } sort keys %control);
    rename "$dir/control.new", "$dir/control" or croak "cannot rename: $!";
    spit("$dir/count", '0 0');
    spit("$dir/log",   '');
    delete $self->{before};
    return;
}

# (requests that counted, those that were hit)
sub counts { return split / /, slurp("$_[0]{dir}/count") }

# Whether somebody waits because of the action hang, hang_after or hold; lets go on who is held.
sub is_held { return -e "$_[0]{dir}/held" }
sub let_go  { return spit("$_[0]{dir}/go", '') }

# The log's lines since the last set.
sub requests { return split /\n/, slurp("$_[0]{dir}/log") }

# Does no more harm; what was counted stays for for_every_nth. True when there was any.
sub calm
{
    my ($self) = @_;
    my @counts = $self->counts;
    $self->set;
    $self->{before} = \@counts;
    return $counts[1];
}

# for_every_nth({SETTINGS}, CODE): CODE runs with the n-th request hit, for n = from, from + step, … up to
# the first run in which nothing was. CODE gets n; it may call calm. The number of runs that were hit; dies when none was.
sub for_every_nth
{
    my ($self, $given, $code) = @_;
    my %with = %$given;
    my $step = delete $with{step} // 1;
    my $runs = 0;
    for (my $n = delete $with{from} // 1;; $n += $step) {
        $self->set(%with, nth => $n);
        $code->($n);
        my ($calls, $hit) = @{ $self->{before} // [$self->counts] };
        last if !$hit;
        $runs++;
    }
    $self->set;
    croak 'no request was ever hit' if !$runs;
    return $runs;
}

1;
