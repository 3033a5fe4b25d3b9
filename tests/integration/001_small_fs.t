#@ folder no repository takes part
#@ smallfs 16
#@ once
# Is the small file system what it says?

use strict;
use warnings;
use Test::More;

use TestRun qw(small_fs fill_fs run);

my $dir = small_fs();
my ($blocks) = run('df', '-P', '-k', $dir)->{out} =~ /\n\S+\s+(\d+)/;
is($blocks, 16 * 1024, 'it has the size asked for');
ok(-o $dir && -w $dir, 'and is ours');
isnt($>, 0, 'who are not root');

fill_fs($dir, 65536);
my $copy = run('dd', 'if=/dev/zero', "of=$dir/more", 'bs=1k', 'count=100');
isnt($copy->{rc}, 0, 'more than is left does not go in');
like($copy->{err}, qr/No space left/, 'because it is full');
cmp_ok(-s "$dir/more", '<=', 65536, 'no more than was left');
unlink "$dir/filler", "$dir/more";
ok(run('dd', 'if=/dev/zero', "of=$dir/more", 'bs=1k', 'count=100')->ok, 'space that is freed is there again');
done_testing;
