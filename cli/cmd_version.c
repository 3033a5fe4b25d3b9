/* pgdr version */

#include <openssl/crypto.h>
#include <stdio.h>
#include <xxhash.h>
#include <zstd.h>

#include "cli/cli.h"
#include "lib/pg/version.h"

ErrCode cmd_version(Cli *cli, Err *err UNUSED)
{
    char xxhash[32];
    unsigned n = XXH_versionNumber();
    snprintf(xxhash, sizeof(xxhash), "%u.%u.%u", n / 10000, n / 100 % 100, n % 100);
    /* The libraries that are loaded now, not the ones it was built with. */
    const struct {
        const char *name, *version;
    } libraries[] = {
        {"zstd", ZSTD_versionString()},
        {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
        {"xxhash", xxhash},
        {"jansson", jansson_version_str()},
    };

    json_t *list = json_object();
    out_text(&cli->out, "pgdr %s (PostgreSQL %d to %d)\n", PACKAGE_VERSION, PG_MAJOR_MIN,
             PG_MAJOR_MAX);
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        out_text(&cli->out, "%s %s\n", libraries[i].name, libraries[i].version);
        json_object_set_new(list, libraries[i].name, json_string(libraries[i].version));
    }
    json_t *doc = out_doc(&cli->out);
    json_object_set_new(doc, "version", json_string(PACKAGE_VERSION));
    json_object_set_new(doc, "postgresql",
                        json_pack("{s:i,s:i}", "min", PG_MAJOR_MIN, "max", PG_MAJOR_MAX));
    json_object_set_new(doc, "libraries", list);
    return ERR_OK;
}
