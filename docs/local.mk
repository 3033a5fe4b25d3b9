<<<<<<< HEAD
EXTRA_DIST += \
	docs/architecture.md \
	docs/coding.md \
	docs/encryption.md \
	docs/repository-format.md \
	docs/rescue.py \
	docs/several-repositories.md \
	docs/testing.md
=======
EXTRA_DIST += docs/architecture.md docs/coding.md docs/repository-format.md docs/s3.md docs/testing.md
>>>>>>> 88d1c8b550f09f989cbf308d48945ede2a4baf82
