/* The folder that a training writes.
 *
 * Files are made in a hidden folder inside of it and moved to their places
 * when all of them are complete: a disk that fills up, or a process that is
 * killed, leaves an adapter that was there before as it was. The hidden folder
 * is inside, not beside, because the output may be a mount point. */
#ifndef QL_TRAIN_OUTPUT_H
#define QL_TRAIN_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "qlora/status.h"

typedef struct ql_output {
    char *dir;
    char *work;   /* folder to write to, "DIR/.part-PID" */
    bool made;    /* dir was not there before */
    bool written; /* dir holds the result */
} ql_output;

/* Errors: QL_EINVAL when dir holds an adapter and overwrite is false, or is no
 * folder. Changes nothing. */
ql_status ql_output_check(const char *dir, bool overwrite);

/* Checks, makes both folders and asks for need bytes of disk. Errors: those of
 * ql_output_check, QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_output_init(ql_output *o, const char *dir, bool overwrite,
                         uint64_t need);

/* Moves the files to dir, those of the adapter last: what may refuse to move
 * does so before they do. */
ql_status ql_output_commit(ql_output *o);

/* Removes what was not moved, and a folder of our own that stayed empty. */
void ql_output_free(ql_output *o);

#endif
