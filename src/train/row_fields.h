/* The numbers of a row of the log, under the names that they have in
 * trainer_state.json; TensorBoard's tags are made of the same names. */
#ifndef QL_TRAIN_ROW_FIELDS_H
#define QL_TRAIN_ROW_FIELDS_H

#include "qlora/train.h"

/* A number of a structure. */
typedef struct ql_row_field {
    const char *key;
    bool real; /* a double, else a size_t */
    size_t offset;
    int kinds;    /* rows that have it: mask of 1 << ql_train_event_kind */
    bool classes; /* only those of classifiers */
} ql_row_field;

enum {
    QL_ROW_FIELDS = 20
};

/* Those of a ql_train_event, sorted by key. */
extern const ql_row_field ql_row_fields[QL_ROW_FIELDS];

/* The value of a field in its structure, as a real. */
double ql_row_value(const ql_row_field *f, const void *structure);

#endif
