#include "lib/storage/s3_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/common/log.h"
#include "lib/storage/s3_call.h"
#include "lib/storage/s3_get.h"
#include "lib/storage/xml.h"

/* 1000 entries with keys of 1024 bytes, each byte as %XX, and what else there is of them. */
#define PAGE_LIMIT (8 * MIB)
#define PAGE_ENTRIES 1000
#define TOKEN_MAX 4096
#define EMPTY_PAGES_MAX 1000

/* --- one page --- */

static void entry_release(S3ListEntry *e)
{
    free(e->key);
    *e = (S3ListEntry){0};
}

void s3_list_page_release(S3ListPage *page)
{
    for (size_t i = 0; i < page->entries.n; i++)
        entry_release(&page->entries.at[i]);
    vec_release(&page->entries);
    free(page->next);
    page->next = NULL;
}

/* "2026-11-23T12:07:38.169Z", to the second, as HEAD tells it. */
static TimeUs parse_time(const char *text)
{
    struct tm tm = {0};
    int used = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &used) != 6 ||
        (text[used] != '.' && text[used] != 'Z') || tm.tm_year < 1970)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return (TimeUs)timegm(&tm) * US_PER_SECOND;
}

static bool parse_size(const char *text, uint64_t *ret)
{
    size_t len = strspn(text, "0123456789");
    if (!len || len > 18 || text[len])
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

/* A page while it is read. */
typedef struct PageParser {
    S3ListPage *page;
    S3ListEntry entry; /* the one that is open */
    bool encoded, truncated, sized;
    char *token;
    Err *err;
} PageParser;

static ErrCode page_bad(PageParser *p, const char *what, const char *value)
{
    return err_set(p->err, ERR_DAMAGED, "the listing has %s '%.200s'", what, value);
}

static ErrCode parse_field(PageParser *p, const XmlTag *tag)
{
    S3ListEntry *e = &p->entry;
    if (strcmp(tag->name, "Key") == 0 || strcmp(tag->name, "Prefix") == 0) {
        if (strlen(tag->text) != tag->text_len)
            return page_bad(p, "an impossible key", tag->text);
        free(e->key);
        e->key = mem_strdup(tag->text);
    } else if (strcmp(tag->name, "LastModified") == 0) {
        e->stat.mtime = parse_time(tag->text);
        if (!e->stat.mtime)
            return page_bad(p, "the time", tag->text);
    } else if (strcmp(tag->name, "Size") == 0) {
        p->sized = parse_size(tag->text, &e->stat.size);
        if (!p->sized)
            return page_bad(p, "the size", tag->text);
    } else if (strcmp(tag->name, "ETag") == 0) {
        s3_etag_keep(e->stat.etag, tag->text);
    }
    return ERR_OK;
}

static ErrCode parse_entry_end(PageParser *p, const XmlTag *tag)
{
    S3ListEntry *e = &p->entry;
    e->is_prefix = strcmp(tag->name, "CommonPrefixes") == 0;
    if (!e->key || (!e->is_prefix && (!p->sized || !e->stat.mtime)))
        return page_bad(p, "an incomplete entry", e->key ? e->key : "");
    if (p->page->entries.n > 10 * PAGE_ENTRIES)
        return err_set(p->err, ERR_LIMIT, "the listing has far more entries than asked for");
    vec_push(&p->page->entries, *e);
    *e = (S3ListEntry){0};
    p->sized = false;
    return ERR_OK;
}

static ErrCode parse_head(PageParser *p, const XmlTag *tag)
{
    if (strcmp(tag->name, "Contents") == 0 || strcmp(tag->name, "CommonPrefixes") == 0)
        return parse_entry_end(p, tag);
    if (strcmp(tag->name, "EncodingType") == 0) {
        p->encoded = strcmp(tag->text, "url") == 0;
    } else if (strcmp(tag->name, "IsTruncated") == 0) {
        p->truncated = strcmp(tag->text, "true") == 0;
    } else if (strcmp(tag->name, "NextContinuationToken") == 0) {
        if (tag->text_len > TOKEN_MAX)
            return err_set(p->err, ERR_LIMIT, "the listing's continuation has %zu bytes",
                           tag->text_len);
        free(p->token);
        p->token = mem_strdup(tag->text);
    }
    return ERR_OK;
}

/* Keys last: where EncodingType stands in the document is nowhere said. */
static ErrCode page_decode(PageParser *p)
{
    for (size_t i = 0; p->encoded && i < p->page->entries.n; i++) {
        S3ListEntry *e = &p->page->entries.at[i];
        Buf key = {0};
        bool good = uri_append_decoded(&key, e->key, strlen(e->key));
        buf_str(&key);
        if (!good) {
            buf_release(&key);
            return page_bad(p, "a badly encoded key", e->key);
        }
        free(e->key);
        e->key = (char *)key.data;
    }
    return ERR_OK;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const S3ListEntry *)a)->key, ((const S3ListEntry *)b)->key);
}

