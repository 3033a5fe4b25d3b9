#ifndef PGDR_TESTS_FUZZ_MEDIUM_H
#define PGDR_TESTS_FUZZ_MEDIUM_H

#include "tests/unit/mem_repo.h"

/* One of each kind, made when it is first asked for. Never freed: reachable to the end. */
Repo *medium_plain(void);
Repo *medium_sealed(void);

#endif
