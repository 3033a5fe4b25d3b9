#include "lib/pg/relfile.h"

#include <stdio.h>
#include <string.h>

#define SPC_DEFAULT 1663
#define SPC_GLOBAL 1664

/* Decimal without leading zeros, up to 2^32 − 1, at *s, which moves behind it. */
static bool parse_number(const char **s, uint32_t *ret)
{
    uint64_t v = 0;
    const char *p = *s;
    for (; *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == *s || v > UINT32_MAX || (**s == '0' && p != *s + 1))
        return false;
    *s = p;
    *ret = (uint32_t)v;
    return true;
}

static bool parse_oid(const char **s, uint32_t *ret)
{
    return parse_number(s, ret) && *ret != 0;
}

static bool skip(const char **s, const char *text)
{
    size_t n = strlen(text);
    if (strncmp(*s, text, n) != 0)
        return false;
    *s += n;
    return true;
}

/* <rel>[_fork][.segment], or t<backend>_<rel>… for a temporary relation. */
static bool parse_name(const char *s, RelFile *r)
{
    uint32_t backend;
    if (skip(&s, "t")) {
        r->temporary = true;
        if (!parse_number(&s, &backend) || !skip(&s, "_"))
            return false;
    }
    if (!parse_oid(&s, &r->rel))
        return false;
    if (skip(&s, "_fsm"))
        r->fork = FORK_FSM;
    else if (skip(&s, "_vm"))
        r->fork = FORK_VM;
    else if (skip(&s, "_init"))
        r->fork = FORK_INIT;
    if (skip(&s, ".") && (!parse_number(&s, &r->segment) || r->segment == 0))
        return false;
    return *s == '\0';
}

/* "16400/PG_15_202209061/" */
static bool parse_tablespace(const char **s, uint32_t *spc)
{
    uint32_t ignored;
    return parse_oid(s, spc) && skip(s, "/PG_") && parse_number(s, &ignored) && skip(s, "_") &&
           parse_number(s, &ignored) && skip(s, "/");
}

bool relfile_parse(const char *path, RelFile *ret)
{
    RelFile r = {.fork = FORK_MAIN};
    const char *s = path;
    if (skip(&s, "global/")) {
        r.spc = SPC_GLOBAL;
    } else {
        if (skip(&s, "base/"))
            r.spc = SPC_DEFAULT;
        else if (!skip(&s, "pg_tblspc/") || !parse_tablespace(&s, &r.spc))
            return false;
        if (!parse_oid(&s, &r.db) || !skip(&s, "/"))
            return false;
    }
    if (!parse_name(s, &r))
        return false;
    *ret = r;
    return true;
}

bool tablespace_entry_parse(const char *path, uint32_t *ret_oid)
{
    const char *s = path;
    return skip(&s, "pg_tblspc/") && parse_oid(&s, ret_oid) && *s == '\0';
}

/* Emptied or made anew whenever a server starts or recovers; pg_wal comes from the repository. */
static const char *const empty_dirs[] = {
    "pg_wal",    "pg_replslot",  "pg_dynshmem", "pg_notify",
    "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans",
};

/* In the data directory itself: what belongs to the running server or to an earlier restore. */
static const char *const top_files[] = {
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "backup_manifest",
    "standby.signal",
    "recovery.signal",
    "promote",
    "current_logfiles",
    "current_logfiles.tmp",
    "postgresql.auto.conf.tmp",
};

static bool has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* A name that is excluded wherever it stands. */
static bool skipped_anywhere(const char *name)
{
    return has_prefix(name, "pgsql_tmp") || has_prefix(name, "pg_internal.init") ||
           strcmp(name, ".DS_Store") == 0;
}

DataRule data_rule(const char *path, bool is_dir)
{
    for (size_t i = 0; i < ARRAY_LEN(empty_dirs); i++) {
        size_t n = strlen(empty_dirs[i]);
        if (strncmp(path, empty_dirs[i], n) == 0 && path[n] == '\0')
            return DATA_EMPTY_DIR;
        if (strncmp(path, empty_dirs[i], n) == 0 && path[n] == '/')
            return DATA_SKIP;
    }
    for (size_t i = 0; i < ARRAY_LEN(top_files); i++)
        if (strcmp(path, top_files[i]) == 0)
            return DATA_SKIP;
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        const char *end = strchrnul(part, '/');
        char name[32];
        snprintf(name, sizeof(name), "%.*s", (int)MIN((size_t)(end - part), sizeof(name) - 1),
                 part);
        if (skipped_anywhere(name))
            return DATA_SKIP;
    }
    RelFile r;
    return !is_dir && relfile_parse(path, &r) && r.temporary ? DATA_SKIP : DATA_COPY;
}
