#@ once
# Every kind of object in a repository, damaged in every way that storage, people and attackers damage
# files. Whatever it is: verify finds it and names the object; info tells the truth; a restore gives
# exactly what a restore from the whole repository gives, or an error with a name and nothing that
# PostgreSQL would open; archive-get gives the right bytes or none.
#
# Plain and encrypted repositories. Each runs a sample of the table; PGDR_TEST_SWEEP=all runs all of it.

use strict;
use warnings;
use Test::More;
use POSIX qw(mkfifo);

use Faults qw(sweeps_all small_node restore_state unnamed_error unopened archive_get_defect json_of);
use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to files_below tree_state copy_tree flip_bit zero_range truncate_to truncate_by swap_files delete_file);
use TestRun qw(temp_dir test_root);
use WalRepo qw(wal_objects wal_files);

# ---- what is done to a file ----

# Where the table of an object begins (footer: 8 bytes at 64, see docs/repository-format.md).
sub table_at
{
    my ($file) = @_;
    my $footer = substr slurp($file), -132;
    return unpack 'Q<', substr $footer, 64, 8;
}

sub replace
{
    my ($file, $text) = @_;
    delete_file($file);
    spit($file, $text);
    return;
}

# name => CODE(file, kind). A kind has other (another object of the kind in the same backup or
# timeline) and former (the same object of an older backup); undef: there is none.
my @mutations = (
    [ 'a bit of the magic',     sub { flip_bit($_[0], 9) } ],
    [ 'a bit of the salt',      sub { flip_bit($_[0], 50, 3) } ],
    [ 'a bit in the middle',    sub { flip_bit($_[0], int((-s $_[0]) / 2), 7) } ],
    [ 'a bit of the table',     sub { flip_bit($_[0], table_at($_[0]) + 8) } ],
    [ 'a bit of the footer',    sub { flip_bit($_[0], -60, 1) } ],
    [ 'the last bit',           sub { flip_bit($_[0], -1) } ],
    [ 'zeros in the middle',    sub { zero_range($_[0], int((-s $_[0]) / 2), 16) } ],
    [ 'the last byte is lost',  sub { truncate_by($_[0], 1) } ],
    [ 'half is lost',           sub { truncate_to($_[0], int((-s $_[0]) / 2)) } ],
    [ 'nothing is left',        sub { truncate_to($_[0], 0) } ],
    [ 'only zeros',             sub { replace($_[0], "\0" x -s $_[0]) } ],
    [ 'bytes behind it',        sub { append_to($_[0], 'x' x 80) } ],
    [ 'twice',                  sub { append_to($_[0], slurp($_[0])) } ],
    [ 'swapped',                sub { swap_files($_[0], $_[1]{other}) }, 'other' ],
    [ 'that of another',        sub { replace($_[0], slurp($_[1]{other})) }, 'other' ],
    [ 'that of another backup', sub { replace($_[0], slurp($_[1]{former})) }, 'former' ],
    [ 'text',                   sub { replace($_[0], "# not an object\n" x 100) } ],
    [ 'deleted',                sub { delete_file($_[0]) } ],
    Pgdr::unless_s3([ 'a directory',            sub { delete_file($_[0]); mkdir $_[0] or die } ],
        [ 'a full directory',       sub { delete_file($_[0]); mkdir $_[0] or die; spit("$_[0]/x", 'x') } ],
        [ 'a fifo',                 sub { delete_file($_[0]); mkfifo($_[0], 0600) or die } ],
        [ 'a link to nowhere',      sub { delete_file($_[0]); symlink '/nonexistent', $_[0] or die } ],
        [ 'a link to itself',       sub { delete_file($_[0]); symlink $_[0], $_[0] or die } ],
        [ 'not readable',           sub { chmod 0, $_[0] or die } ],
        [ 'its folder is locked',   sub { chmod 0, $_[0] =~ s{/[^/]+$}{}r or die } ],
        [ 'its folder is a file',   sub { my $dir = $_[0] =~ s{/[^/]+$}{}r; rename $dir, "$dir.away" or die; spit($dir, 'x') } ]),
);

# ---- the repository ----

