# The program as a user sees it.
TESTS += tests/cli/cli.t
EXTRA_DIST += tests/cli/cli.t
