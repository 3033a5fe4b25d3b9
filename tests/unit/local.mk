# A unit test is one program: test_<part>.c, linked with the layers it needs and no other.
UNIT_TESTS = \
	tests/unit/test_common

check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
UNIT_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

tests_unit_test_common_SOURCES = tests/unit/test_common.c tests/unit/unit.h
tests_unit_test_common_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_common_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
