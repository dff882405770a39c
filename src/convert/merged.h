/* A model with an adapter worked into its weights, tensor by tensor, rows at a
 * time: what is in memory is the panel that is asked for, and for the time of
 * one tensor its pair, and its 4-bit form where one is made. Matrices that are
 * stored the other way round are never turned as a whole.
 *
 *   W' = W + scale B A                      (transposed where W is)
 *   W' = m / ||W + scale B A|| (W + ...)    per output, with DoRA
 *
 * Source: peft tuners/lora/layer.py, dora.py. */
#ifndef QL_CONVERT_MERGED_H
#define QL_CONVERT_MERGED_H

#include "qlora/quantize.h"
#include "src/convert/adapter_folder.h"
#include "src/format/shards.h"
#include "src/model/arch.h"
#include "src/model/packed.h"
#include "src/model/quantized.h"

/* One tensor of the result. */
typedef struct ql_merged_item {
    const char *name;
    char *made;                  /* that, where it is none of the folder's nor
                                    of the adapter's; Owned */
    const ql_tensor *base;       /* as it is stored */
    const ql_tensor *whole;      /* replaces it; NULL: none does */
    const ql_adapter_pair *pair; /* changes it; NULL: none does */
    bool packed;                 /* stored in 4 bits */
    bool requantize;             /* goes to 4 bits and back first */
    bool conv1d;                 /* the weight of a layer is [in, out]; in 4
                                    bits it is [out, in] all the same */
    bool turned;                 /* the pair changes it transposed */
    ql_dtype dtype;              /* before quantization; as stored, if not
                                    quantized */
    size_t rank, shape[QL_MAX_RANK], elements;
    size_t rows, cols; /* the shape as a matrix: [n, 1] for vectors */
} ql_merged_item;

/* What of linear weights a merge starts from. */
typedef struct ql_merged_base {
    bool requantize; /* weights of a dense folder go to 4 bits and back */
    ql_quant_options quant;
} ql_merged_base;

typedef struct ql_merged {
    ql_shards *shards;
    ql_merged_item *items; /* in order of name, layer 2 before layer 10 */
    size_t n;
    ql_merged_base base;
    const ql_arch *arch; /* NULL: none that we know */
    bool own_code;       /* the folder's: it names its tensors as it likes */
    bool tied;           /* as config.json says */
    bool untied;   /* the head of a tied model has become one of its own */
    bool new_head; /* of a classifier, which the folder did not have */
    bool packed;   /* the folder is in 4 bits */
    size_t pairs;  /* tensors that a pair changes */

    const ql_merged_item *open; /* the tensor whose rows can be had */
    size_t rows, cols;          /* as they are had */
    ql_packed codes;
    ql_quantized quantized;
    ql_qtensor view;  /* of the weight; no rows: it is read as stored */
    ql_tensor source; /* or of this, with what it is made of in parts */
    void *parts;
    bool across;  /* the rows are columns of the view */
    bool crossed; /* the pair changes the transpose of what is had */
    float *a, *b, *magnitude; /* [r, cols], [rows, r]: the pair as the rows
                                 are had */
    double *gain;             /* of columns, with DoRA */
} ql_merged;

/* Opens a model folder; adapter may be NULL, is borrowed and compared with the
 * model, as ql_adapter_base_check does. Errors: QL_EMISMATCH when it changes
 * what the model does not have, or in another shape; those of ql_shards_open;
 * QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_merged_init(ql_merged *m, const char *dir,
                         ql_adapter_folder *adapter,
                         const ql_merged_base *base);
void ql_merged_free(ql_merged *m);

/* Gives tensors of a model that is not ours, or has code of its own, the names
 * that its files have for them: what reads as a wrapper's may be its own. What
 * such files lack is named as they name the rest. Errors: QL_ENOMEM. */
ql_status ql_merged_restore_names(ql_merged *m);

/* A tensor that stays to the bit, of whatever type: what is to be written is
 * base or whole. */
bool ql_merged_untouched(const ql_merged_item *item);

/* The tensor of that item is the one whose rows follow; of a matrix, with
 * turn, its transpose is. Errors: QL_EFORMAT for one that is not finite, where
 * it is quantized; QL_ENOMEM. */
ql_status ql_merged_open(ql_merged *m, const ql_merged_item *item, bool turn);

/* Rows [row, row + n) of what is open in f32, out [n, cols]. Errors:
 * QL_EUNSUPPORTED for a type that is no number; QL_EFORMAT for a result that
 * is not finite. */
ql_status ql_merged_rows(ql_merged *m, size_t row, size_t n, float *out);

/* So many rows of what is open are worked on at a time: no more than a fourth
 * of the tensor, and no more than fit in a few MiB. */
size_t ql_merged_panel(const ql_merged *m);

/* Ends with the tensor and lets its pages go. */
void ql_merged_close(ql_merged *m);

#endif
