# Every parser on damaged bytes. A short run belongs to make check; for a long one:
#     PGDR_FUZZ_N=100000 PGDR_FUZZ_SEED=$RANDOM make check-fuzz
FUZZ_TESTS = tests/fuzz/fuzz_cli tests/fuzz/fuzz_pg tests/fuzz/fuzz_repo tests/fuzz/fuzz_wal

check_PROGRAMS += $(FUZZ_TESTS)
TESTS += $(FUZZ_TESTS)
FUZZ_MAIN = tests/fuzz/fuzz.c tests/fuzz/fuzz.h

FUZZ_MEDIUM = tests/fuzz/medium.c tests/fuzz/medium.h tests/unit/mem_repo.c tests/unit/mem_repo.h

tests_fuzz_fuzz_repo_SOURCES = $(FUZZ_MAIN) $(FUZZ_MEDIUM) tests/fuzz/targets_repo.c
tests_fuzz_fuzz_repo_LDADD = $(REPO_LIBS) $(PG_LIBS) $(STORAGE_LIBS) $(COMMON_LIBS)

tests_fuzz_fuzz_wal_SOURCES = $(FUZZ_MAIN) $(FUZZ_MEDIUM) tests/fuzz/targets_wal.c
tests_fuzz_fuzz_wal_LDADD = catalog/libcatalog.a $(REPO_LIBS) $(PG_LIBS) $(STORAGE_LIBS) \
	$(COMMON_LIBS)

tests_fuzz_fuzz_pg_SOURCES = $(FUZZ_MAIN) tests/fuzz/targets_pg.c
tests_fuzz_fuzz_pg_CFLAGS = $(AM_CFLAGS) -DTEST_DATA='"$(abs_top_srcdir)/tests/unit/data"'
tests_fuzz_fuzz_pg_LDADD = $(PG_LIBS) $(COMMON_LIBS)

tests_fuzz_fuzz_cli_SOURCES = $(FUZZ_MAIN) tests/fuzz/targets_cli.c
tests_fuzz_fuzz_cli_LDADD = $(CLI_LIBS)

check-fuzz: $(FUZZ_TESTS)
	set -e; for t in $(FUZZ_TESTS); do ./$$t; done
