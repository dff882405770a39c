/* What qlora-quantize does with each tensor of a folder, and how large the
 * result is. */
#ifndef QL_CONVERT_QUANTIZE_PLAN_H
#define QL_CONVERT_QUANTIZE_PLAN_H

#include "qlora/quantize.h"
#include "quant/codebook.h"
#include "src/base/buf.h"
#include "src/format/shards.h"
#include "src/model/config.h"

/* One tensor of the input. */
typedef struct ql_quantize_item {
    const ql_tensor *in;
    size_t group;   /* ql_module of a weight that becomes 4-bit; QL_MODULES:
                      kept as it is */
    size_t shard;   /* of the output */
    float offset;   /* mean of the scales, with double quantization */
    size_t blocks;  /* scales */
    size_t tensors; /* in the output */
    uint64_t bytes_after;
} ql_quantize_item;

/* A tensor of the output that belongs to an item. */
typedef struct ql_quantize_part {
    const char *suffix; /* after the item's name; "" for the weight itself */
    ql_dtype dtype;
    size_t rank, shape[2];
} ql_quantize_part;

enum {
    QL_QUANTIZE_PARTS = 6
};

typedef struct ql_quantize_plan {
    ql_shards *in;
    ql_config config;
    ql_codebook_id book;
    ql_quant_options quant;
    ql_quantize_item *items;
    size_t n;
    ql_shard_plan *shards;
    uint64_t bytes_before, bytes_after;
} ql_quantize_plan;

/* Reads the folder and decides. The scales' means, which the output's sizes
 * depend on, are computed here: this reads every weight once. Errors: as
 * ql_quantize_model. */
ql_status ql_quantize_plan_init(ql_quantize_plan *p, const char *dir,
                                const ql_quantize_options *opt);
void ql_quantize_plan_free(ql_quantize_plan *p);

/* The tensor of an item, one that is quantized [out, in] also where the model
 * stores it [in, out]. *data is Owned: ql_free; NULL where t borrows the
 * item's. Errors: QL_EUNSUPPORTED (a type), QL_ENOMEM. */
ql_status ql_quantize_source(const ql_quantize_plan *p,
                             const ql_quantize_item *item, ql_tensor *t,
                             void **data);

/* Lists the output tensors of an item; state receives the JSON of its
 * quant_state part, n their number. Errors: QL_ENOMEM. */
ql_status ql_quantize_parts(const ql_quantize_plan *p,
                            const ql_quantize_item *item,
                            ql_quantize_part parts[QL_QUANTIZE_PARTS],
                            size_t *n, ql_buf *state);

#endif
