EXTRA_DIST += docs/architecture.md docs/coding.md docs/repository-format.md docs/testing.md
