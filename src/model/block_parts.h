/* The parts of a block's pass. Scratch comes from the pass's arena and is given
 * back at the end of each function; nothing is allocated. */
#ifndef QL_MODEL_BLOCK_PARTS_H
#define QL_MODEL_BLOCK_PARTS_H

#include "src/model/block.h"

/* A block's view of its own call: what every step needs. */
typedef struct ql_frame {
    const ql_pass *pass;
    const ql_config *c;
    const ql_layer *layer;
    size_t i;
    size_t T;
    ql_attention_shape shape; /* of this layer */
    ql_past *past;            /* of this layer; NULL: there is none */
    void *work;               /* for one linear or one attention */
} ql_frame;

/* n floats of scratch. */
float *ql_frame_take(const ql_frame *f, size_t n);

/* Counts the time from here on as of a kind. */
void ql_frame_count(const ql_frame *f, ql_work kind);

bool ql_frame_has_norm(const ql_frame *f, ql_norm_place place);

/* ql_linear_fwd and _bwd of a module, what is kept in s. */
void ql_frame_linear_fwd(const ql_frame *f, ql_module m, float *y, bool add,
                         ql_saved *s, const float *x);
void ql_frame_linear_bwd(const ql_frame *f, ql_module m, float *dx, bool add,
                         const float *dy, const ql_saved *s, const float *x);

/* The forward of n modules that follow each other and read the same x. */
void ql_frame_linears_fwd(const ql_frame *f, ql_module first, size_t n,
                          float *const *y, ql_saved *s, const float *x);

/* ql_linear_keep of a module. */
void ql_frame_linear_keep(const ql_frame *f, ql_module m, ql_saved *s,
                          const float *x);

/* Behind the norm before a half: y, or x where there is no such norm. */
const float *ql_frame_norm_fwd(const ql_frame *f, ql_norm_place place, float *y,
                               ql_saved *s, const float *x);

/* The backward of a norm that is there: dx is added to. */
void ql_frame_norm_bwd(const ql_frame *f, ql_norm_place place, float *dx,
                       const float *dy, const ql_saved *s, const float *x);

/* out = x + what linear layer m makes of in, with the norm behind that half,
 * if there is one: of the sum or before it.
 *
 *   out  [T, C]  written; not x
 *   raw  [T, C]  written where there is a norm: what goes into it */
void ql_frame_join_fwd(const ql_frame *f, ql_norm_place place, float *out,
                       float *raw, ql_saved *s, const float *x, ql_module m,
                       const float *in);

/* dy is the gradient of out on entry, and that of x, by the sum, on return;
 * din, that of in, is written. Scratch: [T, C] where there is a norm. */
void ql_frame_join_bwd(const ql_frame *f, ql_norm_place place, float *din,
                       float *dy, const float *raw, const ql_saved *s,
                       ql_module m, const float *in);

/* The first half: s->mid of x. Without want_mid, what is kept for the backward
 * alone. */
void ql_frame_attention_fwd(const ql_frame *f, ql_saved *s, const float *x,
                            bool want_mid);

/* dy: gradient of mid; on return also that of x, if want_dx. */
void ql_frame_attention_bwd(const ql_frame *f, float *dy, const ql_saved *s,
                            const float *x, bool want_dx);

/* The second half: y of s->mid and of x; y NULL: see ql_block_fwd. */
void ql_frame_mlp_fwd(const ql_frame *f, float *y, ql_saved *s, const float *x);

/* dy: gradient of the block's output; on return that of mid by the sum. What
 * comes through the layers is added to dx; that may be dy. */
void ql_frame_mlp_bwd(const ql_frame *f, float *dx, float *dy,
                      const ql_saved *s, const float *x);

/* Bytes of scratch of each half, without f->work. */
size_t ql_frame_attention_bytes(const ql_config *c, size_t T);
size_t ql_frame_mlp_bytes(const ql_config *c, size_t T);

#endif
