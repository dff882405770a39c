/* qlora-bench memory: full fine-tuning, LoRA and QLoRA side by side. */
#ifndef QL_BENCH_MEMORY_H
#define QL_BENCH_MEMORY_H

#include <jansson.h>

#include "tools/bench/bench_options.h"
#include "tools/cli/common.h"

/* Trains each of --measure and --real by each method, --rounds times, in
 * processes of their own, has the plan made for each of --predict, and shows
 * all of it. Errors: those of the processes; QL_ENUMERIC when methods that
 * begin with the same weights do not begin with the same loss, or rounds do not
 * have the same losses; QL_EIO, QL_ENOSPACE, QL_ENOMEM, QL_ECANCELLED. */
ql_status bench_memory(const bench_options *o, const cli_common *common);

/* The rounds of a training as one: that with the middle one of their peaks,
 * beside which are the least and the most of all, and the speed of all steps.
 * *out is Owned: json_decref. Errors: QL_ENUMERIC when not all have the same
 * losses. */
ql_status bench_memory_rounds(json_t **out, const json_t *rounds);

/* What of a result is shown, as text and as CSV (path NULL: none). */
void bench_memory_text(const json_t *root, bool json);
ql_status bench_memory_csv(const json_t *root, const char *path);

/* The same as a page that needs nothing but itself. */
ql_status bench_memory_page(const json_t *root, const char *path);

/* Adds what others published, and whether the floors hold. */
void bench_memory_published(json_t *root);
void bench_memory_floors(json_t *root);

#endif
