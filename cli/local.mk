bin_PROGRAMS += pgdr
pgdr_SOURCES = cli/main.c
pgdr_LDADD = $(COMMON_LIBS) $(INIH_LIBS)
