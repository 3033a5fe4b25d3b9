# Storage drivers and decorators: one suite (libconformance.a) that each of them passes, and what
# is particular to each.
STORAGE_TESTS = \
	tests/storage/test_ahead \
	tests/storage/test_decorators \
	tests/storage/test_fault \
	tests/storage/test_mem \
	tests/storage/test_posix \
	tests/storage/test_posix_faults \
	tests/storage/test_posix_limits \
	tests/storage/test_retry \
	tests/storage/test_s3_parts \
	tests/storage/test_storage \
	tests/storage/test_throttle

check_PROGRAMS += $(STORAGE_TESTS)
TESTS += $(STORAGE_TESTS)

check_LIBRARIES += tests/storage/libconformance.a
tests_storage_libconformance_a_SOURCES = \
	tests/storage/child.c tests/storage/child.h \
	tests/storage/conformance.c tests/storage/conformance.h \
	tests/storage/conformance_lists.c \
	tests/storage/conformance_model.c \
	tests/storage/conformance_objects.c \
	tests/storage/conformance_races.c \
	tests/storage/scratch.c tests/storage/scratch.h \
	tests/unit/unit.h
tests_storage_libconformance_a_CFLAGS = $(UNIT_CFLAGS)
CONFORMANCE_LIBS = tests/storage/libconformance.a $(STORAGE_LIBS) $(COMMON_LIBS) $(CMOCKA_LIBS)

tests_storage_test_decorators_SOURCES = tests/storage/test_decorators.c
tests_storage_test_decorators_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_decorators_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_ahead_SOURCES = tests/storage/test_ahead.c
tests_storage_test_ahead_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_ahead_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_mem_SOURCES = tests/storage/test_mem.c
tests_storage_test_mem_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_mem_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_posix_SOURCES = tests/storage/test_posix.c
tests_storage_test_posix_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_posix_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_posix_limits_SOURCES = tests/storage/test_posix_limits.c
tests_storage_test_posix_limits_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_posix_limits_LDADD = $(CONFORMANCE_LIBS)

# The system calls of the driver go through shim.c.
tests_storage_test_posix_faults_SOURCES = tests/storage/test_posix_faults.c \
	tests/storage/shim.c tests/storage/shim.h
tests_storage_test_posix_faults_CFLAGS = $(UNIT_CFLAGS)
SHIM_WRAPS = -Wl,--wrap=openat,--wrap=pwrite,--wrap=pread \
	-Wl,--wrap=fsync,--wrap=close,--wrap=linkat,--wrap=renameat2,--wrap=unlinkat,--wrap=mkdirat \
	-Wl,--wrap=fstatat,--wrap=statx,--wrap=fcntl,--wrap=readdir
tests_storage_test_posix_faults_LDFLAGS = $(AM_LDFLAGS) $(SHIM_WRAPS)
tests_storage_test_posix_faults_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_fault_SOURCES = tests/storage/test_fault.c
tests_storage_test_fault_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_fault_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_retry_SOURCES = tests/storage/test_retry.c tests/storage/fake_clock.h
tests_storage_test_retry_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_retry_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_throttle_SOURCES = tests/storage/test_throttle.c tests/storage/fake_clock.h
tests_storage_test_throttle_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_throttle_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_storage_SOURCES = tests/storage/test_storage.c
tests_storage_test_storage_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_storage_LDADD = $(CONFORMANCE_LIBS)

# Built by make check, run by hand.
check_PROGRAMS += tests/storage/bench_posix
tests_storage_bench_posix_SOURCES = tests/storage/bench_posix.c tests/storage/shim.c \
	tests/storage/shim.h
tests_storage_bench_posix_CFLAGS = $(UNIT_CFLAGS)
tests_storage_bench_posix_LDFLAGS = $(AM_LDFLAGS) $(SHIM_WRAPS)
tests_storage_bench_posix_LDADD = $(CONFORMANCE_LIBS)

tests_storage_test_s3_parts_SOURCES = tests/storage/test_s3_parts.c
tests_storage_test_s3_parts_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_s3_parts_LDADD = $(CONFORMANCE_LIBS)

# Needs an S3 server: tests/integration/450_s3_driver.t starts both.
check_PROGRAMS += tests/storage/test_s3
STAGED_TESTS = tests/storage/test_s3
tests_storage_test_s3_SOURCES = tests/storage/test_s3.c
tests_storage_test_s3_CFLAGS = $(UNIT_CFLAGS)
tests_storage_test_s3_LDADD = $(CONFORMANCE_LIBS)
