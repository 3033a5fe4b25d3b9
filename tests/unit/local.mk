# A unit test is one program: test_<part>.c, linked with the layers it needs and no other.
UNIT_TESTS = \
	tests/unit/test_catalog_backups \
	tests/unit/test_catalog_lineage \
	tests/unit/test_catalog_parent \
	tests/unit/test_catalog_target \
	tests/unit/test_catalog_wal_walk \
	tests/unit/test_catalog_wal_inventory \
	tests/unit/test_catalog_wal_way \
	tests/unit/test_catalog_window \
	tests/unit/test_cli_options \
	tests/unit/test_cli_output \
	tests/unit/test_cli_settings \
	tests/unit/test_common \
	tests/unit/test_common_memory \
	tests/unit/test_common_threads \
	tests/unit/test_pg_conn \
	tests/unit/test_pg_control \
	tests/unit/test_pg_files \
	tests/unit/test_pg_fuzz \
	tests/unit/test_pg_record \
	tests/unit/test_pg_segment \
	tests/unit/test_pg_wal \
	tests/unit/test_procid \
	tests/unit/test_push_ask \
	tests/unit/test_verify_wal \
	tests/unit/test_keys \
	$(REPO_TESTS)

REPO_TESTS = \
	tests/unit/test_repo_object \
	tests/unit/test_repo_pack \
	tests/unit/test_repo_pack_use \
	tests/unit/test_repo_file_map \
	tests/unit/test_repo_fetch_ahead \
	tests/unit/test_repo_page_reader \
	tests/unit/test_repo_manifest \
	tests/unit/test_repo_documents \
	tests/unit/test_repo_lease \
	tests/unit/test_repo_publish \
	tests/unit/test_repo_wal_store \
	tests/unit/test_repo_wal_object \
	tests/unit/test_repo_copy \
	tests/unit/test_repo_keys

check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
UNIT_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

tests_unit_test_common_SOURCES = tests/unit/test_common.c tests/unit/unit.h
tests_unit_test_common_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_common_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)

tests_unit_test_common_memory_SOURCES = tests/unit/test_common_memory.c tests/unit/unit.h
tests_unit_test_common_memory_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_common_memory_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)

tests_unit_test_common_threads_SOURCES = tests/unit/test_common_threads.c tests/unit/unit.h
tests_unit_test_common_threads_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_common_threads_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=pthread_create
tests_unit_test_common_threads_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)

tests_unit_test_procid_SOURCES = tests/unit/test_procid.c tests/unit/unit.h
tests_unit_test_procid_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_procid_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)

tests_unit_test_cli_options_SOURCES = tests/unit/test_cli_options.c tests/unit/unit.h
tests_unit_test_cli_options_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_cli_options_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

tests_unit_test_cli_output_SOURCES = tests/unit/test_cli_output.c tests/unit/unit.h
tests_unit_test_cli_output_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_cli_output_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

tests_unit_test_cli_settings_SOURCES = tests/unit/test_cli_settings.c tests/unit/unit.h
tests_unit_test_cli_settings_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_cli_settings_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

tests_unit_test_catalog_backups_SOURCES = tests/unit/test_catalog_backups.c tests/unit/unit.h
tests_unit_test_catalog_backups_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_backups_LDADD = $(CATALOG_TEST_LDADD)

CATALOG_TEST_LDADD = catalog/libcatalog.a $(REPO_TEST_LDADD)
WAL_ARCHIVE = tests/unit/unit.h tests/unit/wal_archive.h tests/unit/wal_build.h \
	tests/unit/wal_records.h

tests_unit_test_catalog_lineage_SOURCES = tests/unit/test_catalog_lineage.c $(WAL_ARCHIVE)
tests_unit_test_catalog_lineage_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_lineage_LDADD = $(CATALOG_TEST_LDADD)

tests_unit_test_catalog_wal_walk_SOURCES = tests/unit/test_catalog_wal_walk.c $(WAL_ARCHIVE)
tests_unit_test_catalog_wal_walk_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_wal_walk_LDADD = $(CATALOG_TEST_LDADD)

