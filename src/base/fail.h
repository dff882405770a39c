/* How failures are reported inside the library.
 *
 * A function that owns something keeps `ql_status st = QL_OK;`, jumps to one
 * label `done:` which closes everything (all closers accept "nothing"), and
 * returns st. A function that owns nothing uses QL_FAIL and QL_TRY. */
#ifndef QL_BASE_FAIL_H
#define QL_BASE_FAIL_H

#include "qlora/status.h"

/* Stores the sentence for this thread and returns st. */
ql_status ql_fail(ql_status st, const char *fmt, ...) QL_PRINTF(2, 3);

/* Puts a prefix such as "data.jsonl:12: " before the stored sentence. */
ql_status ql_fail_prefix(ql_status st, const char *fmt, ...) QL_PRINTF(2, 3);

/* Stores "what: strerror(errno)" with the code that fits errno: QL_ENOTFOUND
 * for ENOENT, QL_ENOSPACE for ENOSPC, EDQUOT and EFBIG, QL_ENOMEM for ENOMEM,
 * else QL_EIO. Example: ql_fail_errno("cannot write %s", path). */
ql_status ql_fail_errno(const char *fmt, ...) QL_PRINTF(1, 2);

/* Leaves the function with this failure. */
#define QL_FAIL(code, ...) return ql_fail((code), __VA_ARGS__)

/* Leaves the function with the call's failure, if it fails. */
#define QL_TRY(call)                                                           \
    do {                                                                       \
        const ql_status ql_try_st = (call);                                    \
        if (ql_try_st != QL_OK) {                                              \
            return ql_try_st;                                                  \
        }                                                                      \
    } while (0)

/* Goes to the label done with the call's failure in st, if it fails. */
#define QL_TRY_DONE(call)                                                      \
    do {                                                                       \
        st = (call);                                                           \
        if (st != QL_OK) {                                                     \
            goto done;                                                         \
        }                                                                      \
    } while (0)

#endif
