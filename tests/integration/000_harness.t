#@ folder pgdr takes no part
# Does the harness itself hold? Everything that the other tests rely on, with PostgreSQL alone: a
# defect here shows here, not as a riddle elsewhere. pgdr does not take part.

use strict;
use warnings;
use Test::Tester;
use Test::More;
use Time::HiRes qw(sleep time);

use Pgdr;
use PgNode;
use TestFile qw(slurp spit append_to files_below tree_state copy_tree flip_bit zero_range truncate_to
  truncate_by swap_files delete_file with_mode);
use TestRun qw(test_root temp_dir run start poll_until processes_below left_behind);

# Whether CODE, a test, passes; in the place of Test::More, so that a failure is a result here.
sub verdict
{
    my ($code) = @_;
    my (undef, @results) = run_tests($code);
    return join ' ', map { $_->{ok} ? 'ok' : 'not ok' } @results;
}

subtest 'programs' => sub {
    my $result = run('sh', '-c', 'cat; echo err >&2; exit 3', { stdin => 'in' });
    is($result->{rc},  3,       'exit status');
    is($result->{out}, 'in',    'standard input and output');
    is($result->{err}, "err\n", 'standard error');
    ok(!$result->ok, 'a status above 0 is not ok');

    $result = run('sh', '-c', 'sleep 50 & sleep 50', { timeout => 0.5 });
    ok($result->{timed_out}, 'a time limit');
    cmp_ok($result->{seconds}, '<', 10, 'is kept');
    is(scalar left_behind(), 0, 'and kills what the program started too');

    $result = run('sh', '-c', 'kill -9 $$');
    is($result->{signal}, 9, 'death by a signal');
    is(run('/no/such/program')->{rc}, 127, 'a program that is not there');

    local $ENV{PGDR_JOBS} = 7;
    is(run('sh', '-c', 'echo $PGDR_JOBS')->{out}, "\n", 'PGDR_* of the caller does not reach programs');
    is(run('sh', '-c', 'echo $PGDR_JOBS', { env => { PGDR_JOBS => 3 } })->{out}, "3\n", 'but what a test sets does');

    $result = run('perl', '-e', 'my $x = "x" x 30_000_000; select undef, undef, undef, 0.2');
    cmp_ok($result->{peak_kb}, '>', 28_000, 'peak memory is seen');
    $result = run('perl', '-e', '1 while times < 0.3');
    cmp_ok($result->{cpu}, '>', 0.25, 'processor time is seen');
};

subtest 'processes left behind' => sub {
    my $process = start('setsid', 'sleep', '60');
    poll_until(sub { join(' ', left_behind()) =~ /sleep 60/ }, 'the process is seen', 20);
    like(join(' ', left_behind()), qr/sleep 60/, 'a process that left its group is seen');
    $process->stop;
    kill 'KILL', map { (split)[0] } left_behind();
    poll_until(sub { !left_behind() }, 'it is gone');
    is(join(' ', left_behind()), '', 'nothing is left');
};

subtest 'files' => sub {
    my $dir = temp_dir('files');
    my $one = spit("$dir/one", 'abcdef');
    my $two = spit("$dir/two", 'ABC');
    mkdir "$dir/sub";
    spit("$dir/sub/three", "\0\1");
    is(join(' ', files_below($dir)),             'one sub/three two', 'files_below');
    is(join(' ', files_below($dir, qr/o/)),      'one two',           'files_below by name');
    my $copy = copy_tree($dir, "$dir.copy");
    is(tree_state($copy), tree_state($dir), 'equal trees have equal states');
    chmod 0400, "$copy/one";
    isnt(tree_state($copy), tree_state($dir), 'a mode is part of the state');
    is(tree_state($copy, without_mode => 1), tree_state($dir, without_mode => 1), 'or not');

    flip_bit("$copy/one", 2, 1);
    is(slurp("$copy/one"), 'abadef', 'flip_bit, also in a read-only file');
    flip_bit("$copy/one", -1);
    is(slurp("$copy/one"), 'abadeg', 'flip_bit from the end');
    zero_range("$copy/one", 1, 2);
    is(slurp("$copy/one"), "a\0\0deg", 'zero_range');
    truncate_to("$copy/one", 4);
    truncate_by("$copy/one", 1);
    is(slurp("$copy/one"), "a\0\0", 'truncate');
    swap_files("$copy/one", "$copy/two");
    is(slurp("$copy/one"), 'ABC', 'swap_files');
    delete_file("$copy/sub/three");
    is(join(' ', files_below($copy)), 'one two', 'delete_file');
    append_to("$copy/one", 'D');
    is(slurp("$copy/one"), 'ABCD', 'append_to');

    for my $useless (sub { zero_range("$dir/sub/three", 0, 1) }, sub { truncate_to($one, 6) },
        sub { flip_bit($one, 6) }, sub { delete_file("$dir/none") })
    {
        ok(!eval { $useless->(); 1 }, 'a mutilation that changes nothing dies');
    }
    ok(!with_mode($dir, 0500, sub { open my $fh, '>', "$dir/new" }), 'with_mode forbids');
    ok(open(my $fh, '>', "$dir/new"), 'and allows again');
};

