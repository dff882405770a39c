/* Weights of a model that is larger than the memory it may have: a helper
 * thread reads each layer's bytes from the mapped files before their turn, and
 * lets go of those whose next turn is farthest.
 *
 * The parts are the layers, in order, and the head behind them. In training
 * they are used up to the head and back down, so those nearest the turn stay;
 * without a backward pass they are used round and round. */
#ifndef QL_MODEL_STREAM_H
#define QL_MODEL_STREAM_H

#include "src/model/weights.h"

typedef struct ql_stream ql_stream;

/* In what order the parts are used. */
typedef enum ql_stream_way {
    QL_STREAM_UP,   /* forward; a backward pass follows */
    QL_STREAM_DOWN, /* backward */
    QL_STREAM_ROUND /* forward, again and again */
} ql_stream_way;

typedef struct ql_stream_use {
    uint64_t bytes;  /* brought into memory */
    uint64_t stalls; /* times a part was waited for */
    double stall_s;
} ql_stream_use;

/* Bytes of a matrix that lie in mapped files. */
size_t ql_stream_bytes(const ql_weights *w, const ql_qtensor *t);

/* Lets the pages of these go: they are read again when they are needed. */
void ql_stream_release(const ql_weights *w, const ql_qtensor *t);

/* Bytes of the parts that lie in mapped files: those of all, and those of the
 * two largest that follow each other, the least that lets one be read while
 * the other is used. */
void ql_stream_needs(const ql_weights *w, size_t *all, size_t *least);

/* At most budget bytes of mapped weights are kept, but always the part in use.
 * *out is NULL when all of them fit: there is nothing to do. w is borrowed.
 * Errors: QL_ENOMEM. */
ql_status ql_stream_open(ql_stream **out, const ql_weights *w, size_t budget);
void ql_stream_close(ql_stream **s);

/* Part i, a layer or (i = number of layers) the head, is about to be used:
 * returns when it is in memory. Parts used before it may go. s may be NULL. */
void ql_stream_enter(ql_stream *s, size_t i, ql_stream_way way);

/* What has been read and waited for since opening; all zero for NULL. */
ql_stream_use ql_stream_used(ql_stream *s);

#endif