static ErrCode parse_all(PageParser *p, XmlReader *r)
{
    XmlTag tag;
    TRY(xml_next(r, &tag, p->err));
    if (strcmp(tag.name, "ListBucketResult") != 0)
        return err_set(p->err, ERR_DAMAGED, "the answer is no listing but '%s'", tag.name);
    for (;;) {
        TRY(xml_next(r, &tag, p->err));
        if (tag.kind == XML_DONE)
            return page_decode(p);
        if (tag.kind != XML_END)
            continue;
        if (tag.depth == 2)
            TRY(parse_head(p, &tag));
        else if (tag.depth == 3)
            TRY(parse_field(p, &tag));
    }
}

ErrCode s3_list_page_parse(const void *text, size_t len, S3ListPage *ret, Err *err)
{
    S3ListPage page AUTO(s3_list_page_release) = {0};
    XmlReader r AUTO(xml_close);
    PageParser p = {.page = &page, .err = err};
    xml_open(&r, text, len);
    ErrCode rc = parse_all(&p, &r);
    char *token AUTO(mem_freep) = p.token;
    entry_release(&p.entry);
    TRY(rc);
    if (p.truncated && (!token || !*token))
        return err_set(err, ERR_DAMAGED,
                       "the listing has more pages but does not say how to go on");
    /* Names and common prefixes come as two lists, each in order. */
    if (page.entries.n > 1)
        qsort(page.entries.at, page.entries.n, sizeof(*page.entries.at), compare_entries);
    page.next = p.truncated ? steal_ptr(&token) : NULL;
    *ret = page;
    page = (S3ListPage){0};
    return ERR_OK;
}

/* --- all pages --- */

typedef struct Listing {
    S3 *s;
    const StorageList *list;
    char *prefix, *after; /* as keys; `after` may be NULL */
    char *last;           /* the last key of the pages before */
    unsigned empty_pages;
} Listing;

static void listing_release(Listing *l)
{
    free(l->prefix);
    free(l->after);
    free(l->last);
}

static S3Deed listing_deed(const Listing *l)
{
    const char *prefix = l->list->prefix;
    return (S3Deed){.verb = "list", .name = *prefix ? prefix : NULL, .action = "s3:ListBucket"};
}

static ErrCode page_get(Listing *l, const char *token, unsigned max, S3ListPage *ret, Err *err)
{
    HttpReply reply AUTO(http_reply_release) = {0};
    char text[16];
    snprintf(text, sizeof(text), "%u", max);
    S3Call call = {.method = "GET", .deed = listing_deed(l), .limit = PAGE_LIMIT};
    UriField *q = call.query;
    *q++ = (UriField){"list-type", "2"};
    *q++ = (UriField){"encoding-type", "url"};
    *q++ = (UriField){"max-keys", text};
    if (*l->prefix)
        *q++ = (UriField){"prefix", l->prefix};
    if (l->list->by_level)
        *q++ = (UriField){"delimiter", "/"};
    if (l->after && *l->after)
        *q++ = (UriField){"start-after", l->after};
    if (token)
        *q++ = (UriField){"continuation-token", token};
    ErrCode rc = s3_call(l->s, &call, &reply, NULL, err);
    /* Whatever it was that is not there, "no names" would be the wrong conclusion. */
    if (rc == ERR_NOT_FOUND)
        return err->code = ERR_CONFIG;
    TRY(rc);
    rc = s3_list_page_parse(reply.body.data ? reply.body.data : (const void *)"", reply.body.len,
                            ret, err);
    if (rc == ERR_DAMAGED) {
        /* Whatever it was, no stored byte is concerned, and another attempt may help. */
        err->code = ERR_NETWORK;
        err_hint(err, "if this stays: check s3-endpoint ('%s'); is it S3?", l->s->at.server);
    }
    return rc == ERR_OK ? rc : s3_wrap(l->s, &call.deed, err);
}

