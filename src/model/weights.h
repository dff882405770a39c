/* The frozen weights of a model: 4-bit matrices as they lie in the mapped
 * file, or quantized while loading; norms and biases in f32; embedding and
 * head in their stored type, mapped. */
#ifndef QL_MODEL_WEIGHTS_H
#define QL_MODEL_WEIGHTS_H

#include "quant/codebook.h"
#include "src/base/scratch.h"
#include "src/format/shards.h"
#include "src/model/config.h"
#include "src/op/embed.h"
#include "src/op/linear.h"
#include "src/op/norm.h"

typedef struct ql_layer {
    ql_norm norm[QL_NORMS];       /* w NULL: there is none */
    ql_linear linear[QL_MODULES]; /* no rows: there is none */
} ql_layer;

/* What becomes of linear weights that a folder holds in 16 or 32 bits. */
typedef struct ql_load {
    bool quantize; /* to 4 bits; else kept as stored */
    ql_codebook_id book;
    size_t block;
    bool double_quant;
    bool check; /* only to see that the folder is sound: nothing is turned */
    bool more;  /* what is not read may be of any kind */
    const char *scratch_dir; /* where weights lie on disk that are made while
                                loading; NULL: in memory */
} ql_load;

typedef struct ql_weights {
    ql_shards *shards;
    ql_layer *layers;
    size_t n_layers;
    ql_norm final_norm;    /* w NULL: there is none */
    ql_embedding embed;    /* [V, C] */
    ql_linear head;        /* [V, C]; the same memory as embed when tied */
    ql_qtensor base_embed; /* as the folder has them: what is in embed and */
    ql_qtensor base_head;  /* head without an adapter */
    ql_layer *base_layers; /* [n_layers] as the folder has them, and the last */
    ql_norm base_norm;     /* norm and positions, while all are replaced, */
    ql_qtensor base_position;
    ql_norm base_embed_norm; /* and what classifiers have */
    ql_qtensor base_types;
    ql_linear base_pooler;
    bool replaced;
    ql_embedding position;  /* [max_position, C] when they are learned */
    ql_norm embed_norm;     /* of classifiers, as are: */
    ql_embedding types;     /* [types, C] */
    ql_linear pooler;       /* [C, C] */
    const float *head_bias; /* [classes] */
    bool fresh_pooler;      /* the folder has none: it began at random */
    bool fresh_head;        /* of a classifier, likewise */
    const char *base;       /* what the names of this folder begin with */
    ql_load load;           /* how it was loaded */
    void **owned;           /* blocks behind the views */
    size_t n_owned;
    ql_scratch *scratch; /* or they are in here; NULL: none is */
    size_t quantized;    /* linear layers in 4 bits */
    size_t bytes;        /* of all weights, as stored in memory */
} ql_weights;

/* Loads the weights of dir. c is borrowed during the call. Errors:
 * QL_ENOTFOUND (files or a tensor, named), QL_EFORMAT (a shape, or a
 * weight that is not finite, named), QL_EUNSUPPORTED (a dtype), QL_EIO,
 * QL_ENOMEM. */
ql_status ql_weights_init(ql_weights *w, const ql_config *c, const char *dir,
                          const ql_load *load);
void ql_weights_free(ql_weights *w);

/* Fails unless dir holds the model that c tells of, as ql_weights_init does.
 * more: tensors that are not read may be of any kind. */
ql_status ql_weights_check(const ql_config *c, const char *dir, bool more);

/* Whether p lies on disk, mapped: in a file of the folder or made of one. */
bool ql_weights_maps(const ql_weights *w, const void *p);

/* Makes a block live as long as the weights; takes it over in any case. Errors:
 * QL_ENOMEM, which a block that is NULL is, too. */
ql_status ql_weights_own(ql_weights *w, void *block);

/* Frees a block before its time, if the weights own it. */
void ql_weights_disown(ql_weights *w, const void *block);

/* Name of the weight of a module of a block in this folder, into name[bytes],
 * without ".weight". */
void ql_weights_path(const ql_weights *w, const ql_arch *arch, size_t layer,
                     ql_module module, char *path, size_t bytes);

/* What the names of a folder's tensors begin with: a model that was saved
 * without its head lacks the base. Borrowed, constant. */
const char *ql_weights_base(const ql_shards *s, const ql_names *names);

#endif
