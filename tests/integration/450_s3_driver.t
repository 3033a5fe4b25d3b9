#@ folder it has a gateway of its own
# The S3 driver alone against a real S3 server: the suite that every storage passes, in each way in
# which it can be reached, and what it says of wrong settings (tests/storage/test_s3.c).
#@ once

use strict;
use warnings;
use Test::More;

use Rgw;
use TestRun qw(run sanitizer_reports);

my $rgw    = Rgw->start;
my $bucket = $rgw->bucket('driver');
my %own    = $rgw->session;
my %env    = ($rgw->env, PGDR_TEST_S3_BUCKET => $bucket, CMOCKA_MESSAGE_OUTPUT => 'TAP');
$env{ 'PGDR_TEST_S3_SESSION_' . uc s/^s3-//r } = $own{$_} for keys %own;
my $program = "$ENV{PGDR_TEST_STAGE}/test_s3";

for my $way (qw(plain tls host sts v2)) {
    my $result = run($program, $way, { env => \%env, timeout => 400 });
    my $passed = () = $result->{out} =~ /^ok /mg;
    ok($result->ok && $passed > 20 && sanitizer_reports() eq '', "$way: $passed cases")
      or diag(join("\n", $result->{out} =~ /^(not ok.*|#.*)$/mg), sanitizer_reports(), $result->{err});
}

done_testing;
