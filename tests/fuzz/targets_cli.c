/* The configuration file. */

#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/conffile.h"
#include "lib/common/file.h"

static void conf_samples(FuzzCorpus *c)
{
    fuzz_add_text(c, "# a comment\n[global]\njobs = 2\n\n[repo main]\nurl = /var/lib/pgdr\n"
                     "encryption=none\nretention-window = 14d ; not a comment\n"
                     "[cluster app]\ndata-directory = /var/lib/postgresql/15/main\nport = 5432\n");
    fuzz_add_text(c, "\xef\xbb\xbf[global]\r\njobs = 2\r\n");
}

static bool conf_run(const uint8_t *data, size_t len)
{
    Err why;
    ConfFile f = {.others_can_read = false};
    char path[] = "/tmp/pgdr-fuzz-XXXXXX";
    int fd = mkstemp(path);
    FUZZ_CHECK(fd >= 0);
    FUZZ_OK(file_write_at(fd, data, len, 0, path, err));
    close(fd);
    bool good = conf_file_read(path, &f, &why) == ERR_OK;
    unlink(path);
    for (size_t i = 0; i < f.entries.n && good; i++) {
        const ConfEntry *e = &f.entries.at[i];
        FUZZ_CHECK(e->section && e->line > 0 && (!e->key || e->value));
    }
    conf_file_release(&f);
    return good;
}

const FuzzTarget fuzz_targets[] = {{"conf-file", conf_samples, conf_run, 0}};
const size_t fuzz_targets_n = ARRAY_LEN(fuzz_targets);
