/* A model as llama.cpp knows it: the name of its architecture, the names and
 * the order of its tensors, the values that describe it. Source: llama.cpp,
 * conversion/, gguf-py/gguf/tensor_mapping.py; golden/gguf. */
#ifndef QL_CONVERT_GGUF_ARCH_H
#define QL_CONVERT_GGUF_ARCH_H

#include <jansson.h>

#include "src/format/gguf.h"
#include "src/model/config.h"

/* In which order llama.cpp has the rows of a weight. */
typedef enum ql_gguf_order {
    QL_GGUF_AS_IS,
    QL_GGUF_PAIRS,  /* of each head, the two halves that a rotation pairs are
                       interleaved */
    QL_GGUF_QKV,    /* q, k and v of each head: all q first, all k, all v */
    QL_GGUF_TURNED, /* [in, out] becomes [out, in] */
} ql_gguf_order;

/* What becomes of a tensor. */
typedef struct ql_gguf_place {
    char name[QL_GGUF_NAME_BYTES]; /* "blk.0.attn_q.weight"; "" for none */
    ql_gguf_order order;
    size_t heads;  /* PAIRS, QKV */
    bool plus_one; /* 1 is added to each element */
    bool exact;    /* stays F32 */
} ql_gguf_place;

/* What we know of an architecture in llama.cpp. */
typedef struct ql_gguf_arch ql_gguf_arch;

/* Errors: QL_EUNSUPPORTED for one that has no counterpart. Borrowed,
 * constant. */
ql_status ql_gguf_arch_find(const ql_gguf_arch **out, const ql_config *c);

/* "llama". Borrowed, constant. */
const char *ql_gguf_arch_name(const ql_gguf_arch *a);

/* The head may be another matrix than the embedding. */
bool ql_gguf_arch_own_head(const ql_gguf_arch *a);

/* The place of a tensor by its name in the model folder. Errors:
 * QL_EUNSUPPORTED for one that has none. */
ql_status ql_gguf_place_find(ql_gguf_place *p, const ql_gguf_arch *a,
                             const ql_config *c, const char *name);

/* The row of the model's weight that is row i of rows in the file. */
size_t ql_gguf_row(const ql_gguf_place *p, size_t i, size_t rows);

/* What a file of this architecture cannot say of the model, as notes for the
 * user. */
void ql_gguf_arch_doubts(const ql_gguf_arch *a, const ql_config *c);

/* Writes the values that come before the tokenizer, general.architecture
 * first. file_type: as the format numbers them. root: config.json. Errors:
 * those of ql_gguf_put_string. */
ql_status ql_gguf_arch_values(ql_gguf_writer *w, const ql_gguf_arch *a,
                              const ql_config *c, const json_t *root,
                              const char *name, const char *size_label,
                              size_t file_type);

#endif
