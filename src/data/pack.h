/* Samples put together into packs, sequences of limited length: which go
 * together, by their lengths alone. */
#ifndef QL_DATA_PACK_H
#define QL_DATA_PACK_H

#include <stdbool.h>
#include <stddef.h>

#include "qlora/status.h"

/* Pack i holds the samples member[first[i]] to member[first[i + 1] - 1],
 * numbers in the array of lengths that it was made from. */
typedef struct ql_packs {
    size_t n;
    size_t *first;  /* [n + 1] */
    size_t *member; /* [samples] */
} ql_packs;

/* Samples in their order: a pack ends where the next sample would make it
 * longer than room. With room 0 each is a pack of its own. Errors:
 * QL_ENOMEM. */
ql_status ql_packs_in_order(ql_packs *p, const size_t *length, size_t samples,
                            size_t room);

/* As few packs as well may be, one after the other: the longest sample that
 * fits is taken as long as two more fit behind it; the space that is then left
 * goes to the two, or the one, that fill it best. So the samples of a file that
 * are much alike still fill their packs, where first fit and best fit leave the
 * same space in each. Work: about the sum of all lengths.
 *
 * Lengths are from 1 to room, and fall. Errors: QL_ENOMEM. */
ql_status ql_packs_fill(ql_packs *p, const size_t *length, size_t samples,
                        size_t room);

void ql_packs_free(ql_packs *p);

#endif