my $node = small_node('primary');
my $passphrase = spit(test_root() . '/passphrase', "correct horse\n");
chmod 0600, $passphrase;
my $pgdr   = Pgdr->new(node => $node);
my $sealed = Pgdr->new(node => $node, repo_options => { encryption => 'aes-256-gcm', 'passphrase-file' => $passphrase });
# One server archives to both, as it would with two repositories in one configuration.
$node->enable_archiving($pgdr->archive_command . ' && ' . $sealed->archive_command);
$node->start;
$_->ok('init') for $pgdr, $sealed;
$node->query("CREATE TABLE big AS SELECT n, repeat('x', 100) || n AS t FROM generate_series(1, 3000) n");
$_->ok('backup') for $pgdr, $sealed;
$node->mark('a');
$node->archive_all;
$node->kill9;
$pgdr->ok('restore', '--delta', '--yes');
$node->start;
$node->wait_promoted;
$node->mark('b');
$node->archive_all;
$_->ok('backup') for $pgdr, $sealed;
$node->mark('c');
$node->archive_all;
$node->mark('d');
$node->archive_all;

# The kinds of object that the repository of $p holds: name, path(s), other, former; recovers: nothing is
# lost by it, so that a restore must succeed; wal: archive-get serves it; last: nothing follows it.
sub kinds
{
    my ($p) = @_;
    my $repo = $p->folder;
    my ($old, $new) = Faults::backups_of($p);
    my @keys = map { "$repo/$_" } files_below($repo, qr{^keys/});
    my @wal = grep { /^[0-9A-F]{24}$/ } wal_files($p);
    my ($history) = wal_objects($p, '00000002.history');
    my ($label)   = wal_objects($p, (grep { /^00000002.*\.backup$/ } wal_files($p))[-1]);
    my @second = map { (wal_objects($p, $_))[0] } grep { /^00000002/ } @wal;
    my @first  = map { (wal_objects($p, $_))[0] } grep { /^00000001/ } @wal;
    my $pair   = sub { my ($what) = @_; return (path => "$repo/app/$what/$new" , former => "$repo/app/$what/$old") };
    my $of     = sub { my ($b, $name) = @_; return "$repo/app/backups/$b/$name" };
    my $pack   = sub { my ($b, $name) = @_; return "$repo/app/packs/$b/0/$name" };
    return (
        { name => 'one copy of the key', path => $keys[0], other => $of->($new, 'summary'), recovers => 1 },
        { name => 'the key beside a backup', path => $of->($new, 'key'), other => $of->($new, 'summary'), recovers => 1 },
        { name => 'manifest', path => $of->($new, 'manifest'), other => $of->($new, 'packs'), former => $of->($old, 'manifest') },
        { name => 'part of the manifest', path => $of->($new, 'manifest.0001'), other => $of->($new, 'manifest'), former => $of->($old, 'manifest.0001') },
        { name => 'packs list', path => $of->($new, 'packs'), other => $of->($new, 'summary'), former => $of->($old, 'packs') },
        { name => 'summary', path => $of->($new, 'summary'), other => $of->($new, 'packs'), former => $of->($old, 'summary') },
        { name => 'data pack', path => $pack->($new, 'd0'), other => $pack->($new, 'd1'), former => $pack->($old, 'd0') },
        { name => 'last data pack', path => $pack->($new, 'd2'), other => $pack->($new, 'm0'), former => $pack->($old, 'd2') },
        { name => 'map pack', path => $pack->($new, 'm0'), other => $pack->($new, 'd2'), former => $pack->($old, 'm0') },
        { name => 'WAL that the backup needs', path => $second[1], other => $second[2], former => $first[-1], wal => 1 },
        { name => 'WAL in the middle', path => $second[2], other => $second[1], former => $first[0], wal => 1 },
        { name => 'WAL of the old timeline', path => $first[-2], other => $first[-1], former => $second[0], wal => 1 },
        { name => 'the last WAL', path => $second[-1], other => $second[-2], former => $first[-1], wal => 1, last => 1 },
        { name => 'history', path => $history, other => $label, wal => 1 },
    );
}

# ---- the oracle ----

