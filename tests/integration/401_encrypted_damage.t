# An encrypted repository whose objects are flipped, cut off, exchanged or put under another name, also by
# somebody who makes all checksums right again: verify finds each, and restore and archive-get refuse it.
# The repository is that of tests/golden, so that this needs no server.
#@ once

use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use Test::More;

use Envelope qw(made_right);
use Pgdr;
use TestFile qw(slurp spit files_below tree_state);
use TestRun qw(temp_dir test_root);

my $golden = "$ENV{PGDR_TEST_SOURCE}/tests/golden";
my $dir    = temp_dir('golden');
system('tar', '-C', $dir, '-xf', "$golden/v1.tar") == 0 or die 'cannot unpack';
my ($backup)     = slurp("$golden/v1.expected") =~ /^backup encrypted (\S+)$/m;
my ($tablespace) = slurp("$golden/v1.expected") =~ /^tablespace (\d+)/m;
spit("$dir/passphrase", "the new passphrase\n");
chmod 0600, "$dir/passphrase";
make_path(my $runtime = "$dir/runtime");
chmod 0700, $runtime;

my $pgdr = Pgdr->new(Pgdr::unless_s3(repo => "$dir/encrypted"),
    repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => "$dir/passphrase" });
my $repo = $pgdr->folder;
system('cp', '-a', "$dir/encrypted/.", $repo) == 0 or die if Pgdr::in_s3();
$pgdr->set('cluster app', spool => temp_dir('spool'));
$pgdr->set_env(XDG_RUNTIME_DIR => $runtime);

my $to = test_root() . '/restored';
my @restore = ('restore', "--to=$to", '--type=immediate', "--tablespace-map=$tablespace=$to.space", '-y');

sub fresh { remove_tree($to, "$to.space"); return }

# What was restored, but for what names the moment and the place.
sub restored
{
    return join '', map { tree_state($_) } "$to.space", map { "$to/$_" } qw(base global mine pg_xact);
}

$pgdr->ok('verify');
$pgdr->ok(@restore);
my $good = restored();
# archive-get asks the data directory which cluster it is of.
rename $to, "$to.kept" or die;
$pgdr->set('cluster app', 'data-directory' => "$to.kept");

# ---- the envelope ----

# (offset of the table, [offset, length] of each unit)
sub layout
{
    my ($bytes) = @_;
    my $table = unpack 'Q<', substr $bytes, -68, 8;
    my @units;
    for (my $at = 92; $at < $table;) {
        my $len = 8 + unpack 'V', substr $bytes, $at + 4, 4;
        push @units, [$at, $len];
        $at += $len;
    }
    return ($table, @units);
}

sub flipped
{
    my ($bytes, $at) = @_;
    substr $bytes, $at, 1, chr(ord(substr $bytes, $at, 1) ^ 16);
    return $bytes;
}

# (what, the damaged object): what an accident does, and what somebody may do who knows the format.
sub mutations
{
    my ($object, $bytes, $is_sealed) = @_;
    my ($table, @units) = layout($bytes);
    my @list = (
        ['a bit of its header',    flipped($bytes, 50)],
        ['a bit of a unit',        flipped($bytes, 92 + 12)],
        ['a bit of its table',     flipped($bytes, $table + 10)],
        ['a bit of its footer',    flipped($bytes, length($bytes) - 20)],
        ['cut off',                substr $bytes, 0, length($bytes) - 1],
        ['half of it',             substr $bytes, 0, length($bytes) / 2],
        ['empty',                  ''],
    );
    return @list if !$is_sealed;
    push @list,
      ['forged: a bit of a unit',   made_right(flipped($bytes, 92 + 12))],
      ['forged: a bit of a tag',    made_right(flipped($bytes, $table - 1))],
      ['forged: a bit of its table', made_right(flipped($bytes, $table + 10))],
      ['forged: a bit of its salt', made_right(flipped(flipped($bytes, 50), length($bytes) - 132 + 34))];
    for my $i (0 .. $#units - 1) {
        my ($one, $other) = @units[$i, $i + 1];
        next if $one->[1] != $other->[1];
        my $copy = $bytes;
        substr $copy, $one->[0],   $one->[1], substr $bytes, $other->[0], $other->[1];
        substr $copy, $other->[0], $one->[1], substr $bytes, $one->[0],   $one->[1];
        push @list, ['forged: two units exchanged', made_right($copy)];
        last;
    }
    return @list;
}

# ---- every object, every way ----

