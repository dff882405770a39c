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

/* The address without const: the system's calls take no const pointer. */
static void *address(const ql_map *m, size_t offset)
{
    return (void *)((uintptr_t)m->data + offset);
}

void ql_map_close(ql_map *m)
{
    if (m->data) {
        munmap(address(m, 0), m->len);
    }
    *m = (ql_map){0};
}

void ql_map_drop(const ql_map *m, size_t offset, size_t len)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t from = (offset + page - 1) / page * page;
    const size_t to = (offset + len) / page * page;

    if (m->data && to > from) {
        madvise(address(m, from), to - from, MADV_DONTNEED);
    }
}
