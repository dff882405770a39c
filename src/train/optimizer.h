/* The optimizer: AdamW over a fixed list of trained tensors, and the state
 * that it keeps for them. For one thread, which its operations split. */
#ifndef QL_TRAIN_OPTIMIZER_H
#define QL_TRAIN_OPTIMIZER_H

#include "qlora/train.h"
#include "src/op/adam.h"
#include "src/op/profile.h"

typedef struct ql_optimizer ql_optimizer;

typedef struct ql_optimizer_options {
    ql_optim kind;   /* moments of QL_OPTIM_ADAMW_TORCH have the type of what is
                      trained */
    uint64_t memory; /* of the paged kinds: most bytes in memory, with what
                             paging takes; 0: all of the state */
    const char *page_dir; /* of the paged kinds: an existing folder, whose file
                             system holds the rest */
    ql_profile *profile;  /* where waiting for the file is counted, or NULL */
    const float *rate;    /* factor of each tensor's learning rate; NULL: 1 */
    size_t plain;         /* tensors, the last ones, without weight decay */
    size_t half;          /* tensors, the first ones, in bf16 */
} ql_optimizer_options;

/* Bytes in memory, and in the page file; and the least memory that would do:
 * for the paged kinds what paging takes. */
typedef struct ql_optimizer_need {
    uint64_t memory, file, least;
} ql_optimizer_need;

/* What an optimizer for n tensors takes, size[i] being the elements of one.
 * Errors: QL_EINVAL (memory is less than paging takes; names the least). */
ql_status ql_optimizer_plan(ql_optimizer_need *need,
                            const ql_optimizer_options *opt, const size_t *size,
                            size_t n);

/* Makes the state, all zero. The tensors lie one behind the other in the arrays
 * of parameters and gradients, those in bf16 two elements to a float, each from
 * a whole float on. In the 8-bit kinds those below 4096 elements stay in 32
 * bits, as in bitsandbytes. Errors: those of ql_optimizer_plan,
 * QL_ENOSPACE (no room for the page file), QL_EIO, QL_ENOMEM. */
ql_status ql_optimizer_open(ql_optimizer **o_out,
                            const ql_optimizer_options *opt, const size_t *size,
                            size_t n);
void ql_optimizer_close(ql_optimizer **o);

/* One update. It gives the same bits paged or not.
 *
 *   p  [.]  parameters, updated
 *   g  [.]  gradients; overwritten
 *   s       its t is filled in: updates so far, plus one
 * Errors: QL_ENUMERIC (a parameter would not be finite, or a second moment),
 * QL_EIO, QL_ENOSPACE (the page file failed). After any failure p is as it was
 * before, but the state is not: it must not be saved or used again. */
ql_status ql_optimizer_update(ql_optimizer *o, float *p, float *g,
                              ql_adam_step *s);

/* Updates done. */
size_t ql_optimizer_updates(const ql_optimizer *o);

/* The state as a stream of bytes, for checkpoints. It depends on the tensors'
 * sizes and the bits of the kind, not on where the state is kept; numbers are
 * in the machine's own order. The number of updates is not part of it. */
uint64_t ql_optimizer_state_bytes(const ql_optimizer *o);

/* Reads n bytes of the stream from byte at on. at + n must not exceed the
 * size. Errors: QL_EIO, QL_ENOSPACE. */
ql_status ql_optimizer_export(ql_optimizer *o, uint64_t at, void *data,
                              size_t n);

/* Writes them. Set the number of updates too. Errors: QL_EIO, QL_ENOSPACE. */
ql_status ql_optimizer_import(ql_optimizer *o, uint64_t at, const void *data,
                              size_t n);
void ql_optimizer_set_updates(ql_optimizer *o, size_t updates);

#endif
