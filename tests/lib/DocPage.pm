package DocPage;

# The examples of a page of documentation, run as they stand there.
#
# An example is a block that is indented by four spaces. A test takes the page's blocks one after the
# other with next_block(), names each by a part of its text, and does with it what the page says; at
# the end done() is a test that none was passed over. So no example can be added, or changed, without
# its test.
#
# What a page calls by fixed names (/etc/pgdr, /srv/pgdr) is elsewhere in a test: machine() makes it, and
# every text from a page is taken through substitute() first. Commands that a test cannot give (sudo,
# systemctl) are small programs in a folder that comes first in PATH: command().

use strict;
use warnings;
use Carp qw(croak);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use POSIX ();
use Test::More ();
use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to);
use TestRun qw(temp_dir run);

# new(FILE below the source): the page.
sub new
{
    my ($class, $file) = @_;
    my $source = $ENV{PGDR_TEST_SOURCE} // croak 'PGDR_TEST_SOURCE is not set: start the test with tests/run';
    my $text   = slurp("$source/$file");
    my $self   = bless {
        file => $file, text => $text, bin => temp_dir('doc-bin'), replace => [], env => {}, at => 0 }, $class;
    $self->{blocks} = blocks_of($text);
    croak "$file has no example" if !@{ $self->{blocks} };
    return $self;
}

# The page as it is.
sub text { return $_[0]{text} }

sub blocks_of
{
    my ($text) = @_;
    my (@blocks, $current);
    my ($line, $blank) = (0, 0);
    for (split /\n/, $text) {
        $line++;
        if (/^    (.*)/) {
            push @blocks, $current = { line => $line, text => '' } if !$current;
            $current->{text} .= "\n" x $blank . "$1\n";
            $blank = 0;
        } elsif ($_ eq '' && $current) {
            $blank++;
        } else {
            ($current, $blank) = (undef, 0);
        }
    }
    return \@blocks;
}

# The next block, which must contain PART: its text, ready to be used.
sub next_block
{
    my ($self, $part) = @_;
    my $block = $self->{blocks}[ $self->{at}++ ] // croak "$self->{file} has no further example, '$part' was expected";
    croak "$self->{file}:$block->{line}: the example is not the one with '$part':\n$block->{text}"
      if index($block->{text}, $part) < 0;
    return $self->substitute($block->{text});
}

# A test that every block was used.
sub done
{
    my ($self) = @_;
    my $next = $self->{blocks}[ $self->{at} ];
    Test::More::ok(!$next, "$self->{file}: every example was tried")
      or Test::More::diag("$self->{file}:$next->{line}: nobody tries this:\n$next->{text}");
    return;
}

# replace(FROM => TO, …): what stands for something else in this test; the longest first.
sub replace
{
    my ($self, %pairs) = @_;
    my %all = ((map { @$_ } @{ $self->{replace} }), %pairs);
    $self->{replace} = [map { [$_, $all{$_}] } sort { length $b <=> length $a || $a cmp $b } keys %all];
    return;
}

sub substitute
{
    my ($self, $text) = @_;
    my %to = map { @$_ } @{ $self->{replace} };
    return $text if !%to;
    my $any = join '|', map { quotemeta $_->[0] } @{ $self->{replace} };
    return $text =~ s/($any)/$to{$1}/gr;
}

# command(NAME, SCRIPT): a program for the examples.
sub command
{
    my ($self, $name, $script) = @_;
    spit("$self->{bin}/$name", "#!/bin/sh\n$script\n");
    chmod 0755, "$self->{bin}/$name" or croak "cannot chmod $self->{bin}/$name: $!";
    return "$self->{bin}/$name";
}

# Environment variables for every example.
sub set_env
{
    my ($self, %env) = @_;
    $self->{env} = { %{ $self->{env} }, %env };
    return;
}

sub env
{
    my ($self) = @_;
    return { %{ $self->{env} }, PATH => join ':', $self->{bin}, grep { defined } $self->{env}{PATH}, $ENV{PATH} };
}

sub path_of
{
    my ($self, $name) = @_;
    return "$self->{bin}/$name";
}

# machine(PgNode): what a page calls by fixed names, for a server that is set up as Debian does it, with
# its configuration outside of its data directory. It is started and stopped by systemctl. The folder
# below which etc, srv and mnt are.
sub machine
{
    my ($self, $node) = @_;
    my $root   = temp_dir('machine');
    my $conf   = "$root/etc/postgresql";
    my $me     = getpwuid $>;
    my $prefix = dirname(dirname(Pgdr::program()));
    make_path("$root/etc/pgdr", "$root/etc/cron.d", "$root/srv", "$root/mnt", $conf);
    for my $file (qw(postgresql.conf pg_hba.conf pg_ident.conf)) {
        rename $node->data_dir . "/$file", "$conf/$file" or croak "cannot move $file: $!";
    }
    append_to("$conf/postgresql.conf", join '', "data_directory = '@{[ $node->data_dir ]}'\n",
        map { "${_}_file = '$conf/pg_$_.conf'\n" } qw(hba ident));
    my $pgdr = $self->command('pgdr', 'exec ' . Pgdr::program() . ' "$@"');
    $self->command('sudo', '[ "$1" = -u ] && shift 2; exec "$@"');
    $self->command('systemctl', <<"END");
ctl="pg_ctl -s -w -D $conf -l @{[ $node->log_file ]}"
case "\$*" in
'start postgresql') exec \$ctl start ;;
'stop postgresql') exec \$ctl -m fast stop ;;
'restart postgresql') exec \$ctl -m fast restart ;;
'enable --now '*)
    shift 2
    for unit; do grep -q ^OnCalendar= "$prefix/lib/systemd/system/\$unit" || exit 1; done ;;
