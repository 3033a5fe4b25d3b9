#include "lib/pg/backup_label.h"

#include <stdio.h>
#include <string.h>

/* What stands behind `key` in the line [at, eol), or NULL when the line has another key. */
static const char *value_of(const char *at, const char *eol, const char *key)
{
    size_t n = strlen(key);
    return (size_t)(eol - at) >= n && memcmp(at, key, n) == 0 ? at + n : NULL;
}

/* The LSN up to a space or the end of the line. */
static bool parse_lsn(const char *at, const char *eol, Lsn *ret)
{
    char text[LSN_TEXT_LEN];
    size_t n = 0;
    Err ignored;
    for (; at < eol && *at != ' ' && *at != '\r' && n < sizeof(text) - 1; at++)
        text[n++] = *at;
    text[n] = '\0';
    return lsn_parse(text, ret, &ignored) == ERR_OK;
}

static bool parse_number(const char *at, const char *eol, uint32_t *ret)
{
    uint64_t v = 0;
    const char *p = at;
    for (; p < eol && *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p < eol && *p == '\r')
        p++;
    if (p == at || p != eol || v > UINT32_MAX)
        return false;
    *ret = (uint32_t)v;
    return true;
}

ErrCode backup_label_parse(const char *text, size_t len, BackupLabel *ret, Err *err)
{
    BackupLabel label = {0};
    const char *end = text + len;
    bool bad = false, seen_from = false;
    for (const char *at = text; at < end;) {
        const char *eol = memchr(at, '\n', len - (size_t)(at - text));
        if (!eol)
            eol = end;
        const char *value;
        /* The label's own text stands behind the positions and may hold any lines: the first ones
         * count. The timeline is the server's last line: the last one counts. */
        if (!label.start && (value = value_of(at, eol, "START WAL LOCATION: ")))
            bad |= !parse_lsn(value, eol, &label.start);
        else if (!label.checkpoint && (value = value_of(at, eol, "CHECKPOINT LOCATION: ")))
            bad |= !parse_lsn(value, eol, &label.checkpoint);
        else if ((value = value_of(at, eol, "START TIMELINE: ")))
            bad |= !parse_number(value, eol, &label.start_tli);
        else if (!seen_from && (value = value_of(at, eol, "BACKUP FROM: "))) {
            label.from_standby = value_of(value, eol, "standby") != NULL;
            seen_from = true;
        }
        at = eol < end ? eol + 1 : end;
    }
    if (bad || !label.start || !label.checkpoint)
        return err_set(err, ERR_DAMAGED,
                       "backup_label lacks a valid START WAL LOCATION or CHECKPOINT LOCATION");
    *ret = label;
    return ERR_OK;
}

void tablespace_list_release(TablespaceList *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->at[i].path);
    vec_release(list);
}

/* The path at *at up to an unescaped end of line, which is passed over. */
static char *parse_path(int major, const char **at, const char *end)
{
    AUTO(buf_release) Buf path = {0};
    while (*at < end) {
        char c = *(*at)++;
        if (c == '\n' || c == '\r')
            break;
        if (c == '\\' && *at < end && (major >= 14 || **at == '\n' || **at == '\r'))
            c = *(*at)++;
        buf_append_u8(&path, (uint8_t)c);
    }
    return mem_strdup(buf_str(&path));
}

ErrCode tablespace_map_parse(int major, const char *text, size_t len, TablespaceList *ret, Err *err)
{
    AUTO(tablespace_list_release) TablespaceList list = {0};
    const char *at = text, *end = text + len;
    while (at < end) {
        if (*at == '\n' || *at == '\r') {
            at++;
            continue;
        }
        const char *space = memchr(at, ' ', (size_t)(end - at));
        uint32_t oid;
        if (!space || !parse_number(at, space, &oid) || oid == 0)
            return err_set(err, ERR_DAMAGED, "tablespace_map: line %zu does not begin with an oid",
                           list.n + 1);
        at = space + 1;
        char *path = parse_path(major, &at, end);
        vec_push(&list, (Tablespace){.oid = oid, .path = path});
        if (path[0] == '\0')
            return err_set(err, ERR_DAMAGED, "tablespace_map: tablespace %u has no path", oid);
    }
    *ret = list;
    list = (TablespaceList){0};
    return ERR_OK;
}

void tablespace_map_format(int major, const TablespaceList *list, Buf *out)
{
    for (size_t i = 0; i < list->n; i++) {
        const Tablespace *t = &list->at[i];
        if (t->path[0] == '\0')
            continue;
        buf_printf(out, "%u ", t->oid);
        for (const char *p = t->path; *p; p++) {
            if (*p == '\n' || *p == '\r' || (*p == '\\' && major >= 14))
                buf_append_u8(out, '\\');
            buf_append_u8(out, (uint8_t)*p);
        }
        buf_append_u8(out, '\n');
    }
}
