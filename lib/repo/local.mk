noinst_LIBRARIES += lib/repo/librepo.a
lib_repo_librepo_a_SOURCES = \
	lib/repo/copy.c lib/repo/copy.h \
	lib/repo/document.c \
	lib/repo/expire.c lib/repo/expire.h \
	lib/repo/fetch_ahead.c lib/repo/fetch_ahead.h \
	lib/repo/file_map.c lib/repo/file_map.h \
	lib/repo/format.h \
	lib/repo/key.c lib/repo/key.h \
	lib/repo/key_beside.c lib/repo/key_beside.h \
	lib/repo/key_check.c \
	lib/repo/key_store.c lib/repo/key_store.h \
	lib/repo/key_wraps.c lib/repo/key_wraps.h \
	lib/repo/keyring.c lib/repo/keyring.h \
	lib/repo/lease.c \
	lib/repo/manifest.h \
	lib/repo/manifest_read.c \
	lib/repo/manifest_write.c \
	lib/repo/map_pack.c lib/repo/map_pack.h \
	lib/repo/name_set.c lib/repo/name_set.h \
	lib/repo/object.h \
	lib/repo/object_read.c \
	lib/repo/object_write.c \
	lib/repo/pack.h \
	lib/repo/pack_read.c \
	lib/repo/pack_write.c \
	lib/repo/pack_use.c lib/repo/pack_use.h \
	lib/repo/packs_list.c lib/repo/packs_list.h \
	lib/repo/page_reader.c lib/repo/page_reader.h \
	lib/repo/publish.c lib/repo/publish.h \
	lib/repo/rekey.c \
	lib/repo/repo.c lib/repo/repo.h \
	lib/repo/seal.c lib/repo/seal.h \
	lib/repo/summary.c lib/repo/summary.h \
	lib/repo/sweep.c \
	lib/repo/trash.c lib/repo/trash.h \
	lib/repo/undelete.c \
	lib/repo/wal_object.c lib/repo/wal_object.h \
	lib/repo/wal_store.c lib/repo/wal_store.h \
	lib/repo/wal_tail.c lib/repo/wal_tail.h
