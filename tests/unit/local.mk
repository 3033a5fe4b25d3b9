# A unit test is one program: test_<part>.c, linked with the layers it needs and no other.
UNIT_TESTS = \
	tests/unit/test_cli_options \
	tests/unit/test_cli_output \
	tests/unit/test_cli_settings \
	tests/unit/test_common

check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
UNIT_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)

tests_unit_test_common_SOURCES = tests/unit/test_common.c tests/unit/unit.h
tests_unit_test_common_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_common_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)

tests_unit_test_cli_options_SOURCES = tests/unit/test_cli_options.c tests/unit/unit.h
tests_unit_test_cli_options_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_cli_options_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

tests_unit_test_cli_output_SOURCES = tests/unit/test_cli_output.c tests/unit/unit.h
tests_unit_test_cli_output_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_cli_output_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

tests_unit_test_cli_settings_SOURCES = tests/unit/test_cli_settings.c tests/unit/unit.h
tests_unit_test_cli_settings_CFLAGS = $(UNIT_CFLAGS)
tests_unit_test_cli_settings_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)
