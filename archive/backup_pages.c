#include "archive/backup_pages.h"

#include "lib/common/file.h"

#define READ_AGAIN 6
#define FIRST_PAUSE (US_PER_SECOND / 1000)

void suspect_pages_init(SuspectPages *s)
{
    *s = (SuspectPages){.pages = {0}};
    pthread_mutex_init(&s->lock, NULL);
}

void suspect_pages_release(SuspectPages *s)
{
    for (size_t i = 0; i < s->pages.n; i++)
        free(s->pages.at[i].path);
    vec_release(&s->pages);
    pthread_mutex_destroy(&s->lock);
}

static void note_suspect(const PageCheck *c, const RelFile *rel, uint32_t block, const void *page)
{
    pthread_mutex_lock(&c->suspects->lock);
    vec_push(&c->suspects->pages,
             (SuspectPage){
                 .path = mem_strdup(c->path), .rel = *rel, .block = block, .lsn = page_lsn(page)});
    pthread_mutex_unlock(&c->suspects->lock);
}

/* Half a page of old and half of new content becomes whole within the time of one write. */
static ErrCode page_read_again(const PageCheck *c, uint64_t number, uint32_t block, void *page,
                               bool *ret_good, Err *err)
{
    TimeUs pause = FIRST_PAUSE;
    *ret_good = false;
    for (int i = 0; i < READ_AGAIN && !*ret_good; i++, pause *= 2) {
        size_t got;
        time_sleep(pause);
        TRY(file_read_at(c->fd, page, c->page_size, number * c->page_size, &got, c->path, err));
        if (got < c->page_size) {
            /* The file was truncated meanwhile: replay will do the same. */
            *ret_good = true;
            return ERR_OK;
        }
        *ret_good = page_check(page, c->page_size, block, c->checksums) != PAGE_DAMAGED;
    }
    return ERR_OK;
}

ErrCode pages_check(const PageCheck *c, uint64_t first, void *pages, size_t n, Err *err)
{
    RelFile rel;
    if (!relfile_parse(c->path, &rel))
        return ERR_OK;
    for (size_t i = 0; i < n; i++) {
        uint8_t *page = (uint8_t *)pages + i * c->page_size;
        uint32_t block = rel.segment * c->rel_seg_blocks + (uint32_t)(first + i);
        bool good;
        if (page_check(page, c->page_size, block, c->checksums) != PAGE_DAMAGED)
            continue;
        TRY(page_read_again(c, first + i, block, page, &good, err));
        if (good)
            continue;
        note_suspect(c, &rel, block, page);
        if (c->bad)
            c->bad[i] = 1;
    }
    return ERR_OK;
}
