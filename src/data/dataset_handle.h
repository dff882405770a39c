/* The data set from inside: how it is filled, and data sets that do not come
 * from files. */
#ifndef QL_DATA_DATASET_HANDLE_H
#define QL_DATA_DATASET_HANDLE_H

#include <time.h>

#include "qlora/dataset.h"
#include "src/model/labels.h"

/* A data set of n samples, which are copied; n > 0. Errors: QL_ENOMEM. */
ql_status ql_dataset_of_samples(ql_dataset **out, const ql_sample *samples,
                                size_t n);

/* An empty one. max_length and max_issues: as in the options. Errors of all:
 * QL_ENOMEM. */
ql_status ql_dataset_new(ql_dataset **out, size_t max_length,
                         size_t max_issues);

/* Begins a file, to which all that follows belongs. */
ql_status ql_dataset_begin_file(ql_dataset *ds, const char *path);

/* Says what its form is. keys is copied. */
ql_status ql_dataset_set_form(ql_dataset *ds, ql_format format,
                              const char *keys);

/* Adds n to a count of the report: offsetof(ql_dataset_report, refused). */
void ql_dataset_count(ql_dataset *ds, size_t count, size_t n);

/* Appends a sample, which is copied. line: where its record begins. goes_on:
 * the record is that of the sample before. */
ql_status ql_dataset_keep(ql_dataset *ds, ql_sample s, size_t line,
                          bool goes_on);

/* Takes note of what became of a record. reason is copied. */
ql_status ql_dataset_tell(ql_dataset *ds, size_t line, ql_fate fate,
                          const char *reason);

/* The classes that samples have; they are taken over. */
void ql_dataset_take_labels(ql_dataset *ds, ql_labels *labels);

/* The template that an adapter must bring along; it is copied. */
ql_status ql_dataset_set_template(ql_dataset *ds, const char *text);

/* What templates were told as the date. */
ql_status ql_dataset_set_date(ql_dataset *ds, const struct tm *date);

#endif
