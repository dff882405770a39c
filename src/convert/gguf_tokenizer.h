/* The tokenizer of a model folder as the values of a GGUF file. */
#ifndef QL_CONVERT_GGUF_TOKENIZER_H
#define QL_CONVERT_GGUF_TOKENIZER_H

#include "src/format/gguf.h"

/* Writes the values "tokenizer...." for a vocabulary of so many rows of the
 * embedding. template_dir: a folder whose chat template goes before the
 * model's; or NULL. Errors: QL_EMISMATCH for more tokens than rows; those of
 * ql_tokenizer_open and ql_gguf_pre_find. */
ql_status ql_gguf_put_tokenizer(ql_gguf_writer *w, const char *dir,
                                const char *template_dir, size_t vocab);

#endif
