/* What is given to measure is looked at before anything is measured. */
#ifndef QL_BENCH_INPUTS_H
#define QL_BENCH_INPUTS_H

#include "tools/bench/bench_options.h"

/* Whether each of --real is a model that is not in 4 bits, and --data and
 * --eval-data can be read. Errors: those of ql_config_init; QL_EUNSUPPORTED (in
 * 4 bits); QL_ENOTFOUND, QL_EIO. */
ql_status bench_inputs_check(const bench_options *o);

#endif
