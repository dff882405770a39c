/* What all GGUF files of ours have in common. */
#ifndef QL_CONVERT_GGUF_GENERAL_H
#define QL_CONVERT_GGUF_GENERAL_H

#include "qlora/export.h"
#include "src/format/gguf.h"

enum {
    QL_GGUF_TITLE_BYTES = 256,
    QL_GGUF_QUANTIZATION = 2 /* general.quantization_version */
};

/* A name for people, of the last part of a folder's path, as llama.cpp's
 * converter makes it: "my-model_v2" is "My Model_V2". "" where it has none. */
void ql_gguf_title(const char *dir, char title[QL_GGUF_TITLE_BYTES]);

/* The number of parameters in two digits or more: "99K", "1.1B". */
void ql_gguf_size_label(uint64_t parameters, char label[32]);

/* The type that is asked for. Errors: QL_EINVAL. */
ql_status ql_gguf_type_of(ql_export_type type, ql_gguf_type automatic,
                          ql_gguf_type *out);

#endif
