/* What people see of a run beside its adapter and its log: report.html,
 * README.md, run.yaml, samples.json, TensorBoard's files, and what the model
 * writes before and after. None of it is worth a run: a failure is told by a
 * note, and the run goes on. */
#ifndef QL_TRAIN_PUBLISH_H
#define QL_TRAIN_PUBLISH_H

#include "src/train/report.h"
#include "src/train/tensorboard.h"

typedef struct ql_publish {
    ql_report report; /* filled in by the caller, but for state, why, samples */
    ql_samples samples;
    ql_tensorboard board;
    double written; /* ql_now_s when files were written, on the way */
    double cost;    /* seconds that it took */
} ql_publish;

/* Begins after step steps: TensorBoard's file, and samples as the model is now,
 * or, with steps done, as samples.json has them. max_length: tokens of a
 * sequence that run has room for. */
void ql_publish_begin(ql_publish *p, ql_run *run, size_t max_length,
                      size_t step);

/* Writes what is known before the first step to a folder, unless the output has
 * it: a run that goes on needs it. */
void ql_publish_before(const ql_publish *p, const char *dir);

/* Tells TensorBoard of a row of the log. */
void ql_publish_row(ql_publish *p, const ql_train_event *e);

/* Writes samples as the model is at the end. */
void ql_publish_samples(ql_publish *p, ql_run *run, size_t max_length);

/* Writes the files to a folder as the run stands; on the way only now and
 * then, so that it takes little of the time, and without the card. why: see
 * ql_report. */
void ql_publish_files(ql_publish *p, const char *dir, ql_report_state state,
                      const char *why);

/* Ends. keep: false where nothing else is left of the run, either. */
void ql_publish_free(ql_publish *p, bool keep);

#endif
