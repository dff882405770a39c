#include "src/base/pagefile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/fail.h"
#include "src/base/file.h"

int ql_pagefile_read(int fd, uint64_t at, void *data, size_t n)
{
    unsigned char *p = data;

    while (n > 0) {
        const ssize_t got = pread(fd, p, n, (off_t)at);

        if (got == 0 || (got < 0 && errno != EINTR)) {
            return got == 0 ? EIO : errno;
        }
        if (got > 0) {
            p += got;
            at += (uint64_t)got;
            n -= (size_t)got;
        }
    }
    return 0;
}

int ql_pagefile_write(int fd, uint64_t at, const void *data, size_t n)
{
    const unsigned char *p = data;

    while (n > 0) {
        const ssize_t put = pwrite(fd, p, n, (off_t)at);

        if (put < 0 && errno != EINTR) {
            return errno;
        }
        if (put > 0) {
            p += put;
            at += (uint64_t)put;
            n -= (size_t)put;
        }
    }
    return 0;
}

ql_status ql_pagefile_open(int *fd, const char *dir, uint64_t bytes)
{
    char *path = ql_path_join(dir, ".pages-XXXXXX");
    ql_status st;
    int error;

    *fd = -1;
    if (!path) {
        return QL_ENOMEM;
    }
    QL_TRY_DONE(ql_disk_need(dir, bytes));
    *fd = mkstemp(path);
    if (*fd < 0 || unlink(path) != 0) {
        st = ql_fail_errno("cannot make a page file in %s", dir);
        goto done;
    }
    do {
        error = posix_fallocate(*fd, 0, (off_t)bytes);
    } while (error == EINTR);
    if (error == EINVAL || error == EOPNOTSUPP) {
        error = ftruncate(*fd, (off_t)bytes) == 0 ? 0 : errno;
    }
    if (error != 0) {
        errno = error;
        st = ql_fail_errno("cannot reserve %.1f MB for a page file in %s",
                           (double)bytes / 1e6, dir);
    }
done:
    ql_free(path);
    return st;
}

ql_status ql_helper_start(pthread_t *thread, void *(*help)(void *), void *arg)
{
    sigset_t all;
    sigset_t before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(thread, NULL, help, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        errno = error;
        return ql_fail_errno("cannot start a thread");
    }
    return QL_OK;
}
