package BucketCopy;

# What lies in a bucket below a prefix, as a folder that a test can look into and damage as if the
# repository lay there: a working copy. What the test changes in the folder is put into the bucket
# before the next program starts and whenever something is waited for (push); what others changed in
# the bucket appears in the folder when it is asked for (pull). Only what was changed is moved, each
# way. Empty folders and permissions do not exist in a bucket.

use strict;
use warnings;
use Carp qw(croak);
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use Time::HiRes ();
use Time::Local qw(timegm);
use TestFile qw(slurp spit files_below);
use TestRun qw(before_programs);

# new(S3, BUCKET, PREFIX, FOLDER): FOLDER is made.
sub new
{
    my ($class, $s3, $bucket, $prefix, $dir) = @_;
    make_path($dir);
    # known: name => {mark: what the bucket says of it, file: what the file system does, digest}
    my $self = bless { s3 => $s3, bucket => $bucket, prefix => $prefix, dir => $dir, known => {} }, $class;
    before_programs(sub { $self->push });
    return $self;
}

sub folder { return $_[0]{dir} }

# What stat tells when a file was written, exchanged or touched.
sub file_mark
{
    my ($file) = @_;
    my @st = Time::HiRes::stat($file) or croak "cannot look at $file: $!";
    return join ' ', @st[1, 7, 9, 10];
}

# The bucket becomes what the folder is.
sub push
{
    my ($self) = @_;
    my ($dir, $known) = @$self{qw(dir known)};
    croak "$dir is closed: a bucket has no permissions" if -d $dir && !-r $dir;
    $self->all_away(!-d $dir);
    my %here = map { $_ => 1 } files_below($dir);
    my @gone = grep { !$here{$_} } keys %$known;
    $self->{s3}->delete($self->{bucket}, map { "$self->{prefix}/$_" } @gone) if @gone;
    delete @$known{@gone};
    for my $name (sort keys %here) {
        my $mark = file_mark("$dir/$name");
        next if ($known->{$name}{file} // '') eq $mark;
        my $bytes  = slurp("$dir/$name");
        my $digest = md5_hex($bytes);
        $known->{$name}{file} = $mark;
        next if ($known->{$name}{digest} // '') eq $digest;
        $self->{s3}->put($self->{bucket}, "$self->{prefix}/$name", $bytes);
        # The bucket's mark is seen at the next pull.
        @{ $known->{$name} }{qw(digest mark)} = ($digest, '');
    }
    return;
}

# While the folder itself is moved away nothing at all is in the bucket, also nothing that was put there
# since the last pull; that comes back with the folder.
sub all_away
{
    my ($self, $is_away) = @_;
    my ($s3, $bucket, $prefix) = @$self{qw(s3 bucket prefix)};
    if ($is_away && !$self->{away}) {
        my @new = grep { !$self->{known}{ substr $_, 1 + length $prefix } } keys %{ $s3->list($bucket, "$prefix/") };
        $self->{away} = { map { $_ => $s3->get($bucket, $_) } @new };
        $s3->delete($bucket, @new);
    } elsif (!$is_away && $self->{away}) {
        my $back = delete $self->{away};
        $s3->put($bucket, $_, $back->{$_}) for grep { defined $back->{$_} } sort keys %$back;
    }
    return;
}

# The folder becomes what the bucket is, after the bucket has got what was changed in the folder.
sub pull
{
    my ($self) = @_;
    $self->push;
    return if $self->{away};
    my ($dir, $known, $prefix) = @$self{qw(dir known prefix)};
    my $all   = $self->{s3}->list($self->{bucket}, "$prefix/");
    my %there = map { substr($_, 1 + length $prefix) => $all->{$_} } keys %$all;
    for my $name (grep { !defined $there{$_} } keys %$known) {
        unlink "$dir/$name";
        delete $known->{$name};
        for (my $above = dirname($name); $above ne '.' && rmdir "$dir/$above"; $above = dirname($above)) { }
    }
    for my $name (sort keys %there) {
        my $is = $known->{$name} //= {};
        next if ($is->{mark} // '') eq $there{$name};
        $self->fetch($name, $there{$name});
    }
    make_path($dir);
    return;
}

sub fetch
{
    my ($self, $name, $mark) = @_;
    my ($dir, $is) = ($self->{dir}, $self->{known}{$name});
    my $bytes  = $self->{s3}->get($self->{bucket}, "$self->{prefix}/$name");
    return if !defined $bytes; # removed meanwhile
    my $digest = md5_hex($bytes);
    if (($is->{digest} // '') ne $digest) {
        make_path(dirname("$dir/$name"));
        unlink "$dir/$name";
        spit("$dir/$name", $bytes);
    }
    # As old as the object: who compares times sees that it was written again, and only then.
    utime((when($mark)) x 2, "$dir/$name");
    @$is{qw(mark file digest)} = ($mark, file_mark("$dir/$name"), $digest);
    return;
}

sub when
{
    my ($mark) = @_;
    my ($year, $month, @rest) = $mark =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)/ or croak "what time is '$mark'?";
    return timegm(reverse(@rest), $month - 1, $year);
}

# remove_all(S3, BUCKET, PREFIX): removes all objects below it.
sub remove_all
{
    my ($s3, $bucket, $prefix) = @_;
    $s3->delete($bucket, keys %{ $s3->list($bucket, "$prefix/") });
    return;
}

1;
