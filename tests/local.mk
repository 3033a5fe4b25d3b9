include tests/lint/local.mk
include tests/cli/local.mk
include tests/golden/local.mk
if HAVE_CMOCKA
include tests/unit/local.mk
include tests/model/local.mk
include tests/storage/local.mk
endif
include tests/fuzz/local.mk
include tests/fault/local.mk
include tests/lib/local.mk
include tests/bench/local.mk
