/* The classes of a classifier, as config.json names them. */
#ifndef QL_MODEL_LABELS_H
#define QL_MODEL_LABELS_H

#include <jansson.h>

#include "qlora/status.h"

typedef struct ql_labels {
    size_t n;       /* 0: the model is no classifier */
    char **name;    /* [n] */
    size_t longest; /* tokens that a text may have */
} ql_labels;

/* Those of a tree read from path: id2label, or num_labels of them, or two.
 * Errors: QL_EFORMAT; QL_EUNSUPPORTED (one class, or several at a time, which
 * would be no classes); QL_ENOMEM. */
ql_status ql_labels_read(ql_labels *l, const json_t *config, const char *path);

/* Those of a model folder; none where it has no config.json that says so.
 * Errors: as above; QL_EIO. */
ql_status ql_labels_init(ql_labels *l, const char *dir);
void ql_labels_free(ql_labels *l);

/* The class of this name; l->n if there is none. */
size_t ql_labels_find(const ql_labels *l, const char *name);

#endif
