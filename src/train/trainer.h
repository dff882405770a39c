/* One call of ql_train, as the files that it is made of share it: trainer.c
 * is its course, evaluate.c its evaluations, save.c what it writes, resume.c
 * how it goes on from a checkpoint. */
#ifndef QL_TRAIN_TRAINER_H
#define QL_TRAIN_TRAINER_H

#include "src/train/checkpoint.h"
#include "src/train/options.h"
#include "src/train/output.h"
#include "src/train/planner.h"
#include "src/train/publish.h"
#include "src/train/schedule.h"
#include "src/train/step.h"

typedef struct ql_trainer {
    ql_model *m;
    const ql_train_options *opt;
    const char *out_dir;
    ql_train_fn *fn;
    void *user;
    ql_batches batches, eval;
    bool has_eval;
    ql_train_length length;
    ql_schedule schedule;
    json_t *identity; /* what the run is; see identity.h */
    ql_adapter adapter;
    ql_output output;
    ql_optimizer *optimizer;
    ql_run *run;
    ql_history history;
    ql_profile profile; /* of this process, since training began */
    ql_plan plan;
    size_t trainable; /* parameters, known with the plan */
    ql_publish publish;
    ql_progress progress;
    size_t saved;   /* step whose checkpoint is on disk; 0: none */
    double started; /* ql_now_s when training began, less what was spent before
                       a checkpoint */
    double told;    /* ql_now_s of the last event */
    bool stop;      /* the caller asked for it */
    bool unsound;   /* the optimizer's state is not one of any step */
    bool replaced;  /* what is trained is no longer that of the last step, but
                       the best, or on its way to be */
} ql_trainer;

/* All weights are trained, not an adapter. */
bool ql_trainer_full(const ql_trainer *t);

/* Seconds that training has taken so far, over all its processes. */
double ql_trainer_seconds(const ql_trainer *t);

/* The longest sequence of all data, for which the run has room. */
size_t ql_trainer_longest(const ql_trainer *t);

/* Fills in what every event has. */
void ql_trainer_complete(const ql_trainer *t, ql_train_event *e);

/* Completes an event and sends it; a refusal is remembered. */
void ql_trainer_tell(ql_trainer *t, ql_train_event *e);

/* Adds a row to the log. Errors: QL_ENOMEM. */
ql_status ql_trainer_log(ql_trainer *t, const ql_train_event *e);

/* How passes over batches are run, as the plan has it. */
ql_run_options ql_trainer_run_options(const ql_trainer *t);

/* Rows that the log will have, at most; of a run without end, those of its
 * first days. */
size_t ql_trainer_log_rows(const ql_trainer *t);

/* Makes the plan, before anything is written, or anything large is taken.
 * Errors: those of ql_plan_make, with the flags that would make it fit. */
ql_status ql_trainer_plan(ql_trainer *t);

/* The same without advice. */
ql_status ql_trainer_try_plan(ql_trainer *t);

/* The learning rate of a step, from 0. */
double ql_trainer_rate(const ql_trainer *t, size_t step);

/* True if an evaluation is due now that was not done yet. */
bool ql_trainer_must_evaluate(const ql_trainer *t);

/* Evaluates, tells and notes it, and keeps the adapter if it is the best. When
 * asked to stop it leaves the evaluation undone. Errors: QL_ENUMERIC naming
 * records, QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_trainer_evaluate(ql_trainer *t);

/* True if a checkpoint is due now. */
bool ql_trainer_must_save(const ql_trainer *t);

/* Sees whether there is room for what the run will write, beside what of that
 * is there already: from is the checkpoint that it goes on from, its path NULL
 * if there is none. The optimizer has its file by then. Errors: QL_ENOSPACE,
 * QL_ENOMEM. */
ql_status ql_trainer_disk_need(const ql_trainer *t, const ql_checkpoint *from);

/* Writes the checkpoint of this step, unless that is there, and removes old
 * ones. Errors: QL_EIO, QL_ENOSPACE, QL_ENOMEM; the checkpoints before are as
 * they were. */
ql_status ql_trainer_save(ql_trainer *t);

/* Writes the best adapter's folder anew: the present adapter, or that of a
 * folder. Errors: QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_trainer_save_best(ql_trainer *t, const char *from);

/* After the last step: the adapter that is to be kept, and all other files of
 * the output folder. After a failure the log ends with the last step. Errors:
 * as above. */
ql_status ql_trainer_finish(ql_trainer *t);

/* After a failure whose sentence is set: saves what there is to save and adds
 * to the sentence what became of it. Returns st; QL_ENOMEM. */
ql_status ql_trainer_rescue(ql_trainer *t, ql_status st);

/* Looks for the checkpoint to go on from; c->path is NULL if there is none.
 * Notes which it is, and what differs. Owned: c. Errors: QL_EFORMAT,
 * QL_EMISMATCH and others when there are checkpoints, but none that can be
 * used, with the reason; QL_EIO, QL_ENOMEM. */
ql_status ql_trainer_find_checkpoint(ql_trainer *t, ql_checkpoint *c);

/* Makes optimizer, log and progress those of a checkpoint. Errors: those
 * of ql_peft_load and ql_checkpoint_load. */
ql_status ql_trainer_restore(ql_trainer *t, const ql_checkpoint *c);

#endif
