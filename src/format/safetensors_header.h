/* The JSON header of a safetensors file, as written there; nothing is checked
 * here that needs more than one field of one tensor. */
#ifndef QL_FORMAT_SAFETENSORS_HEADER_H
#define QL_FORMAT_SAFETENSORS_HEADER_H

#include "src/format/safetensors.h"

/* One tensor: name, dtype, rank and shape are filled. */
typedef struct ql_st_entry {
    ql_tensor tensor;
    size_t begin; /* data_offsets, from the end of the header */
    size_t end;
} ql_st_entry;

typedef struct ql_st_pair {
    const char *key;
    const char *value;
} ql_st_pair;

typedef struct ql_st_header {
    char *text; /* all strings, each followed by NUL */
    ql_st_entry *entries;
    size_t count;
    size_t cap;
    ql_st_pair *pairs; /* __metadata__ */
    size_t pair_count;
    size_t pair_cap;
} ql_st_header;

/* Parses len bytes. *h is zero after a failure. Errors: QL_EFORMAT and
 * QL_EUNSUPPORTED naming the tensor and the byte, QL_ENOMEM. */
ql_status ql_st_header_init(ql_st_header *h, const unsigned char *json,
                            size_t len);
void ql_st_header_free(ql_st_header *h);

#endif
