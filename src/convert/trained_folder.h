/* What was trained, as a folder: an adapter as PEFT has it, or all weights as
 * a model that needs no other: config.json and model.safetensors. */
#ifndef QL_CONVERT_TRAINED_FOLDER_H
#define QL_CONVERT_TRAINED_FOLDER_H

#include "src/model/model_handle.h"

/* The two files; the first says that the folder is one. full: all weights. */
const char *ql_trained_config(bool full);
const char *ql_trained_weights(bool full);

/* Writes them into an existing folder; m is what a was trained on. All weights
 * are of the types that m's folder has, or exact: F32, or BF16 where they are
 * in bf16. Errors: QL_EUNSUPPORTED
 * (a weight beyond its type), QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_trained_save(const ql_adapter *a, const ql_model *m, bool exact,
                          const char *dir);

/* Copies the two files of a folder into another one, which is made. Errors:
 * QL_ENOTFOUND, QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_trained_copy(bool full, const char *from, const char *to);

/* Reads all weights of a folder in the place of a's. Errors: those of
 * ql_shards_open and ql_full_read. */
ql_status ql_trained_read(ql_adapter *a, const char *dir);

#endif
