#include "lib/repo/key_wraps.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/hex.h"

/* --- names --- */

bool wrap_name_parse(const char *name, uint8_t id[KEY_ID_LEN])
{
    uint8_t uuid[16];
    const char *number = name + KEY_STEM_LEN;
    return strlen(name) == KEY_STEM_LEN + 2 &&
           strncmp(name, KEYS_PREFIX, strlen(KEYS_PREFIX)) == 0 &&
           hex_parse(name + strlen(KEYS_PREFIX), '/', id, KEY_ID_LEN) &&
           hex_parse(number - 2 * sizeof(uuid), '.', uuid, sizeof(uuid)) && number[1] >= '1' &&
           number[1] <= '0' + KEY_COPIES;
}

ErrCode wrap_names_list(Repo *r, StrList *ret, Err *err)
{
    StrList all AUTO(str_list_release) = {0};
    uint8_t id[KEY_ID_LEN];
    TRY(storage_list_names(r->storage, KEYS_PREFIX, false, &all, err));
    for (size_t i = 0; i < all.n; i++)
        if (wrap_name_parse(all.at[i], id))
            vec_push(ret, mem_strdup(all.at[i]));
    return ERR_OK;
}

ErrCode wrap_stems_list(Repo *r, StrList *ret, Err *err)
{
    StrList names AUTO(str_list_release) = {0};
    TRY(wrap_names_list(r, &names, err));
    for (size_t i = 0; i < names.n; i++) {
        names.at[i][KEY_STEM_LEN] = '\0';
        if (!i || strcmp(names.at[i], names.at[i - 1]) != 0)
            vec_push(ret, mem_strdup(names.at[i]));
    }
    return ERR_OK;
}

char *wrap_copy_name(const char *stem, int copy)
{
    return mem_printf("%s.%d", stem, copy);
}

/* --- reading --- */

ErrCode wraps_get(Repo *r, const char *name, Buf *text, Err *err)
{
    Buf bytes AUTO(buf_release) = {0};
    char kind[KIND_LEN + 1];
    ObjectFooter f;
    size_t raw;
    TRY(storage_get_all(r->storage, name, KEY_TEXT_MAX, &bytes, err));
    TRY(object_check_bytes(bytes.data, bytes.len, kind, err));
    if (memcmp(kind, KIND_KEY, KIND_LEN) != 0)
        return err_set(err, ERR_DAMAGED, "the object is a %s where a key should be", kind);
    memcpy(&f, bytes.data + bytes.len - sizeof(f), sizeof(f));
    Decompressor *d AUTO(decompressor_freep) = decompressor_new();
    const uint8_t *unit = bytes.data + sizeof(ObjectHeader);
    size_t len = (size_t)f.table_off - sizeof(ObjectHeader);
    TRY(frame_raw_size(unit, len, KEY_TEXT_MAX, &raw, err));
    TRY(decompressor_run(d, unit, len, buf_reserve(text, raw), raw, err));
    text->len = raw;
    return ERR_OK;
}

ErrCode wraps_next(const Buf *text, size_t *at, json_t **ret, Err *err)
{
    const uint8_t *line = text->data + *at;
    const uint8_t *nl = *at < text->len ? memchr(line, '\n', text->len - *at) : NULL;
    if (!nl)
        return *at == text->len && *at ? ERR_OK
                                       : err_set(err, ERR_DAMAGED, "the list of wraps has no end");
    *at += (size_t)(nl - line) + 1;
    return json_parse_object(line, (size_t)(nl - line), ret, err);
}

ErrCode wrap_get(Repo *r, const char *name, json_t **ret, Err *err)
{
    Buf text AUTO(buf_release) = {0};
    size_t at = 0;
    TRY(wraps_get(r, name, &text, err));
    TRY(wraps_next(&text, &at, ret, err));
    return *ret ? ERR_OK : err_set(err, ERR_DAMAGED, "it holds no wrap of a key");
}

ErrCode wrap_get_any(Repo *r, const char *stem, json_t **ret, Err *err)
{
    ErrCode rc = ERR_OK;
    for (int copy = 1; copy <= KEY_COPIES; copy++) {
        char *name AUTO(mem_freep) = wrap_copy_name(stem, copy);
        rc = wrap_get(r, name, ret, err);
        if (rc == ERR_OK)
            return ERR_OK;
        err_wrap(err, "key '%s'", name);
    }
    return rc;
}

bool wrap_key_id(const json_t *wrap, uint8_t id[KEY_ID_LEN])
{
    const char *text = json_string_value(json_object_get(wrap, "key"));
    return text && hex_parse(text, '\0', id, KEY_ID_LEN);
}

TimeUs wrap_created(const json_t *wrap)
{
    int64_t created;
    Err none;
    return json_get_number(wrap, "created", 0, INT64_MAX, &created, &none) == ERR_OK ? created : -1;
}

/* --- writing --- */

void key_wrap_append(Buf *text, const json_t *wrap)
{
    char *line AUTO(mem_freep) = json_dumps(wrap, JSON_COMPACT);
    buf_printf(text, "%s\n", line);
}

ErrCode wraps_put(Repo *r, const RepoKey *key, const Buf *text, const char *name,
                  StoragePutFlags flags, Err *err)
{
    ObjectWriter *w AUTO(object_writer_freep) = object_writer_new(4 * KIB);
    Compressor *c AUTO(compressor_freep) = compressor_new(1);
    ObjectFacts facts;
    if (text->len > KEY_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "cannot write '%s': it would hold too many keys", name);
    RepoKey plain = *key; /* a key object is never sealed by its own key */
    plain.cipher = CIPHER_NONE;
    object_writer_begin(w, &plain, KIND_KEY, name);
    TRY(object_writer_add(w, c, text->data, text->len, NULL, err));
    TRY(object_writer_finish(w, 0, NULL, &facts, err));
    secret_wipe(&plain, sizeof(plain));
    int fd;
    Slice bytes = object_writer_bytes(w, &fd);
    return storage_put_bytes(r->storage, name, bytes.data, bytes.len, flags, err);
}
