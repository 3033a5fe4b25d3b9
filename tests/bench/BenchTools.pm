package BenchTools;

# The contenders. Each is an object over one cluster and one kind of repository with the same methods:
#
#   name
#   create             a new empty repository in the place of an old one
#   archive_script     a line of sh that archives "$1"
#   backup             the command of a full backup
#   incremental        that of one on the last one
#   restore(TO)        the command that restores the newest one into TO
#   push(FILE), get(NAME, TO)   the commands of one WAL segment, to be run in the data directory
#   archive_command(DATA) that of a server over DATA
#   restore_command(DATA, KEPT) the same; KEPT holds the segments as they are
#   stored             bytes in the repository but for WAL
#   places             folders that hold what a restore reads
#   remove             the repository
#   beside             CODE: processor time so far of the server that the repository lies on, or undef
#
# A kind of repository gives the options of both: see kind_posix(). To add one: a line in %kinds.

use strict;
use warnings;
use File::Basename qw(dirname);
use File::Find qw(find);
use File::Path qw(make_path remove_tree);
use BenchRun qw(must);
use BenchS3;
use Pgdr;
use TestFile qw(spit files_below);
use TestRun qw(temp_dir);
use WalRepo qw(segment_plus);

my %kinds = (
    posix        => \&kind_posix,
    encrypted    => sub { return encrypted(kind_posix()) },
    s3           => sub { return BenchS3::kind(0) },
    's3-latency' => sub { return BenchS3::kind(1) });

# pgdr => options of [repo main], pgbackrest => options of [global], floor => [OUT, CA] of bench-floor,
# reset => CODE(TOOL) empties it, remove => CODE(TOOL), stored => CODE(TOOL), places => CODE(TOOL),
# beside => CODE.
sub kind_posix
{
    my $dir = temp_dir('repo');
    return {
        pgdr       => { url           => "$dir/pgdr" },
        pgbackrest => { 'repo1-path' => "$dir/pgbackrest" },
        floor      => ["$dir/floor"],
        reset      => sub { remove_tree("$dir/$_[0]"); make_path("$dir/$_[0]") },
        remove     => sub { remove_tree("$dir/$_[0]") },
        stored     => sub { return bytes_below("$dir/$_[0]") },
        places     => sub { return ("$dir/$_[0]") } };
}

# The same kind with encryption.
sub encrypted
{
    my ($repo)     = @_;
    my $passphrase = 'correct horse battery staple';
    my $file       = temp_dir('passphrase') . '/passphrase';
    spit($file, "$passphrase\n");
    chmod 0600, $file;
    $repo->{pgdr}       = { %{ $repo->{pgdr} }, encryption => 'aes-256-gcm', 'passphrase-file' => $file };
    $repo->{pgbackrest} = {
        %{ $repo->{pgbackrest} }, 'repo1-cipher-type' => 'aes-256-cbc', 'repo1-cipher-pass' => $passphrase };
    return $repo;
}

# All files below a folder; WAL is left out, whose folders are "wal" and "archive".
sub bytes_below
{
    my ($dir) = @_;
    my $sum = 0;
    my $look = sub {
        $File::Find::prune = 1 if -d && m{/(?:wal|walidx|tail|timelines|archive)$};
        $sum += -s _ if -f;
    };
    find({ no_chdir => 1, wanted => $look }, $dir);
    return $sum;
}

# The contenders over NODE in a repository of KIND: (pgdr, pgBackRest).
sub contenders
{
    my ($kind, $node) = @_;
    my $repo = $kinds{$kind}->();
    return (BenchTools::Pgdr->new($repo, $node), BenchTools::PgBackRest->new($repo, $node));
}

# The same and the floor, which has no encryption.
sub contenders_and_floor
{
    my ($kind, $node) = @_;
    my $repo = $kinds{$kind}->();
    return (BenchTools::Pgdr->new($repo, $node), BenchTools::PgBackRest->new($repo, $node),
        BenchTools::Floor->new($repo, $node));
}

