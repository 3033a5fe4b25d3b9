include tests/lint/local.mk
include tests/cli/local.mk
if HAVE_CMOCKA
include tests/unit/local.mk
include tests/storage/local.mk
endif
