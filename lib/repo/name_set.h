#ifndef PGDR_REPO_NAME_SET_H
#define PGDR_REPO_NAME_SET_H

/* A set of object names: filled, then sorted once, then asked. */

#include "lib/common/mem.h"

typedef struct NameSet {
    StrList names;
    bool sorted;
} NameSet;

void name_set_release(NameSet *s);
/* Takes `name` over. */
void name_set_add(NameSet *s, char *name);
bool name_set_has(NameSet *s, const char *name);

#endif
