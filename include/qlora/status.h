/* Outcomes of every call that can fail, and the sentence for people.
 *
 * A function that can fail returns ql_status: QL_OK (0) or a negative code.
 * The code says which kind of failure a program may want to branch on; the
 * sentence says what happened, where, and what to do. */
#ifndef QLORA_STATUS_H
#define QLORA_STATUS_H

#include "qlora/types.h"

typedef enum ql_status {
    QL_OK = 0,
    QL_ENOMEM = -1,       /* memory could not be had, or exceeds the budget */
    QL_EINVAL = -2,       /* an argument or option has no meaning */
    QL_EIO = -3,          /* the system refused a read, write or rename */
    QL_EFORMAT = -4,      /* a file breaks the rules of its format */
    QL_EUNSUPPORTED = -5, /* a file is sound, but we cannot honour it */
    QL_ENOTFOUND = -6,    /* a file, tensor or key that must exist does not */
    QL_ECANCELLED = -7,   /* a callback asked to stop; state was saved */
    QL_EMISMATCH = -8,    /* two inputs do not belong together */
    QL_ENUMERIC = -9,     /* a loss or gradient is not finite, or a result is
                             not what it should be */
    QL_ENOSPACE = -10     /* the disk has no room for the output */
} ql_status;

/* The sentence of the last failure in this thread: what, where, what to do.
 * Never NULL; "" before the first failure. Borrowed: valid until the next
 * failing call in the same thread. */
QL_API const char *ql_last_error(void);

/* A short constant name such as "QL_EIO". Never NULL. Borrowed. */
QL_API const char *ql_status_name(ql_status st);

#endif