tests_unit_test_catalog_target_SOURCES = tests/unit/test_catalog_target.c $(WAL_ARCHIVE)
tests_unit_test_catalog_target_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_target_LDADD = $(CATALOG_TEST_LDADD)

tests_unit_test_catalog_wal_inventory_SOURCES = tests/unit/test_catalog_wal_inventory.c $(WAL_ARCHIVE)
tests_unit_test_catalog_wal_inventory_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_wal_inventory_LDADD = $(CATALOG_TEST_LDADD)

tests_unit_test_catalog_wal_way_SOURCES = tests/unit/test_catalog_wal_way.c $(WAL_ARCHIVE)
tests_unit_test_catalog_wal_way_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_wal_way_LDADD = $(CATALOG_TEST_LDADD)

tests_unit_test_catalog_window_SOURCES = tests/unit/test_catalog_window.c $(WAL_ARCHIVE)
tests_unit_test_catalog_window_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_window_LDADD = $(CATALOG_TEST_LDADD)

tests_unit_test_catalog_parent_SOURCES = tests/unit/test_catalog_parent.c tests/unit/unit.h
tests_unit_test_catalog_parent_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_catalog_parent_LDADD = $(CATALOG_TEST_LDADD)

tests_unit_test_repo_pack_use_SOURCES = tests/unit/test_repo_pack_use.c tests/unit/unit.h
tests_unit_test_repo_pack_use_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_pack_use_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_push_ask_SOURCES = tests/unit/test_push_ask.c tests/unit/unit.h
tests_unit_test_push_ask_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_push_ask_LDADD = archive/libarchive_pgdr.a $(CATALOG_TEST_LDADD)

tests_unit_test_verify_wal_SOURCES = tests/unit/test_verify_wal.c $(WAL_ARCHIVE)
tests_unit_test_verify_wal_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_verify_wal_LDADD = verify/libverify.a $(CATALOG_TEST_LDADD)

tests_unit_test_keys_SOURCES = tests/unit/test_keys.c tests/unit/unit.h
tests_unit_test_keys_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_keys_LDADD = $(REPO_TEST_LDADD)

# --- lib/repo ---

# Repositories in memory, and what is in them.
check_LIBRARIES += tests/unit/libmem.a
tests_unit_libmem_a_SOURCES = tests/unit/mem_repo.c tests/unit/mem_repo.h \
	tests/unit/mem_backup.c tests/unit/mem_backup.h
REPO_TEST_LDADD = tests/unit/libmem.a $(REPO_LIBS) $(STORAGE_LIBS) $(PG_LIBS) $(COMMON_LIBS) \
	$(LIBPQ_LIBS) $(CMOCKA_LIBS)

tests_unit_test_repo_object_SOURCES = tests/unit/test_repo_object.c tests/unit/unit.h
tests_unit_test_repo_object_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_object_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_pack_SOURCES = tests/unit/test_repo_pack.c tests/unit/unit.h
tests_unit_test_repo_pack_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_pack_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_file_map_SOURCES = tests/unit/test_repo_file_map.c tests/unit/unit.h
tests_unit_test_repo_file_map_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_file_map_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_fetch_ahead_SOURCES = tests/unit/test_repo_fetch_ahead.c tests/unit/unit.h
tests_unit_test_repo_fetch_ahead_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_fetch_ahead_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_page_reader_SOURCES = tests/unit/test_repo_page_reader.c tests/unit/unit.h
tests_unit_test_repo_page_reader_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_page_reader_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_manifest_SOURCES = tests/unit/test_repo_manifest.c tests/unit/unit.h
tests_unit_test_repo_manifest_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_manifest_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_documents_SOURCES = tests/unit/test_repo_documents.c tests/unit/unit.h
tests_unit_test_repo_documents_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_documents_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_lease_SOURCES = tests/unit/test_repo_lease.c tests/unit/unit.h
tests_unit_test_repo_lease_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_lease_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_publish_SOURCES = tests/unit/test_repo_publish.c tests/unit/unit.h
tests_unit_test_repo_publish_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_publish_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_wal_store_SOURCES = tests/unit/test_repo_wal_store.c tests/unit/unit.h
tests_unit_test_repo_wal_store_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_wal_store_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_wal_object_SOURCES = tests/unit/test_repo_wal_object.c tests/unit/unit.h
tests_unit_test_repo_wal_object_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_wal_object_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_copy_SOURCES = tests/unit/test_repo_copy.c tests/unit/unit.h
tests_unit_test_repo_copy_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_copy_LDADD = $(REPO_TEST_LDADD)

