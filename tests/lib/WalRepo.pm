package WalRepo;

# WAL in tests: the objects of a repository, in its folder (Pgdr.pm), by the name of the file that they hold, segments
# that are changed by hand, and segments by number. The names are those of the repository format:
#
#     <cluster>/wal/<system>/<TLI>/<16 digits>/<file>-<digest>    <cluster>/wal/<system>/history/…
#     <cluster>/tail/<system>/<TLI>/<segment>/<start>-<end>-<session>
#     <cluster>/timelines/<system>/<TLI>/<mark>                   <cluster>/orphan/<system>/<host>/…

use strict;
use warnings;
use Carp qw(croak);
use Exporter qw(import);
use TestFile qw(slurp spit files_below);

our @EXPORT_OK = qw(wal_objects wal_object tail_objects timeline_marks orphans wal_files
  segment_plus segment_of segment_size patched);

# ---- the repository ----

# The paths of the objects that hold FILE (a segment, .partial, .backup, .history), of any system;
# more than one are different contents.
sub wal_objects
{
    my ($pgdr, $file) = @_;
    my $repo = $pgdr->folder;
    return map { "$repo/$_" } files_below($repo, qr{^[^/]+/wal/.*/\Q$file\E-[0-9a-f]+$});
}

# The one that there is; dies when there are more or none.
sub wal_object
{
    my ($pgdr, $file) = @_;
    my @all = wal_objects($pgdr, $file);
    croak scalar(@all) . " objects hold $file" if @all != 1;
    return $all[0];
}

# The names of all files that have a WAL object, each once, sorted.
sub wal_files
{
    my ($pgdr) = @_;
    my %seen;
    m{/([^/]+)-[0-9a-f]+$} and $seen{$1}++ for files_below($pgdr->folder, qr{^[^/]+/wal/});
    return sort keys %seen;
}

# The paths of the tail objects of SEGMENT, or of all.
sub tail_objects
{
    my ($pgdr, $segment) = @_;
    my $repo = $pgdr->folder;
    my $name = $segment // '[0-9A-F]{24}';
    return map { "$repo/$_" } files_below($repo, qr{^[^/]+/tail/[^/]+/[^/]+/$name/});
}

# The marks of a timeline (frozen-…), by number.
sub timeline_marks
{
    my ($pgdr, $tli) = @_;
    my $repo = $pgdr->folder;
    my $dir  = sprintf '%08X', $tli;
    return map { "$repo/$_" } files_below($repo, qr{^[^/]+/timelines/[^/]+/$dir/});
}

# What was set aside of FILE, or at all.
sub orphans
{
    my ($pgdr, $file) = @_;
    my $repo = $pgdr->folder;
    my $name = defined $file ? "\Q$file\E-[^/]+" : '[^/]+';
    return map { "$repo/$_" } files_below($repo, qr{^[^/]+/orphan/.*/$name$});
}

# ---- segments ----

# The size of a node's segments.
sub segment_size
{
    my ($node) = @_;
    return $node->control_data->{'Bytes per WAL segment'};
}

# The name of the segment N behind (or before) this one.
sub segment_plus
{
    my ($segment, $n, $size) = @_;
    my ($tli, $high, $low) = map { hex } unpack 'A8A8A8', $segment;
    my $per   = 2**32 / ($size // 16 << 20);
    my $segno = $high * $per + $low + $n;
    return sprintf '%08X%08X%08X', $tli, int $segno / $per, $segno % $per;
}

# The name of the segment that holds a position, given as text.
sub segment_of
{
    my ($tli, $lsn, $size) = @_;
    my ($high, $low) = map { hex } split m{/}, $lsn;
    return sprintf '%08X%08X%08X', $tli, $high, int $low / ($size // 16 << 20);
}

# A copy of a file, TO, in which bytes are replaced: patched(FROM, TO, offset => bytes, …).
sub patched
{
    my ($from, $to, %bytes) = @_;
    my $data = slurp($from);
    for my $offset (keys %bytes) {
        my $old = substr $data, $offset, length $bytes{$offset};
        croak "$from has these bytes at $offset already" if $old eq $bytes{$offset};
        substr $data, $offset, length $bytes{$offset}, $bytes{$offset};
    }
    return spit($to, $data);
}

1;
