/* What people see of a run beside its adapter: metrics.csv,
 * trainer_state.json, report.html, README.md, TensorBoard's files, and what
 * the model writes before and after. None of it is worth a run: a failure is
 * told by a note, and the run goes on. */
#ifndef QL_TRAIN_PUBLISH_H
#define QL_TRAIN_PUBLISH_H

#include "src/train/report.h"
#include "src/train/tensorboard.h"

typedef struct ql_publish {
    ql_report report; /* filled in by the caller, but for state, why, samples */
    size_t max_length; /* tokens of a sequence that the run has room for */
    ql_samples samples;
    ql_tensorboard board;
} ql_publish;

/* Begins TensorBoard's file for rows from step on, and writes samples as the
 * model is now. */
void ql_publish_begin(ql_publish *p, ql_run *run, size_t step);

/* Tells TensorBoard of a row of the log. */
void ql_publish_row(ql_publish *p, const ql_train_event *e);

/* Writes samples as the model is at the end, and sends them to fn. */
void ql_publish_samples(ql_publish *p, ql_run *run);

/* Writes the files to a folder as the run stands; the card only when it is at
 * its end. why: see ql_report. */
void ql_publish_files(ql_publish *p, const char *dir, ql_report_state state,
                      const char *why);

void ql_publish_free(ql_publish *p);

#endif
