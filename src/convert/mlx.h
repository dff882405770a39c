/* Adapters of MLX (mlx-lm), turned into the form of PEFT while reading.
 *
 *   y = W x + scale B A x,  A = lora_a^T, B = lora_b^T
 *
 * The file's lora_a is [in, r] and lora_b [r, out]; of an embedding, in is the
 * vocabulary. DoRA's magnitudes are m [out]. */
#ifndef QL_CONVERT_MLX_H
#define QL_CONVERT_MLX_H

#include "src/convert/adapter_folder.h"

/* The folder holds MLX's file of weights. */
bool ql_mlx_is(const char *dir);

/* Reads the folder into f, which is all zero. Errors: as
 * ql_adapter_folder_init. */
ql_status ql_mlx_read(ql_adapter_folder *f, const char *dir);

#endif
