# The library that makes system calls fail, and the proof that it does. It is a "program" to automake
# so that no libtool is needed, and is built without sanitizers: it is loaded before theirs.
check_PROGRAMS += tests/fault/libfault.so
tests_fault_libfault_so_SOURCES = tests/fault/libfault.c tests/fault/judge.c tests/fault/judge.h
tests_fault_libfault_so_CPPFLAGS = -I$(top_srcdir)
tests_fault_libfault_so_CFLAGS = -std=gnu11 -Wall -Wextra -fPIC -fvisibility=hidden
tests_fault_libfault_so_LDFLAGS = -shared

# The same for a server whose clock a test can set.
check_PROGRAMS += tests/fault/libclock.so
tests_fault_libclock_so_SOURCES = tests/fault/libclock.c
tests_fault_libclock_so_CFLAGS = -std=gnu11 -Wall -Wextra -fPIC -fvisibility=hidden
tests_fault_libclock_so_LDFLAGS = -shared

if HAVE_CMOCKA
check_PROGRAMS += tests/fault/test_fault
TESTS += tests/fault/test_fault
tests_fault_test_fault_SOURCES = tests/fault/test_fault.c tests/unit/unit.h
tests_fault_test_fault_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_fault_test_fault_LDADD = $(COMMON_LIBS) $(CMOCKA_LIBS)
endif
