/* Reading the golden folders of models: which there are, the batch, tensors by
 * name, and what their adapters are, as options of a training; and a tokenizer
 * of a real model. */
#ifndef QL_TESTS_REFERENCE_H
#define QL_TESTS_REFERENCE_H

#include "qlora/train.h"
#include "src/base/json.h"
#include "src/model/run.h"

enum {
    REFERENCE_ROWS = 63, /* of a batch, at most */
    REFERENCE_NAMES = 64 /* of all lists of an adapter's options */
};

/* Rows of the reference batch without their padding. */
typedef struct reference_rows {
    ql_batch batch;
    size_t start[REFERENCE_ROWS + 1];
    int32_t *ids, *target;
    uint8_t *type; /* [T] */
    size_t *place; /* [T] index of each token in the padded batch */
    size_t trained;
} reference_rows;

void reference_rows_load(reference_rows *b, const ql_safetensors *f);
void reference_rows_free(reference_rows *b);

/* Tokens of the longest row. */
size_t reference_longest(const ql_batch *b);

/* A run over that batch, as a training has it. Owned: ql_run_close. */
ql_run *reference_run(ql_model *m, const ql_batch *b, size_t keep);

/* A tensor that must be there. Borrowed. */
const ql_tensor *reference_need(const ql_safetensors *f, const char *name);

/* Its numbers, F64. Owned: free. */
double *reference_doubles(const ql_safetensors *f, const char *name);

/* Integer i of a tensor of I64. */
int64_t reference_integer(const ql_tensor *t, size_t i);

/* Checks each decoder's folder within where, of which there must be one. */
void reference_each(const char *where, void (*check)(const char *dir));

/* The same of classifiers; returns how many there are. */
size_t reference_classifiers(const char *where, void (*check)(const char *dir));

/* Where the golden models lie: $QL_GOLDEN_MODELS, or those of the reference. */
const char *reference_models(void);

/* Whether they are others than those of the reference, which may lack some of
 * what those have. */
bool reference_elsewhere(void);

/* dir/name. Borrowed: one of eight buffers used in turn. */
const char *reference_path(const char *dir, const char *name);

/* An adapter's options; texts[] holds what the lists name. */
typedef struct reference_adapter {
    ql_train_options o;
    json_t *root; /* of its JSON; NULL: there is none */
    char texts[REFERENCE_NAMES][128];
    const char *names[REFERENCE_NAMES];
    size_t n;
} reference_adapter;

/* From adapter_config of a JSON file beside a golden LoRA file; without that,
 * the targets are those whose tensors are there, with rank 4 and alpha 8. */
void reference_adapter_load(reference_adapter *a, const char *json,
                            const ql_safetensors *f, const ql_arch *arch);
void reference_adapter_free(reference_adapter *a);

/* Name of tensor i of an adapter while it is trained, behind a prefix such as
 * "grad.", into name[bytes]. */
void reference_name(const ql_adapter *a, size_t i, const char *prefix,
                    char *name, size_t bytes);

/* How far the gradient of tensor i, a vector or what is trained whole, may be
 * from the reference's, relative, in norm. */
double reference_tolerance(const ql_adapter *a, size_t i);

/* The parameters that the reference began with. */
void reference_adapter_init(ql_adapter *a, const ql_safetensors *f);

/* That of stories3M, for all tests of a group, whose setup and teardown these
 * are. */
extern ql_tokenizer *reference_tok;
int reference_tok_setup(void **state);
int reference_tok_teardown(void **state);

#endif
