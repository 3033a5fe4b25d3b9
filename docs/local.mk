EXTRA_DIST += \
	docs/architecture.md \
	docs/benchmarks.md \
	docs/coding.md \
	docs/encryption.md \
	docs/repository-format.md \
	docs/rescue.py \
	docs/s3.md \
	docs/several-repositories.md \
	docs/testing.md