# What must refuse a damaged object: restore, archive-get of a file, or verify alone.
sub user_of
{
    my ($object) = @_;
    return @restore if $object =~ m{/(packs|backups)/} && $object !~ m{/key$};
    return ('archive-get', $1, "$dir/got") if $object =~ m{/(?:wal/.*/([0-9A-F]{8}\.history|[0-9A-F]{24}(?:\.partial)?)-[^/]+|tail/.*/([0-9A-F]{24})/[^/]+)$}
      && defined $1;
    return ('archive-get', $2, "$dir/got") if defined $2;
    return;
}

# verify reads what backups need: no WAL from before the oldest one, and no .backup and .partial files.
sub is_needed
{
    my ($object) = @_;
    my ($file) = $object =~ m{/([0-9A-F]{24}[^/]*)-[0-9a-f]{32}$};
    return !defined $file || $file !~ /\./ && $file ge '00000001000000000000000B';
}

sub is_found
{
    my ($object, $what) = @_;
    my $verify = $pgdr->run('verify');
    my $defect = Pgdr::defect($verify);
    $defect .= "verify exits with $verify->{rc}\n" if $verify->{rc} != Pgdr::exit_status('FINDINGS');
    my $short = $object =~ s{^app/}{}r;
    $defect .= "verify does not name it\n" if index("$verify->{out}$verify->{err}", $short) < 0;
    $defect = '' if $object =~ m{^keys/} && $verify->{err} =~ /\Q$object\E/ && $verify->{rc} == 0;
    $defect = Pgdr::defect($verify) if !is_needed($object);
    $defect .= $verify->describe if $defect;
    if (my @user = user_of($object)) {
        fresh();
        unlink "$dir/got";
        # PostgreSQL runs restore_command in its data directory.
        my $result = $pgdr->run(@user, { cwd => "$to.kept" });
        $defect .= Pgdr::defect($result);
        # Of a pack a restore reads what it needs: damage elsewhere does not keep it from restoring all.
        my $is_right = $result->{rc} == 0 && $object =~ m{/packs/[^/]+/} && restored() eq $good;
        $defect .= "not refused: " . $result->describe
          if !$is_right
          && ($result->{rc} == 0 || -e "$dir/got" || -e "$to/global/pg_control" || ($user[0] eq 'archive-get' && $result->{rc} < 126));
    }
    return $defect;
}

for my $object (grep { $_ ne 'pgdr.json' } files_below($repo)) {
    my $path  = "$repo/$object";
    my $bytes = slurp($path);
    my $is_sealed = ord substr($bytes, 22, 1);
    my @bad;
    for my $mutation (mutations($object, $bytes, $is_sealed)) {
        my ($what, $damaged) = @$mutation;
        die "$object: $what changes nothing" if $damaged eq $bytes;
        chmod 0600, $path;
        spit($path, $damaged);
        my $defect = is_found($object, $what);
        push @bad, "$what: $defect" if $defect ne '';
    }
    spit($path, $bytes);
    is(join("\n", @bad), '', $object =~ s/[0-9a-f]{32}$/…/r . ': whatever is wrong is found');
}

# ---- whole objects under another one's name ----

my %of_kind;
for my $object (grep { m{^app/} && !m{/key$} } files_below($repo)) {
    push @{ $of_kind{ substr slurp("$repo/$object"), 8, 8 } }, $object;
}
for my $kind (sort keys %of_kind) {
    my @objects = @{ $of_kind{$kind} };
    for my $i (0 .. $#objects - 1) {
        my ($one, $other) = map { slurp("$repo/$_") } @objects[$i, $i + 1];
        spit("$repo/$objects[$i]", $other);
        is(is_found($objects[$i], 'other'), '', "another $kind in place of $objects[$i]");
        spit("$repo/$objects[$i]", $one);
    }
}
# A segment once more, under the name of the next one, with that one's digest or its own.
my @segments = grep { m{/[0-9A-F]{24}-[^/]+$} && is_needed($_) } @{ $of_kind{PGDRWAL1} };
my ($name, $digest) = $segments[1] =~ m{^(.*)-([0-9a-f]{32})$};
my $original = slurp("$repo/$segments[1]");
unlink "$repo/$segments[1]";
my ($own) = $segments[0] =~ /-([0-9a-f]{32})$/;
spit("$repo/$name-$own", slurp("$repo/$segments[0]"));
is(is_found("$name-$own", 'replayed'), '', 'a segment is not taken for another one');
unlink "$repo/$name-$own";
spit("$repo/$segments[1]", $original);

fresh();
$pgdr->ok('verify');
$pgdr->ok(@restore);
done_testing;
