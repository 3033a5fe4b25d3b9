#@ once
# Restores that were typed wrong, as at three in the morning. Each is refused at once, with a message that
# says what is wrong and, where that does not say it already, a hint with what to type; nothing is
# written, and no repository is ever in the way of a restore.

use strict;
use warnings;
use Test::More;

use Pgdr;
use PgNode;
use Recovery qw(unchanged);
use TestFile qw(spit copy_tree);
use TestRun qw(temp_dir);

my $node = PgNode->init('primary', conf => "autovacuum = off\n");
my $pgdr = Pgdr->new(node => $node);
$node->enable_archiving($pgdr);
$node->start;
$pgdr->ok('init');
$node->mark('a');
my $one = $pgdr->json('backup')->{backup}{id};
my $b   = $node->mark('b');
my $two = $pgdr->json('backup')->{backup}{id};
$node->mark('c');
$node->archive_all;
$node->stop;
my $dir  = temp_dir('x');
my $file = spit("$dir/file", 'x');
my $repo = $pgdr->folder;
my $url  = $pgdr->repo;
my $which = qr/HINT: use --target-time, --target-lsn, --target-xid or --target-name/;
my $zone  = qr/HINT: .*'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+0[01]'/;

# [arguments, exit, what is said]
my @cases = (
    # times
    [['--target-time=2026-11-23 08:15:00'],        'USAGE', qr/the time '2026-11-23 08:15:00' has no zone.*$zone/s],
    [['--target-time=yesterday'],                  'USAGE', qr/cannot read 'yesterday' as a time.*$zone/s],
    [['--target-time=08:15'],                      'USAGE', qr/cannot read '08:15' as a time.*$zone/s],
    [['--target-time=23.11.2026 08:15 CET'],       'USAGE', qr/cannot read '23.11.2026 08:15 CET' as a time.*$zone/s],
    [['--target-time=2026-13-40 25:00:00Z'],       'USAGE', qr/cannot read '2026-13-40 25:00:00Z' as a time.*$zone/s],
    [['--target-time=2020-01-01 00:00:00Z'],       'UNREACHABLE',
        qr/before the first recovery point, the end of backup $one: \d{4}-.* UTC.*HINT: .*earliest state is --backup=$one --type=immediate/s],
    [['--target-time=2099-01-01 00:00:00Z'],       'UNREACHABLE', qr/behind the last recovery point.*newest record is of \d{4}-.*HINT: use --type=latest/s],
    [['--target-time='],                           'USAGE', qr/--target-time needs a value/],
    # kinds of targets
    [['--target=2026-11-23 08:15:00Z'],            'USAGE', qr/--target=2026-11-23 08:15:00Z does not say of which kind it is.*$which/s],
    [['--type=immediate', '--target=x'],           'USAGE', qr/--type=immediate takes no target.*$which/s],
    [['--type=time'],                              'USAGE', qr/--type=time needs --target.*HINT: --target-time=\.\.\. says both at once/s],
    [['--type=default'],                           'USAGE', qr/--type must be latest, immediate, time, lsn, xid or name, not "default"/],
    [['--type=lsn', '--target-xid=5'],             'USAGE', qr/--target-xid does not go with --type=lsn/],
    [['--target-time=now', '--target-xid=5'],      'USAGE', qr/--target-time and --target-xid are both given/],
    [['--target=5', '--target-xid=5'],             'USAGE', qr/--target and --target-xid are both given/],
    [['--target-exclusive'],                       'USAGE', qr/--target-exclusive needs a target to stop before.*$which/s],
    [['--target-action=pause'],                    'USAGE', qr/--target-action=pause needs a target to stop at.*HINT: without one the cluster opens at the end of the WAL/s],
    [['--target-action=stop'],                     'USAGE', qr/--target-action must be pause, promote or shutdown/],
    [['--target-lsn=16B374D848'],                  'USAGE', qr{'16B374D848' is not a WAL position.*HINT: write it as PostgreSQL does, for example 0/3000028}s],
    [['--target-lsn=0/1'],                         'UNREACHABLE', qr/LSN 0\/1 lies before the first recovery point.*--type=immediate/s],
    map({ [["--target-xid=$_"], 'USAGE', qr/'\Q$_\E' is no transaction id.*HINT: it is a number, as pg_current_xact_id\(\) gives it/s] }
        'abc', '0', '2', '-5', '+5', '7x', '99999999999999999999999'),
    [['--target-xid=400000000'],                   'UNREACHABLE', qr/transaction 400000000 does not end in the archived WAL behind backup $one.*HINT/s],
    # backups and timelines
    [['--set=latest'],                             'USAGE', qr/no option --set.*HINT: did you mean --backup/s],
    [['--backup=latest'],                          'NOT_FOUND', qr/no backup 'latest' of 'app' in '\Q$url\E'.*HINT: 'pgdr info' lists .* without --backup the newest/s],
    [['--backup=2'],                               'USAGE', qr/several backups of 'app' begin with '2'.*HINT: the first of them is $one/s],
    [["--backup=$two", "--target-xid=$b->{xid}"],  'UNREACHABLE', qr/transaction $b->{xid} does not end in the archived WAL behind backup $two.*HINT: .*is it older than the backup/s],
    [['--target-timeline=newest'],                 'USAGE', qr/--target-timeline is latest, current or a number, not 'newest'/],
    [['--target-timeline=7'],                      'NOT_FOUND', qr/no 00000007.history.*HINT: the repository knows the timelines 1;/s],
    # places
    [["--to=$file"],                               'REFUSED', qr/'\Q$file\E' is not a directory/],
    [["--to=$file/sub"],                           'NOT_FOUND', qr{cannot look at '\Q$file\E/sub': Not a directory}],
    [['--to='],                                    'USAGE', qr/--to needs a value/],
    [['--to=/'],                                   'REFUSED', qr{'/' is not empty.*HINT: choose an empty directory with --to}s],
    Pgdr::unless_s3([["--to=$repo"],                               'REFUSED', qr/'\Q$repo\E' lies inside the repository '\Q$repo\E'.*HINT: choose a directory outside/s],
    [["--to=$repo/app/data"],                      'REFUSED', qr{'\Q$repo\E/app/data' lies inside the repository}],
    [["--to=$dir/../pgdr/repo/new/data"],          'REFUSED', qr/lies inside the repository '\Q$repo\E'/]),
    [['--pgdata=/x'],                              'USAGE', qr/no option --pgdata.*HINT: did you mean --to/s],
    [['--tablespace-map=x'],                       'USAGE', qr/--tablespace-map is OID=DIR or DIR=DIR with absolute directories, not 'x'/],
    [['--link-map=x=y'],                           'USAGE', qr/HINT: did you mean --tablespace-map/],
    # the rest
    [['--force'],                                  'USAGE', qr/HINT: did you mean --delta/],
    [['--dleta'],                                  'USAGE', qr/HINT: did you mean --delta/],
    [['--process-max=4'],                          'USAGE', qr/HINT: did you mean --jobs/],
    [['--stanza=app'],                             'USAGE', qr/HINT: did you mean --cluster/],
    [['--cluster=nope'],                           'CONFIG', qr/no \[cluster nope\] in .*HINT: there are: app/s],
    [['--repo=2'],                                 'CONFIG', qr/no \[repo 2\] in .*HINT: there are: main/s],
    [['data'],                                     'USAGE', qr/restore takes no arguments, and 'data' is more than that/],
    [['--archive-mode=on'],                        'USAGE', qr/--archive-mode must be preserve or off, not "on"/],
    [['--jobs=0'],                                 'USAGE', qr/--jobs must be a whole number from 1 to 256, not "0"/],
);
my $new = "$dir/new";
unchanged([$dir, $repo, $node->data_dir], sub {
    for my $case (@cases) {
        my ($args, $exit, $re) = @$case;
        my @to = (grep { /^--(?:to|pgdata)/ } @$args) ? () : ("--to=$new");
        $pgdr->fails($exit, $re, 'restore', @$args, @to);
    }
});

# A repository inside the data directory is not of the backup, so it would be removed.
subtest 'a repository in the data directory' => sub {
    Pgdr::only_in_folder('no data directory has it inside');
    my $inside = $node->data_dir . '/backups';
    copy_tree($repo, $inside);
    my $odd = Pgdr->new(node => $node, repo => $inside);
    # WAL that was not archived may be saved into it; nothing else happens.
    unchanged([map { $node->data_dir . "/$_" } qw(base global pg_wal PG_VERSION postgresql.auto.conf)], sub {
        $odd->fails('REFUSED', qr/the repository '\Q$inside\E' lies inside '.*' and would be removed.*HINT: restore into an empty directory/s,
            'restore', '--delta', '--yes');
        # Also one that is not restored from, and behind a link.
        symlink $inside, "$dir/link" or die;
        $pgdr->set('repo second', url => "$dir/link");
        $pgdr->fails('REFUSED', qr/the repository '\Q$dir\E\/link' lies inside/, 'restore', '--repo=main', '--delta', '--yes');
    });
    $odd->ok('restore', "--to=$new");
    ok(-e "$new/global/pg_control", 'it is restored elsewhere');
};
done_testing;
