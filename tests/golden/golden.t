#!/usr/bin/perl
# Repositories that an earlier pgdr wrote (see make-v1) are listed, verified and restored to what was
# stored in them: no release may forget how to read what an older one made.
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Find qw(find);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

my $src  = abs_path($ENV{srcdir} // '.') . '/tests/golden';
my $pgdr = abs_path('pgdr');
my $dir  = tempdir('golden.XXXXXX', TMPDIR => 1, CLEANUP => 1);
delete $ENV{$_} for grep { /^(?:PGDR|AWS|PG)_?/ } keys %ENV;
@ENV{qw(LC_ALL TZ)} = ('C.UTF-8', 'UTC');

sub slurp
{
    my ($file) = @_;
    open my $in, '<:raw', $file or die "cannot read $file: $!";
    local $/;
    return scalar(<$in>) // '';
}

sub spit
{
    my ($file, $text) = @_;
    open my $out, '>:raw', $file or die "cannot write $file: $!";
    chmod 0600, $file;
    print $out $text;
    close $out or die "cannot write $file: $!";
    return $file;
}

# Runs pgdr: (exit status, standard output, standard error).
sub run
{
    my @args = @_;
    my $pid  = fork // die "cannot fork: $!";
    if (!$pid) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', "$dir/out";
        open STDERR, '>', "$dir/err";
        exec $pgdr, "--config=$dir/conf", @args or die "cannot run $pgdr: $!";
    }
    waitpid $pid, 0;
    return ($? & 127 ? -1 : $? >> 8, slurp("$dir/out"), slurp("$dir/err"));
}

sub works
{
    my @args = @_;
    my ($status, $out, $err) = run(@args);
    is($status, 0, "pgdr @args") or diag("$out$err");
    return $out;
}

sub fails
{
    my ($want, $re, @args) = @_;
    my ($status, $out, $err) = run(@args);
    ok($status == $want && $err =~ $re, "pgdr @args fails") or diag("status $status, not $want, or not $re:\n$err");
    return;
}

my $key = 'pgdr-key-' . '0123456789abcdef' x 4;
spit("$dir/old", "a passphrase of old\n");
spit("$dir/new", "the new passphrase\n");
spit("$dir/key", "$key\n");
spit("$dir/wrong", 'pgdr-key-' . '0123456789abcdee' x 4 . "\n");

# The configuration, with DATA as the data directory (none yet), and a passphrase for each repository.
sub configure
{
    my ($data, %passphrase) = @_;
    my $text = "[repo plain]\nurl = $dir/plain\n";
    for my $repo (qw(encrypted generated)) {
        my $file = $passphrase{$repo} // { encrypted => 'new', generated => 'key' }->{$repo};
        $text .= "[repo $repo]\nurl = $dir/$repo\nencryption = aes-256-gcm\npassphrase-file = $dir/$file\nkey-cache = no\n";
    }
    spit("$dir/conf", "$text\[cluster app]\nspool = $dir/spool\n" . ($data ? "data-directory = $data\n" : ''));
    return;
}

# Every file below a folder, followed through the tablespace's link: path => text as in v1.expected,
# without the time, which pgdr does not restore.
sub files_in
{
    my ($top) = @_;
    my %found;
    my $look = sub {
        return if !-f;
        my @st   = stat;
        my $path = substr $_, 1 + length $top;
        $found{$path} = sprintf 'file %04o %d %s %s', $st[2] & 07777, $st[7], sha256_hex(slurp($_)),
          $path =~ s/([^!-~])/sprintf '%%%02x', ord $1/ger;
    };
    find({ no_chdir => 1, follow_fast => 1, wanted => $look }, $top);
    return \%found;
}

my (%want, %wal, %backup, $tail, $space);
for my $line (split /\n/, slurp("$src/v1.expected")) {
    my ($what, @words) = split / /, $line;
    $want{ $words[-1] } = "file @words[0, 2 .. 4]" if $what eq 'file';
    $wal{ $words[0] } = $words[1]       if $what eq 'wal';
    $backup{ $words[0] } = $words[1]    if $what eq 'backup';
    $tail  = \@words                    if $what eq 'tail';
    $space = $words[0]                  if $what eq 'tablespace';
}
is(system('tar', '-C', $dir, '-xf', "$src/v1.tar"), 0, 'the repositories are unpacked');
configure();

for my $repo (qw(plain encrypted)) {
    my $info = decode_json(works('info', "--repo=$repo", '--output=json'));
    like(encode_json($info), qr/"id":"\Q$backup{$repo}\E"/, "$repo: the backup is listed");
    like(encode_json($info), qr/"label":"golden"/, "$repo: with its label");
    my $verify = decode_json(works('verify', "--repo=$repo", '--output=json'));
    is_deeply($verify->{findings}, [], "$repo: nothing is wrong with it");

    my $to = "$dir/restored-$repo";
    works('restore', "--repo=$repo", "--to=$to", '--type=immediate', "--tablespace-map=$space=$to.space", '-y');
    my $found = files_in($to);
    is(readlink "$to/pg_tblspc/$space", "$to.space", "$repo: the tablespace is where it was asked for");
    my %of_restore = map { $_ => delete $found->{$_} } qw(backup_label recovery.signal tablespace_map postgresql.auto.conf);
    is(scalar(grep { defined } values %of_restore), 4, "$repo: restore left what PostgreSQL needs");
    like(slurp("$to/backup_label"), qr/^START WAL LOCATION: /, "$repo: the label of the backup is there");
    my @found = sort values %$found;
    my @want  = sort values %want;
    is_deeply(\@found, \@want, "$repo: every file, with its mode and content");

    configure($to);
    for my $file (sort keys %wal) {
        works('archive-get', "--repo=$repo", $file, "$dir/wal");
        is(sha256_hex(slurp("$dir/wal")), $wal{$file}, "$repo: $file has its content");
    }
    works('archive-get', "--repo=$repo", $tail->[0], "$dir/wal");
    is(sha256_hex(slurp("$dir/wal")), $tail->[1], "$repo: the tail of a segment that was never finished");
    configure();
}

# The keys are lost: a copy lies beside the backup, under the passphrase and with the keys of its day. What
# was stored under the key that is younger goes with them.
configure(undef, encrypted => 'old');
fails(14, qr/passphrase/, 'info', '--repo=encrypted');
rename "$dir/encrypted/keys", "$dir/keys" or die;
remove_tree("$dir/restored-encrypted", "$dir/restored-encrypted.space", glob "$dir/encrypted/app/{tail,wal/*/history,wal/*/00000002}");
works('restore', '--repo=encrypted', "--to=$dir/restored-encrypted", '--type=immediate',
    "--tablespace-map=$space=$dir/restored-encrypted.space", '-y');
is(sha256_hex(slurp("$dir/restored-encrypted/mine/131073")), (split / /, $want{'mine/131073'})[3], 'a file of it');

configure();
like(works('init', '--repo=generated', '--output=json'), qr/"existed":\s*true/, 'a key that keygen made opens its repository');
configure(undef, generated => 'wrong');
fails(14, qr/passphrase/, 'init', '--repo=generated');

done_testing;
