# Everything but main and the commands is a library, so that the unit tests and conf/generate link it.
noinst_LIBRARIES += cli/libcli.a
cli_libcli_a_SOURCES = \
	cli/args.c cli/args.h \
	cli/cli.c cli/cli.h \
	cli/command.c cli/command.h cli/commands.def \
	cli/conffile.c cli/conffile.h \
	cli/display.c cli/display.h \
	cli/environment.c cli/environment.h \
	cli/findings.c cli/findings.h \
	cli/fingerprint.c cli/fingerprint.h \
	cli/help.c cli/help.h \
	cli/needs.c cli/needs.h \
	cli/option.c cli/option.h conf/options.def \
	cli/output.c cli/output.h \
	cli/settings.c cli/settings.h \
	cli/settings_file.c cli/settings_file.h \
	cli/signals.c cli/signals.h \
	cli/suggest.c cli/suggest.h \
	cli/table.c cli/table.h \
	cli/value.c cli/value.h \
	cli/wrap.c cli/wrap.h

CLI_LIBS = cli/libcli.a $(COMMON_LIBS) $(INIH_LIBS)

bin_PROGRAMS += pgdr
pgdr_SOURCES = \
	cli/ahead.c cli/ahead.h \
	cli/archive_helper.c cli/archive_helper.h \
	cli/cluster.c cli/cluster.h \
	cli/cmd_archive_get.c cli/cmd_archive_push.c \
	cli/cmd_backup.c \
	cli/cmd_check.c \
	cli/cmd_config.c \
	cli/cmd_copy.c \
	cli/cmd_help.c \
	cli/cmd_info.c \
	cli/cmd_init.c \
	cli/cmd_keygen.c \
	cli/cmd_rekey.c \
	cli/cmd_repo.c \
	cli/cmd_resolve.c \
	cli/cmd_restore.c \
	cli/cmd_verify.c \
	cli/cmd_version.c \
	cli/main.c \
	cli/passphrase.c cli/passphrase.h \
	cli/passphrase_command.c cli/passphrase_command.h \
	cli/repos.c cli/repos.h \
	cli/restore_command.c cli/restore_command.h \
	cli/s3.c cli/s3.h \
	cli/show_backup.c cli/show_backup.h
pgdr_LDADD = cli/libcli.a verify/libverify.a restore/librestore.a archive/libarchive_pgdr.a \
	catalog/libcatalog.a $(REPO_LIBS) $(STORAGE_LIBS) $(PG_LIBS) $(COMMON_LIBS) $(INIH_LIBS)
