/* What a run holds. */
#ifndef QL_MODEL_RUN_PARTS_H
#define QL_MODEL_RUN_PARTS_H

#include "src/model/block.h"
#include "src/model/inputs.h"
#include "src/model/run.h"

/* cos and sin of one of the model's ropes. */
typedef struct ql_run_table {
    double *inv_freq; /* [dim / 2] */
    float *cos, *sin; /* [max_length, dim / 2], or a row for each token */
    size_t length;    /* the sequence length they are made for; 0: none */
    double factor;    /* on cos and sin, of ql_run_feed, as is */
    size_t phase;     /* of ql_rope_phase, and one more; 0: none */
} ql_run_table;

/* What a block keeps though its forward is repeated. */
typedef struct ql_run_output {
    float *mlp;   /* [T, C] what goes into the norm behind the feed-forward */
    float *stats; /* what that norm keeps */
} ql_run_output;

struct ql_run {
    const ql_model *m;
    ql_run_options opt;
    size_t lowest;  /* block whose backward is the last one; layers: none is */
    bool whole_way; /* it goes on to what is before the first block */
    ql_arena kept, scratch;
    float **h; /* [L + 1] inputs of the blocks; all the same when not
                         training, and when they are kept apart: */
    bool apart;
    ql_inputs inputs;
    ql_saved *saved; /* [sets]: of the last blocks, then the shared one */
    ql_run_output *outputs; /* [layers] of the first blocks, if they have any */
    float *norm;            /* [T, C] output of the last norm, or block */
    float *stats;           /* of the last norm */
    float *dh;              /* [T, C] gradient on its way down */
    uint32_t *pos;          /* [T] in its own sequence */
    uint32_t *row;          /* [T] 0, 1, 2, ... */
    const uint32_t *turn;   /* pos or row: of each token in the tables */
    /* Of classifiers: */
    float *raw;       /* [T, C] what goes into the norm of embeddings */
    float *raw_stats; /* of that */
    uint32_t *type;   /* [T] */
    size_t *table;    /* of classes, to be counted in; or NULL */
    ql_run_table tables[QL_ROPES];
    ql_stream *stream; /* NULL: all weights stay in memory */
};

/* Blocks that keep their activations: the last ones. */
size_t ql_run_kept_layers(const ql_run *run);

/* Blocks that keep their outputs: the first ones. */
size_t ql_run_kept_outputs(const ql_run *run);

/* Makes the factors of magnitudes fit what they are made of, of part i of the
 * weights: a layer, or (i = number of layers) what is behind them all. */
void ql_run_refresh(ql_run *run, size_t i);

/* The same of the embedding. */
void ql_run_refresh_embed(ql_run *run);

/* What the passes over one batch share. */
ql_pass ql_run_pass(ql_run *run, const ql_batch *b, const ql_run_train *train);

/* The same, with all that a batch needs made ready. */
ql_pass ql_run_begin(ql_run *run, const ql_batch *b, const ql_run_train *train);

/* Everything below the head; the output of the last norm is in run->norm. */
void ql_run_forward(ql_run *run, const ql_batch *b, const ql_pass *pass,
                    ql_stream_way way);

/* Logits [n, V] of the first n rows of run->dh. */
void ql_run_head(ql_run *run, const ql_pass *pass, size_t n, float *logits);

/* The head of a classifier, from run->norm: the loss; with scale, also the
 * gradient of run->norm, in run->dh. */
void ql_run_classify(ql_run *run, const ql_batch *b, const ql_pass *pass,
                     const float *scale, ql_loss *sum);

/* Bytes of scratch for that with S texts. */
size_t ql_run_classify_bytes(const ql_weights *w, size_t S);

/* Bytes of scratch for T rows of logits. */
size_t ql_run_head_bytes(const ql_linear *head, size_t T);

#endif