# pgdr once more, encrypted, in a repository of its own.
sub pgdr_encrypted
{
    my ($kind, $node) = @_;
    my $repo = encrypted($kinds{$kind}->());
    return BenchTools::Pgdr->new($repo, $node, 'pgdr-encrypted');
}

# Makes the repository one that has N segments before NAME, which is in it: more names of its object.
sub fill_with_segments
{
    my ($tool, $name, $n) = @_;
    my ($repo) = $tool->places;
    my ($object) = files_below($repo, qr{/$name-[0-9a-f]+[^/]*$}) or die "there is no $name in $repo\n";
    my $above = dirname(dirname("$repo/$object"));
    my ($digest) = $object =~ m{/$name(-[^/]+)$};
    my %made;
    for my $i (1 .. $n) {
        my $other  = segment_plus($name, -$i);
        my $folder = "$above/" . substr $other, 0, 16;
        make_path($folder) if !$made{$folder}++;
        link "$repo/$object", "$folder/$other$digest" or die "cannot link $folder/$other$digest: $!\n";
    }
    return;
}

package BenchTools::Pgdr;

use strict;
use warnings;
use BenchRun qw(must);

sub new
{
    my ($class, $repo, $node, $name) = @_;
    my %options = %{ $repo->{pgdr} };
    $name //= 'pgdr';
    $options{url} =~ s/pgdr$/$name/;
    my $pgdr = Pgdr->new(node => $node, repo => $options{url}, global => { jobs => 2 }, repo_options => \%options);
    return bless { repo => $repo, pgdr => $pgdr, name => $name }, $class;
}

sub name { return $_[0]{name} }

sub command
{
    my ($self, @args) = @_;
    return [Pgdr::program(), '--config=' . $self->{pgdr}->config_file, @args];
}

sub create
{
    my ($self) = @_;
    $self->{repo}{reset}->($self->{name});
    must(@{ $self->command('init') });
    return;
}

sub archive_script { return join(' ', @{ $_[0]->command('archive-push') }) . ' "$1"' }
sub backup         { return $_[0]->command('backup', '--type=full') }
sub incremental    { return $_[0]->command('backup', '--type=incr') }
sub restore        { return $_[0]->command('restore', "--to=$_[1]") }
sub push           { return $_[0]->command('archive-push', $_[1]) }

# As restore writes it into the restored cluster.
sub get    { return $_[0]->command('--timeline-path=1', 'archive-get', $_[1], $_[2]) }
sub archive_command { return join ' ', @{ $_[0]->push('%p') } }
sub restore_command { return join ' ', @{ $_[0]->get('%f', '%p') } }
sub stored { return $_[0]{repo}{stored}->($_[0]{name}) }
sub places { return $_[0]{repo}{places}->($_[0]{name}) }
sub remove { return $_[0]{repo}{remove}->($_[0]{name}) }
sub beside { return $_[0]{repo}{beside} }

package BenchTools::PgBackRest;

use strict;
use warnings;
use BenchRun qw(must);

sub new
{
    my ($class, $repo, $node) = @_;
    my $dir = TestRun::temp_dir('pgbackrest');
    # What its manual advises: bundling, block incremental and zstd at its level.
    my %global = (
        %{ $repo->{pgbackrest} },
        'repo1-bundle' => 'y', 'repo1-block' => 'y', 'compress-type' => 'zst', 'compress-level' => 3,
        'process-max' => 2, 'start-fast' => 'y', 'lock-path' => "$dir/lock", 'log-path' => $dir,
        'spool-path' => "$dir/spool", 'log-level-file' => 'off', 'log-level-console' => 'error');
    my %stanza = (
        'pg1-path' => $node->data_dir, 'pg1-port' => $node->port, 'pg1-socket-path' => $node->host,
        'pg1-user' => 'postgres');
    TestFile::spit("$dir/pgbackrest.conf",
        "[global]\n" . section(%global) . "\n[app]\n" . section(%stanza));
    return bless { repo => $repo, node => $node, dir => $dir, file => "$dir/pgbackrest.conf" }, $class;
}

