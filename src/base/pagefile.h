/* A file without a name, for what does not fit in memory, and the helper thread
 * that moves it. */
#ifndef QL_BASE_PAGEFILE_H
#define QL_BASE_PAGEFILE_H

#include <pthread.h>

#include "qlora/status.h"

/* Makes a file of so many bytes in dir, whose space is reserved. It is gone
 * with the process, however that ends. Owned: *fd, by close. Errors:
 * QL_ENOSPACE, QL_EIO, QL_ENOTFOUND (no such folder), QL_ENOMEM. */
ql_status ql_pagefile_open(int *fd, const char *dir, uint64_t bytes);

/* All n bytes at byte at. 0, or errno. */
int ql_pagefile_read(int fd, uint64_t at, void *data, size_t n);
int ql_pagefile_write(int fd, uint64_t at, const void *data, size_t n);

/* Starts a thread that gets no signals: they are for threads that know what to
 * do about them. Errors: QL_EIO and others, by errno. */
ql_status ql_helper_start(pthread_t *thread, void *(*help)(void *), void *arg);

#endif
