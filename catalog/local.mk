noinst_LIBRARIES += catalog/libcatalog.a
catalog_libcatalog_a_SOURCES = \
	catalog/backups.c catalog/backups.h \
	catalog/lineage.c catalog/lineage.h \
	catalog/parent.c catalog/parent.h \
	catalog/target.c catalog/target.h \
	catalog/wal_copy.c catalog/wal_copy.h \
	catalog/wal_helper.c catalog/wal_helper.h \
	catalog/wal_index.c catalog/wal_index.h \
	catalog/wal_inventory.c catalog/wal_inventory.h \
	catalog/wal_publish.c catalog/wal_publish.h \
	catalog/wal_walk.c catalog/wal_walk.h \
	catalog/wal_way.c catalog/wal_way.h \
	catalog/window.c catalog/window.h
