/* A checkpoint: a folder "checkpoint-N" that holds all a run needs to go on
 * after N optimizer steps as if it had never been stopped.
 *
 *   adapter_config.json, adapter_model.safetensors    as PEFT loads them; or
 *   config.json, model.safetensors                    all weights, in F32
 *   optimizer.bin       the optimizer's state, as ql_optimizer_export gives it
 *   trainer_state.json  the log so far
 *   best/               the best adapter so far, unless that is the one above
 *   checkpoint.json     the counters; what the run is (identity.h); of each
 *                       file above its size and CRC-32; and a CRC-32 of all of
 *                       this, as ql_json_put writes it
 *
 * Random numbers and the order of the data are functions of the seed, the step
 * and the epoch, so these counters are their state. The folder is written out
 * of sight, flushed, and renamed: under its name it is complete, or damaged by
 * something else than us, which the sums show. */
#ifndef QL_TRAIN_CHECKPOINT_H
#define QL_TRAIN_CHECKPOINT_H

#include "qlora/train.h"
#include "src/base/json.h"
#include "src/model/model_handle.h"
#include "src/train/optimizer.h"
#include "src/train/trainer_state.h"

/* Where a run is. */
typedef struct ql_progress {
    size_t step;      /* optimizer steps done */
    size_t evaluated; /* 1 + the step of the last evaluation; 0: none yet */
    bool finished;    /* there was nothing left to train */
    size_t best_step; /* of the best evaluation loss; 0: none yet */
    double next_rate; /* learning rate of the step to come */
    double replaces;  /* when what was in the output folder was written, which
                         this run replaces at its end; 0: nothing was */
    ql_train_result result;
} ql_progress;

/* What is written; all is borrowed. */
typedef struct ql_checkpoint_content {
    const ql_progress *progress;
    const ql_adapter *adapter;
    const ql_model *model; /* that it is for */
    ql_optimizer *optimizer;
    const ql_history *history;
    const ql_trainer_state *state; /* what trainer_state.json says beside it */
    json_t *identity;
    const char *best; /* folder of the best adapter, NULL: none, or adapter */
} ql_checkpoint_content;

/* Writes the folder, in place of one that is there. Errors: QL_EIO,
 * QL_ENOSPACE, QL_ENOMEM; nothing is left then, and what was there stays. */
ql_status ql_checkpoint_write(const ql_checkpoint_content *c, const char *path);

/* A checkpoint that was found sound. */
typedef struct ql_checkpoint {
    char *path;
    char *best; /* folder of its best adapter; NULL: none yet */
    ql_progress progress;
    size_t updates;         /* of the optimizer */
    json_t *root;           /* of checkpoint.json */
    const json_t *identity; /* borrowed from root */
} ql_checkpoint;

/* Reads and verifies. Errors: QL_ENOTFOUND (no folder, or no checkpoint.json
 * in it), QL_EFORMAT for what is damaged, QL_EUNSUPPORTED for a format that is
 * newer than ours, QL_EIO, QL_ENOMEM. */
ql_status ql_checkpoint_init(ql_checkpoint *c, const char *path);

/* The same without a look at the other files, of which any may be damaged:
 * only what checkpoint.json tells. */
ql_status ql_checkpoint_peek(ql_checkpoint *c, const char *path);
void ql_checkpoint_free(ql_checkpoint *c);

/* Fills in the optimizer's state and the history, which is empty. Errors:
 * QL_EMISMATCH when the state is of another size, QL_EFORMAT, QL_EIO,
 * QL_ENOMEM. */
ql_status ql_checkpoint_load(const ql_checkpoint *c, ql_optimizer *o,
                             ql_history *history);

/* The steps of the folders in dir that are named as checkpoints, falling.
 * A missing dir has none. Owned: *steps, by ql_free. Errors: QL_EIO,
 * QL_ENOMEM. */
ql_status ql_checkpoint_list(const char *dir, size_t **steps, size_t *n);

/* "DIR/checkpoint-N". NULL when out of memory. Owned: ql_free. */
char *ql_checkpoint_path(const char *dir, size_t step);

/* After the checkpoint of a step was written: removes those of later steps,
 * which belong to a course that was left, and the oldest ones beyond the
 * limit (0: none). Errors: QL_EIO, QL_ENOMEM. */
ql_status ql_checkpoint_prune(const char *dir, size_t step, size_t limit);

#endif
