#include "lib/pg/wal_name.h"

#include <stdio.h>
#include <string.h>

#include "lib/common/hex.h"

#define SEGMENT_SIZE_MIN ((uint64_t)1 << 20)
#define SEGMENT_SIZE_MAX ((uint64_t)1 << 30)

bool wal_segment_size_valid(uint64_t size)
{
    return size >= SEGMENT_SIZE_MIN && size <= SEGMENT_SIZE_MAX && (size & (size - 1)) == 0;
}

/* Eight digits that hex_is_upper() has accepted. */
static uint32_t hex8(const char *s)
{
    uint32_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 4 | (uint32_t)(s[i] <= '9' ? s[i] - '0' : s[i] - 'A' + 10);
    return v;
}

static uint64_t segments_per_id(uint32_t seg_size)
{
    return ((uint64_t)1 << 32) / seg_size;
}

static WalNameKind segment_kind(const char *rest, uint32_t seg_size)
{
    if (rest[0] == '\0')
        return WAL_NAME_SEGMENT;
    if (strcmp(rest, ".partial") == 0)
        return WAL_NAME_PARTIAL;
    if (rest[0] == '.' && hex_is_upper(rest + 1, 8) && strcmp(rest + 9, ".backup") == 0 &&
        hex8(rest + 1) < seg_size)
        return WAL_NAME_BACKUP;
    return WAL_NAME_OTHER;
}

WalName wal_name_parse(const char *name, uint32_t seg_size)
{
    const WalName other = {.kind = WAL_NAME_OTHER};
    if (!hex_is_upper(name, 8))
        return other;
    WalName w = {.tli = hex8(name)};
    if (w.tli == 0)
        return other;
    if (strcmp(name + 8, ".history") == 0) {
        w.kind = WAL_NAME_HISTORY;
        return w;
    }
    if (!hex_is_upper(name + 8, 16) || !wal_segment_size_valid(seg_size))
        return other;
    uint64_t id = hex8(name + 8), seg = hex8(name + 16);
    if (seg >= segments_per_id(seg_size))
        return other;
    w.segno = id * segments_per_id(seg_size) + seg;
    w.kind = segment_kind(name + WAL_SEGMENT_NAME_LEN, seg_size);
    return w.kind == WAL_NAME_OTHER ? other : w;
}

const char *wal_name_segment(uint32_t tli, uint64_t segno, uint32_t seg_size, char *out)
{
    snprintf(out, WAL_NAME_MAX, "%08X%08X%08X", tli, (uint32_t)(segno / segments_per_id(seg_size)),
             (uint32_t)(segno % segments_per_id(seg_size)));
    return out;
}

const char *wal_name_history(uint32_t tli, char *out)
{
    snprintf(out, WAL_NAME_MAX, "%08X.history", tli);
    return out;
}
