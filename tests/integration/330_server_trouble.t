# Trouble on the server's side of a backup: it crashes, sessions are ended, archiving fails or lies, tables
# and databases come and go, files have odd names and kinds, a page is damaged, several backups run at
# once, a standby is promoted, the clock jumps. Either there is a backup that restores to exactly what was
# there, or an error that says why and no backup at all.

use strict;
use warnings;
use Test::More;
use IO::Socket::UNIX;
use POSIX qw(mkfifo);

use Faults qw(small_node backups_of json_of unnamed_error);
use Pgdr;
use PgNode;
use Recovery qw(hold_file restored check_cluster clock_env);
use TestFile qw(slurp spit files_below with_mode flip_bit);
use TestRun qw(temp_dir poll_until run);

my $node = small_node('primary');
my $pgdr = Pgdr->new(node => $node);
my ($clock_env, $clock) = clock_env();
$node->enable_archiving($pgdr);
$node->start(env => $clock_env);
$node->query("CREATE TABLE big AS SELECT n, repeat('x', 100) || n AS t FROM generate_series(1, 3000) n");
$pgdr->ok('init');
$pgdr->ok('backup');
my $data = $node->data_dir;

# A test that CODE leaves the list of backups as it is, and that the next one succeeds.
sub no_backup
{
    my ($what, $code) = @_;
    my @before = backups_of($pgdr);
    $code->();
    is_deeply([ backups_of($pgdr) ], \@before, "$what: there is no backup");
    return;
}

# Restores the newest backup, starts it, and compares it with what the server has now.
sub restores_as_is
{
    my ($name) = @_;
    $node->archive_all;
    my $want = $node->fingerprint;
    my $copy = restored($pgdr, $name);
    $copy->wait_promoted;
    is($copy->fingerprint, $want, "$name: it restores to exactly that");
    check_cluster($copy);
    $copy->destroy;
    return;
}

# A backup that stands still in its middle: (process, hold).
sub held_backup
{
    my (@args) = @_;
    my $hold   = hold_file("$data/aa_held");
    my $backup = $pgdr->start('backup', '--output=json', @args);
    $hold->reached;
    return ($backup, $hold);
}

subtest 'the server goes away' => sub {
    my %how = (
        'killed'              => sub { $node->kill9 },
        'stopped at once'     => sub { $node->stop('immediate') },
        'stopped'             => sub { $node->stop('fast') },
        'the session is ended' => sub {
            $node->query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgdr%'});
        });
    for my $what (sort keys %how) {
        no_backup($what, sub {
            my ($backup, $hold) = held_backup();
            $how{$what}->();
            $hold->release;
            my $result = $backup->wait;
            is(unnamed_error($result), '', "$what: the error has a name");
            ok((grep { $result->{rc} == Pgdr::exit_status($_) } qw(SERVER NETWORK)), "$what: the server is to blame") or diag($result->describe);
            like($result->{err}, qr/PostgreSQL|server/, '  and said to be');
        });
        unlink "$data/aa_held";
        ok(!-e "$data/backup_label", 'no backup_label is left behind');
        $node->start(env => $clock_env) if !$node->is_running;
        $node->wait_ready;
        $pgdr->ok('backup');
    }
};

