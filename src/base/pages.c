#include "src/base/pages.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/pagefile.h"

/* Parts are counted through all sweeps: number i is part i % n, and lies in
 * buffer i % QL_PAGES_BUFFERS from when it is read until it is written. */
struct ql_pages {
    int fd;
    char *dir;
    const uint64_t *bound;
    size_t n;
    size_t largest; /* bytes of a buffer */
    unsigned char *buffers;
    bool running;
    pthread_t helper;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work;  /* for the helper */
    pthread_cond_t news;  /* from the helper */
    uint64_t read, done, written;
    bool paused; /* nothing is read ahead */
    bool busy;   /* a read or write goes on */
    bool quit;
    int error;        /* errno of a read or write that failed */
    const char *verb; /* which of them */
};

static unsigned char *buffer(const ql_pages *p, uint64_t number)
{
    return p->buffers + number % QL_PAGES_BUFFERS * p->largest;
}

static int transfer(const ql_pages *p, uint64_t number, bool reads)
{
    const uint64_t *bound = p->bound + number % p->n;
    const size_t n = (size_t)(bound[1] - bound[0]);

    return reads ? ql_pagefile_read(p->fd, bound[0], buffer(p, number), n)
                 : ql_pagefile_write(p->fd, bound[0], buffer(p, number), n);
}

/* Reads while a buffer is free, else writes. With no fewer parts than buffers a
 * part is never read again before it is written. */
static void *help(void *arg)
{
    ql_pages *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->quit && p->error == 0) {
        const bool reads =
            !p->paused && p->read < p->written + QL_PAGES_BUFFERS;
        const uint64_t number = reads ? p->read : p->written;
        int error;

        if (!reads && p->written == p->done) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        p->busy = true;
        pthread_mutex_unlock(&p->lock);
        error = transfer(p, number, reads);
        pthread_mutex_lock(&p->lock);
        p->busy = false;
        p->error = error;
        p->verb = reads ? "read" : "write";
        p->read += reads;
        p->written += !reads;
        pthread_cond_signal(&p->news);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

ql_status ql_pages_open(ql_pages **p_out, ql_tag tag, const char *dir,
                        const uint64_t *bound, size_t n)
{
    ql_pages *p = ql_calloc(tag, 1, sizeof(*p));
    ql_status st = QL_ENOMEM;

    assert(n >= QL_PAGES_BUFFERS);
    *p_out = NULL;
    if (!p) {
        return QL_ENOMEM;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->news, NULL);
    p->fd = -1;
    p->bound = bound;
    p->n = n;
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = (size_t)(bound[i + 1] - bound[i]);

        p->largest = bytes > p->largest ? bytes : p->largest;
    }
    p->dir = ql_strdup(QL_TAG_TEXT, dir);
    p->buffers = ql_alloc(tag, QL_PAGES_BUFFERS, p->largest);
    if (p->dir && p->buffers) {
        st = ql_pagefile_open(&p->fd, p->dir, p->bound[p->n]);
    }
    if (st == QL_OK) {
        st = ql_helper_start(&p->helper, help, p);
        p->running = st == QL_OK;
    }
    if (st != QL_OK) {
        ql_pages_close(&p);
    }
    *p_out = p;
    return st;
}

void ql_pages_close(ql_pages **handle)
{
    ql_pages *p = *handle;

    if (!p) {
        return;
    }
    if (p->running) {
        pthread_mutex_lock(&p->lock);
        p->quit = true;
        pthread_cond_signal(&p->work);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->helper, NULL);
    }
    if (p->fd >= 0) {
        close(p->fd);
    }
    pthread_cond_destroy(&p->news);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    ql_free(p->buffers);
    ql_free(p->dir);
    ql_free(p);
    *handle = NULL;
}

static ql_status report(const ql_pages *p, int error, const char *verb)
{
    errno = error;
    return ql_fail_errno("cannot %s the page file in %s", verb, p->dir);
}

ql_status ql_pages_next(ql_pages *p, void **data)
{
    int error;

    pthread_mutex_lock(&p->lock);
    if (p->paused) {
        p->paused = false;
        pthread_cond_signal(&p->work);
    }
    while (p->read == p->done && p->error == 0) {
        pthread_cond_wait(&p->news, &p->lock);
    }
    error = p->error;
    pthread_mutex_unlock(&p->lock);
    *data = buffer(p, p->done);
    return error == 0 ? QL_OK : report(p, error, p->verb);
}

void ql_pages_done(ql_pages *p)
{
    pthread_mutex_lock(&p->lock);
    p->done++;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

/* Waits until all that was changed is in the file; pauses: and until nothing is
 * read ahead, nor will be before the next part is asked for. */
static ql_status settle(ql_pages *p, bool pauses)
{
    int error;

    pthread_mutex_lock(&p->lock);
    p->paused |= pauses;
    while ((p->written < p->done || (pauses && p->busy)) && p->error == 0) {
        pthread_cond_wait(&p->news, &p->lock);
    }
    if (pauses) {
        p->read = p->done;
    }
    error = p->error;
    pthread_mutex_unlock(&p->lock);
    return error == 0 ? QL_OK : report(p, error, p->verb);
}

ql_status ql_pages_read(ql_pages *p, uint64_t at, void *data, size_t n)
{
    int error;

    QL_TRY(settle(p, false));
    error = ql_pagefile_read(p->fd, at, data, n);
    return error == 0 ? QL_OK : report(p, error, "read");
}

ql_status ql_pages_write(ql_pages *p, uint64_t at, const void *data, size_t n)
{
    int error;

    QL_TRY(settle(p, true));
    error = ql_pagefile_write(p->fd, at, data, n);
    return error == 0 ? QL_OK : report(p, error, "write");
}

uint64_t ql_pages_memory(size_t largest)
{
    return sizeof(ql_pages) + (uint64_t)QL_PAGES_BUFFERS * largest;
}
