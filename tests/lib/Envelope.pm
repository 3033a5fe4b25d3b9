package Envelope;

# The envelope of a stored object (docs/repository-format.md, section 4), as somebody changes it who
# knows the format.

use strict;
use warnings;
use Digest::SHA qw(sha256);
use Exporter qw(import);

our @EXPORT_OK = qw(crc32c made_right of_version);

my @crc_table = map {
    my $n = $_;
    $n = $n >> 1 ^ ($n & 1 ? 0x82F63B78 : 0) for 1 .. 8;
    $n;
} 0 .. 255;

sub crc32c
{
    my ($bytes) = @_;
    my $crc = 0xFFFFFFFF;
    $crc = $crc_table[($crc ^ $_) & 255] ^ $crc >> 8 for unpack 'C*', $bytes;
    return $crc ^ 0xFFFFFFFF;
}

# The object with all that is in the clear made right again, as who can write to the medium would do.
sub made_right
{
    my ($bytes) = @_;
    substr $bytes, 88, 4, pack 'V', crc32c(substr $bytes, 0, 88);
    substr $bytes, -44, 32, sha256(substr $bytes, 0, -132);
    substr $bytes, -12, 4, pack 'V', crc32c(substr $bytes, -132, 120);
    return $bytes;
}

# The object as if it were of this version of the format.
sub of_version
{
    my ($version, $bytes) = @_;
    substr $bytes, 16,   2, pack 'v', $version;
    substr $bytes, -116, 2, pack 'v', $version;
    return made_right($bytes);
}

1;
