# Repositories of every version of the format, which today's pgdr and docs/rescue.py must read.
GOLDEN_TESTS = tests/golden/golden.t tests/golden/rescue.t
TESTS += $(GOLDEN_TESTS)
EXTRA_DIST += $(GOLDEN_TESTS) tests/golden/make-v1 tests/golden/v1.expected tests/golden/v1.tar
