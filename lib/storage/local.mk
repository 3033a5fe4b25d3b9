noinst_LIBRARIES += lib/storage/libstorage.a
lib_storage_libstorage_a_SOURCES = \
	lib/storage/drivers.h \
	lib/storage/fault.c \
	lib/storage/mem.c \
	lib/storage/posix.c \
	lib/storage/posix_base.c lib/storage/posix_base.h \
	lib/storage/posix_body.c lib/storage/posix_body.h \
	lib/storage/posix_dirs.c lib/storage/posix_dirs.h \
	lib/storage/posix_list.c lib/storage/posix_list.h \
	lib/storage/posix_put.c lib/storage/posix_put.h \
	lib/storage/retry.c \
	lib/storage/source.c lib/storage/source.h \
	lib/storage/storage.c lib/storage/storage.h \
	lib/storage/throttle.c \
	lib/storage/wait.c lib/storage/wait.h