subtest 'archiving fails' => sub {
    my $right = $node->query('SHOW archive_command');
    my %how = (
        'it fails'         => ['false', qr/has not arrived in .* after 2(\.0)? s.*HINT: see the server's log/s],
        'it lies'          => ['true',  qr/has not arrived/],
        'it hangs'         => ['sleep 5; false', qr/has not arrived/]);
    for my $what (sort keys %how) {
        my ($command, $re) = @{ $how{$what} };
        no_backup($what, sub {
            $node->query("ALTER SYSTEM SET archive_command = '$command'");
            $node->reload;
            $node->poll('SHOW archive_command', $command);
            my $result = $pgdr->fails('WAL_MISSING', $re, 'backup', '--archive-timeout=2s');
            cmp_ok($result->{seconds}, '<', 60, 'it does not wait for ever');
        });
    }
    # Slow is not wrong.
    (my $slow = "sleep 1; $right") =~ s/'/''/g;
    $node->query("ALTER SYSTEM SET archive_command = '$slow'");
    $node->reload;
    $pgdr->ok('backup', '--archive-timeout=100s');
    $node->query('ALTER SYSTEM RESET archive_command');
    $node->reload;
    # The WAL that the liar lost is gone: what comes later is whole by itself.
    $pgdr->ok('backup');
    restores_as_is('after lost WAL');
};

subtest 'tables and databases come and go' => sub {
    my $script = '';
    $node->query('CREATE DATABASE tmpl TEMPLATE postgres');
    for my $n (1 .. 400) {
        $script .= "CREATE TABLE storm$n AS SELECT generate_series(1, 500) i;\nCREATE INDEX ON storm$n(i);\n";
        $script .= 'TRUNCATE storm' . ($n - 1) . ";\n" if $n > 1;
        $script .= 'DROP TABLE storm' . ($n - 2) . ";\n" if $n > 2;
        $script .= "CREATE DATABASE storm TEMPLATE tmpl;\nDROP DATABASE storm;\n" if $n % 20 == 0;
        $script .= "CREATE UNLOGGED TABLE unlogged$n(i int);\nDROP TABLE unlogged$n;\n";
    }
    my $storm = TestRun::start($node->program('psql'), $node->address, '-XAtq', '-d', 'postgres', { stdin => $script });
    $node->poll(q{SELECT count(*) > 0 FROM pg_class WHERE relname LIKE 'storm%'});
    my $during = 0;
    for (1 .. 3) {
        $during++ if $storm->running;
        $pgdr->ok('backup');
    }
    ok($during, "$during backups were taken meanwhile");
    ok($storm->stop('TERM'), 'the storm is over');
    $node->poll(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'psql' AND pid <> pg_backend_pid()});
    restores_as_is('after the storm');

    # Certainly between the list of files and their reading.
    $node->query("CREATE TABLE $_ AS SELECT generate_series(1, 20000) i") for qw(dropped truncated grown);
    $node->query('CREATE DATABASE gone TEMPLATE tmpl');
    my ($backup, $hold) = held_backup('--jobs=1');
    $node->query($_) for 'DROP TABLE dropped', 'TRUNCATE truncated', 'INSERT INTO grown SELECT generate_series(1, 100000)',
      'DROP DATABASE gone', 'CREATE DATABASE fresh TEMPLATE tmpl', 'CREATE TABLE fresh AS SELECT 1 AS i';
    $hold->release;
    my $result = $backup->wait;
    ok($result->ok, 'what was listed is gone, or is another') or diag($result->describe);
    unlink "$data/aa_held";
    restores_as_is('changed meanwhile');
    $node->query("DROP DATABASE $_") for qw(fresh tmpl);
};

