# What holds of the whole tree. `make lint` runs these alone, `make format` puts the layout right.
LINT_TESTS = \
	tests/lint/layers \
	tests/lint/below-cli \
	tests/lint/headers \
	tests/lint/fresh \
	tests/lint/words \
	tests/lint/docs \
	tests/lint/format \
	tests/lint/linkage

TESTS += $(LINT_TESTS)
EXTRA_DIST += $(LINT_TESTS)

AM_TESTS_ENVIRONMENT = \
	PGDR_CC='$(CC)'; export PGDR_CC; \
	PGDR_CPPFLAGS='$(DEFS) $(AM_CPPFLAGS) $(CPPFLAGS)'; export PGDR_CPPFLAGS; \
	PGDR_CFLAGS='$(AM_CFLAGS) $(CMOCKA_CFLAGS) $(CFLAGS)'; export PGDR_CFLAGS;

lint: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(LINT_TESTS)'

format:
	for d in cli conf lib catalog archive restore verify cluster tests; do \
	  test ! -d $(srcdir)/$$d || find $(srcdir)/$$d -name '*.[ch]' \
	    -exec clang-format --style=file -i {} + || exit 1; done
.PHONY: lint format
