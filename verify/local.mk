noinst_LIBRARIES += verify/libverify.a
verify_libverify_a_SOURCES = \
	verify/check_manifests.c \
	verify/check_packs.c \
	verify/check_wal.c \
	verify/checker.h \
	verify/heal.c verify/heal.h \
	verify/verify.c verify/verify.h
