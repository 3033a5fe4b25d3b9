EXTRA_DIST += docs/architecture.md docs/coding.md docs/repository-format.md docs/s3.md docs/testing.md
