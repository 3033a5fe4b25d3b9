#@ once
#@ folder it has a gateway of its own
# Does the harness of tests/run --repo=s3 hold? The repository that a test gets then is encrypted and behind
# TLS; the folder that shows it is what is in the bucket, both ways; and nothing is left of it.

use strict;
use warnings;
use Test::More;

use Pgdr;
use Rgw;
use TestFile qw(slurp spit files_below tree_state flip_bit delete_file);
use TestRun qw(temp_dir test_root run poll_until);

my $rgw = Rgw->start;
$rgw->bucket('tests');
@ENV{qw(PGDR_TEST_REPO PGDR_TEST_RGW)} = ('s3', $rgw->value('DIR'));
my $s3   = $rgw->client;
my $pgdr = Pgdr->new;
my ($prefix) = $pgdr->repo =~ m{^s3://tests/(.+)$};

# What is in the bucket, without looking through the folder.
sub in_bucket
{
    my ($at) = @_;
    return { map { substr($_, 1 + length $at) => $s3->get('tests', $_) } keys %{ $s3->list('tests', "$at/") } };
}

# What is in a folder.
sub in_folder
{
    my ($dir) = @_;
    return { map { $_ => slurp("$dir/$_") } files_below($dir) };
}

subtest 'where it is' => sub {
    ok($prefix, 'a place in the bucket') or diag($pgdr->repo);
    my $conf = slurp($pgdr->config_file);
    like($conf, qr{^s3-endpoint = https://}m, 'TLS');
    like($conf, qr{^s3-ca-file = /}m, 'with an authority of our own');
    like($conf, qr{^encryption = aes-256-gcm$}m, 'encrypted');
    $pgdr->ok('init');
    my @names = sort keys %{ in_bucket($prefix) };
    cmp_ok(scalar(@names), '>', 3, 'pgdr writes there');
    is_deeply([ files_below($pgdr->folder) ], \@names, 'and the folder shows it');
    is_deeply(in_folder($pgdr->folder), in_bucket($prefix), 'byte for byte');
    is($pgdr->shown($pgdr->folder . "/$names[0]"), $pgdr->repo . "/$names[0]", 'names as pgdr prints them');
    my $other = Pgdr->new;
    isnt($other->repo, $pgdr->repo, 'another repository has another place');
    my $same = Pgdr->new(repo => $pgdr->repo);
    $same->ok('info', { name => 'one that is asked for by its URL is opened with its key' });
    my $own = Pgdr->new(repo_options => { encryption => 'none' });
    unlike(slurp($own->config_file), qr/passphrase/, 'a test can choose its encryption');
};

my $dir = $pgdr->folder;

subtest 'what a test changes' => sub {
    my ($one, $two) = files_below($dir, qr{^keys/});
    my $was = slurp("$dir/$one");
    flip_bit("$dir/$one", 100);
    is(in_bucket($prefix)->{$one}, $was, 'is not in the bucket at once');
    run('true');
    is(in_bucket($prefix)->{$one}, slurp("$dir/$one"), 'but as soon as a program starts');
    isnt(slurp("$dir/$one"), $was, 'and is a change');
    delete_file("$dir/$two");
    spit("$dir/keys/new one", 'with content');
    poll_until(sub { 1 }, 'nothing');
    my $now = in_bucket($prefix);
    ok(!exists $now->{$two}, 'a deletion, when something is waited for');
    is($now->{'keys/new one'}, 'with content', 'and a new object');
    rename "$dir/keys", "$dir/yeks" or die;
    run('true');
    is_deeply([ grep { /^keys/ } keys %{ in_bucket($prefix) } ], [], 'a folder that is renamed');
    rename "$dir/yeks", "$dir/keys" or die;
    delete_file("$dir/keys/new one");
    spit("$dir/$one", $was);
    my $result = $pgdr->ok('init');
    is_deeply(in_folder($dir), in_bucket($prefix), 'both are the same');
    is(scalar(() = files_below($dir, qr{^keys/})), 3, 'also what pgdr has written since');
};

subtest 'what others change' => sub {
    $s3->put('tests', "$prefix/a/b", 'one');
    my $before = $s3->list('tests', "$prefix/");
    is(slurp($pgdr->folder . '/a/b'), 'one', 'is there when the folder is asked for');
    my $state = tree_state($pgdr->folder, mtime => 1);
    is(tree_state($pgdr->folder, mtime => 1), $state, 'and stays');
    is_deeply($s3->list('tests', "$prefix/"), $before, 'looking writes nothing');
    $s3->put('tests', "$prefix/a/b", 'two');
    is(slurp($pgdr->folder . '/a/b'), 'two', 'it is replaced');
    $s3->delete('tests', "$prefix/a/b");
    ok(!-e $pgdr->folder . '/a', 'and is gone, with its folder');
};

subtest 'the whole folder is away' => sub {
    my $before = in_bucket($prefix);
    $s3->put('tests', "$prefix/unseen", 'by the folder');
    rename $dir, "$dir.away" or die;
    $pgdr->fails('NOT_FOUND', Pgdr::says_gone(), 'info');
    is_deeply(in_bucket($prefix), {}, 'then nothing is left in the bucket');
    rename "$dir.away", $dir or die;
    $pgdr->ok('info');
    is_deeply(in_bucket($prefix), { %$before, unseen => 'by the folder' }, 'and all is there again');
    is(slurp($pgdr->folder . '/unseen'), 'by the folder', 'in the folder, too');
    chmod 0, $dir;
    ok(!eval { run('true'); 1 }, 'permissions, which a bucket does not have, are refused');
    chmod 0755, $dir;
};

subtest 'encryption that is not that of the repository' => sub {
    $pgdr->set_wrong_encryption;
    $pgdr->fails('CONFIG', qr/is encrypted, and no passphrase/, 'info');
    $pgdr->set_right_encryption;
    $pgdr->ok('info');
};

subtest 'when the test is over' => sub {
    my $script = spit(temp_dir('ending') . '/ending.t', <<'PERL');
use Test::More;
use Pgdr;
my $pgdr = Pgdr->new;
$pgdr->ok('init');
print '# ', $pgdr->repo, "\n";
die "as asked\n" if shift eq 'die';
done_testing;
PERL
    (my $lib = $INC{'TestRun.pm'}) =~ s{/[^/]+$}{};
    for my $how (qw(done die)) {
        my $result = run('perl', "-I$lib", $script, $how, { env => { map { $_ => $ENV{$_} } grep { /^PGDR_TEST_/ } keys %ENV } });
        my ($at) = $result->{out} =~ m{^# s3://tests/(\S+)$}m;
        ok($at && $result->{out} =~ /^ok 1/m, "$how: it had a repository") or diag($result->describe);
        is_deeply(in_bucket($at), {}, '  of which nothing is left') if $at;
        unlike($result->{err}, qr/still there/, '  without a word');
    }
};
done_testing;
