noinst_LIBRARIES += archive/libarchive_pgdr.a
archive_libarchive_pgdr_a_SOURCES = \
	archive/backup.c archive/backup.h \
	archive/backup_copy.c archive/backup_copy.h \
	archive/backup_files.c archive/backup_files.h \
	archive/backup_pages.c archive/backup_pages.h \
	archive/backup_wal.c archive/backup_wal.h \
	archive/copy_large.c archive/copy_worker.h \
	archive/leftover.c archive/leftover.h \
	archive/push_ahead.c archive/push_ahead.h \
	archive/push_ask.c archive/push_ask.h \
	archive/push_helper.c archive/push_helper.h \
	archive/push_repos.c archive/push_repos.h \
	archive/reuse.c archive/reuse.h \
	archive/wal_push.c archive/wal_push.h \
	archive/wal_push_behind.c archive/wal_push_behind.h \
	archive/wal_ready.c archive/wal_ready.h
