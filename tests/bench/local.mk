# make bench: see docs/benchmarks.md. Its programs are made only for it.
EXTRA_PROGRAMS = tests/bench/bench-measure tests/bench/bench-floor
CLEANFILES += $(EXTRA_PROGRAMS)
tests_bench_bench_measure_SOURCES = tests/bench/measure.c
tests_bench_bench_floor_SOURCES = tests/bench/floor.c
tests_bench_bench_floor_LDADD = $(COMMON_LIBS)

EXTRA_DIST += \
	tests/bench/bench \
	tests/bench/bench.pl \
	tests/bench/BenchCases.pm \
	tests/bench/BenchData.pm \
	tests/bench/BenchReport.pm \
	tests/bench/BenchRun.pm \
	tests/bench/BenchTools.pm

.PHONY: bench
bench: all $(EXTRA_PROGRAMS)
	$(srcdir)/tests/bench/bench $(abs_top_builddir)
