/* What is given to measure is looked at before anything is measured. */
#ifndef QL_BENCH_INPUTS_H
#define QL_BENCH_INPUTS_H

#include "tools/bench/bench_options.h"

/* Whether each of --real is a model that is not in 4 bits, whose files of
 * weights are whole, and, where there is --data, its tokenizer, too; and --data
 * and --eval-data can be read. Errors: those of ql_config_init, ql_load_needs
 * and ql_tokenizer_open; QL_EUNSUPPORTED (in 4 bits); QL_ENOTFOUND, QL_EIO. */
ql_status bench_inputs_check(const bench_options *o);

#endif
