#include "lib/repo/name_set.h"

#include <string.h>

void name_set_release(NameSet *s)
{
    str_list_release(&s->names);
}

void name_set_add(NameSet *s, char *name)
{
    vec_push(&s->names, name);
    s->sorted = false;
}

bool name_set_has(NameSet *s, const char *name)
{
    if (!s->sorted)
        str_list_sort(&s->names);
    s->sorted = true;
    size_t lo = 0, hi = s->names.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(s->names.at[mid], name);
        if (order == 0)
            return true;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}
