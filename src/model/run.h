/* Passes over batches: losses, gradients, logits. */
#ifndef QL_MODEL_RUN_H
#define QL_MODEL_RUN_H

#include "src/model/batch.h"
#include "src/model/cache.h"
#include "src/model/model_handle.h"
#include "src/model/stream.h"
#include "src/op/loss.h"

/* Room for passes over batches of limited size. */
typedef struct ql_run ql_run;

typedef struct ql_run_options {
    size_t max_tokens;     /* T of the largest batch */
    size_t max_length;     /* longest sequence */
    size_t max_sequences;  /* in a batch */
    size_t max_trained;    /* tokens of a batch with a target; 0: any may be */
    bool training;         /* backward passes will be run */
    size_t keep_layers;    /* so many layers, the last ones, keep their
                             activations; the forward of the others is repeated
                             before their backward */
    size_t keep_outputs;   /* of these, so many, the first ones, keep what goes
                             into the norm behind their feed-forward layer, if
                             there is one: that product is not repeated */
    size_t spill_layers;   /* so many layers, the first ones, have their inputs
                             in a file between forward and backward */
    const char *spill_dir; /* where that is made */
    bool bf16_inputs;      /* inputs are kept in 16 bits; the forward of all
                             layers but the last is repeated, and all of
                             it, from these */
    size_t weight_memory;  /* bytes of mapped weights that may be resident; the
                             others are read when their turn comes; 0: all */
    ql_profile *profile;   /* where the time of training is counted, or NULL */
    bool (*go_on)(void *user); /* asked before each pass of ql_run_feed; NULL:
                                  it goes on */
    void *user;
} ql_run_options;

/* Bytes that a run takes, with the adapter that is on the model: kept between
 * forward and backward, and as scratch. */
typedef struct ql_run_need {
    size_t kept, scratch;
    uint64_t file;  /* on disk */
    size_t outputs; /* of keep_outputs, those that there are */
} ql_run_need;

ql_run_need ql_run_needs(const ql_model *m, const ql_run_options *opt);

/* The model, with the adapter in use, is borrowed; the adapter's rank must not
 * change while the run is open. Errors: QL_EINVAL (max_length beyond what
 * learned positions there are), QL_ENOMEM, those of
 * ql_spill_open. */
ql_status ql_run_open(ql_run **out, const ql_model *m,
                      const ql_run_options *opt);
void ql_run_close(ql_run **run);

/* Loss of a batch, added to *sum.
 *
 * With train, gradients of scale * (sum of losses) are added to the adapter's,
 * with dropout p, and noise on the embeddings, by key. Cannot fail: a
 * non-finite loss shows in sum. */
typedef struct ql_run_train {
    float scale;
    float dropout;
    float noise; /* alpha of NEFTune; 0: none */
    uint64_t key;
} ql_run_train;

void ql_run_loss(ql_run *run, const ql_batch *batch, const ql_run_train *train,
                 ql_loss *sum);

/* Whether the gradients since opening are what they should be. Errors: QL_EIO
 * when inputs could not be written to their file, or read again. */
ql_status ql_run_check(ql_run *run);

/* After ql_run_loss with train: where numbers that are not finite arise on the
 * way up. 0: in the embedding; i: in block i, counted from 1; SIZE_MAX: in the
 * head. */
size_t ql_run_bad_block(ql_run *run, const ql_batch *batch);

/* Logits [n, V] of the tokens at rows[n] (indices into the batch). Targets are
 * not read. */
void ql_run_logits(ql_run *run, const ql_batch *batch, const size_t *rows,
                   size_t n, float *logits);

/* Reads n more tokens of the text that is in the cache, in passes of
 * max_tokens. logits [V], behind the last one; NULL: not wanted. Where a rope
 * turns otherwise from this length on, the whole text is read again.
 *
 * The run has max_length of at least max_tokens, and the cache was made for
 * passes of at least max_tokens. After a failure the cache is as before, but
 * when it was stopped it has what was read until then.
 * Errors: QL_EINVAL (beyond the context of the cache), QL_ENOMEM,
 * QL_ECANCELLED. */
ql_status ql_run_feed(ql_run *run, ql_cache *cache, const int32_t *ids,
                      size_t n, float *logits);

/* The same of a classifier: logits [sequences, classes]. */
void ql_run_classes(ql_run *run, const ql_batch *batch, float *logits);

/* From now on ql_run_loss counts in table [classes, classes] which class texts
 * of each class are taken for; NULL: no more. */
void ql_run_count_classes(ql_run *run, size_t *table);

/* What was read of the weights, if not all of them stay in memory. */
ql_stream_use ql_run_streamed(ql_run *run);

#endif