my $archive = temp_dir('archive');
my $node = PgNode->init('primary', wal_segsize => 1);
my $backup = temp_dir('backup') . '/data';
my (%at, %mark);

subtest 'a server' => sub {
    $node->enable_archiving("test ! -e $archive/%f && cp %p $archive/%f");
    $node->start;
    ok($node->is_ready, 'it is ready');
    is($node->query('SHOW server_version_num') =~ s/....$//r, $node->version, 'of the version asked for');
    is($node->query('SHOW data_checksums'), 'on', 'with checksums');
    is($node->query('SHOW wal_segment_size'), '1MB', 'with the segment size asked for');
    is($node->psql('SELECT 1/0')->{rc}, 3, 'an error is no success');
    ok(!eval { $node->query('SELECT 1/0'); 1 }, 'and query dies of it');
    ok($node->psql('SELECT pg_sleep(60)', timeout => 1)->{timed_out}, 'a query has a time limit');
    ok($node->log_contains(qr/division by zero/), 'its log is read');
    ok(!$node->log_contains(qr/division by zero/, $node->log_mark), 'from a mark on');
    $node->pgbench_init(1);
    $node->query('CREATE DATABASE other');
    $node->query("CREATE TABLE t AS SELECT i, 'row ' || i AS text FROM generate_series(1, 1000) i", db => 'other');
    $node->add_tablespace('space');
    $node->query('CREATE TABLE far(i int) TABLESPACE space; INSERT INTO far VALUES (1)');
};

subtest 'fingerprints' => sub {
    my $print = $node->fingerprint;
    like($print, qr/^postgres public\.pgbench_accounts 100000 -?\d+$/m, 'has every table');
    like($print, qr/^other public\.t 1000 -?\d+$/m,                     'of every database');
    $node->query('UPDATE t SET i = i WHERE i % 3 = 0; VACUUM t', db => 'other');
    is($node->fingerprint, $print, 'does not see where rows lie');
    $node->query(q{UPDATE t SET text = 'row 18' WHERE i = 17}, db => 'other');
    isnt($node->fingerprint, $print, 'sees one changed value');
    $node->query(q{UPDATE t SET text = 'row 17' WHERE i = 17}, db => 'other');
    is($node->fingerprint, $print, 'and its return');
    $node->query('DELETE FROM t WHERE i = 17; INSERT INTO t SELECT * FROM t WHERE i = 18', db => 'other');
    isnt($node->fingerprint, $print, 'sees an exchanged row');
};

subtest 'backup and load' => sub {
    $node->base_backup($backup, '-T', test_root() . '/ts-space=' . test_root() . '/ts-restored');
    my $load = $node->pgbench_start(clients => 2);
    sleep 0.5;
    ok($load->running, 'pgbench runs in the background');
    for my $name (qw(a b c)) {
        $mark{$name} = $node->mark($name);
        sleep 0.05;
    }
    is($load->stop('TERM')->{signal} || 15, 15, 'and is ended');
    poll_until(sub { $node->query(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'}) == 0 }, 'pgbench left');
    cmp_ok($node->query('SELECT count(*) FROM pgbench_history'), '>', 0, 'it did something');
    is($node->marks, 'a b c', 'marks');
    cmp_ok($mark{a}{time}, 'lt', $mark{b}{time}, 'have times in order');
    $at{end} = $node->fingerprint;
    $mark{d} = $node->mark('d');
    $at{d} = $node->fingerprint;
    my $file = $node->archive_all;
    ok(-e "$archive/$file", 'archive_all waits for the archiver');
};

subtest 'kill -9' => sub {
    cmp_ok(scalar(my @processes = $node->processes), '>', 4, 'the processes of the server are seen');
    $node->kill9;
    is(join(' ', left_behind()), '', 'all are gone');
    is($node->control_data->{'Database cluster state'}, 'in production', 'it did not shut down');
    $node->start;
    ok($node->log_contains(qr/was not properly shut down/), 'it recovers');
    is($node->fingerprint, $at{d}, 'and has all its rows');
    $node->kill9;
    $node->destroy;
    ok(!-e $node->data_dir, 'the data directory is gone');
};

# Restores the backup to a target and returns the server, opened.
sub restored
{
    my ($name, $setting, $value) = @_;
    my $data = copy_tree($backup, temp_dir($name) . '/data');
    my $server = PgNode->from_datadir("$name-server", $data, conf => <<"CONF");
archive_mode = off
restore_command = 'cp $archive/%f %p'
$setting = '$value'
recovery_target_action = 'promote'
CONF
    spit("$data/recovery.signal", '');
    $server->start;
    $server->wait_promoted;
    return $server;
}

subtest 'restore' => sub {
    my %stop = (
        'to-lsn'  => [recovery_target_lsn  => $mark{b}{lsn},  'a b'],
        'to-time' => [recovery_target_time => $mark{b}{time}, 'a b'],
        'to-xid'  => [recovery_target_xid  => $mark{c}{xid},  'a b c']);
    for my $name (sort keys %stop) {
        my ($setting, $value, $want) = @{ $stop{$name} };
        my $server = restored($name, $setting, $value);
        is($server->marks, $want, "$setting stops where the mark says");
        $server->stop;
    }
    my $server = restored('to-end', recovery_target_timeline => 'latest');
    is($server->fingerprint, $at{d}, 'all rows are back');
    isnt($server->fingerprint, $at{end}, 'and the last one counts');
    $server->check_amcheck;
    $server->stop;
    $server->check_checksums;
    is($server->control_data->{"Latest checkpoint's TimeLineID"}, 2, 'on a new timeline');
};

subtest 'damage is found' => sub {
    my $server = PgNode->init('damaged');
    $server->start;
    $server->query('CREATE TABLE t AS SELECT i FROM generate_series(1, 10000) i; CREATE INDEX ti ON t(i); CHECKPOINT');
    my $heap  = $server->data_dir . '/' . $server->query(q{SELECT pg_relation_filepath('t')});
    my $index = $server->data_dir . '/' . $server->query(q{SELECT pg_relation_filepath('ti')});
    $server->stop;
    is(verdict(sub { $server->check_checksums }), 'ok', 'checksums are right');
    flip_bit($heap, 8192 * 2 + 5000);
    is(verdict(sub { $server->check_checksums }), 'not ok', 'a flipped bit is seen in the checksums');
    flip_bit($heap, 8192 * 2 + 5000);

    # A row that the index does not know: the page of the index as it was before the row was there.
    my $old = slurp($index);
    $server->start;
    is(verdict(sub { $server->check_amcheck }), 'ok', 'amcheck is content');
    $server->query('INSERT INTO t VALUES (10001); CHECKPOINT');
    $server->stop;
    chmod 0600, $index;
    spit($index, $old);
    $server->start;
    is(verdict(sub { $server->check_amcheck }), 'not ok', 'a lost index entry is seen by amcheck');
    $server->stop;
};

subtest 'a standby' => sub {
    my $primary = PgNode->init('one');
    $primary->start;
    my $standby = PgNode->standby_of($primary, 'two', slot => 'two');
    $standby->start;
    $primary->query('CREATE TABLE t AS SELECT generate_series(1, 100) i');
    $primary->wait_for_catchup($standby);
    is($standby->fingerprint, $primary->fingerprint, 'it has the rows');
    $primary->kill9;
    $standby->promote;
    $standby->wait_promoted;
    is($standby->query('INSERT INTO t VALUES (0) RETURNING i'), 0, 'and takes over');
    $standby->stop('immediate');
    ok(!$standby->is_running, 'immediate stop');
};

# A stand-in for pgdr that says what it was called with.
sub fake_pgdr
{
    my $program = spit(temp_dir('fake') . '/pgdr', <<'SH');
#!/bin/sh
case "$*" in
*broken*) echo no json ;;
*json*) echo '{"ok": true, "args": "'"$*"'"}' ;;
*) echo "out $* $PGDR_JOBS" ;;
esac
case "$*" in
*fail*) echo "cannot do it" >&2; exit 4 ;;
*hang*) sleep 60 ;;
*die*) kill -9 $$ ;;
*write*) echo one >"$0.1" && echo two >"$0.2" ;;
esac
SH
    chmod 0755, $program;
    return $program;
}