# What a run said, without the tables.
sub short
{
    my ($result) = @_;
    my @findings = map { "$_->{object}: $_->{problem}\n" } @{ json_of($result)->{findings} // [] };
    return join '', "exit status $result->{rc}\n", @findings, $result->{err};
}

# restore --to a new folder: the result and the folder.
sub restored
{
    my ($p, @args) = @_;
    my $to     = temp_dir('restored') . '/data';
    my $result = $p->run('restore', "--to=$to", '--output=json', @args);
    return ($result, $to);
}

# The tree that a restore made; the settings for recovery say when they were written.
sub tree
{
    my ($dir) = @_;
    return tree_state($dir) =~ s/^postgresql\.auto\.conf: file \d+ \K[0-9a-f]+/-/mr;
}

my (%tree, %info, %wal, %ids, %clean);
for my $p ($pgdr, $sealed) {
    $clean{$p} = copy_tree($p->folder, $p->folder . '.clean');
    $ids{$p}   = [ Faults::backups_of($p) ];
    for my $id (@{ $ids{$p} }) {
        my ($result, $to) = restored($p, "--backup=$id");
        ok($result->ok, 'the whole repository restores') or diag(short($result));
        $tree{$p}{$id} = tree($to);
        system 'rm', '-rf', $to;
    }
    $info{$p} = json_of($p->run('info', '--output=json'));
    $p->ok('verify');
    for my $file (wal_files($p)) {
        my $to = temp_dir('wal') . '/file';
        $p->run('archive-get', $file, $to);
        $wal{$p}{$file} = slurp($to);
    }
}

# verify must fail and name one of the paths, by the object's name or the WAL file's, or a folder that
# it lies in. (Of two that were swapped the damage of the one can hide the other's.)
sub verify_defect
{
    my ($p, @paths) = @_;
    my $result = $p->run('verify', '--output=json');
    my $defect = unnamed_error($result);
    return "verify: $defect" if $defect ne '';
    return "verify finds nothing\n" if $result->ok;
    my $json = json_of($result);
    my $repo = $p->folder;
    my $names = sub {
        my ($path) = @_;
        my $object = $path =~ s{^\Q$repo\E/(?:app/)?}{}r;
        my ($folder) = $path =~ m{^(.*)/};
        my ($file) = $path =~ m{([^/]+?)(?:-[0-9a-f]{32})?$};
        # A folder of the repository that cannot be listed ends it.
        return $json->{error}{message} =~ m{\Q$folder\E} if $result->{rc} != Pgdr::exit_status('FINDINGS');
        return grep {
            "$_->{object} $_->{problem}" =~ m{\Q$object\E} || "$object/" =~ m{^\Q$_->{object}\E/?}
              || $path =~ m{/wal/} && ($_->{object} =~ /\Q$file\E$/ || !-d $folder)
        } @{ $json->{findings} };
    };
    return '' if grep { $names->($_) } @paths;
    return "verify does not name @paths: " . short($result);
}

sub info_defect
{
    my ($p, $is_gone, @touched) = @_;
    my $result = $p->run('info', '--output=json');
    my $defect = unnamed_error($result);
    return "info: $defect" if $defect ne '';
    return '' if !$result->ok;
    my $json = json_of($result)->{clusters}[0];
    my $good = $info{$p}{clusters}[0];
    my %was = map { $_->{id} => $_ } @{ $good->{backups} };
    for my $b (@{ $json->{backups} }) {
        my $old = delete $was{ $b->{id} } or return "info shows a backup that there is not: $b->{id}\n";
        return "info shows another $b->{id}: " . short($result) if $b->{stop_lsn} ne $old->{stop_lsn} || $b->{size} != $old->{size};
    }
    my %unreadable = map { $_->{id} => 1 } @{ $json->{unreadable} };
    my @lost = grep { !$unreadable{$_} } keys %was;
    # One whose summary or manifest is gone is no backup; the rest must be shown in one list or the other.
    return "info does not show @lost: " . short($result) if @lost && !$is_gone;
    return "info calls @{[sort keys %unreadable]} unreadable\n" if %unreadable && !grep { m{/summary$} } @touched;
    return '';
}

sub restore_defect
{
    my ($p, $kind, $is_locked) = @_;
    my ($result, $to) = restored($p);
    my $json   = json_of($result);
    my $defect = unnamed_error($result);
    if ($defect eq '' && $result->ok) {
        my $id = $json->{plan}{backup};
        my ($is, $was) = (tree($to), $tree{$p}{$id});
        my %was = map { $_ => 1 } split /\n/, $was;
        $defect = "it gives another tree than the whole repository: " . join("\n", grep { !$was{$_} } split /\n/, $is) . "\n" if $is ne $was;
    } elsif ($defect eq '') {
        $defect = unopened($to);
        $defect ||= 'it fails though nothing is lost: ' . short($result) if $kind->{recovers} && !$is_locked;
    }
    system 'rm', '-rf', $to =~ s{/data$}{}r;
    return $defect && "restore: $defect";
}

# Everything demanded while $kind is damaged by $mutation; a text for each thing that is wrong.
sub judge
{
    my ($p, $kind, $mutation) = @_;
    my ($name, $code) = @$mutation;
    my $repo = $p->folder;
    $code->($kind->{path}, $kind);
    my ($folder) = $kind->{path} =~ m{^(.*)/};
    my @touched = ($kind->{path}, $name eq 'swapped' ? $kind->{other} : ());
    my $is_gone = !-f $kind->{path};
    my @wrong;
    push @wrong, verify_defect($p, @touched) if !($is_gone && $kind->{last});
    push @wrong, info_defect($p, $is_gone, @touched);
    push @wrong, restore_defect($p, $kind, -d $folder && !-x $folder);
    if ($kind->{wal}) {
        my ($file) = $kind->{path} =~ m{([^/]+)-[0-9a-f]{32}$};
        # That the end of a timeline, a history or all of a timeline is gone can be seen from nowhere.
        my $may_be_absent = $kind->{last} || $file =~ /history/ || !-d $folder;
        push @wrong, archive_get_defect($p, $file, $wal{$p}{$file}, may_be_absent => $may_be_absent);
    }
    restore_state($repo, $clean{$p});
    return map { "$kind->{name}, $name: $_" } grep { $_ ne '' } @wrong;
}

# ---- the table ----

my %text = (
    $pgdr   => Pgdr::in_s3() ? 'an encrypted repository' : 'a plain repository',
    $sealed => 'a repository that is encrypted by a passphrase');
for my $p ($pgdr, $sealed) {
    subtest $text{$p} => sub {
        my $k = 0;
        for my $kind (kinds($p)) {
            my @wrong;
            my ($tried, $m) = (0, 0);
            for my $mutation (@mutations) {
                my ($name, undef, $needs) = @$mutation;
                next if $needs && !$kind->{$needs};
                # A sample: every mutation meets some kinds, every kind some mutations.
                my $turn = ($m++ + $k * 3 + ($p == $sealed ? 4 : 0)) % 9;
                next if !sweeps_all() && $turn;
                push @wrong, judge($p, $kind, $mutation);
                $tried++;
            }
            is(join("\n", @wrong), '', "$kind->{name}: $tried ways");
            $k++;
        }
    };
}

# Damage of what is there does not keep a new backup from being taken, or says why; and it is whole. (An
# incremental one uses what is there: see below.)
subtest 'a backup into a damaged repository' => sub {
    my %bit = map { $_->[0] => $_ } @mutations;
    for my $kind (kinds($pgdr)) {
        $bit{'a bit in the middle'}[1]->($kind->{path});
        my $result = $pgdr->run('backup', '--type=full', '--output=json');
        my $wrong  = unnamed_error($result);
        if ($wrong eq '' && $result->ok) {
            my $id = json_of($result)->{backup}{id};
            my $verify = json_of($pgdr->run('verify', "--backup=$id", '--output=json'));
            my @about = grep { $_->{object} =~ /$id/ || grep { $_ eq $id } @{ $_->{backups} } } @{ $verify->{findings} };
            $wrong = "verify of it: $_->{object}: $_->{problem}" for @about;
        } elsif ($wrong eq '') {
            my ($name) = $kind->{path} =~ m{([^/]+)$};
            $wrong = 'it is not said which object is damaged: ' . short($result) if $result->{err} !~ /\Q$name\E/;
            my @now = Faults::backups_of($pgdr);
            $wrong .= "there is a backup all the same\n" if @now > 2;
        }
        is($wrong, '', "$kind->{name}: " . ($result->ok ? 'a backup' : 'refused'));
        restore_state($pgdr->folder, $clean{$pgdr});
    }
};

# Each kind of object of the parent is damaged: an incremental backup is taken without it, or verify says
# that it is not whole, or the reason is said.
subtest 'an incremental backup on a damaged one' => sub {
    my %bit = map { $_->[0] => $_ } @mutations;
    for my $kind (grep { $_->{path} =~ m{/(?:packs|backups)/} } kinds($pgdr)) {
        $bit{'a bit in the middle'}[1]->($kind->{path});
        my ($name) = $kind->{path} =~ m{([^/]+)$};
        my $result = $pgdr->run('backup', '--output=json');
        my $wrong  = unnamed_error($result);
        if ($wrong eq '' && $result->ok) {
            my $backup = json_of($result)->{backup};
            my $verify = json_of($pgdr->run('verify', "--backup=$backup->{id}", '--output=json'));
            my $told   = grep { $_->{object} =~ /\Q$name\E$/ } @{ $verify->{findings} };
            my $to     = temp_dir('restored') . '/data';
            my $back   = $pgdr->run('restore', "--backup=$backup->{id}", "--to=$to");
            $wrong = "it cannot be restored, and verify says nothing: " . short($back) if !$back->ok && !$told;
        }
        is($wrong, '', "$kind->{name}: " . ($result->ok ? 'a backup' : 'refused'));
        restore_state($pgdr->folder, $clean{$pgdr});
    }
};

done_testing;
