#include "lib/pg/page.h"

#include <string.h>

#include "lib/common/bytes.h"
#include "lib/common/digest.h"

/* The page header, bufpage.h: 24 bytes. */
enum {
    AT_LSN = 0, /* two halves, the high one first */
    AT_CHECKSUM = 8,
    AT_FLAGS = 10,
    AT_LOWER = 12,
    AT_UPPER = 14,
    AT_SPECIAL = 16,
    HEADER_LEN = 24,
};

#define FLAGS_VALID 0x0007

/*
 * The checksum (checksum_impl.h) is 32 FNV-1a sums side by side, each over every 32nd word. That
 * is four vectors of eight words, which the compiler maps to what the target has.
 */
#define SUMS 32
#define ROW_LEN (SUMS * 4)
#define PRIME 16777619u

typedef uint32_t Vec8 __attribute__((vector_size(32)));
/* The same where it lies in a page. */
typedef uint32_t Vec8Loose __attribute__((vector_size(32), aligned(1), may_alias));

static const uint32_t offsets[SUMS] = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
};

/* Macros, because a vector as an argument or result depends on the target's calling convention. */
#define LOAD(p, nth) ((Vec8) * (const Vec8Loose *)((p) + (nth) * sizeof(Vec8)))
#define MIX(sum, words)                                                                            \
    ({                                                                                             \
        Vec8 t_ = (sum) ^ (words);                                                                 \
        t_ *PRIME ^ (t_ >> 17);                                                                    \
    })

/* The checksum field counts as zero; everything else is read where it lies. The four sums are
 * variables of their own because gcc keeps an array of them in memory. */
static inline __attribute__((always_inline)) uint32_t checksum_body(const uint8_t *page,
                                                                    size_t size)
{
    const uint8_t *start = (const uint8_t *)offsets;
    Vec8 a = LOAD(start, 0), b = LOAD(start, 1), c = LOAD(start, 2), d = LOAD(start, 3);
    uint8_t first[ROW_LEN];
    memcpy(first, page, sizeof(first));
    memset(first + AT_CHECKSUM, 0, 2);
    const uint8_t *row = first;
    for (size_t at = 0; at < size; row = page + (at += ROW_LEN)) {
        a = MIX(a, LOAD(row, 0));
        b = MIX(b, LOAD(row, 1));
        c = MIX(c, LOAD(row, 2));
        d = MIX(d, LOAD(row, 3));
    }
    for (int round = 0; round < 2; round++) {
        a = MIX(a, 0);
        b = MIX(b, 0);
        c = MIX(c, 0);
        d = MIX(d, 0);
    }
    a ^= b ^ c ^ d;
    return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

static uint32_t checksum_plain(const uint8_t *page, size_t size)
{
    return checksum_body(page, size);
}

#if defined(__x86_64__)
/* Without AVX2 there is no 32-bit vector multiplication at this width, and SSE2 has none at all. */
__attribute__((target("avx2"))) static uint32_t checksum_avx2(const uint8_t *page, size_t size)
{
    return checksum_body(page, size);
}

static uint32_t (*checksum_best)(const uint8_t *page, size_t size) = checksum_plain;

__attribute__((constructor)) static void checksum_choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        checksum_best = checksum_avx2;
}
#else
#define checksum_best checksum_plain
#endif

uint16_t page_checksum(const void *page, size_t size, uint32_t block)
{
    return (uint16_t)((checksum_best(page, size) ^ block) % 65535 + 1);
}

Lsn page_lsn(const void *page)
{
    return (Lsn)get_u32(page) << 32 | get_u32((const uint8_t *)page + 4);
}

/* What the server demands of a header before it uses a page. */
static bool header_sane(const uint8_t *p, size_t size)
{
    uint16_t lower = get_u16(p + AT_LOWER), upper = get_u16(p + AT_UPPER),
             special = get_u16(p + AT_SPECIAL);
    return (get_u16(p + AT_FLAGS) & ~FLAGS_VALID) == 0 && lower <= upper && upper <= special &&
           special <= size && special % 8 == 0;
}

PageState page_check(const void *page, size_t size, uint32_t block, bool checksums)
{
    const uint8_t *p = page;
    if (size < ROW_LEN || size % ROW_LEN != 0)
        return PAGE_DAMAGED;
    if (get_u16(p + AT_UPPER) == 0)
        return is_all_zero(p, size) ? PAGE_NEW : PAGE_DAMAGED;
    if (!header_sane(p, size))
        return PAGE_DAMAGED;
    if (checksums && page_checksum(p, size, block) != get_u16(p + AT_CHECKSUM))
        return PAGE_DAMAGED;
    return PAGE_GOOD;
}
