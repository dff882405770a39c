/* How a folder of an adapter is put together, by those who read its kinds. */
#ifndef QL_CONVERT_ADAPTER_PARTS_H
#define QL_CONVERT_ADAPTER_PARTS_H

#include "src/convert/adapter_folder.h"

typedef enum ql_adapter_role {
    QL_ADAPTER_A,
    QL_ADAPTER_B,
    QL_ADAPTER_MAGNITUDE
} ql_adapter_role;

/* Opens the file and makes room for its tensors. Errors: those of
 * ql_safetensors_open. */
ql_status ql_adapter_folder_room(ql_adapter_folder *f, const char *path);

/* Adds a tensor in its role to the pair of the module path[n], which is the
 * last one, or new. Errors: QL_EMISMATCH, QL_ENOMEM. */
ql_status ql_adapter_folder_put(ql_adapter_folder *f, const char *path,
                                size_t n, ql_adapter_role role,
                                const ql_tensor *t);

/* Puts the transpose of a matrix in its place, in f32, which lives as long as
 * the folder. Errors: QL_EUNSUPPORTED (a type without numbers), QL_ENOMEM. */
ql_status ql_adapter_folder_turn(ql_adapter_folder *f, ql_tensor *t);

/* Adds the pair of a head whose matrix is that of p's embedding, or a tensor
 * that takes its place: they change it alike. Of each at most one. Errors:
 * QL_ENOMEM. */
ql_status ql_adapter_folder_turn_pair(ql_adapter_folder *f,
                                      const ql_adapter_pair *p,
                                      const char *head);
ql_status ql_adapter_folder_repeat(ql_adapter_folder *f, const ql_tensor *w,
                                   const char *head);

/* After all: checks that pairs are whole and finite, and sorts. Errors:
 * QL_EMISMATCH, QL_EFORMAT, QL_EUNSUPPORTED, QL_ENOMEM. */
ql_status ql_adapter_folder_seal(ql_adapter_folder *f);

#endif
