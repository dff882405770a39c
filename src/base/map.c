#include "src/base/map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fail.h"

static ql_status map_fd(ql_map *m, int fd, const char *path)
{
    struct stat sb;
    void *data;

    if (fstat(fd, &sb) != 0) {
        return ql_fail_errno("cannot read %s", path);
    }
    if (!S_ISREG(sb.st_mode)) {
        QL_FAIL(QL_EFORMAT, "cannot read %s: not a regular file", path);
    }
    if (sb.st_size == 0) {
        return QL_OK;
    }
    data = mmap(NULL, (size_t)sb.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        return ql_fail_errno("cannot map %s", path);
    }
    *m = (ql_map){.data = data, .len = (size_t)sb.st_size};
    return QL_OK;
}

ql_status ql_map_open(ql_map *m, const char *path)
{
    ql_status st;
    int fd;

    *m = (ql_map){0};
    /* a pipe is refused, not waited for */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return ql_fail_errno("cannot open %s", path);
    }
    st = map_fd(m, fd, path);
    close(fd);
    return st;
}

/* Addresses as numbers: the system's calls take no const pointer. */
static void *address(uintptr_t p)
{
    return (void *)p;
}

void ql_map_close(ql_map *m)
{
    if (m->data) {
        munmap(address((uintptr_t)m->data), m->len);
    }
    *m = (ql_map){0};
}

/* Reads a byte of each page. */
static void touch(const void *p, size_t len)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const volatile unsigned char *bytes = p;

    for (size_t i = 0; i < len; i += page) {
        (void)bytes[i];
    }
    if (len > 0) {
        (void)bytes[len - 1];
    }
}

void ql_map_fetch(const void *p, size_t len)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t start = (uintptr_t)p / page * page;

    madvise(address(start), (uintptr_t)p + len - start, MADV_WILLNEED);
    touch(p, len);
}

void ql_map_peek(const void *p, size_t len)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t start = (uintptr_t)p / page * page;
    const size_t n = (uintptr_t)p + len - start;

    madvise(address(start), n, MADV_RANDOM);
    touch(p, len);
    madvise(address(start), n, MADV_NORMAL);
}

void ql_map_drop(const void *p, size_t len)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = ((uintptr_t)p + page - 1) / page * page;
    const uintptr_t to = ((uintptr_t)p + len) / page * page;

    if (to > from) {
        madvise(address(from), to - from, MADV_DONTNEED);
    }
}
