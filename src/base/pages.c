#include "src/base/pages.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/file.h"

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

/* 0, or errno. */
static int read_all(int fd, uint64_t at, unsigned char *data, size_t n)
{
    while (n > 0) {
        const ssize_t got = pread(fd, data, n, (off_t)at);

        if (got == 0 || (got < 0 && errno != EINTR)) {
            return got == 0 ? EIO : errno;
        }
        if (got > 0) {
            data += got;
            at += (uint64_t)got;
            n -= (size_t)got;
        }
    }
    return 0;
}

static int write_all(int fd, uint64_t at, const unsigned char *data, size_t n)
{
    while (n > 0) {
        const ssize_t put = pwrite(fd, data, n, (off_t)at);

        if (put < 0 && errno != EINTR) {
            return errno;
        }
        if (put > 0) {
            data += put;
            at += (uint64_t)put;
            n -= (size_t)put;
        }
    }
    return 0;
}

static unsigned char *buffer(const ql_pages *p, uint64_t number)
{
    return p->buffers + number % QL_PAGES_BUFFERS * p->largest;
}

static int transfer(const ql_pages *p, uint64_t number, bool reads)
{
    const uint64_t *bound = p->bound + number % p->n;
    const size_t n = (size_t)(bound[1] - bound[0]);

    return reads ? read_all(p->fd, bound[0], buffer(p, number), n)
                 : write_all(p->fd, bound[0], buffer(p, number), n);
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

static ql_status make_file(ql_pages *p)
{
    const uint64_t bytes = p->bound[p->n];
    char *path = ql_path_join(p->dir, ".pages-XXXXXX");
    ql_status st;
    int error;

    if (!path) {
        return QL_ENOMEM;
    }
    QL_TRY_DONE(ql_disk_need(p->dir, bytes));
    p->fd = mkstemp(path);
    if (p->fd < 0 || unlink(path) != 0) {
        st = ql_fail_errno("cannot make a page file in %s", p->dir);
        goto done;
    }
    do {
        error = posix_fallocate(p->fd, 0, (off_t)bytes);
    } while (error == EINTR);
    if (error == EINVAL || error == EOPNOTSUPP) {
        error = ftruncate(p->fd, (off_t)bytes) == 0 ? 0 : errno;
    }
    if (error != 0) {
        errno = error;
        st = ql_fail_errno("cannot reserve %.1f MB for a page file in %s",
                           (double)bytes / 1e6, p->dir);
    }
done:
    ql_free(path);
    return st;
}

/* Signals are for the threads that know what to do about them. */
static ql_status start(ql_pages *p)
{
    sigset_t all;
    sigset_t before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&p->helper, NULL, help, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        errno = error;
        return ql_fail_errno("cannot start a thread");
    }
    p->running = true;
    return QL_OK;
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
        st = make_file(p);
    }
    if (st == QL_OK) {
        st = start(p);
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
    error = read_all(p->fd, at, data, n);
    return error == 0 ? QL_OK : report(p, error, "read");
}

ql_status ql_pages_write(ql_pages *p, uint64_t at, const void *data, size_t n)
{
    int error;

    QL_TRY(settle(p, true));
    error = write_all(p->fd, at, data, n);
    return error == 0 ? QL_OK : report(p, error, "write");
}

uint64_t ql_pages_memory(size_t largest)
{
    return sizeof(ql_pages) + (uint64_t)QL_PAGES_BUFFERS * largest;
}
