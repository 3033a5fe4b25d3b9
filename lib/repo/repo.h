#ifndef PGDR_REPO_REPO_H
#define PGDR_REPO_REPO_H

/*
 * An opened repository: its storage, its keys, and the cluster it is used for. Everything above
 * this layer reaches the medium through functions of lib/repo/ that take a Repo.
 *
 * A Repo may be used by several threads at once.
 */

#include <stdatomic.h>

#include "lib/repo/object.h"
#include "lib/storage/storage.h"

typedef struct Repo {
    Storage *storage;
    char *name;    /* as configured ("main"), for messages */
    char *cluster; /* first part of the names of all its objects */
    RepoKeys keys;
    const RepoKey *key; /* the newest one: for what is written now */
    /* Another repository that holds copies of the same backups (borrowed; NULL: none): readers of
     * packs, maps and manifests turn to it for what cannot be read here. */
    struct Repo *fallback;
    atomic_bool down; /* it does not answer: readers go to the fallback at once */
    /* The oldest one: gives WAL objects their names, which a new key must not change. A segment
     * that is pushed again would look like another content of it. */
    const RepoKey *wal_key;
} Repo;

/*
 * Whether a reader shall turn to the fallback after this failure; says so in the log. A failure to
 * reach the repository is remembered, so that not every object waits for it again.
 */
bool repo_falls_back(Repo *r, const Err *err);
/*
 * Whether a reader shall read the same once more: what came damaged over a network may have been
 * damaged on its way. Says so in the log, and clears *err. For one more attempt, not in a loop.
 */
bool repo_reads_again(const Repo *r, Err *err);

typedef struct RepoSpec {
    const char *name;        /* of the repository in the configuration */
    const char *cluster;     /* may be NULL for what concerns all clusters */
    uint8_t cipher;          /* what the configuration says: anything else found is refused */
    const KeySecret *secret; /* for an encrypted one */
} RepoSpec;

/*
 * Makes a repository in `storage`, which this takes over. One that is there already and fits the
 * specification is left as it is (*ret_existed). ERR_REFUSED when the place holds anything else.
 */
MUST_CHECK ErrCode repo_init(Storage *storage, const RepoSpec *spec, Repo **ret, bool *ret_existed,
                             Err *err);
/* ERR_NOT_FOUND with a hint when there is none. Takes `storage` over, also on failure. */
MUST_CHECK ErrCode repo_open(Storage *storage, const RepoSpec *spec, Repo **ret, Err *err);
/* The same without keys: names and stored bytes can be read, nothing can be opened or written. */
MUST_CHECK ErrCode repo_open_without_key(Storage *storage, const RepoSpec *spec, Repo **ret,
                                         Err *err);
void repo_close(Repo *r);
static inline void repo_closep(Repo **r)
{
    repo_close(*r);
    *r = NULL;
}

/*
 * Several repositories, opened when they are needed: one that cannot be opened does not keep work
 * from the others.
 */
typedef struct RepoSource {
    unsigned n;
    ErrCode (*open)(void *arg, unsigned i, Repo **ret, Err *err);
    const char *(*name)(void *arg, unsigned i); /* as in [repo NAME], also of one that is away */
    void *arg;
} RepoSource;

static inline const char *repo_url(const Repo *r)
{
    return r->storage->url;
}
/* Behind a network: every request waits. */
bool repo_is_remote(const Repo *r);

/* The clusters that have anything in the repository, appended. */
MUST_CHECK ErrCode repo_list_clusters(Repo *r, StrList *ret, Err *err);
void repo_set_cluster(Repo *r, const char *cluster);
/* ERR_USAGE unless 1 to 64 letters, digits, '.', '_', '-', beginning with a letter or digit. */
MUST_CHECK ErrCode cluster_name_check(const char *name, Err *err);

/* The storage's own clock. */
MUST_CHECK ErrCode repo_now(Repo *r, TimeUs *ret, Err *err);

/* "<cluster>/<name>", the full name of an object; the caller frees. */
char *repo_full_name(const Repo *r, const char *name);

