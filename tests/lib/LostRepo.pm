package LostRepo;

# A repository that is lost while it is in use, of two that a cluster has: a folder that is removed, or a
# bucket whose gateway dies or that somebody empties and removes. It comes back as it was, or as an
# empty place in which pgdr makes a new one.
#
# two(KIND, NODE, RGW): pgdr with the repositories "main" and "other", and the two LostRepos by name. KIND is
# 's3' (main is an encrypted bucket, other a folder) or 'folders'.

use strict;
use warnings;
use Carp qw(croak);
use File::Path qw(remove_tree);
use Pgdr;
use S3Proxy;
use TestFile qw(spit files_below copy_tree);
use TestRun qw(temp_dir poll_until);

my $buckets = 0;

sub two
{
    my ($kind, $node, $rgw) = @_;
    my %repo = (
        main  => $kind eq 's3' ? in_bucket('main', $rgw) : in_folder('main'),
        other => in_folder('other'));
    my %main = %{ $repo{main}{settings} };
    my $pgdr = Pgdr->new(node => $node, repo => delete $main{url}, repo_options => \%main);
    $pgdr->set('repo other', %{ $repo{other}{settings} });
    return ($pgdr, \%repo);
}

# An archive_command whose requests do not go through the proxy, where they would be counted.
sub archive_command
{
    my ($pgdr, $rgw) = @_;
    return $pgdr->shell_command('--s3-endpoint=' . $rgw->value('PLAIN'), 'archive-push', '%p');
}

sub in_folder
{
    my ($name) = @_;
    my $dir = temp_dir("repo-$name") . '/repo';
    return bless { name => $name, dir => $dir, settings => { url => $dir }, words => qr/\Q$dir\E/ }, 'LostRepo';
}

# Through a proxy, so that a request can be held up.
sub in_bucket
{
    my ($name, $rgw) = @_;
    my $dir    = temp_dir("bucket-$name");
    my $bucket = 'lost' . ++$buckets;
    my $key    = spit("$dir/passphrase", 'pgdr-key-' . 'c5' x 32 . "\n");
    my $proxy  = S3Proxy->new($rgw->value('PLAIN'));
    my %settings = ($rgw->repo($rgw->bucket($bucket) . '/repo', $proxy->url), encryption => 'aes-256-gcm', 'passphrase-file' => $key);
    chmod 0600, $key;
    return bless {
        name => $name, bucket => $bucket, rgw => $rgw, s3 => $rgw->client, proxy => $proxy,
        settings => \%settings, words => qr{s3://$bucket/repo} }, 'LostRepo';
}

sub name { return $_[0]{name} }

# What a message must have that names it.
sub words { return $_[0]{words} }

# The ways in which it can be lost.
sub ways { return $_[0]{dir} ? ('removed') : ('killed', 'removed') }

# Where a run of pgdr is to be held up, for held_at() and calls_of() in Faults.pm.
sub place { my ($self) = @_; return $self->{dir} ? { dir => $self->{dir} } : { requests => $self->{proxy} } }

# The names of the objects in it now.
sub objects
{
    my ($self) = @_;
    return files_below($self->{dir}) if $self->{dir};
    return map { s{^repo/}{}r } sort keys %{ $self->{s3}->list($self->{bucket}, 'repo/') };
}

# Keeps what it holds, for come_back().
sub save
{
    my ($self) = @_;
    if ($self->{dir}) {
        remove_tree("$self->{dir}.saved");
        copy_tree($self->{dir}, "$self->{dir}.saved");
        return;
    }
    my ($s3, $bucket) = @$self{qw(s3 bucket)};
    $self->{saved} = { map { $_ => $s3->get($bucket, $_) } keys %{ $s3->list($bucket, '') } };
    return;
}

# lose(WAY): it is gone from now on.
sub lose
{
    my ($self, $way) = @_;
    croak "$self->{name} is lost already" if $self->{lost};
    $self->{lost} = $way;
    if ($self->{dir}) {
        # Somebody may be writing into it.
        poll_until(sub { remove_tree($self->{dir}, { error => \my $errors }); !-e $self->{dir} }, "$self->{dir} is gone")
          or croak "cannot remove $self->{dir}";
    } elsif ($way eq 'killed') {
        $self->{rgw}->kill;
    } else {
        $self->remove_bucket;
    }
    return;
}

sub remove_bucket
{
    my ($self) = @_;
    my ($s3, $bucket) = @$self{qw(s3 bucket)};
    poll_until(
        sub {
            my @keys = keys %{ $s3->list($bucket, '') };
            $s3->delete($bucket, @keys) if @keys;
            return eval { $s3->remove_bucket($bucket); 1 };
        },
        "the bucket $bucket is gone") or croak "cannot remove the bucket $bucket";
    return;
}

# An empty place where it was.
sub become_empty
{
    my ($self) = @_;
    my $way = delete $self->{lost} // croak "$self->{name} is not lost";
    return if $self->{dir};
    if ($way eq 'killed') {
        $self->{rgw}->restart;
        $self->remove_bucket;
    }
    # A process that stores a backlog writes for a second to the repository that it has seen.
    sleep 2;
    $self->{s3}->make_bucket($self->{bucket});
    return;
}

# It is what it was when save() was called.
sub come_back
{
    my ($self) = @_;
    if ($self->{dir}) {
        delete $self->{lost} // croak "$self->{name} is not lost";
        copy_tree("$self->{dir}.saved", $self->{dir});
        return;
    }
    if ($self->{lost} eq 'killed') {
        delete $self->{lost};
        $self->{rgw}->restart;
        return;
    }
    $self->become_empty;
    $self->{s3}->put($self->{bucket}, $_, $self->{saved}{$_}) for sort keys %{ $self->{saved} };
    return;
}

1;
