/* The parts of the report that are not charts, as values for its template. All
 * return new references, NULL where memory is lacking. */
#ifndef QL_TRAIN_REPORT_FACTS_H
#define QL_TRAIN_REPORT_FACTS_H

#include <jansson.h>

#include "src/base/textfile.h"
#include "src/train/report.h"

enum {
    QL_FACT_BYTES = 48
};

/* "1,234.50"; "162,816", "40.4 million"; "24.1 MiB"; "1:23:45". Return
 * text. */
const char *ql_fact_number(char text[QL_FACT_BYTES], double x, int digits);
const char *ql_fact_count(char text[QL_FACT_BYTES], size_t n);
const char *ql_fact_bytes(char text[QL_FACT_BYTES], uint64_t bytes);
const char *ql_fact_time(char text[QL_FACT_BYTES], double seconds);

/* A text of one line, or the last part of a path; what is not UTF-8, or
 * controls, becomes question marks. */
json_t *ql_fact_text(const char *text);
json_t *ql_fact_base_name(const char *path);

/* Appends an object of label and value, which is taken. */
void ql_fact_add(json_t *list, const char *label, json_t *value);

/* One sentence on how the run stands. */
json_t *ql_fact_status(const ql_report *r);

/* The numbers that matter: a list of label, from (or ""), value, unit, note. */
json_t *ql_fact_figures(const ql_report *r);

/* Model, data and machine: a list of label, value. */
json_t *ql_fact_facts(const ql_report *r);

/* Memory by purpose: a list of what, planned, measured, share (of the largest,
 * in per cent), total. */
json_t *ql_fact_memory(const ql_report *r);

/* What the process may have, in words; "" without a plan. */
json_t *ql_fact_budget(const ql_report *r);

/* The lines of a settings file: a list of label, value. */
json_t *ql_fact_settings(const char *text);

/* Appends rows of the log as those of a table, a few hundred at most. Errors:
 * QL_ENOMEM, those of ql_textfile_flush. */
ql_status ql_fact_put_log(const ql_history *h, ql_textfile *out);

/* Which rows they are, in words. Borrowed, constant. */
const char *ql_fact_log(const ql_history *h);

/* Samples: a list of prompt, before, after ("" until it is written),
 * expected. */
json_t *ql_fact_samples(const ql_samples *s);

#endif