tests_unit_test_repo_keys_SOURCES = tests/unit/test_repo_keys.c tests/unit/unit.h
tests_unit_test_repo_keys_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_repo_keys_LDADD = $(REPO_TEST_LDADD)

# --- lib/pg ---

PG_TEST_CFLAGS = $(UNIT_CFLAGS) -DTEST_DATA='"$(abs_top_srcdir)/tests/unit/data"'
PG_TEST_LDADD = $(PG_LIBS) $(COMMON_LIBS) $(CMOCKA_LIBS)
PG_FIXTURES = \
	tests/unit/data/13.control tests/unit/data/13.controldata tests/unit/data/13.pages.zst \
	tests/unit/data/13.txt.zst tests/unit/data/13.wal.zst \
	tests/unit/data/15.control tests/unit/data/15.controldata tests/unit/data/15.pages.zst \
	tests/unit/data/15.txt.zst tests/unit/data/15.wal.zst \
	tests/unit/data/17.control tests/unit/data/17.controldata tests/unit/data/17.pages.zst \
	tests/unit/data/17.txt.zst tests/unit/data/17.wal.zst \
	tests/unit/data/18.control tests/unit/data/18.controldata tests/unit/data/18.pages.zst \
	tests/unit/data/18.txt.zst tests/unit/data/18.wal.zst
EXTRA_DIST += $(PG_FIXTURES) tests/unit/data/make-fixtures tests/unit/data/waldump-lines

tests_unit_test_pg_wal_SOURCES = tests/unit/test_pg_wal.c tests/unit/unit.h \
	tests/unit/wal_fixture.h tests/unit/wal_text.h
tests_unit_test_pg_wal_CFLAGS = $(PG_TEST_CFLAGS)
tests_unit_test_pg_wal_LDADD = $(PG_TEST_LDADD)

tests_unit_test_pg_segment_SOURCES = tests/unit/test_pg_segment.c tests/unit/unit.h \
	tests/unit/wal_build.h
tests_unit_test_pg_segment_CFLAGS = $(PG_TEST_CFLAGS)
tests_unit_test_pg_segment_LDADD = $(PG_TEST_LDADD)

tests_unit_test_pg_record_SOURCES = tests/unit/test_pg_record.c tests/unit/unit.h
tests_unit_test_pg_record_CFLAGS = $(PG_TEST_CFLAGS)
tests_unit_test_pg_record_LDADD = $(PG_TEST_LDADD)

tests_unit_test_pg_fuzz_SOURCES = tests/unit/test_pg_fuzz.c tests/unit/unit.h \
	tests/unit/wal_fixture.h
tests_unit_test_pg_fuzz_CFLAGS = $(PG_TEST_CFLAGS)
tests_unit_test_pg_fuzz_LDADD = $(PG_TEST_LDADD)

tests_unit_test_pg_files_SOURCES = tests/unit/test_pg_files.c tests/unit/unit.h
tests_unit_test_pg_files_CFLAGS = $(PG_TEST_CFLAGS)
tests_unit_test_pg_files_LDADD = $(PG_TEST_LDADD)

tests_unit_test_pg_control_SOURCES = tests/unit/test_pg_control.c tests/unit/unit.h \
	tests/unit/wal_fixture.h
tests_unit_test_pg_control_CFLAGS = $(PG_TEST_CFLAGS)
tests_unit_test_pg_control_LDADD = $(PG_TEST_LDADD)

tests_unit_test_pg_conn_SOURCES = tests/unit/test_pg_conn.c tests/unit/unit.h
tests_unit_test_pg_conn_CFLAGS = $(PG_TEST_CFLAGS)
tests_unit_test_pg_conn_LDADD = $(PG_TEST_LDADD)
