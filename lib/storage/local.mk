noinst_LIBRARIES += lib/storage/libstorage.a
lib_storage_libstorage_a_SOURCES = \
	lib/storage/drivers.h \
	lib/storage/storage.c lib/storage/storage.h
