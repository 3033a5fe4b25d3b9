noinst_LIBRARIES += lib/storage/libstorage.a
lib_storage_libstorage_a_SOURCES = \
	lib/storage/ahead.c \
	lib/storage/attempts.c lib/storage/attempts.h \
	lib/storage/curl_lib.c lib/storage/curl_lib.h \
	lib/storage/drivers.h \
	lib/storage/fault.c \
	lib/storage/http.c lib/storage/http.h \
	lib/storage/mem.c \
	lib/storage/posix.c \
	lib/storage/posix_base.c lib/storage/posix_base.h \
	lib/storage/posix_body.c lib/storage/posix_body.h \
	lib/storage/posix_dirs.c lib/storage/posix_dirs.h \
	lib/storage/posix_list.c lib/storage/posix_list.h \
	lib/storage/posix_put.c lib/storage/posix_put.h \
	lib/storage/retry.c \
	lib/storage/s3.c lib/storage/s3.h \
	lib/storage/s3_address.c lib/storage/s3_address.h \
	lib/storage/s3_call.c lib/storage/s3_call.h \
	lib/storage/s3_error.c lib/storage/s3_error.h \
	lib/storage/s3_get.c lib/storage/s3_get.h \
	lib/storage/s3_list.c lib/storage/s3_list.h \
	lib/storage/s3_multipart.c \
	lib/storage/s3_put.c lib/storage/s3_put.h \
	lib/storage/s3_remove.c lib/storage/s3_remove.h \
	lib/storage/s3_v2.c lib/storage/s3_v2.h \
	lib/storage/sigv4.c lib/storage/sigv4.h \
	lib/storage/source.c lib/storage/source.h \
	lib/storage/storage.c lib/storage/storage.h \
	lib/storage/throttle.c \
	lib/storage/uri.c lib/storage/uri.h \
	lib/storage/wait.c lib/storage/wait.h \
	lib/storage/xml.c lib/storage/xml.h
