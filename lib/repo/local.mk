noinst_LIBRARIES += lib/repo/librepo.a
lib_repo_librepo_a_SOURCES =
