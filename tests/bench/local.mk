# make bench: see docs/benchmarks.md. Its programs are made only for it.
EXTRA_PROGRAMS = tests/bench/bench-delay tests/bench/bench-floor tests/bench/bench-measure
CLEANFILES += $(EXTRA_PROGRAMS)
tests_bench_bench_delay_SOURCES = tests/bench/delay.c
tests_bench_bench_measure_SOURCES = tests/bench/measure.c
tests_bench_bench_floor_SOURCES = tests/bench/floor.c tests/bench/floor_place.c tests/bench/floor_place.h
tests_bench_bench_floor_LDADD = $(STORAGE_LIBS) $(COMMON_LIBS)

EXTRA_DIST += \
	tests/bench/bench \
	tests/bench/bench.pl \
	tests/bench/BenchCases.pm \
	tests/bench/BenchData.pm \
	tests/bench/BenchReport.pm \
	tests/bench/BenchRun.pm \
	tests/bench/BenchS3.pm \
	tests/bench/BenchTools.pm

.PHONY: bench
bench: all $(EXTRA_PROGRAMS)
	$(srcdir)/tests/bench/bench $(abs_top_builddir)
