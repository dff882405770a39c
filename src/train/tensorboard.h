/* Event files of TensorBoard: runs/events.out.tfevents.TIME.HOST.PID. A run
 * that is resumed goes on in a new one; names sort as the runs began. Each row
 * is in the file as soon as it is added. Source of the format: tensorflow's
 * record_writer.cc, event.proto and summary.proto. */
#ifndef QL_TRAIN_TENSORBOARD_H
#define QL_TRAIN_TENSORBOARD_H

#include "qlora/train.h"
#include "src/base/buf.h"

typedef struct ql_tensorboard {
    int fd;
    char *path;                           /* NULL: closed, as after = {0} */
    ql_buf value, summary, event, record; /* of the row at work, one in the
                                             other; kept for the next */
} ql_tensorboard;

/* Begins a file in dir/runs, which is made if it is missing. TensorBoard
 * forgets rows of earlier files from step on: 0 for a new run, else the one
 * that is gone on from. Errors: QL_EIO, QL_ENOSPACE, QL_ENOMEM; t is then
 * closed. */
ql_status ql_tensorboard_init(ql_tensorboard *t, const char *dir, size_t step);

/* Adds a row of the log: its numbers, with the tags that transformers gives
 * them ("train/loss", "eval/loss"). Nothing if t is closed. Errors: QL_EIO,
 * QL_ENOSPACE, QL_ENOMEM; t is then closed. */
ql_status ql_tensorboard_add(ql_tensorboard *t, const ql_train_event *e);

/* Closes the file; unless keep, removes it and what was made for it. */
void ql_tensorboard_free(ql_tensorboard *t, bool keep);

#endif
