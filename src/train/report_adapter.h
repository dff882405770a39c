/* What the report and the card say of the adapter. */
#ifndef QL_TRAIN_REPORT_ADAPTER_H
#define QL_TRAIN_REPORT_ADAPTER_H

#include <jansson.h>

#include "src/train/report.h"

/* "Rank-stabilized DoRA of rank 16 on Llama-2-7b-hf in 4 bits". A new
 * reference, NULL where memory is lacking. */
json_t *ql_fact_run(const ql_report *r);

/* Adds label, value: what kind it is, ranks, what it acts on. */
void ql_fact_add_adapter(json_t *list, const ql_report *r);

/* For the card: tags, and what other programs can do with it: rank (the least
 * that vLLM must be told) and plain (pairs of linear layers alone, which all
 * of them load). A new reference. */
json_t *ql_fact_adapter(const ql_report *r);

#endif
