# The protocols of lib/repo/publish.h and lib/repo/rekey.c, explored. Chance and time are replaced at the link, so that
# a process does the same each time it is given the same answers.
MODEL_TESTS = tests/model/test_protocol tests/model/test_rekey

check_PROGRAMS += $(MODEL_TESTS)
TESTS += $(MODEL_TESTS)

# The explorer visits millions of states and runs without sanitizers; the code it explores does not.
check_LIBRARIES += tests/model/libmodel.a
tests_model_libmodel_a_SOURCES = tests/model/explore.c tests/model/explore.h tests/model/map.h \
	tests/model/process.c tests/model/process.h \
	tests/model/stores.c tests/model/stores.h
tests_model_libmodel_a_CFLAGS = $(AM_CFLAGS) -fno-sanitize=all

tests_model_test_protocol_SOURCES = tests/model/test_protocol.c \
	tests/model/parts.c tests/model/parts.h \
	tests/model/scene.c tests/model/scene.h tests/unit/unit.h
tests_model_test_protocol_CFLAGS = $(UNIT_CFLAGS)
tests_model_test_protocol_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=random_bytes,--wrap=random_name \
	-Wl,--wrap=time_now,--wrap=time_monotonic
tests_model_test_protocol_LDADD = tests/model/libmodel.a $(REPO_LIBS) $(PG_LIBS) $(STORAGE_LIBS) \
	$(COMMON_LIBS) $(CMOCKA_LIBS)

tests_model_test_rekey_SOURCES = tests/model/test_rekey.c tests/unit/unit.h
tests_model_test_rekey_CFLAGS = $(UNIT_CFLAGS)
tests_model_test_rekey_LDFLAGS = $(tests_model_test_protocol_LDFLAGS)
tests_model_test_rekey_LDADD = $(tests_model_test_protocol_LDADD)

EXTRA_DIST += tests/model/mutate
check-mutations: $(MODEL_TESTS)
	SRC='$(srcdir)' COMPILE='$(CC) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS)' \
	LINK='$(CC) $(AM_CFLAGS) $(CFLAGS) $(tests_model_test_protocol_LDFLAGS) $(tests_model_test_protocol_OBJECTS) MUTANT $(tests_model_test_protocol_LDADD)' \
	LINK_REKEY='$(CC) $(AM_CFLAGS) $(CFLAGS) $(tests_model_test_rekey_LDFLAGS) $(tests_model_test_rekey_OBJECTS) MUTANT $(tests_model_test_rekey_LDADD)' \
	$(srcdir)/tests/model/mutate $(MUTATE)