sub section
{
    my (%options) = @_;
    return join '', map { "$_=$options{$_}\n" } sort keys %options;
}

sub name { return $_[0]{label} // 'pgBackRest' }

sub version
{
    chomp(my $text = must($ENV{PGDR_BENCH_PGBACKREST}, 'version')->{out});
    return "$text, zstd level 3, bundling, block incremental";
}

sub command
{
    my ($self, @args) = @_;
    return [$ENV{PGDR_BENCH_PGBACKREST}, "--config=$self->{file}", '--stanza=app', @args];
}

sub create
{
    my ($self) = @_;
    $self->{repo}{reset}->('pgbackrest');
    File::Path::remove_tree("$self->{dir}/spool");
    my @how = $self->{node}->is_running ? () : ('--no-online');
    must(@{ $self->command(@how, 'stanza-create') });
    return;
}

sub archive_script { return join(' ', @{ $_[0]->command('archive-push') }) . ' "$1"' }
sub backup         { return $_[0]->command('--type=full', 'backup') }
sub incremental    { return $_[0]->command('--type=incr', 'backup') }

# --archive-mode=off: as pgdr does for a copy, so that the copy can be started.
sub restore { return $_[0]->command("--pg1-path=$_[1]", '--archive-mode=off', 'restore') }
sub push    { return $_[0]->command('archive-push', $_[1]) }
sub get     { return $_[0]->command('archive-get', $_[1], $_[2]) }
sub server_command
{
    my ($self, $data, @args) = @_;
    return join ' ', @{ $self->command(@{ $self->{more} // [] }, "--pg1-path=$data", @args) };
}

sub archive_command { return server_command(@_, 'archive-push', '%p') }
sub restore_command { return server_command(@_[0, 1], 'archive-get', '%f', '%p') }
# The same repository by the same program, which fetches and stores ahead.
sub asynchronous { my ($self) = @_; return bless { %$self, more => ['--archive-async'], label => 'pgBackRest async' }, ref $self }
sub stored  { return $_[0]{repo}{stored}->('pgbackrest') }
sub places  { return $_[0]{repo}{places}->('pgbackrest') }
sub remove  { return $_[0]{repo}{remove}->('pgbackrest') }
sub beside  { return $_[0]{repo}{beside} }

package BenchTools::Floor;

# The floor takes part in the same turns; it has no repository, only a folder or a bucket.

use strict;
use warnings;
use BenchRun qw(tool);

sub new
{
    my ($class, $repo, $node) = @_;
    my ($out, @ca) = @{ $repo->{floor} };
    return bless { repo => $repo, out => $out, ca => \@ca, data => $node->data_dir }, $class;
}

sub name    { return 'floor' }
sub create  { return $_[0]{repo}{reset}->('floor') }
sub backup  { my ($self) = @_; return [tool('floor'), 'backup', $self->{data}, $self->{out}, @{ $self->{ca} }] }
sub restore { my ($self, $to) = @_; return [tool('floor'), 'restore', $self->{out}, $to, @{ $self->{ca} }] }
sub stored  { return $_[0]{repo}{stored}->('floor') }
sub places  { return $_[0]{repo}{places}->('floor') }
sub remove  { return $_[0]{repo}{remove}->('floor') }
sub beside  { return $_[0]{repo}{beside} }
sub archive_script { return 'exit 0' }
sub archive_command { my ($self) = @_; return join ' ', tool('floor'), 'push', '%p', "$self->{out}/%f", @{ $self->{ca} } }
sub restore_command { return "cp $_[2]/%f %p" }

sub push
{
    my ($self, $file) = @_;
    return [tool('floor'), 'push', $file, "$self->{out}/" . $file =~ s{.*/}{}r, @{ $self->{ca} }];
}

sub get { my ($self, $name, $to) = @_; return [tool('floor'), 'get', "$self->{out}/$name", $to, @{ $self->{ca} }] }

1;