static ErrCode give_entry(Listing *l, const S3ListEntry *e, Err *err)
{
    const StorageList *list = l->list;
    size_t skip = strlen(l->s->at.prefix);
    if (strncmp(e->key, l->prefix, strlen(l->prefix)) != 0)
        return err_set(err, ERR_CONFIG, "the server lists '%.200s', which was not asked for",
                       e->key);
    const char *name = e->key + skip;
    /* A common prefix ends with '/', which no name does. */
    size_t len = strlen(name);
    char *shown AUTO(mem_freep) = mem_strndup(name, e->is_prefix && len ? len - 1 : len);
    Err ignored;
    if (storage_name_check(shown, &ignored) != ERR_OK) {
        log_debug("'%.200s' in bucket '%s' is no object of a repository: left out", e->key,
                  l->s->bucket);
        return ERR_OK;
    }
    if (list->after && strcmp(name, list->after) <= 0)
        return ERR_OK;
    StorageEntry entry = {.name = name, .is_prefix = e->is_prefix};
    if (list->want_stat)
        entry.stat = e->stat;
    return list->fn(list->arg, &entry, err);
}

/* All of this page must come behind all of the pages before, or listings cannot be relied upon. */
static ErrCode page_check_order(const Listing *l, const S3ListPage *page, Err *err)
{
    const char *last = l->last;
    for (size_t i = 0; i < page->entries.n; i++) {
        const char *key = page->entries.at[i].key;
        int order = last ? strcmp(last, key) : -1;
        if (order > 0 || (order == 0 && !page->entries.at[i].is_prefix)) {
            err_set(err, ERR_CONFIG, "cannot list %s: '%.200s' came after '%.200s'", l->s->base.url,
                    key, last);
            return err_hint(err, "a repository needs a bucket that is listed in the order of "
                                 "names, which S3's directory buckets are not");
        }
        last = key;
    }
    return ERR_OK;
}

static ErrCode page_give(Listing *l, const S3ListPage *page, Err *err)
{
    const char *last = l->last;
    TRY(page_check_order(l, page, err));
    for (size_t i = 0; i < page->entries.n; i++) {
        const S3ListEntry *e = &page->entries.at[i];
        /* Some servers give a prefix again on the next page. */
        if (!last || strcmp(last, e->key) != 0)
            TRY(give_entry(l, e, err));
        last = e->key;
    }
    l->empty_pages = page->entries.n ? 0 : l->empty_pages + 1;
    if (page->entries.n) {
        char *keep = mem_strdup(last);
        free(l->last);
        l->last = keep;
    }
    return ERR_OK;
}

ErrCode s3_list(Storage *storage, const StorageList *list, Err *err)
{
    S3 *s = (S3 *)storage;
    Listing l AUTO(listing_release) = {.s = s, .list = list, .prefix = s3_key(s, list->prefix)};
    if (list->after)
        l.after = s3_key(s, list->after);
    char *token AUTO(mem_freep) = NULL;
    do {
        S3ListPage page AUTO(s3_list_page_release) = {0};
        TRY(page_get(&l, token, PAGE_ENTRIES, &page, err));
        TRY(page_give(&l, &page, err));
        bool same = token && page.next && strcmp(token, page.next) == 0;
        if (same || l.empty_pages > EMPTY_PAGES_MAX)
            return err_set(err, ERR_CONFIG, "cannot list %s: the server comes to no end",
                           storage->url);
        free(token);
        token = steal_ptr(&page.next);
    } while (token);
    return ERR_OK;
}

ErrCode s3_list_has(S3 *s, const char *name, bool *ret, Err *err)
{
    const StorageList list = {.prefix = name};
    Listing l AUTO(listing_release) = {.s = s, .list = &list, .prefix = s3_key(s, name)};
    S3ListPage page AUTO(s3_list_page_release) = {0};
    /* The name itself is the first of all that begin with it. */
    TRY(page_get(&l, NULL, 1, &page, err));
    *ret = page.entries.n && strcmp(page.entries.at[0].key, l.prefix) == 0;
    return ERR_OK;
}
