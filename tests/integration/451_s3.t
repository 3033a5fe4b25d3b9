#@ folder it has a gateway of its own
#@ once
# The whole way through S3: archive, back up, lose everything, restore; in the clear, then encrypted
# over TLS. Every command works there, and says what stands in the way.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Rgw;
use TestFile qw(spit);
use TestRun qw(test_root run);

my $rgw = Rgw->start;

# A cluster in WHERE, backed up, destroyed and restored; returns pgdr and the node.
sub life
{
    my ($name, %repo) = @_;
    my $node = PgNode->init($name);
    my $pgdr = Pgdr->new(node => $node, repo => delete $repo{url}, repo_options => \%repo);
    $node->enable_archiving($pgdr);
    $node->start;
    $pgdr->ok('init');
    $pgdr->ok('check');
    $node->query('CREATE TABLE big AS SELECT i, repeat(md5(i::text), 20) AS t FROM generate_series(1, 20000) i');
    my $backup = $pgdr->json('backup')->{backup};
    my $before = $node->mark('before');
    my $want   = $node->fingerprint;
    $node->query('DROP TABLE marks');
    $node->archive_all;
    is($pgdr->json('verify')->{ok}, JSON::PP::true, "$name: verify finds nothing wrong");
    my ($shown) = @{ $pgdr->json('info')->{clusters}[0]{backups} };
    is($shown->{id}, $backup->{id}, "$name: info shows the backup");
    $node->kill9;
    $node->destroy;
    $pgdr->ok('restore', "--target-time=$before->{time}", '--target-action=promote');
    $node->start;
    $node->wait_promoted;
    is($node->fingerprint, $want, "$name: all rows are back");
    return ($pgdr, $node);
}

my ($pgdr, $node) = life('plain', $rgw->repo($rgw->bucket('plain') . '/some/where'));
$node->check_amcheck;
# The rest of the repository's life: WAL of the new timeline, a second backup, restored elsewhere.
$node->query("INSERT INTO big SELECT i, 'more' FROM generate_series(1, 1000) i");
$pgdr->ok('backup');
my $want  = $node->fingerprint;
my $other = test_root() . '/other';
$node->archive_all;
$pgdr->ok('restore', "--to=$other");
$node->stop;
my $copy = PgNode->from_datadir('other', $other);
$copy->start;
$copy->wait_promoted;
is($copy->fingerprint, $want, 'the second backup too, elsewhere');
$copy->stop;

like($pgdr->ok('repo', 'ls')->{out}, qr/^pgdr\.json /m, 'objects are listed');
like($pgdr->ok('repo', 'get', 'pgdr.json')->{out}, qr/\{/, 'an object is shown');

# What is wrong is named, with what to do.
$pgdr->fails('CONFIG', qr/no bucket 'nowhere'.*HINT: create the bucket/s, 'init', '--url=s3://nowhere');
$pgdr->fails('AUTH', qr/SignatureDoesNotMatch.*HINT: s3-secret/s, 'info', { env => { PGDR_S3_SECRET => 'wrong' } });
$pgdr->fails('AUTH', qr/InvalidAccessKeyId.*HINT:.*s3-key/s,      'info', { env => { PGDR_S3_KEY    => 'WRONG' } });
$pgdr->fails('ACCESS', qr/AccessDenied.*HINT: allow/s, 'info',
    { env => { PGDR_S3_KEY => $rgw->value('OTHER_KEY'), PGDR_S3_SECRET => $rgw->value('OTHER_SECRET') } });
$pgdr->fails('CONFIG', qr/not to be trusted.*HINT:.*s3-ca-file/s, 'info', '--s3-endpoint=' . $rgw->value('TLS'));
$pgdr->fails('CONFIG', qr/s3-style = path/, 'info', '--s3-style=host');

# The key from elsewhere: the environment, and the file that other programs share.
$pgdr->set('repo main', 's3-key' => undef, 's3-secret' => undef);
$pgdr->fails('CONFIG', qr/no access key.*HINT: set s3-key and s3-secret/s, 'info');
$pgdr->ok('info', { env => { AWS_ACCESS_KEY_ID => $rgw->value('KEY'), AWS_SECRET_ACCESS_KEY => $rgw->value('SECRET') } });
my $file = test_root() . '/credentials';
spit($file, "[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n\n[backup]\n"
      . 'aws_access_key_id = ' . $rgw->value('KEY') . "\naws_secret_access_key = " . $rgw->value('SECRET') . "\n");
chmod 0600, $file;
$pgdr->set('repo main', 's3-credentials-file' => $file);
$pgdr->fails('AUTH', qr/InvalidAccessKeyId/, 'info');
$pgdr->ok('info', { env => { AWS_PROFILE => 'backup' } });
$pgdr->set('repo main', 's3-profile' => 'backup');
$pgdr->ok('info', { env => { AWS_ACCESS_KEY_ID => 'wrong', AWS_SECRET_ACCESS_KEY => 'wrong' } });
$pgdr->set('repo main', 's3-profile' => 'missing');
$pgdr->fails('CONFIG', qr/no aws_access_key_id.*\[missing\].*s3-profile/s, 'info');

# Encrypted, over TLS.
my $pass = test_root() . '/passphrase';
spit($pass, "correct horse battery staple\n");
chmod 0600, $pass;
my %sealed = (encryption => 'aes-256-gcm', 'passphrase-file' => $pass);
my ($tls) = life('sealed', $rgw->repo($rgw->bucket('sealed'), 'TLS'), %sealed);
spit($pass, "another one\n");
$tls->fails('WRONG_KEY', qr/passphrase does not fit/, 'backup');

done_testing;
