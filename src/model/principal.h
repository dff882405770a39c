/* Pairs that begin as parts of the base, which is made anew without them:
 *
 *   PiSSA  s B A = the leading triplets of W; the base becomes W - s B A
 *   LoftQ  Q = quantized W, s B A = the leading triplets of W - Q; and again,
 *          with Q = quantized W - s B A, as often as asked for
 *
 * and A and B have the roots of the values alike. What was taken off the base
 * is kept beside the adapter: saved, the two are one plain pair for W itself.
 *
 * Sources: Meng and others: PiSSA, 2024; Li and others: LoftQ, 2023; names and
 * conversion as in PEFT, but LoftQ's pair counts with its scale. */
#ifndef QL_MODEL_PRINCIPAL_H
#define QL_MODEL_PRINCIPAL_H

#include "src/model/adapter.h"

typedef enum ql_principal_kind {
    QL_PRINCIPAL_NONE,
    QL_PRINCIPAL_PISSA,
    QL_PRINCIPAL_LOFTQ
} ql_principal_kind;

typedef struct ql_principal {
    ql_principal_kind kind;
    size_t iterations; /* of each decomposition; 0: until it has settled */
    size_t rounds;     /* of LoftQ, from 1 */
} ql_principal;

/* Whether something is taken off the base. */
bool ql_principal_takes(const ql_principal *p);

/* Bytes that ql_principal_start needs for itself, those by which the base grows
 * in memory, and those of what was taken. */
typedef struct ql_principal_need {
    size_t work, weights, adapter;
} ql_principal_need;

ql_principal_need ql_principal_needs(const ql_principal *p, const ql_adapter *a,
                                     const ql_weights *w);

/* Starts a's pairs so, and makes the base of them anew; both are of config c.
 * Errors: QL_EINVAL (pairs of embedding or head; scales that are not positive;
 * weights that the folder holds in 4 bits; LoftQ of weights that are not
 * quantized), QL_EFORMAT (a weight that is not finite), QL_ENOMEM. */
ql_status ql_principal_start(ql_adapter *a, ql_weights *w, const ql_config *c,
                             const ql_principal *p, uint64_t seed);

/* a, which is laid out, becomes what was saved as twice, with what was taken;
 * w's base is made anew by that; w NULL: it is so already. Errors:
 * QL_EMISMATCH, those of ql_principal_start. */
ql_status ql_principal_restore(ql_adapter *a, ql_weights *w, const ql_config *c,
                               const ql_adapter *twice);

#endif
