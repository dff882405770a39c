/* Golden folders, told otherwise: config.json spelled, tensors named and 4-bit
 * weights stored as folders of the hub have them. */
#ifndef QL_TESTS_REWRITE_H
#define QL_TESTS_REWRITE_H

#include "qlora/types.h"

typedef struct rewrite {
    const char *config;    /* an object with keys to set, ' for "; "-" takes a
                               key out; NULL: nothing */
    const char *from, *to; /* what begins with from begins with to; or NULL */
    const char *more;      /* names of tensors to add, of zeros, a blank
                               between them; or NULL */
    const char *copy, *as; /* a tensor to store once more, as that; or NULL */
    const char *dense;     /* 4-bit weights in whose names this stands are
                               stored as F32; or NULL */
    const char *whole;     /* matrices in whose names parts stand, a blank */
    const char *parts;     /* between them, and their biases become one of
                              this name; with rows, the other way; or NULL */
    size_t rows[4];        /* of the parts */
    bool packed_as;        /* packed weights are stored in this type: */
    ql_dtype storage;
} rewrite;

/* Makes dir of the folder from. */
void rewrite_folder(const char *from, const char *dir, const rewrite *how);

#endif
