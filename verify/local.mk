noinst_LIBRARIES += verify/libverify.a
verify_libverify_a_SOURCES = \
	verify/check_manifests.c \
	verify/check_packs.c \
	verify/check_rest.c \
	verify/check_wal.c \
	verify/checker.h \
	verify/heal.c verify/heal.h \
	verify/stored.c verify/stored.h \
	verify/verify.c verify/verify.h \
	verify/wal_checker.h \
	verify/wal_content.c \
	verify/wal_cost.c \
	verify/wal_presence.c
