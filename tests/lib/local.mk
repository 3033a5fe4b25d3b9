# The integration tests: real servers, driven by Perl's core modules. Their runner installs pgdr and
# copies the tests to a folder that an unprivileged user can read.
EXTRA_DIST += \
	conf/debian-packages \
	tests/run \
	tests/lib/TestFile.pm \
	tests/lib/TestRun.pm \
	tests/lib/WalRepo.pm \
	tests/lib/PgNode.pm \
	tests/lib/DocPage.pm \
	tests/lib/Envelope.pm \
	tests/lib/Pgdr.pm \
	tests/lib/Recovery.pm \
	tests/lib/Faults.pm \
	tests/lib/Rgw.pm \
	tests/lib/BucketCopy.pm \
	tests/lib/S3.pm \
	tests/lib/LostRepo.pm \
	tests/lib/S3Proxy.pm \
	tests/lib/cache-dir \
	tests/lib/get-deb \
	tests/lib/get-pg \
	tests/lib/get-pgbackrest \
	tests/lib/host.sh \
	tests/lib/rgw \
	tests/lib/s3-proxy \
	tests/lib/run-test \
	tests/integration

.PHONY: check-integration stage-tests

check-integration: all
	$(top_srcdir)/tests/run --build=$(abs_top_builddir) --only=integration

# Called by tests/run with STAGE.
stage-tests: all tests/fault/libfault.so tests/fault/libclock.so $(STAGED_TESTS)
	test -n "$(STAGE)"
	$(MAKE) $(AM_MAKEFLAGS) install DESTDIR="$(STAGE)/root"
	echo "$(STAGE)/root$(bindir)/pgdr" >"$(STAGE)/program"
	cp tests/fault/libfault.so tests/fault/libclock.so $(STAGED_TESTS) "$(STAGE)/"
	$(MKDIR_P) "$(STAGE)/source/lib/common"
	cp $(srcdir)/lib/common/errcodes.def "$(STAGE)/source/lib/common/"
	cp $(srcdir)/README.md "$(STAGE)/source/"
	for dir in conf docs tests; do cp -R "$(srcdir)/$$dir" "$(STAGE)/source/$$dir" || exit 1; done
	chmod -R go+rX "$(STAGE)/root" "$(STAGE)/source" "$(STAGE)"/*.so
