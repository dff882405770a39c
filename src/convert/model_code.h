/* Python code of a model's tokenizer, which goes along with what is trained. */
#ifndef QL_CONVERT_MODEL_CODE_H
#define QL_CONVERT_MODEL_CODE_H

#include "qlora/status.h"

/* Copies the modules that "auto_map" of tokenizer_config.json names, and those
 * of the folder that these import, as save_pretrained of transformers does. Of
 * other code nothing is copied: it is the model's. What cannot be read is
 * passed over with a warning, an import of what is no file of the folder
 * without one. Errors: QL_EFORMAT, QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_model_code_carry(const char *in_dir, const char *out_dir);

#endif