subtest 'the Pgdr class' => sub {
    local $ENV{PGDR_TEST_PROGRAM} = fake_pgdr();
    my $pgdr = Pgdr->new(node => $node, global => { jobs => 2 }, repo_options => { encryption => 'none' });
    my $data = $node->data_dir;
    like(slurp($pgdr->config_file), qr/^\[global\]\njobs = 2\n\n\[repo main\]\nencryption = none\nurl = \S+\n\n\[cluster app\]\ndata-directory = \Q$data\E\nhost = /,
        'configuration');
    $pgdr->set('repo main', encryption => undef);
    unlike(slurp($pgdr->config_file), qr/encryption/, 'a key is taken out again');
    like($pgdr->archive_command, qr{^/\S+/pgdr --config=\S+ --cluster=app archive-push %p$}, 'archive_command');

    $pgdr->set_env(PGDR_JOBS => 5);
    like($pgdr->run('info')->{out}, qr/^out --config=\S+ info 5$/, 'run');
    like($pgdr->json('info')->{args}, qr/info --output=json$/, 'json');
    my @cases = (
        ['ok',                          'ok',     sub { $pgdr->ok('info') }],
        ['ok of a failure',             'not ok', sub { $pgdr->ok('fail') }],
        ['ok of a death',               'not ok', sub { $pgdr->ok('die') }],
        ['ok of a hang',                'not ok', sub { $pgdr->ok('hang', { timeout => 0.3 }) }],
        ['fails',                       'ok',     sub { $pgdr->fails(4, qr/cannot/, 'fail') }],
        ['fails by name',               'ok',     sub { $pgdr->fails('NOT_FOUND', qr/cannot/, 'fail') }],
        ['fails with another status',   'not ok', sub { $pgdr->fails(5, qr/cannot/, 'fail') }],
        ['fails with other words',      'not ok', sub { $pgdr->fails(4, qr/could not/, 'fail') }],
        ['fails of a success',          'not ok', sub { $pgdr->fails(4, qr//, 'info') }],
        ['json of what is none',        'not ok', sub { $pgdr->json('broken') }],
        ['json_fails',                  'ok',     sub { $pgdr->json_fails(4, 'fail') }],
        ['json_fails of a success',     'not ok', sub { $pgdr->json_fails(4, 'info') }]);
    for my $case (@cases) {
        my ($name, $want, $code) = @$case;
        is(verdict($code), $want, $name);
    }
    my $report = spit(test_root() . '/.sanitizer/report.1', "ERROR: AddressSanitizer\n");
    is(verdict(sub { $pgdr->ok('info') }), 'not ok', 'ok, but a sanitizer reported');
    is(verdict(sub { $pgdr->fails(4, qr/cannot/, 'fail') }), 'not ok', 'fails, and a sanitizer reported');
    delete_file($report);
};

subtest 'faults' => sub {
    local $ENV{PGDR_TEST_PROGRAM} = fake_pgdr();
    my $pgdr = Pgdr->new(node => $node);
    my ($dir) = Pgdr::program() =~ m{(.*)/};
    my %fault = (dir => $dir, action => 'ENOSPC', ops => 'open,write');
    my $result = $pgdr->run('write', { fault => { %fault, nth => 3 } });
    is("$result->{calls} $result->{faults}", '3 1', 'calls and faults are counted');
    is(slurp("$dir/pgdr.1"), "one\n", 'what went before is done');
    ok(!-e "$dir/pgdr.2", 'what failed is not');
    my @status;
    my $runs = Pgdr::for_every_nth(\%fault, sub {
        my ($with) = @_;
        my $each = $pgdr->run('write', $with);
        push @status, $each->{rc} ? 'failed' : 'ok';
        return $each;
    });
    is($runs, 4, 'every call is hit once');
    is("@status", 'failed failed failed failed ok', 'and then none');
    ok(!eval { Pgdr::for_every_nth({ %fault, dir => '/nowhere' }, sub { $pgdr->run('write', $_[0]) }); 1 },
        'a loop that hits nothing dies');
};

# What remains of a test that ends in each of these ways while its server runs.
subtest 'the end of a test' => sub {
    my $script = spit(temp_dir('ending') . '/ending.t', <<'PERL');
use Test::More;
use PgNode;
use TestRun qw(test_root start);
my $node = PgNode->init('short');
$node->start;
start('setsid', 'sleep', '100');
$| = 1;
print '# ', test_root(), "\n";
ok(1);
my $how = shift;
die "as asked\n" if $how eq 'die';
open my $report, '>', test_root() . '/.sanitizer/report.1' if $how eq 'sanitizer';
print $report "found\n" if $report;
close $report if $report;
done_testing if $how =~ /done|sanitizer/;
kill $how, $$ if $how =~ /^[A-Z]/;
PERL
    (my $lib = $INC{'TestRun.pm'}) =~ s{/[^/]+$}{};
    for my $how (qw(done sanitizer die INT TERM KILL)) {
        my $result = run('perl', "-I$lib", $script, $how, { env => { map { $_ => $ENV{$_} } grep { /^PGDR_TEST_/ } keys %ENV } });
        my ($root) = $result->{out} =~ /^# (\S+)$/m;
        ok($root, "$how: it came so far") or diag($result->describe);
        next if !$root;
        # Only of one that was killed nobody waits for the guardian.
        poll_until(sub { !-e $root }, 'the guardian is done') if $how eq 'KILL';
        my %left = processes_below($root);
        is(join(' ', values %left), '', "$how: no process is left");
        ok(!-e $root, "$how: no folder is left");
        is($result->ok ? 'good' : 'bad', $how eq 'done' ? 'good' : 'bad', "$how: the exit status tells");
    }
};

is(join(' ', left_behind()), '', 'nothing is left behind');
done_testing;
