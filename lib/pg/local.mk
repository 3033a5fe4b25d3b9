noinst_LIBRARIES += lib/pg/libpg.a
lib_pg_libpg_a_SOURCES = \
	lib/pg/version.c lib/pg/version.h
