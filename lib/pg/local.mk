noinst_LIBRARIES += lib/pg/libpg.a
lib_pg_libpg_a_SOURCES = \
	lib/pg/backup_label.c lib/pg/backup_label.h \
	lib/pg/conn.c lib/pg/conn_server.c lib/pg/conn.h \
	lib/pg/control.c lib/pg/control.h \
	lib/pg/libpq.c lib/pg/libpq.h \
	lib/pg/lsn.c lib/pg/lsn.h \
	lib/pg/page.c lib/pg/page.h \
	lib/pg/relfile.c lib/pg/relfile.h \
	lib/pg/sqlstate.c lib/pg/sqlstate.h \
	lib/pg/timeline.c lib/pg/timeline.h \
	lib/pg/version.c lib/pg/version.h \
	lib/pg/wal_decode.c lib/pg/wal_decode.h \
	lib/pg/wal_name.c lib/pg/wal_name.h \
	lib/pg/wal_page.c lib/pg/wal_page.h \
	lib/pg/wal_record.c lib/pg/wal_record.h \
	lib/pg/wal_scan.c lib/pg/wal_scan.h