*) exit 1 ;;
esac
END
    $self->set_env(
        PATH => PgNode::bin_dir(), PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'postgres',
        PGDR_CONFIG => "$root/etc/pgdr/pgdr.conf", PGDR_HOST => $node->host, PGDR_PORT => $node->port);
    $self->replace(
        '/etc/pgdr/'                         => "$root/etc/pgdr/",
        '/etc/cron.d/'                       => "$root/etc/cron.d/",
        '/etc/postgresql/15/main'            => $conf,
        '/mnt/'                              => "$root/mnt/",
        '/srv/'                              => "$root/srv/",
        '/usr/lib/postgresql/15/bin'         => PgNode::bin_dir(),
        '/usr/local/bin/pgdr'                => $pgdr,
        '/usr/local/share/doc/pgdr/examples' => "$prefix/share/doc/pgdr/examples",
        '/var/lib/postgresql/15/main'        => $node->data_dir,
        'chown postgres'                     => "chown $me",
        '-o postgres'                        => "-o $me");
    return $root;
}

# Configures the machine with TEXT (a block of pgdr.conf), makes the repositories by the command INIT,
# and starts the server, archiving.
sub set_up
{
    my ($self, $root, $text, $init) = @_;
    spit("$root/etc/pgdr/pgdr.conf", $text);
    append_to("$root/etc/postgresql/postgresql.conf",
        "archive_mode = on\narchive_command = '$self->{bin}/pgdr archive-push %p'\n");
    $self->shell('systemctl start postgresql');
    $self->shell($init);
    return;
}

# A test: the lines of TEXT are commands, and all succeed. The TestRun::Result.
sub shell
{
    my ($self, $text, $what) = @_;
    my $result = run('sh', '-e', '-c', $text, { env => $self->env, cwd => TestRun::test_root() });
    ($what) = $what // split /\n/, $text;
    Test::More::ok($result->ok, $what) or Test::More::diag($result->describe);
    return $result;
}

# A test of a block whose lines begin with '$ ': each is typed at a terminal, by somebody who says yes,
# and where lines follow it in the block they are what is printed, but for what differs from one run
# to the other: times, sizes, identifiers, numbers. What was printed, one text a command.
sub transcript
{
    my ($self, $text) = @_;
    my @printed;
    my ($begin, @steps) = split /^\$ /m, $text;
    croak "the example does not begin with '\$ ':\n$text" if $begin ne '';
    for my $step (@steps) {
        my ($command, $want) = split /\n/, $step, 2;
        my ($result, $got)   = $self->typed($command);
        Test::More::ok($result->ok, "\$ $command") or Test::More::diag($result->describe);
        Test::More::is(shape($got), shape($want), '... prints what the page says') if $want =~ /\S/;
        push @printed, $got;
    }
    return @printed;
}

# A command at a terminal, by somebody who says yes: (TestRun::Result, what was to be seen). The pipe
# never ends: at the end of its input script(1) may wait for ever for somebody to read it.
sub typed
{
    my ($self, $command) = @_;
    my $pipe = "$self->{bin}/.typed";
    -p $pipe || POSIX::mkfifo($pipe, 0600) or croak "cannot make $pipe: $!";
    my $result = run('sh', '-c', 'exec 3<>"$1" && echo yes >&3 && exec script -qec "$2" /dev/null <"$1"', 'sh', $pipe, $command,
        { env => { %{ $self->env }, TERM => 'dumb', PAGER => 'cat', SHELL => '/bin/sh' }, cwd => TestRun::test_root() });
    my $seen = $result->{out};
    $seen =~ s/\r//g;
    $seen =~ s/^.*\x1b\[K//mg;    # a line of progress that was written over
    $seen =~ s/^yes\n//mg;        # what was typed before it was asked for
    return ($result, $seen);
}

# What does not differ from one run to the other.
sub shape
{
    my ($text) = @_;
    for ($text) {
        s/\[yes\/no\] (?:yes)?\n?/[yes\/no]\n/g;
        s/\b\d{8}T\d{6}Z-[0-9a-f]{16}\b/ID/g;
        s/\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?: UTC|Z|[+]00)/TIME/g;
        s/\b[0-9A-F]{24}\b/SEGMENT/g;
        s/\b[0-9a-f]{32}\b/DIGEST/g;
        s/\b(?:0|[1-9A-F][0-9A-F]*)\/[0-9A-F]{1,8}\b/LSN/g;
        s/\b\d+(?:\.\d+)? (?:[KMGT]i)?B\b/SIZE/g;
        s/\b\d+(?:\.\d+)? (?:ms|s|min|h)(?: \d+ s)?\b/DURATION/g;
        s/\b\d+(?:\.\d+)?\b/N/g;
        s/\bsegment\b/segments/g;
        s/[ \t]+/ /g;
        s/ +$//mg;
        s/\n{2,}/\n/g;
        s/\A\n+|\n+\z//g;
    }
    return $text;
}

1;
