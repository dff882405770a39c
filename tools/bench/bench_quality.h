/* qlora-bench quality: what 4 bits cost, before and after training. */
#ifndef QL_BENCH_QUALITY_H
#define QL_BENCH_QUALITY_H

#include <jansson.h>

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Trains each of --real as it is and in each 4-bit form, each in a process of
 * its own, and shows losses on --eval-data before and after, and whether they
 * are in the order that is known. Errors: those of the processes; QL_EIO,
 * QL_ENOSPACE, QL_ENOMEM, QL_ECANCELLED. */
ql_status bench_quality(const bench_options *o, const cli_common *common);

/* Whether a claim is found to hold: "so it is", for one. Borrowed, constant. */
const char *bench_quality_verdict(const json_t *claim);

/* The result as a page that needs nothing but itself. */
ql_status bench_quality_page(const json_t *root, const char *path);

#endif
