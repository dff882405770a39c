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
    bool full;    /* all weights come out, not an adapter */
    bool made;    /* dir was not there before */
    bool written; /* dir holds the result, or a checkpoint */
    int lock;     /* descriptor of dir, locked; or -1 */
} ql_output;

/* anew: checkpoints in dir are not gone on from. Errors: QL_EINVAL when dir is
 * no folder; unless overwrite, also when it holds what training makes, or
 * checkpoints and anew is true. Changes nothing. */
ql_status ql_output_check(const char *dir, bool full, bool overwrite,
                          bool anew);

/* True if dir holds an adapter; full: or a model. */
bool ql_output_finished(const char *dir, bool full);

/* When that was written, in nanoseconds as the file system has it; 0 where
 * there is nothing. */
double ql_output_written(const char *dir, bool full);

/* Makes both folders, keeps other processes from writing to dir as long as o
 * lives, and removes what killed ones left under construction. Errors:
 * QL_EINVAL when another process writes to dir, QL_EIO, QL_ENOSPACE,
 * QL_ENOMEM. */
ql_status ql_output_init(ql_output *o, const char *dir, bool full);

/* Moves the files to dir while the run goes on: what there is to see of it, and
 * nothing of an adapter, or a model, yet. Errors: QL_EIO, QL_ENOMEM. */
ql_status ql_output_show(const ql_output *o);

/* Moves the files to dir, those of the adapter, or the model, last: what may
 * refuse to move does so before they do. When adapter_config.json, or
 * config.json, is there, all is done. */
ql_status ql_output_commit(ql_output *o);

/* Removes what was not moved, and a folder of our own that stayed empty. */
void ql_output_free(ql_output *o);

#endif
