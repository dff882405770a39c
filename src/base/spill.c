#include "src/base/spill.h"

#include <errno.h>
#include <unistd.h>

#include "src/base/fail.h"
#include "src/base/pagefile.h"

enum {
    NONE = -1
};

/* Block i lies in buffer i % QL_SPILL_BUFFERS, if it is there. */
typedef struct buffer {
    unsigned char *data;
    ptrdiff_t holds; /* its block, or NONE */
    bool dirty;      /* is to be written */
    bool busy;       /* is being read or written */
} buffer;

struct ql_spill {
    int fd;
    char *dir;
    size_t *used; /* [n] bytes of each block */
    uint64_t stride;
    unsigned char *memory;
    bool running;
    pthread_t helper;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work;  /* for the helper */
    pthread_cond_t news;  /* from the helper */
    buffer buffers[QL_SPILL_BUFFERS];
    ptrdiff_t want; /* the block that is read, ahead of those below it; NONE:
                       none is */
    bool quit;
    int error;        /* errno of a read or write that failed */
    const char *verb; /* which of them */
};

static uint64_t stride_of(size_t bytes)
{
    return (bytes + UINT64_C(63)) / 64 * 64;
}

uint64_t ql_spill_memory(size_t bytes)
{
    return QL_SPILL_BUFFERS * stride_of(bytes);
}

uint64_t ql_spill_file(size_t n, size_t bytes)
{
    return n * stride_of(bytes);
}

static buffer *buffer_of(ql_spill *s, size_t i)
{
    return &s->buffers[i % QL_SPILL_BUFFERS];
}

/* The dirty buffer whose block is the lowest; NULL: there is none. */
static buffer *next_write(ql_spill *s)
{
    buffer *found = NULL;

    for (size_t i = 0; i < QL_SPILL_BUFFERS; i++) {
        buffer *b = &s->buffers[i];

        if (b->dirty && (!found || b->holds < found->holds)) {
            found = b;
        }
    }
    return found;
}

/* The block to be read next: that which is wanted, or one of those below it
 * that have buffers of their own. NONE: all of them are there. */
static ptrdiff_t next_read(ql_spill *s)
{
    for (ptrdiff_t i = s->want; i >= 0 && s->want - i < QL_SPILL_BUFFERS; i--) {
        if (buffer_of(s, (size_t)i)->holds != i) {
            return i;
        }
    }
    return NONE;
}

/* Moves a block between its buffer and the file, without the lock, which is
 * held before and after. */
static void transfer(ql_spill *s, buffer *b, size_t i, bool reads)
{
    const uint64_t at = i * s->stride;
    const size_t bytes = s->used[i];
    int error;

    b->busy = true;
    b->holds = reads ? NONE : b->holds;
    pthread_mutex_unlock(&s->lock);
    error = reads ? ql_pagefile_read(s->fd, at, b->data, bytes)
                  : ql_pagefile_write(s->fd, at, b->data, bytes);
    pthread_mutex_lock(&s->lock);
    b->busy = b->dirty = false;
    b->holds = (ptrdiff_t)i;
    s->error = error;
    s->verb = reads ? "read" : "write";
    pthread_cond_signal(&s->news);
}

static void *help(void *arg)
{
    ql_spill *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->quit && s->error == 0) {
        buffer *b = next_write(s);
        const ptrdiff_t i = b ? b->holds : next_read(s);

        if (i == NONE) {
            pthread_cond_wait(&s->work, &s->lock);
        } else {
            transfer(s, b ? b : buffer_of(s, (size_t)i), (size_t)i, !b);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

ql_status ql_spill_open(ql_spill **out, ql_tag tag, const char *dir, size_t n,
                        size_t bytes)
{
    ql_spill *s = ql_calloc(QL_TAG_MISC, 1, sizeof(*s));
    ql_status st = QL_ENOMEM;

    *out = NULL;
    if (!s) {
        return QL_ENOMEM;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->news, NULL);
    s->fd = -1;
    s->want = NONE;
    s->stride = stride_of(bytes);
    s->dir = ql_strdup(QL_TAG_TEXT, dir);
    s->used = ql_calloc(QL_TAG_MISC, n, sizeof(*s->used));
    s->memory = ql_alloc(tag, QL_SPILL_BUFFERS, (size_t)s->stride);
    if (s->dir && s->used && s->memory) {
        for (size_t i = 0; i < QL_SPILL_BUFFERS; i++) {
            s->buffers[i] = (buffer){s->memory + i * s->stride, NONE, 0, 0};
        }
        st = ql_pagefile_open(&s->fd, dir, n * s->stride);
    }
    if (st == QL_OK) {
        st = ql_helper_start(&s->helper, help, s);
        s->running = st == QL_OK;
    }
    if (st != QL_OK) {
        ql_spill_close(&s);
    }
    *out = s;
    return st;
}

void ql_spill_close(ql_spill **handle)
{
    ql_spill *s = *handle;

    if (!s) {
        return;
    }
    if (s->running) {
        pthread_mutex_lock(&s->lock);
        s->quit = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->helper, NULL);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->news);
    if (s->fd >= 0) {
        close(s->fd);
    }
    ql_free(s->memory);
    ql_free(s->used);
    ql_free(s->dir);
    ql_free(s);
    *handle = NULL;
}

void *ql_spill_put(ql_spill *s, size_t i, size_t bytes)
{
    buffer *b = buffer_of(s, i);

    pthread_mutex_lock(&s->lock);
    s->want = NONE;
    while (s->error == 0 && (b->dirty || b->busy)) {
        pthread_cond_wait(&s->news, &s->lock);
    }
    b->holds = NONE;
    s->used[i] = bytes;
    pthread_mutex_unlock(&s->lock);
    return b->data;
}

void ql_spill_done(ql_spill *s, size_t i)
{
    buffer *b = buffer_of(s, i);

    pthread_mutex_lock(&s->lock);
    b->holds = (ptrdiff_t)i;
    b->dirty = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

const void *ql_spill_get(ql_spill *s, size_t i)
{
    buffer *b = buffer_of(s, i);

    pthread_mutex_lock(&s->lock);
    s->want = (ptrdiff_t)i;
    pthread_cond_signal(&s->work);
    while (s->error == 0 && b->holds != (ptrdiff_t)i) {
        pthread_cond_wait(&s->news, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return b->data;
}

ql_status ql_spill_check(ql_spill *s)
{
    int error;

    pthread_mutex_lock(&s->lock);
    error = s->error;
    pthread_mutex_unlock(&s->lock);
    if (error != 0) {
        errno = error;
        return ql_fail_errno("cannot %s the page file of activations in %s",
                             s->verb, s->dir);
    }
    return QL_OK;
}
