#@ once
# What is set wrongly, in pgdr's configuration and in the server's: each is an error with a name that says
# what is wrong, and a HINT that says what to do, and nothing in the repository or the cluster is changed
# by it.

use strict;
use warnings;
use Test::More;

use Faults qw(small_node backups_of json_of);
use Pgdr;
use PgNode;
use Recovery qw(restored);
use TestFile qw(slurp spit copy_tree tree_state with_mode);
use TestRun qw(temp_dir test_root run);

# The segment that is pushed again and again must stay.
my $node = small_node('primary', conf => "autovacuum = off\nwal_keep_size = 1GB\n", initdb => ['--auth-host=scram-sha-256'], tcp => 1);
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$node->query(q{ALTER ROLE postgres PASSWORD 'right'; CREATE ROLE nobody LOGIN PASSWORD 'nobody'; CREATE ROLE nologin});
$pgdr->ok('init');
$pgdr->ok('backup');
$node->mark('a');
my $segment = 'pg_wal/' . $node->archive_all;
my $repo = $pgdr->folder;
my $data = $node->data_dir;

# A configuration of its own: that of $pgdr with SECTION's keys changed.
sub changed
{
    my (%section) = @_;
    my $p = Pgdr->new(node => $node, repo => $pgdr->repo);
    for my $name (keys %section) {
        my $real = $name eq 'repo' ? 'repo main' : $name eq 'cluster' ? 'cluster app' : $name;
        $p->set($real, %{ $section{$name} });
    }
    return $p;
}

# A test that CODE changes no file in these folders.
sub unchanged
{
    my ($paths, $code) = @_;
    $pgdr->folder; # brings it up to date
    my $look   = sub { join '', map { "$_\n" . tree_state($_) } @$paths };
    my $before = $look->();
    $code->();
    ok($look->() eq $before, 'nothing is changed');
    return;
}

# ---- pgdr's configuration ----

my $other = PgNode->init('other', wal_segsize => 1);
$other->start;
my $file   = spit(test_root() . '/afile', 'x');
my $empty  = temp_dir('empty');
my $strange = temp_dir('strange');
spit("$strange/precious", 'data');
my $later = "$repo.later";
copy_tree($repo, $later);
# Whatever a later format looks like, its version stands in the same place of header and footer.
for my $object (map { chomp; $_ } `find $later -type f -path '*key*'`) {
    chmod 0600, $object;
    my $bytes = slurp($object);
    substr $bytes, 16, 2, pack 'v', 2;
    substr $bytes, 88, 4, pack 'V', crc32c(substr $bytes, 0, 88);
    substr $bytes, -132 + 16, 2, pack 'v', 2;
    substr $bytes, -12, 4, pack 'V', crc32c(substr $bytes, -132, 120);
    spit($object, $bytes);
}

sub crc32c
{
    my ($bytes) = @_;
    my $crc = 0xFFFFFFFF;
    for my $byte (unpack 'C*', $bytes) {
        $crc ^= $byte;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82F63B78 : $crc >> 1 for 1 .. 8;
    }
    return $crc ^ 0xFFFFFFFF;
}
my $wrong_words = spit(test_root() . '/wrong-passphrase', "wrong\n");
my $right_words = spit(test_root() . '/right-passphrase', "right\n");
chmod 0600, $wrong_words, $right_words;
my $sealed = "$repo.sealed";
changed(repo => { url => $sealed, encryption => 'aes-256-gcm', 'passphrase-file' => $right_words })->ok('init');

