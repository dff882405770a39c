/* What models that are measured are called. */
#ifndef QL_BENCH_NAMES_H
#define QL_BENCH_NAMES_H

#include "tools/bench/bench_options.h"

/* The last part of a path. Borrowed. */
const char *bench_name_of(const char *path);

/* What folder i of --real is called: the last part of its path, or all of it
 * where another folder, or a shape, is called so. Borrowed. */
const char *bench_name_real(const bench_options *o, size_t i);

/* Whether no two folders of --real, nor one and a shape, are called the same.
 * Errors: QL_EINVAL. */
ql_status bench_names_check(const bench_options *o);

#endif
