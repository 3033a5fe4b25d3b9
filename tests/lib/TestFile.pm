package TestFile;

# Files in tests: reading, writing, comparing whole trees, and damaging them in the ways that storage
# does. Every function dies when it cannot do what it says: a mutilation that did not happen would
# make the test that follows worthless.

use strict;
use warnings;
use Carp qw(croak);
use Digest::SHA;
use Exporter qw(import);
use File::Find qw(find);

our @EXPORT_OK = qw(slurp spit append_to files_below tree_state copy_tree flip_bit zero_range
  truncate_to truncate_by swap_files delete_file with_mode);

sub slurp
{
    my ($file) = @_;
    open my $fh, '<:raw', $file or croak "cannot read $file: $!";
    local $/;
    return scalar(<$fh>) // '';
}

sub spit
{
    my ($file, $text) = @_;
    open my $fh, '>:raw', $file or croak "cannot write $file: $!";
    print $fh $text;
    close $fh or croak "cannot write $file: $!";
    return $file;
}

sub append_to
{
    my ($file, $text) = @_;
    open my $fh, '>>:raw', $file or croak "cannot write $file: $!";
    print $fh $text;
    close $fh or croak "cannot write $file: $!";
    return $file;
}

# The paths, relative to $dir and sorted, of the files below it whose relative path matches $re.
sub files_below
{
    my ($dir, $re) = @_;
    my @found;
    return if !-d $dir;
    find({ no_chdir => 1, wanted => sub { push @found, substr $_, 1 + length $dir if -f && !-l } }, $dir);
    return sort grep { !defined $re || $_ =~ $re } @found;
}

# Everything below $dir as text, one sorted line an entry: two trees are the same when the texts are.
# With mtime => 1 times count too; without_mode => 1 leaves out permissions.
sub tree_state
{
    my ($dir, %opt) = @_;
    my %line;
    my $look = sub {
        my $name = $_ eq $dir ? '.' : substr $_, 1 + length $dir;
        my @st   = lstat $_;
        my $link = -l _;
        my $what =
            $link ? 'link ' . readlink
          : -f _ ? "file $st[7] " . Digest::SHA->new(256)->addfile($_, 'b')->hexdigest
          : -d _ ? 'dir'
          :        'other';
        $what .= sprintf ' %04o', $st[2] & 07777 if !$opt{without_mode} && !$link;
        $what .= " $st[9]" if $opt{mtime};
        $line{$name} = "$name: $what\n";
    };
    find({ no_chdir => 1, wanted => $look }, $dir);
    return join '', map { $line{$_} } sort keys %line;
}

# Copies a tree with links, modes and times; $to must not exist.
sub copy_tree
{
    my ($from, $to) = @_;
    croak "$to exists" if -e $to;
    system('cp', '-a', '--', $from, $to) == 0 or croak "cannot copy $from to $to";
    return $to;
}

# Opens a file for change even when it is read-only, as a repository's objects are.
sub open_for_damage
{
    my ($file) = @_;
    my $mode = (stat $file)[2] // croak "there is no $file";
    chmod $mode | 0200, $file;
    open my $fh, '+<:raw', $file or croak "cannot open $file: $!";
    chmod $mode & 07777, $file;
    return $fh;
}

sub patch
{
    my ($file, $offset, $bytes) = @_;
    my $fh = open_for_damage($file);
    sysseek $fh, $offset, 0 or croak "cannot seek in $file: $!";
    defined syswrite $fh, $bytes or croak "cannot write $file: $!";
    close $fh or croak "cannot write $file: $!";
    return;
}

# Offsets may be negative: counted from the end.
sub absolute
{
    my ($file, $offset, $len) = @_;
    my $size = -s $file // croak "there is no $file";
    $offset += $size if $offset < 0;
    croak "$file has no bytes $offset to " . ($offset + $len) if $offset < 0 || $offset + $len > $size;
    return $offset;
}

sub flip_bit
{
    my ($file, $offset, $bit) = @_;
    $offset = absolute($file, $offset, 1);
    my $byte = substr slurp($file), $offset, 1;
    patch($file, $offset, chr(ord($byte) ^ 1 << ($bit // 0)));
    return;
}

sub zero_range
{
    my ($file, $offset, $len) = @_;
    $offset = absolute($file, $offset, $len);
    croak "$file has only zeros there" if substr(slurp($file), $offset, $len) !~ /[^\0]/;
    patch($file, $offset, "\0" x $len);
    return;
}

sub truncate_to
{
    my ($file, $size) = @_;
    croak "$file has not more than $size bytes" if (-s $file // 0) <= $size;
    my $fh = open_for_damage($file);
    truncate $fh, $size or croak "cannot cut $file: $!";
    close $fh;
    return;
}

sub truncate_by
{
    my ($file, $bytes) = @_;
    truncate_to($file, (-s $file) - $bytes);
    return;
}

# Exchanges the contents of two files that differ.
sub swap_files
{
    my ($one, $two) = @_;
    croak "$one and $two are the same" if slurp($one) eq slurp($two);
    rename $one,         "$one.swap" or croak "cannot rename $one: $!";
    rename $two,         $one        or croak "cannot rename $two: $!";
    rename "$one.swap", $two        or croak "cannot rename $one.swap: $!";
    return;
}

sub delete_file
{
    my ($file) = @_;
    unlink $file or croak "cannot remove $file: $!";
    return;
}

# Calls CODE while $path has this mode, and gives it its own back, also when CODE dies. Root is not
# held by modes, so this is for tests that run as another user, as all under tests/run do.
sub with_mode
{
    my ($path, $mode, $code) = @_;
    croak 'permissions do not hold root' if $> == 0;
    my $old = (stat $path)[2] // croak "there is no $path";
    chmod $mode, $path or croak "cannot chmod $path: $!";
    my @value = eval { $code->() };
    my $error = $@;
    chmod $old & 07777, $path;
    die $error if $error;
    return wantarray ? @value : $value[0];
}

1;
