noinst_LIBRARIES += archive/libarchive_pgdr.a
archive_libarchive_pgdr_a_SOURCES = \
	archive/backup.c archive/backup.h \
	archive/backup_copy.c archive/backup_copy.h \
	archive/backup_files.c archive/backup_files.h \
	archive/backup_pages.c archive/backup_pages.h \
	archive/backup_wal.c archive/backup_wal.h \
	archive/wal_push.c archive/wal_push.h \
	archive/wal_push_behind.c archive/wal_push_behind.h
