if HAVE_CMOCKA
include tests/unit/local.mk
include tests/storage/local.mk
endif
