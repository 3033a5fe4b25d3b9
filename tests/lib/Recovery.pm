package Recovery;

# What tests of backup and restore have in common: the truth about which transactions a piece of WAL
# holds, told by pg_waldump; a load whose rows say by which transaction they were written; clusters
# restored and started; and a way to stop a backup between two files.

use strict;
use warnings;
use Carp qw(croak);
use Exporter qw(import);
use Fcntl qw(:DEFAULT);
use Test::More ();
use PgNode;
use TestFile qw(spit copy_tree tree_state);
use TestRun qw(temp_dir test_root run poll_until);

our @EXPORT_OK = qw(lsn_number lsn_text xact_ends keep_wal ledger_load ledger ledger_after
  restored check_cluster hold_file plan_of clock_env unchanged);

# ---- WAL positions ----

sub lsn_number
{
    my ($text) = @_;
    my ($high, $low) = $text =~ m{^([0-9A-F]+)/([0-9A-F]+)$}i or croak "'$text' is no LSN";
    return hex($high) << 32 | hex $low;
}

sub lsn_text
{
    my ($number) = @_;
    return sprintf '%X/%X', $number >> 32, $number & 0xFFFFFFFF;
}

# A copy of the server's pg_wal, to be read after the server is gone.
sub keep_wal
{
    my ($node) = @_;
    return copy_tree($node->data_dir . '/pg_wal', temp_dir('wal') . '/pg_wal');
}

