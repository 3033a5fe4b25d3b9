#@ once
# What a restore must not touch: the directory of a running server, one that only orphaned backends
# still use, what is not a data directory, another cluster. And it does nothing before it was told to.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(plan_of unchanged);
use TestFile qw(slurp spit delete_file with_mode);
use TestRun qw(temp_dir poll_until is_alive processes_below run);

my $node = PgNode->init('primary');
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('a');
$pgdr->ok('backup');
$node->mark('b');
my $data = $node->data_dir;

subtest 'a running server' => sub {
    for my $args ([], ['--delta'], ['--delta', '--yes'], ['--delta', '--dry-run'], ["--to=$data/", '--delta', '--yes']) {
        $pgdr->fails('REFUSED', qr/PostgreSQL process \(\d+\) runs in.*HINT: stop the server first/s, 'restore', @$args);
    }
    ok(!-e "$data/pgdr.restoring", 'nothing was begun');
    is($node->marks, 'a b', 'and it goes on');
    # Without its postmaster.pid it runs all the same.
    rename "$data/postmaster.pid", "$data.pid" or die;
    $pgdr->fails('REFUSED', qr/runs in/, 'restore', '--delta', '--yes');
    rename "$data.pid", "$data/postmaster.pid" or die;
    is($node->marks, 'a b', 'and it goes on');
};

subtest 'orphaned backends' => sub {
    my $session = TestRun::start($node->program('psql'), $node->address, '-XAtq', '-d', 'postgres', '-c', 'SELECT pg_backend_pid()',
        '-c', 'SELECT pg_sleep(300)');
    my ($backend) = poll_until(sub { $session->output_so_far =~ /^(\d+)$/m && $1 }, 'the session has begun');
    # A backend that stands still does not see that its postmaster is gone.
    kill 'STOP', $backend;
    my $leader = $node->postmaster_pid;
    kill 'KILL', $leader;
    poll_until(sub { !is_alive($leader) && 1 == scalar(() = processes_below($data)) / 2 }, 'only the backend is left');
    poll_until(sub { waitpid $leader, 1; !kill 0, $leader }, 'the postmaster is reaped');
    $pgdr->fails('REFUSED', qr/PostgreSQL process \($backend\) runs in/, 'restore', '--delta', '--yes');
    delete_file("$data/postmaster.pid");
    unchanged([$data], sub {
        $pgdr->fails('REFUSED', qr/PostgreSQL process \($backend\) runs in/, 'restore', '--delta', '--yes');
    });
    kill 'KILL', $backend;
    $session->stop;
    poll_until(sub { !is_alive($backend) }, 'it is gone');
};

my @both = ($data, $pgdr->folder);
subtest 'a cluster is replaced only when that is asked for' => sub {
    unchanged(\@both, sub {
        $pgdr->fails('REFUSED', qr/holds a cluster.*HINT: add --delta/s, 'restore');
        $pgdr->fails('REFUSED', qr/holds a cluster/, 'restore', '--yes');
        my $json = $pgdr->json_fails('REFUSED', 'restore', '--delta');
        like($json->{error}{hint}, qr/--yes/, 'the way is named');
        ok($json->{plan}{replaces}, 'the plan says that it is replaced');
        $pgdr->fails('REFUSED', qr/would replace the cluster.*HINT: add --yes/s, 'restore', '--delta');
    });
};

subtest '--dry-run' => sub {
    my $absent = temp_dir('dry') . '/deep/data';
    unchanged([@both, $absent], sub {
        my $text = $pgdr->ok('restore', '--delta', '--yes', '--dry-run')->{out};
        like($text, qr/^Plan\n.*REPLACING the cluster/s, 'the plan is shown');
        unlike($text, qr/Restored/, 'and not carried out');
        my $plan = plan_of($pgdr, "--to=$absent");
        is($plan->{to}, $absent, 'the plan for a new folder');
        ok(!$plan->{replaces}, 'replaces nothing');
        cmp_ok($plan->{$_}, '>', 0, $_) for qw(bytes files free_bytes wal_segments);
        is($plan->{$_} // 'undefined', { backup => $plan->{backup}, action => 'promote', archives => JSON::PP::false(), timeline => 1 }->{$_}, $_)
          for qw(action archives timeline);
    });
};

subtest 'what is no data directory' => sub {
    my $other = temp_dir('letters');
    spit("$other/dear-diary", 'today');
    my $file = spit(temp_dir('file') . '/file', 'x');
    unchanged([$other, $file], sub {
        for my $args ([], ['--delta', '--yes']) {
            $pgdr->fails('REFUSED', qr/'\Q$other\E' is not empty, and is no data directory/, 'restore', "--to=$other", @$args);
            $pgdr->fails('REFUSED', qr/'\Q$file\E' is not a directory/, 'restore', "--to=$file", @$args);
        }
    });
    # Something that only looks a little like one.
    mkdir "$other/base" or die;
    spit("$other/PG_VERSION", "15\n");
    unchanged([$other], sub { $pgdr->fails('REFUSED', qr/no data directory/, 'restore', "--to=$other", '--delta', '--yes') });
    my $locked = temp_dir('locked');
    with_mode($locked, 0500, sub {
        $pgdr->fails('ACCESS', qr/cannot .*\Q$locked\E.*Permission denied/, 'restore', "--to=$locked/data");
    });
};

subtest 'another cluster' => sub {
    my $stranger = PgNode->init('stranger');
    my $where    = $stranger->data_dir;
    unchanged([$where, $pgdr->folder], sub {
        $pgdr->fails('REFUSED', qr/holds another cluster: its system identifier is \d+, the backup's is \d+/, 'restore', "--to=$where",
            '--delta', '--yes');
    });
    # Its WAL says whose it is when the control file is lost.
    rename "$where/global/pg_control", "$where.control" or die;
    unchanged([$where, $pgdr->folder], sub {
        $pgdr->fails('REFUSED', qr/holds another cluster/, 'restore', "--to=$where", '--delta', '--yes');
    });
    rename "$where.control", "$where/global/pg_control" or die;
    $stranger->start;
    $stranger->stop;
};

subtest 'and when nothing forbids it' => sub {
    # Into an empty folder, also one that a link leads to, and one that must be made.
    my $empty = temp_dir('empty');
    symlink $empty, "$empty.link" or die;
    my $deep = temp_dir('deep') . '/a/b/data';
    for my $to ("$empty.link", $deep) {
        $pgdr->ok('restore', "--to=$to");
        is((stat $to)[2] & 07777, 0700, 'only the owner may look');
        my $copy = PgNode->from_datadir('copy', $to);
        $copy->start;
        $copy->wait_promoted;
        like($copy->marks, qr/^a/, 'it is a cluster');
        $copy->stop;
    }
    # Another program of PostgreSQL that was started in it (this one waits for a server) is no server.
    my $client = TestRun::start($node->program('pg_receivewal'), '-h', '/nowhere', '-D', temp_dir('received'), { cwd => $data });
    poll_until(sub { -e $client->{file}{err} && $client->output_so_far . slurp($client->{file}{err}) =~ /No such file/ }, 'it waits');
    $pgdr->json('restore', '--delta', '--yes');
    $node->start;
    $node->wait_promoted;
    is($node->marks, 'a b', 'a killed cluster is replaced, and has all it had');
    $client->stop;
    $node->stop;
};
done_testing;
