noinst_LIBRARIES += lib/common/libcommon.a
lib_common_libcommon_a_SOURCES = \
	lib/common/base.h \
	lib/common/buf.c lib/common/buf.h \
	lib/common/bytes.h \
	lib/common/cipher.c lib/common/cipher.h \
	lib/common/compress.c lib/common/compress.h \
	lib/common/digest.c lib/common/digest.h \
	lib/common/dynlib.c lib/common/dynlib.h \
	lib/common/err.c lib/common/err.h lib/common/errcodes.def \
	lib/common/file.c lib/common/file.h \
	lib/common/hex.c lib/common/hex.h \
	lib/common/json.c lib/common/json.h \
	lib/common/log.c lib/common/log.h \
	lib/common/mem.c lib/common/mem.h \
	lib/common/parallel.c lib/common/parallel.h \
	lib/common/procid.c lib/common/procid.h \
	lib/common/progress.c lib/common/progress.h \
	lib/common/timeutil.c lib/common/timeutil.h \
	lib/common/workers.c lib/common/workers.h
