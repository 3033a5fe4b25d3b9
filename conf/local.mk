# The option table is compiled into cli/libcli.a. This tool makes the committed files from it.
noinst_PROGRAMS += conf/generate
conf_generate_SOURCES = \
	conf/generate.c conf/generate.h \
	conf/gen_completion.c \
	conf/gen_man.c \
	conf/gen_sample.c
conf_generate_LDADD = $(CLI_LIBS)

generate: conf/generate$(EXEEXT)
	conf/generate$(EXEEXT) man >$(srcdir)/docs/pgdr.1
	conf/generate$(EXEEXT) sample >$(srcdir)/conf/pgdr.conf.sample
	conf/generate$(EXEEXT) completion >$(srcdir)/conf/pgdr.bash-completion
.PHONY: generate

dist_man_MANS += docs/pgdr.1

# Nothing is installed where it would take effect by itself: the configuration and the cron file
# are examples, the timer is to be enabled.
examplesdir = $(docdir)/examples
dist_examples_DATA = conf/pgdr.conf.sample
nodist_examples_DATA = conf/pgdr.cron

# /usr/local/lib/systemd/system is looked into as well as /usr/lib/systemd/system.
systemdunitdir = $(prefix)/lib/systemd/system
nodist_systemdunit_DATA = $(SYSTEMD_UNITS)
SYSTEMD_UNITS = \
	conf/pgdr-backup.service conf/pgdr-backup.timer \
	conf/pgdr-verify.service conf/pgdr-verify.timer

CONF_MADE = conf/pgdr.cron $(SYSTEMD_UNITS)
EXTRA_DIST += conf/pgdr.bash-completion $(CONF_MADE:=.in)
CLEANFILES += $(CONF_MADE)

$(CONF_MADE): Makefile
	$(AM_V_GEN)$(MKDIR_P) conf && \
	$(SED) -e 's|@bindir[@]|$(bindir)|g' $(srcdir)/$@.in >$@.tmp && mv $@.tmp $@
conf/pgdr.cron: $(srcdir)/conf/pgdr.cron.in
conf/pgdr-backup.service: $(srcdir)/conf/pgdr-backup.service.in
conf/pgdr-backup.timer: $(srcdir)/conf/pgdr-backup.timer.in
conf/pgdr-verify.service: $(srcdir)/conf/pgdr-verify.service.in
conf/pgdr-verify.timer: $(srcdir)/conf/pgdr-verify.timer.in

# bash-completion finds the file by the command's name.
bashcompletiondir = $(datadir)/bash-completion/completions

install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(bashcompletiondir)'
	$(INSTALL_DATA) $(srcdir)/conf/pgdr.bash-completion '$(DESTDIR)$(bashcompletiondir)/pgdr'

uninstall-local:
	rm -f '$(DESTDIR)$(bashcompletiondir)/pgdr'
