#ifndef PGDR_REPO_KEY_WRAPS_H
#define PGDR_REPO_KEY_WRAPS_H

/*
 * Key objects and their names: what reads, checks, mends and changes keys stands on this.
 *
 * A key object holds wraps, a line of JSON each. It is read before any key is known: it is plain,
 * and checked by its own digests.
 */

#include "lib/repo/repo.h"

#define KEYS_PREFIX "keys/"
#define KEY_COPIES 3
/* Raw: 600 wraps; and what one read gives whole (STORAGE_FIRST_READ). */
#define KEY_TEXT_MAX (256 * KIB)
#define KEYS_MAX 500

/* The key's id from "keys/<key id>/<wrap uuid>.<copy>"; false for any other name: such objects are
 * passed over. */
bool wrap_name_parse(const char *name, uint8_t id[KEY_ID_LEN]);
/* The names of all copies of all wraps in keys/, in order, appended. */
MUST_CHECK ErrCode wrap_names_list(Repo *r, StrList *ret, Err *err);
/* The same without the numbers of the copies, each once: "keys/<key id>/<wrap uuid>". */
MUST_CHECK ErrCode wrap_stems_list(Repo *r, StrList *ret, Err *err);
char *wrap_copy_name(const char *stem, int copy);

/* Any key object's text, appended. */
MUST_CHECK ErrCode wraps_get(Repo *r, const char *name, Buf *text, Err *err);
/* The next line of such a text; *ret stays NULL at the end. */
MUST_CHECK ErrCode wraps_next(const Buf *text, size_t *at, json_t **ret, Err *err);
/* The one wrap of an object in keys/. */
MUST_CHECK ErrCode wrap_get(Repo *r, const char *name, json_t **ret, Err *err);
/* The same from the first copy that is whole. */
MUST_CHECK ErrCode wrap_get_any(Repo *r, const char *stem, json_t **ret, Err *err);
/* The id of a wrap's key; false when it has none. */
bool wrap_key_id(const json_t *wrap, uint8_t id[KEY_ID_LEN]);
/* How old the key of a wrap says it is, or -1. Not to be trusted: who can write to the medium can
 * write this too. */
TimeUs wrap_created(const json_t *wrap);

/* Puts a key object with this text; `key` gives the ids in its envelope. */
MUST_CHECK ErrCode wraps_put(Repo *r, const RepoKey *key, const Buf *text, const char *name,
                             StoragePutFlags flags, Err *err);
void key_wrap_append(Buf *text, const json_t *wrap);

#endif