/* --- objects by their name relative to the cluster --- */

/* Puts a finished object. */
MUST_CHECK ErrCode repo_put(Repo *r, const char *name, const ObjectWriter *w, StoragePutFlags flags,
                            Err *err);
/* Reads a whole object, appended to *out; nothing is checked. */
MUST_CHECK ErrCode repo_get(Repo *r, const char *name, size_t limit, Buf *out, Err *err);
/* Reads `len` bytes at `off`; ERR_DAMAGED when the object ends before. */
MUST_CHECK ErrCode repo_get_range(Repo *r, const char *name, uint64_t off, void *out, size_t len,
                                  Err *err);
/* Footer and table by one read from the end, or two when the table is large. */
MUST_CHECK ErrCode repo_get_table(Repo *r, const char *name, const char kind[KIND_LEN],
                                  ObjectInfo *ret, Buf *ret_table, Err *err);
MUST_CHECK ErrCode repo_stat(Repo *r, const char *name, StorageStat *ret, Err *err);
MUST_CHECK ErrCode repo_remove(Repo *r, const char *const *names, size_t n, Err *err);

typedef struct RepoEntry {
    const char *name; /* relative to the cluster; with '/' at the end when it is a prefix */
    bool is_prefix;
    StorageStat stat; /* when asked for */
} RepoEntry;
typedef ErrCode (*RepoListFn)(void *arg, const RepoEntry *entry, Err *err);
typedef struct RepoList {
    const char *prefix, *after; /* relative to the cluster */
    bool by_level, want_stat;
    RepoListFn fn;
    void *arg;
} RepoList;
MUST_CHECK ErrCode repo_list(Repo *r, const RepoList *list, Err *err);
/* The names (relative to the cluster) that begin with `prefix`, in byte order, appended. */
MUST_CHECK ErrCode repo_list_names(Repo *r, const char *prefix, bool by_level, StrList *ret,
                                   Err *err);

/* --- documents: text in units of UNIT_RAW_MAX --- */

typedef struct DocumentFacts {
    uint64_t size; /* stored */
    uint8_t sha256[SHA256_LEN];
    ObjectStamp stamp;
} DocumentFacts;
bool document_facts_equal(const DocumentFacts *a, const DocumentFacts *b);
/* A WAL position, as PostgreSQL prints it; ERR_DAMAGED for anything else. */
MUST_CHECK ErrCode json_get_lsn(const json_t *obj, const char *key, uint64_t *ret, Err *err);
/* {"size","sha256","stamp"} */
json_t *document_facts_json(const DocumentFacts *f);
MUST_CHECK ErrCode document_facts_parse(const json_t *obj, DocumentFacts *ret, Err *err);

/* `facts` may be NULL. */
MUST_CHECK ErrCode document_put(Repo *r, const char *name, const char kind[KIND_LEN],
                                const void *text, size_t len, StoragePutFlags flags,
                                DocumentFacts *facts, Err *err);
/* The same with a stamp that was chosen before (NULL: a new one). */
MUST_CHECK ErrCode document_put_stamped(Repo *r, const char *name, const char kind[KIND_LEN],
                                        Slice text, StoragePutFlags flags, const ObjectStamp *stamp,
                                        DocumentFacts *facts, Err *err);
/* Appends the text, of at most `limit` bytes. `facts` (NULL: not wanted) are of what was read. */
MUST_CHECK ErrCode document_get(Repo *r, const char *name, const char kind[KIND_LEN], size_t limit,
                                Buf *text, DocumentFacts *facts, Err *err);
/* A document that is one JSON object. */
MUST_CHECK ErrCode document_put_json(Repo *r, const char *name, const char kind[KIND_LEN],
                                     const json_t *obj, StoragePutFlags flags, DocumentFacts *facts,
                                     Err *err);
MUST_CHECK ErrCode document_get_json(Repo *r, const char *name, const char kind[KIND_LEN],
                                     json_t **ret, DocumentFacts *facts, Err *err);

#endif