subtest 'names and kinds of files' => sub {
    my $db = 'base/' . $node->query(q{SELECT oid FROM pg_database WHERE datname = 'postgres'});
    my @names = ('a space', "a\nnewline", "tab\tand\\backslash", q{quotes'"`$(x)}, "\xC3\xBCtf-8", "\xFF\xFEnot utf-8", '-rf',
        'x' x 255, ' ', '%s%n', '{"json":1}', '.hidden', 'pg_controlx');
    for my $dir ("$data/$db", $data) {
        spit("$dir/zz$_", "content of $_\n") for map { substr $_, 0, 253 } @names;
        mkdir "$dir/dd$_" for map { substr $_, 0, 253 } @names;
    }
    my $long = $data . '/deep' . "/d" x 20;
    run('mkdir', '-p', $long);
    spit("$long/file", 'deep');
    my $outside = temp_dir('outside');
    spit("$outside/file", 'outside');
    symlink "$outside/file", "$data/link_to_file" or die;
    symlink $outside,        "$data/link_to_dir"  or die;
    symlink '/nonexistent',  "$data/link_to_nowhere" or die;
    symlink 'link_to_itself', "$data/link_to_itself" or die;
    mkfifo("$data/a_fifo", 0600) or die;
    my $socket = IO::Socket::UNIX->new(Local => "$data/a_socket", Listen => 1) or die "no socket: $!";
    my $result = $pgdr->ok('backup');
    my $to = temp_dir('odd') . '/data';
    $pgdr->ok('restore', "--to=$to", '--type=immediate');
    my @bad;
    for my $dir ($db, '.') {
        for my $name (map { substr $_, 0, 253 } @names) {
            push @bad, "$dir/zz$name" if !-e "$to/$dir/zz$name" || slurp("$to/$dir/zz$name") ne "content of $name\n" && slurp("$data/$dir/zz$name") ne slurp("$to/$dir/zz$name");
            push @bad, "$dir/dd$name" if !-d "$to/$dir/dd$name";
        }
    }
    is_deeply(\@bad, [], 'all names come back, with their content');
    is(slurp("$to/deep" . "/d" x 20 . '/file'), 'deep', 'from deep below, too');
    is(slurp("$to/link_to_file"), 'outside', 'what a link leads to');
    is(slurp("$to/link_to_dir/file"), 'outside', 'and a link to a folder');
    for my $name (qw(link_to_nowhere link_to_itself a_fifo a_socket)) {
        ok(!-e "$to/$name" && !-l "$to/$name", "$name is left out");
    }
    like($result->{err}, qr/link_to_nowhere.*leads nowhere/, 'and it is said');
    $pgdr->ok('verify', '--backup=' . (backups_of($pgdr))[-1]);

    no_backup('a link that leads back', sub {
        symlink $data, "$data/deep/back" or die;
        $pgdr->fails('REFUSED', qr/deep\/back.*does a link lead back/s, 'backup');
        unlink "$data/deep/back";
    });
    no_backup('a file that may not be read', sub {
        with_mode("$data/$db/zza space", 0, sub { $pgdr->fails('ACCESS', qr/zza space.*Permission denied/, 'backup') });
    });
    no_backup('a folder that may not be read', sub {
        with_mode("$data/dda space", 0, sub { $pgdr->fails('ACCESS', qr/dda space.*Permission denied/, 'backup') });
    });
    run('rm', '-rf', glob("$data/deep"), map({ "$data/$_" } qw(link_to_file link_to_dir link_to_nowhere link_to_itself a_fifo a_socket)));
    for my $dir ("$data/$db", $data) {
        run('rm', '-rf', map { ("$dir/zz$_", "$dir/dd$_") } map { substr $_, 0, 253 } @names);
    }
    $pgdr->ok('backup');
};

subtest 'pg_wal is elsewhere' => sub {
    my $wal = temp_dir('elsewhere') . '/wal';
    $node->stop;
    rename "$data/pg_wal", $wal or run('mv', "$data/pg_wal", $wal);
    symlink $wal, "$data/pg_wal" or die;
    $node->start(env => $clock_env);
    $pgdr->ok('backup');
    restores_as_is('pg_wal elsewhere');
    $node->stop;
    unlink "$data/pg_wal";
    run('mv', $wal, "$data/pg_wal");
    $node->start(env => $clock_env);
};

subtest 'a damaged page' => sub {
    $node->query('CREATE TABLE hurt AS SELECT generate_series(1, 5000) i');
    my $file = $node->query(q{SELECT pg_relation_filepath('hurt')});
    $node->stop;
    flip_bit("$data/$file", 8192 * 3 + 5000);
    $node->start(env => $clock_env);
    my $json = $pgdr->json_fails('PAGES', 'backup');
    is($json->{backup}{damaged_pages}, 1, 'it is counted');
    like("@{$json->{backup}{warnings}}", qr/'\Q$file\E', block 3: the page's checksum is wrong/, 'and named');
    my ($shown) = grep { $_->{id} eq $json->{backup}{id} } @{ json_of($pgdr->run('info', '--output=json'))->{clusters}[0]{backups} };
    is($shown->{status}, 'damaged pages', 'info tells');
    my $to = temp_dir('hurt') . '/data';
    $pgdr->ok('restore', "--to=$to", '--type=immediate');
    ok(slurp("$to/$file") eq slurp("$data/$file"), 'it is kept as it is');
    $pgdr->ok('verify', "--backup=$json->{backup}{id}");
    $node->query('DROP TABLE hurt');
    $pgdr->ok('backup');
};

subtest 'two at the same time' => sub {
    my @before = backups_of($pgdr);
    my ($one, $hold) = held_backup();
    unlink "$data/aa_held"; # the second one does not meet it
    $pgdr->ok('backup');
    $hold->release;
    my $result = $one->wait;
    ok($result->ok, 'both succeed') or diag($result->describe);
    my @now = backups_of($pgdr);
    is(scalar @now, @before + 2, 'and both are there');
    $pgdr->ok('verify', "--backup=$_") for @now[-2, -1];
    my @both = map { $pgdr->start('backup') } 1 .. 2;
    ok($_->wait->ok, 'side by side') for @both;
};

subtest 'the server\'s clock jumps' => sub {
    for my $offset (-90000, 90000, 0) {
        spit($clock, $offset);
        $node->mark("at $offset");
        my $json = $pgdr->json('backup');
        $node->archive_all;
        my $plan = Recovery::plan_of($pgdr, '--to=' . temp_dir('clock') . '/data');
        is($plan->{backup}, $json->{backup}{id}, "by $offset s: the newest backup is still the one that is used");
    }
    restores_as_is('the clock jumped');
};

subtest 'a standby' => sub {
    my $standby = PgNode->standby_of($node, 'standby', slot => 'standby');
    $standby->start;
    my $from = Pgdr->new(node => $standby, repo => $pgdr->repo);
    $node->wait_for_catchup($standby);
    my $backup = $from->start('backup', '--output=json');
    # Its primary ends the segment, which it cannot do itself.
    my $count = 0;
    poll_until(sub { $node->query('SELECT pg_switch_wal()') if $count++ % 5 == 0; $node->mark("s$count"); !$backup->running }, 'it ends');
    my $result = $backup->wait;
    ok($result->ok, 'a backup of a standby') or diag($result->describe);
    ok(json_of($result)->{backup}{from_standby}, 'is marked as such');
    restores_as_is('of a standby');

    my @before = backups_of($pgdr);
    spit($standby->data_dir . '/aa_held', 'x');
    my $hold = hold_file($standby->data_dir . '/aa_held');
    $backup = $from->start('backup', '--output=json');
    $hold->reached;
    $standby->promote;
    $standby->wait_promoted;
    $hold->release;
    $result = $backup->wait;
    is(unnamed_error($result), '', 'promoted meanwhile');
    like($result->{err}, qr/promoted/, '  that is what it says');
    is_deeply([ backups_of($pgdr) ], \@before, '  there is no backup');
    $standby->stop;
};

done_testing;
