/* A limit on the memory of a process, its cached files included: a control
 * group of its own, which may not swap, where this process may make one; else a
 * limit on private memory, beside which the caller watches the rest. */
#ifndef QL_BENCH_LIMIT_H
#define QL_BENCH_LIMIT_H

#include "qlora/status.h"

typedef enum bench_limit_kind {
    BENCH_LIMIT_NONE,
    BENCH_LIMIT_GROUP,  /* control group, version 1 or 2 */
    BENCH_LIMIT_PRIVATE /* RLIMIT_DATA */
} bench_limit_kind;

typedef struct bench_limit {
    bench_limit_kind kind;
    uint64_t bytes;
    char dir[1024]; /* of the group */
    bool v2;
} bench_limit;

/* bytes 0: there is no limit. Cannot fail: where no group can be made it is
 * the other kind. root: before all paths; "" but in tests. */
void bench_limit_init(bench_limit *l, uint64_t bytes, const char *root);

/* Puts the calling process under it, between fork and exec. False with errno
 * set. */
bool bench_limit_enter(const bench_limit *l);

/* The most that the group has held, cached files included; 0 where that is
 * not known. */
uint64_t bench_limit_peak(const bench_limit *l);

/* What the group has swapped out now; 0 where that is not known. */
uint64_t bench_limit_swapped(const bench_limit *l);

/* Removes the group, which must be empty. */
void bench_limit_free(bench_limit *l);

/* "control group", "private memory", "none". Borrowed, constant. */
const char *bench_limit_name(bench_limit_kind kind);

#endif
