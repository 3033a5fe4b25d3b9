noinst_LIBRARIES += restore/librestore.a
restore_librestore_a_SOURCES = \
	restore/destination.c restore/destination.h \
	restore/extract.c restore/extract.h \
	restore/file_writer.c restore/file_writer.h \
	restore/history_spool.c restore/history_spool.h \
	restore/last_piece.c restore/last_piece.h \
	restore/plan.c restore/plan.h \
	restore/plan_tablespaces.c restore/plan_tablespaces.h \
	restore/plan_timeline.c restore/plan_timeline.h \
	restore/recovery_conf.c restore/recovery_conf.h \
	restore/rescue.c restore/rescue.h \
	restore/restore.c restore/restore.h \
	restore/server_timeline.c restore/server_timeline.h \
	restore/target_dir.c restore/target_dir.h \
	restore/wal_ahead.c restore/wal_ahead.h \
	restore/wal_fetcher.c restore/wal_fetcher.h \
	restore/wal_get.c restore/wal_get.h
