/* The inputs of blocks between forward and backward, where they are not simply
 * kept: in 16 bits, or the first of them, whose backward comes last, in a file.
 * All are put in order, and got back from the last on. */
#ifndef QL_MODEL_INPUTS_H
#define QL_MODEL_INPUTS_H

#include "src/base/arena.h"
#include "src/base/spill.h"

/* How they are kept. */
typedef struct ql_inputs_options {
    size_t layers;
    size_t elements; /* of an input, at most */
    size_t spilled;  /* so many, the first ones, are in a file */
    bool bf16;       /* rounded to 16 bits */
    const char *dir; /* where the file is made */
} ql_inputs_options;

typedef struct ql_inputs {
    ql_inputs_options opt;
    void **slots; /* [layers] of those in memory */
    float *wide;  /* [elements] the last one got, if they are in 16 bits */
    ql_spill *spill;
} ql_inputs;

/* True if they must be handed over at all. */
bool ql_inputs_apart(const ql_inputs_options *opt);

/* Bytes of an arena, of memory beside it, and of the file. */
size_t ql_inputs_bytes(const ql_inputs_options *opt);
uint64_t ql_inputs_buffers(const ql_inputs_options *opt);
uint64_t ql_inputs_file(const ql_inputs_options *opt);

/* Errors: those of ql_spill_open. */
ql_status ql_inputs_init(ql_inputs *in, const ql_inputs_options *opt,
                         ql_arena *arena);
void ql_inputs_free(ql_inputs *in);

/* Keeps x [n], the input of block i. */
void ql_inputs_put(ql_inputs *in, size_t i, const float *x, size_t n);

/* That of block i, as it was kept. Valid until the next call. */
const float *ql_inputs_get(ql_inputs *in, size_t i, size_t n);

/* Errors: those of ql_spill_check. */
ql_status ql_inputs_check(ql_inputs *in);

#endif
