/* What people read of a run: report.html, one file that needs no other, and
 * README.md, the adapter's card. Both are templates (src/train/report/) that
 * are filled in with facts of the run. */
#ifndef QL_TRAIN_REPORT_H
#define QL_TRAIN_REPORT_H

#include "qlora/plan.h"
#include "src/model/model_handle.h"
#include "src/train/history.h"
#include "src/train/options.h"
#include "src/train/samples.h"

enum {
    QL_REPORT_BYTES = 768 * 1024, /* that writing one takes, at most, */
    QL_REPORT_ROW_BYTES = 80      /* and so many more for a row of the log */
};

/* How a run stands. */
typedef enum ql_report_state {
    QL_REPORT_RUNNING,
    QL_REPORT_FINISHED,
    QL_REPORT_STOPPED, /* by the user */
    QL_REPORT_FAILED   /* by itself: what was not finite, a full disk */
} ql_report_state;

/* All is borrowed. */
typedef struct ql_report {
    ql_report_state state;
    /* It stopped or failed; of one that finished, what there is to say of its
     * end. NULL: nothing. */
    const char *why;
    const char *dir; /* the output folder, as the user names it */
    const ql_history *history;
    const ql_train_options *opt;
    ql_train_length length;
    size_t trainable; /* parameters that are trained */
    size_t kept;      /* step whose adapter is kept as the best; 0: the last */
    const ql_model *model;
    const ql_adapter *adapter;
    const ql_dataset *data;
    const ql_dataset *eval; /* NULL: none */
    const ql_samples *samples;
    const ql_plan *plan;            /* of memory; NULL: there is none */
    uint64_t peak_anonymous;        /* most private memory that was seen */
    uint64_t peak_file;             /* most of mapped files */
    uint64_t peaks[QL_PLAN_MAPPED]; /* the same by part */
} ql_report;

/* Writes report.html or README.md to path. Errors: QL_EIO, QL_ENOSPACE,
 * QL_ENOMEM. */
ql_status ql_report_save(const ql_report *r, const char *path);
ql_status ql_report_save_card(const ql_report *r, const char *path);

#endif