# xact_ends(FOLDER, TIMELINE, FILE): every commit and rollback in the WAL files of a folder, in the
# order of the WAL: {lsn, len, xid, commit, time (text, UTC), subxacts => [...], wrote} each; LSNs are
# numbers. wrote tells whether the transaction put a row into the table whose pg_relation_filepath()
# is FILE.
sub xact_ends
{
    my ($dir, $tli, $table) = @_;
    my @files = sort grep { -s } glob sprintf '%s/%08X????????????????', $dir, $tli // 1;
    croak "there is no WAL in $dir" if !@files;
    my ($first) = $files[0] =~ m{([^/]+)$};
    my $rel = $table ? join('/', 1663, $table =~ m{base/(\d+)/(\d+)}) : 'none';
    # It ends with an error where the WAL ends.
    my $text = run(PgNode::bin_dir() . '/pg_waldump', '-p', $dir, $first, last_valid(@files))->{out};
    my (@ends, %wrote);
    for my $line (split /\n/, $text) {
        my ($rmgr, $total, $xid, $lsn, $desc) =
          $line =~ m{^rmgr: (\w+)\s+len \(rec/tot\):\s*\d+/\s*(\d+), tx:\s*(\d+), lsn: ([0-9A-F/]+), prev \S+ desc: (.*)$} or next;
        $wrote{$xid} = 1 if $rmgr eq 'Heap' && $desc =~ /^INSERT.*blkref #0: rel \Q$rel\E (?:fork main )?blk/;
        next if $rmgr ne 'Transaction' || $desc !~ /^(COMMIT|ABORT)/;
        my $commit = $1 eq 'COMMIT' ? 1 : 0;
        my ($time) = $desc =~ /(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC/ or croak "no time in: $line";
        my ($subs) = $desc =~ /subxacts: ([\d ]+)/;
        push @ends, {
            lsn => lsn_number($lsn), len => $total, xid => $xid, commit => $commit, time => $time,
            subxacts => [split ' ', $subs // ''], wrote => $wrote{$xid} // 0 };
    }
    croak "pg_waldump finds no transaction in $dir" if !@ends;
    return @ends;
}

# Names of later segments are those of files kept for later use: the last that begins as its name says.
sub last_valid
{
    my (@files) = @_;
    my $last;
    for my $file (@files) {
        open my $fh, '<:raw', $file or croak "cannot read $file: $!";
        sysread $fh, my $head, 40;
        my ($high, $low) = $file =~ /([0-9A-F]{8})([0-9A-F]{8})$/;
        my ($address, $size) = (unpack 'x8 Q x16 L', $head);
        last if !$size || $address != (hex($high) << 32) + hex($low) * $size;
        ($last) = $file =~ m{([^/]+)$};
    }
    return $last // croak 'no segment is what its name says';
}

# ---- a load that tells who wrote what ----

# Makes the tables (pgbench's and "ledger") and starts pgbench: every transaction changes pgbench's
# tables as usual and writes its id into ledger; one in ten is rolled back. A TestRun::Process.
sub ledger_load
{
    my ($node, %opt) = @_;
    $node->query('CREATE TABLE IF NOT EXISTS ledger(xid bigint PRIMARY KEY)');
    my $dir  = temp_dir('load');
    my $work = <<'SQL';
\set aid random(1, 100000)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = 1 + :aid % 10;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = 1;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1 + :aid % 10, 1, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO ledger VALUES (txid_current());
SQL
    my $commit   = spit("$dir/commit.sql",   "${work}COMMIT;\n");
    my $rollback = spit("$dir/rollback.sql", "${work}ROLLBACK;\n");
    return $node->pgbench_start(args => ['-f', "$commit\@9", '-f', "$rollback\@1", '--rate=' . ($opt{rate} // 100)]);
}

# What ledger holds: the number of rows and a sum over them that two ledgers share only by chance.
sub ledger
{
    my ($node) = @_;
    return ledger_of(split /\n/, $node->query('SELECT xid FROM ledger'));
}

# What it must hold when these entries of xact_ends() are what is replayed.
sub ledger_after
{
    return ledger_of(map { $_->{xid} } grep { $_->{commit} && $_->{wrote} } @_);
}

sub ledger_of
{
    my (@xids) = @_;
    my $sum = 0;
    $sum = ($sum * 31 + $_) % 1_000_000_007 for sort { $a <=> $b } @xids;
    return scalar(@xids) . " rows, sum $sum";
}

# ---- clusters that were restored ----

# The plan that restore makes for these arguments, changing nothing.
sub plan_of
{
    my ($pgdr, @args) = @_;
    my $json = $pgdr->json('restore', @args, '--dry-run') // {};
    return $json->{plan} // {};
}

# restored(PGDR, NAME, ARGUMENTS...): restores into a new folder and starts it; the PgNode.
sub restored
{
    my ($pgdr, $name, @args) = @_;
    my $to = temp_dir($name) . '/data';
    $pgdr->ok('restore', "--to=$to", @args);
    my $node = PgNode->from_datadir($name, $to);
    $node->start;
    return $node;
}

# Tests of a running cluster, which is stopped by it: indexes, then page checksums.
sub check_cluster
{
    my ($node) = @_;
    $node->check_amcheck;
    $node->stop;
    $node->check_checksums;
    return;
}

# A test that CODE changes nothing in these files and folders; what it changed is shown.
sub unchanged
{
    my ($paths, $code) = @_;
    my $look = sub { map { -e $_ || -l $_ ? tree_state($_, mtime => 1) : "$_: absent\n" } @$paths };
    my @before = $look->();
    $code->();
    my @after = $look->();
    my @differences;
    for my $i (0 .. $#$paths) {
        my %was = map { $_ => 1 } split /\n/, $before[$i];
        my %is  = map { $_ => 1 } split /\n/, $after[$i];
        push @differences, map({ "- $_" } grep { !$is{$_} } sort keys %was), map({ "+ $_" } grep { !$was{$_} } sort keys %is);
    }
    splice @differences, 10;
    Test::More::ok(!@differences, 'nothing is changed') or Test::More::diag(join "\n", @differences);
    return;
}

# ---- a server whose clock can be set ----

# The environment for PgNode's start, and the file in which a test writes by how many seconds the
# server's clock differs from this machine's (tests/fault/libclock.c).
sub clock_env
{
    my $library = ($ENV{PGDR_TEST_FAULT_LIB} // croak 'start the test with tests/run') =~ s{[^/]+$}{libclock.so}r;
    croak "there is no $library" if !-e $library;
    my $file = spit(test_root() . '/clock', '0');
    return ({ LD_PRELOAD => $library, CLOCK_FILE => $file }, $file);
}

# ---- a backup that stands still ----

use constant { F_SETLEASE => 1024, F_GETLEASE => 1025 };

# hold_file(FILE): makes the file (when absent) and holds whoever opens it until release() is called,
# at most as long as the system allows a lease to be kept (45 s). reached() waits until somebody is held.
sub hold_file
{
    my ($file) = @_;
    spit($file, 'x') if !-e $file;
    open my $fh, '+<', $file or croak "cannot open $file: $!";
    $SIG{IO} = 'IGNORE'; # how the system says that somebody waits; it would end us
    fcntl $fh, F_SETLEASE, F_WRLCK or croak "cannot take a lease on $file: $!";
    return bless { fh => $fh, file => $file }, 'Recovery::Hold';
}

package Recovery::Hold;

use strict;
use warnings;
use Fcntl qw(:DEFAULT);

# The kind of lease changes as soon as somebody else wants the file.
sub is_reached
{
    my ($self) = @_;
    my $kind = fcntl $self->{fh}, Recovery::F_GETLEASE(), 0;
    return $kind != F_WRLCK;
}

sub reached
{
    my ($self) = @_;
    TestRun::poll_until(sub { $self->is_reached }, "somebody opens $self->{file}") or die "nobody opens $self->{file}\n";
    return;
}

sub release
{
    my ($self) = @_;
    fcntl $self->{fh}, Recovery::F_SETLEASE(), F_UNLCK or die "cannot give up the lease on $self->{file}: $!\n";
    close $self->{fh};
    return;
}

1;
