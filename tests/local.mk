if HAVE_CMOCKA
include tests/unit/local.mk
endif
include tests/fault/local.mk
include tests/lib/local.mk