my @read  = ([qw(info)], [qw(verify)], [ 'restore', '--to=' . temp_dir('to') . '/data' ]);
my @write = ([qw(backup)], [ 'archive-push', $segment ]);
# name, configuration, exit status, message and hint, commands
my @cases = (
    [ 'an unknown key', { global => { jbos => 3 } }, 'CONFIG', qr/jbos.*HINT: .*jobs/s, @read, @write, [qw(check)] ],
    [ 'a value that is no number', { global => { jobs => 'many' } }, 'CONFIG', qr/many/, @read, @write ],
    [ 'a number out of bounds', { cluster => { port => 99999 } }, 'CONFIG', qr/99999/, @read, @write ],
    [ 'a duration without a unit', { global => { 'io-timeout' => 'soon' } }, 'CONFIG', qr/soon/, @read, @write ],
    [ 'no url', { repo => { url => undef } }, 'CONFIG',
        Pgdr::in_s3() ? qr/has no url.*HINT: add url = /s : qr/needs a repository, and none.*HINT: add \[repo main\]/s, @read, @write, [qw(init)] ],
    [ 'a url of another kind', { repo => { url => 'ftp://host/x' } }, 'CONFIG', qr{must be an absolute path or s3://.*ftp://host/x}, @read, @write, [qw(init)] ],
    [ 'a relative url', { repo => { url => 'repo' } }, 'CONFIG', qr/must be an absolute path/, @read, @write ],
    [ 'another kind of encryption', { repo => { encryption => 'rot13' } }, 'CONFIG', qr/rot13/, @read, @write ],
    Pgdr::unless_s3([ 'encryption that the repository does not have', { repo => { encryption => 'aes-256-gcm', 'passphrase-file' => $wrong_words } }, 'CONFIG',
        qr/encryption = none.*HINT: set "encryption = none"/s, @read, @write, [qw(init)] ]),
    [ 'no encryption where there is one', { repo => { url => $sealed, encryption => undef, 'passphrase-file' => undef } }, qr/CONFIG|WRONG_KEY/, qr/encrypt|passphrase/, @read, @write, [qw(init)] ],
    [ 'encryption without a passphrase', { repo => { url => $sealed, encryption => 'aes-256-gcm', 'passphrase-file' => undef } }, 'CONFIG', qr/passphrase.*HINT: /s, @read, @write ],
    [ 'a passphrase file that is not there', { repo => { url => $sealed, encryption => 'aes-256-gcm', 'passphrase-file' => '/nonexistent' } },
        qr/CONFIG|NOT_FOUND/, qr{/nonexistent}, @read, @write ],
    [ 'another passphrase', { repo => { url => $sealed, encryption => 'aes-256-gcm', 'passphrase-file' => $wrong_words } },
        'WRONG_KEY', qr/passphrase.*HINT: /s, @read, @write, [qw(init)] ],
    [ 'a passphrase command that fails', { repo => { url => $sealed, encryption => 'aes-256-gcm', 'passphrase-file' => undef, 'passphrase-command' => 'false', 'key-cache' => 'n' } },
        qr/CONFIG|IO/, qr/false/, @read, @write ],
    [ 'a repository that is not there', { repo => { url => '/nonexistent/repo' } }, 'NOT_FOUND', qr{/nonexistent/repo.*HINT: }s, @read, @write ],
    [ 'an empty folder', { repo => { url => $empty } }, 'NOT_FOUND', qr/no repository.*HINT: .*pgdr init/s, @read, @write ],
    [ 'a folder of something else', { repo => { url => $strange } }, 'NOT_FOUND', qr/no repository.*HINT: /s, @read, @write ],
    [ 'init in a folder of something else', { repo => { url => $strange } }, 'REFUSED', qr/not empty.*precious.*HINT: /s, [qw(init)] ],
    [ 'a file as repository', { repo => { url => $file } }, qr/NOT_FOUND|CONFIG|EXISTS/, qr/\Q$file\E/, @read, @write, [qw(init)] ],
    [ 'a repository of a later version', { repo => { url => $later } }, 'VERSION', qr/version.*HINT: /s, @read, @write, [qw(init)] ],
    [ 'a data directory that is not there', { cluster => { 'data-directory' => '/nonexistent/data' } }, 'NOT_FOUND', qr{/nonexistent/data}, [qw(backup)] ],
    [ 'a data directory that is none', { cluster => { 'data-directory' => $strange } }, qr/NOT_FOUND|CONFIG|MISMATCH/, qr/\Q$strange\E/, [qw(backup)] ],
    [ "another cluster's data directory", { cluster => { 'data-directory' => $other->data_dir } }, 'MISMATCH', qr/system identifier.*HINT: .*\[cluster app\]/s, [qw(backup)] ],
    [ "another cluster's server", { cluster => { host => $other->host, port => $other->port } }, 'MISMATCH', qr/system identifier.*HINT: /s, [qw(backup)] ],
    [ 'no server there', { cluster => { host => $empty } }, 'NETWORK', qr/cannot connect/, [qw(backup)] ],
    [ 'another port', { cluster => { port => PgNode::free_port() } }, 'NETWORK', qr/cannot connect/, [qw(backup)] ],
    [ 'a host that does not exist', { cluster => { host => 'no-such-host.invalid' } }, 'NETWORK', qr/no-such-host/, [qw(backup)] ],
    [ 'no such role', { cluster => { user => 'mallory' } }, 'AUTH', qr/mallory/, [qw(backup)] ],
    [ 'a role that may not log in', { cluster => { user => 'nologin' } }, 'AUTH', qr/nologin/, [qw(backup)] ],
    [ 'no such database', { cluster => { database => 'nowhere' } }, qr/SERVER|NOT_FOUND|CONFIG|NETWORK/, qr/nowhere/, [qw(backup)] ],
    [ 'no password', { cluster => { host => '127.0.0.1' } }, 'AUTH', qr/password/, [qw(backup)] ],
    [ 'a role without rights', { cluster => { user => 'nobody' } }, qr/SERVER|ACCESS|AUTH|CONFIG/, qr/permission|right|grant/i, [qw(backup)] ],
    [ 'no such cluster in it', { cluster => {}, 'cluster none' => { 'data-directory' => $data } }, 'NOT_FOUND', qr/none/, ['restore', '--cluster=none', '--to=' . temp_dir('to') . '/data'] ],
);
for my $case (@cases) {
    my ($name, $settings, $exit, $re, @commands) = @$case;
    subtest $name => sub {
        my $p = changed(%$settings);
        unchanged([ $repo, $sealed, $later, $strange, $empty, $file ], sub {
            for my $command (@commands) {
                my ($push, @rest) = $command->[0] eq 'archive-push' ? 1 : 0;
                my $result = $p->run(@$command, { cwd => $data, env => { PGPASSFILE => '/nonexistent' } });
                my @exits  = ref $exit ? qw(USAGE CONFIG NOT_FOUND EXISTS ACCESS IO NETWORK AUTH WRONG_KEY MISMATCH REFUSED SERVER) : $exit;
                @exits = grep { ref $exit ? /^(?:$exit)$/ : 1 } @exits;
                my $defect = Pgdr::defect($result);
                ok((grep { $result->{rc} == Pgdr::exit_status($_) } @exits) && $defect eq '' && $result->{err} =~ $re, "$command->[0]: @exits")
                  or diag("$name: $defect$result->{rc} $result->{err}");
                cmp_ok($result->{rc}, '<=', 125, '  the archiver goes on') if $push;
            }
        });
    };
}

subtest 'a password' => sub {
    my $p = changed(cluster => { host => '127.0.0.1' });
    my $pass = spit(test_root() . '/pgpass', "*:*:*:postgres:wrong\n");
    chmod 0600, $pass;
    $p->set_env(PGPASSFILE => $pass);
    $p->fails('AUTH', qr/password authentication failed/, 'backup');
    spit($pass, "*:*:*:postgres:right\n");
    $p->ok('backup');
};

subtest 'a repository that can only be read' => sub {
    Pgdr::only_in_folder('453 has the rights of S3');
    my $to = temp_dir('to') . '/data';
    run('chmod', '-R', 'a-w', $repo);
    for my $command ([qw(backup)], [ 'archive-push', 'pg_wal/' . $node->switch_wal ]) {
        $pgdr->fails('ACCESS', qr/\Q$repo\E.*HINT: /s, @$command, { cwd => $data });
    }
    $pgdr->ok('info');
    $pgdr->ok('verify');
    $pgdr->ok('restore', "--to=$to");
    run('chmod', '-R', 'u+w', $repo);
    $node->archive_all;
};

subtest 'what does not fit into the command' => sub {
    unchanged([$repo], sub {
        $pgdr->fails('USAGE', qr/--frobnicate/, 'backup', '--frobnicate');
        $pgdr->fails('USAGE', qr/incr|differential/, 'backup', '--type=differential');
        $pgdr->fails('CONFIG', qr/nowhere.*HINT: there are: main/s, 'backup', '--repo=nowhere');
        $pgdr->fails('NOT_FOUND', qr/nosuch/, 'restore', '--backup=nosuch', '--to=' . temp_dir('to') . '/data');
        $pgdr->fails('NOT_FOUND', qr/nosuch/, 'verify', '--backup=nosuch');
        $pgdr->fails('USAGE', qr/yesterdayish/, 'restore', '--target-time=yesterdayish', '--to=' . temp_dir('to') . '/data');
        $pgdr->fails('USAGE', qr/back ?up/, 'bakup');
        $pgdr->fails('CONFIG', qr{/nonexistent/pgdr\.conf}, '--config=/nonexistent/pgdr.conf', 'info', { no_config => 1 });
    });
    my $broken = spit(test_root() . '/broken.conf', "[repo main\nurl = /x\n");
    $pgdr->fails('CONFIG', qr/broken\.conf.*line 1|broken\.conf:1/, "--config=$broken", 'info', { no_config => 1 });
    with_mode($broken, 0, sub { $pgdr->fails('ACCESS', qr/broken\.conf/, "--config=$broken", 'info', { no_config => 1 }) });
};

# ---- the server's settings ----

sub with_server
{
    my ($conf, $code) = @_;
    my $was = slurp("$data/postgresql.conf");
    $node->append_conf($conf);
    $node->restart;
    $code->();
    $node->stop;
    spit("$data/postgresql.conf", $was);
    $node->start;
    return;
}

subtest 'archive_mode = off' => sub {
    with_server("archive_mode = off\n", sub {
        unchanged([$repo], sub { $pgdr->fails('REFUSED', qr/archive_mode = off.*HINT: set archive_mode = on and archive_command = 'pgdr/s, 'backup') });
        $pgdr->fails('FINDINGS', qr/checks failed/, 'check');
    });
};

subtest 'wal_level = minimal' => sub {
    with_server("wal_level = minimal\nmax_wal_senders = 0\narchive_mode = off\n", sub {
        unchanged([$repo], sub { $pgdr->fails('REFUSED', qr/wal_level = minimal.*HINT: set wal_level = replica/s, 'backup') });
    });
    # What was written meanwhile is in no archive: the next backup begins anew.
    $pgdr->ok('backup');
};

subtest 'archive_command' => sub {
    for my $command ('', '/bin/true', 'cp %p /nonexistent/%f') {
        with_server("archive_command = '$command'\n", sub {
            my @before = backups_of($pgdr);
            $pgdr->fails('WAL_MISSING', qr/has not arrived.*HINT: /s, 'backup', '--archive-timeout=2s');
            is_deeply([ backups_of($pgdr) ], \@before, 'there is no backup');
            my $check = $pgdr->run('check', '--archive-timeout=2s');
            is($check->{rc}, Pgdr::exit_status('FINDINGS'), 'check finds it') or diag($check->describe);
            like($check->{out}, qr/archive_command/, '  and says so');
        });
    }
    $node->archive_all;
    $pgdr->ok('backup');
};

subtest 'full_page_writes, fsync and the like' => sub {
    with_server("full_page_writes = off\nsynchronous_commit = off\nwal_compression = on\nwal_log_hints = on\nmax_wal_senders = 0\n", sub {
        $node->query("CREATE TABLE fpw AS SELECT generate_series(1, 10000) i");
        $pgdr->ok('backup');
        $node->query('UPDATE fpw SET i = i + 1');
        $node->archive_all;
        my $want = $node->fingerprint;
        my $copy = restored($pgdr, 'fpw');
        $copy->wait_promoted;
        is($copy->fingerprint, $want, 'a backup all the same');
        $copy->check_amcheck;
        $copy->stop;
    });
};

# What '/bin/true' called archived is missing, and no backup needs it.
my $verify = $pgdr->json_fails('FINDINGS', 'verify');
is_deeply([ grep { $_->{problem} !~ /segment is missing/ || @{ $_->{backups} } } @{ $verify->{findings} } ], [], 'all backups are whole');
done_testing;
