/* Reading whole files, and outputs that appear under their name only when
 * they are complete. */
#include "src/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/fail.h"

enum {
    CHUNK = 1 << 16 /* bytes read at a time */
};

char *ql_path_join(const char *dir, const char *name)
{
    const size_t bytes = strlen(dir) + strlen(name) + 2;
    char *path = ql_alloc(QL_TAG_TEXT, bytes, 1);

    if (path) {
        snprintf(path, bytes, "%s/%s", dir, name);
    }
    return path;
}

bool ql_path_exists(const char *path)
{
    struct stat sb;

    return stat(path, &sb) == 0;
}

bool ql_path_is_dir(const char *path)
{
    struct stat sb;

    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

static bool is_link(const char *path)
{
    struct stat sb;

    return lstat(path, &sb) == 0 && S_ISLNK(sb.st_mode);
}

ql_status ql_path_follow(const char *path, char **out)
{
    char *real = is_link(path) ? realpath(path, NULL) : NULL;

    *out = NULL;
    if (!real && is_link(path)) {
        QL_FAIL(QL_EINVAL,
                "%s is a symbolic link that leads nowhere; remove it, or make "
                "what it leads to",
                path);
    }
    *out = ql_strdup(QL_TAG_TEXT, real ? real : path);
    free(real);
    return *out ? QL_OK : QL_ENOMEM;
}

bool ql_path_within(const char *path, const char *dir)
{
    char *inner = realpath(path, NULL);
    char *outer = realpath(dir, NULL);
    const size_t n = outer ? strlen(outer) : 0;
    const bool within =
        inner && outer && strncmp(inner, outer, n) == 0 &&
        (inner[n] == '\0' || inner[n] == '/' || outer[n - 1] == '/');

    free(inner);
    free(outer);
    return within;
}

/* Reads until n bytes are there or the file ends. */
static ql_status read_fd(int fd, const char *path, char *data, size_t n,
                         size_t *got)
{
    *got = 0;
    while (*got < n) {
        const ssize_t r = read(fd, data + *got, n - *got);

        if (r < 0 && errno != EINTR) {
            return ql_fail_errno("cannot read %s", path);
        }
        if (r == 0) {
            break;
        }
        *got += r > 0 ? (size_t)r : 0;
    }
    return QL_OK;
}

static ql_status open_sized(const char *path, size_t max, int *fd, size_t *len)
{
    struct stat sb;

    /* a pipe is refused below, not waited for */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        return ql_fail_errno("cannot open %s", path);
    }
    if (fstat(*fd, &sb) != 0) {
        return ql_fail_errno("cannot read %s", path);
    }
    if (!S_ISREG(sb.st_mode)) {
        QL_FAIL(QL_EFORMAT, "cannot read %s: not a regular file", path);
    }
    if ((uint64_t)sb.st_size > max) {
        QL_FAIL(QL_EFORMAT, "%s: %lld bytes, but at most %zu are allowed", path,
                (long long)sb.st_size, max);
    }
    *len = (size_t)sb.st_size;
    return QL_OK;
}

ql_status ql_file_read(const char *path, size_t max, char **data, size_t *len)
{
    ql_status st = QL_OK;
    char *text = NULL;
    size_t size = 0;
    int fd = -1;

    *data = NULL;
    *len = 0;
    QL_TRY_DONE(open_sized(path, max, &fd, &size));
    text = ql_alloc(QL_TAG_TEXT, size + 1, 1);
    if (!text) {
        st = QL_ENOMEM;
        goto done;
    }
    QL_TRY_DONE(read_fd(fd, path, text, size, len));
    text[*len] = '\0';
    *data = text;
    text = NULL;
done:
    ql_free(text);
    if (fd >= 0) {
        close(fd);
    }
    return st;
}

ql_status ql_infile_init(ql_infile *f, const char *path)
{
    ql_status st = QL_OK;

    *f = (ql_infile){.fd = -1, .path = ql_strdup(QL_TAG_TEXT, path)};
    if (!f->path) {
        return QL_ENOMEM;
    }
    st = open_sized(path, SIZE_MAX, &f->fd, &f->bytes);
    if (st != QL_OK) {
        ql_infile_free(f);
    }
    return st;
}

ql_status ql_infile_read(ql_infile *f, void *data, size_t n)
{
    size_t got;

    QL_TRY(read_fd(f->fd, f->path, data, n, &got));
    if (got < n) {
        QL_FAIL(QL_EFORMAT, "%s: the file ends too early", f->path);
    }
    return QL_OK;
}

void ql_infile_free(ql_infile *f)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    ql_free(f->path);
    *f = (ql_infile){.fd = -1};
}

ql_status ql_outfile_init(ql_outfile *f, const char *path)
{
    const size_t bytes = strlen(path) + sizeof(".part");

    *f = (ql_outfile){.fd = -1};
    f->path = ql_strdup(QL_TAG_TEXT, path);
    f->part = ql_alloc(QL_TAG_TEXT, bytes, 1);
    if (!f->path || !f->part) {
        ql_outfile_free(f);
        return QL_ENOMEM;
    }
    snprintf(f->part, bytes, "%s.part", path);
    f->fd = open(f->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) {
        const ql_status st = ql_fail_errno("cannot write %s", path);

        ql_outfile_free(f);
        return st;
    }
    return QL_OK;
}

ql_status ql_outfile_write(ql_outfile *f, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        const ssize_t w = write(f->fd, p, n);

        if (w < 0 && errno != EINTR) {
            return ql_fail_errno("cannot write %s", f->path);
        }
        if (w > 0) {
            p += w;
            n -= (size_t)w;
            f->written += (uint64_t)w;
        }
    }
    return QL_OK;
}

ql_status ql_outfile_write_at(ql_outfile *f, uint64_t offset, const void *data,
                              size_t n)
{
    if (lseek(f->fd, (off_t)offset, SEEK_SET) < 0) {
        return ql_fail_errno("cannot write %s", f->path);
    }
    return ql_outfile_write(f, data, n);
}

ql_status ql_outfile_commit(ql_outfile *f)
{
    const int fd = f->fd;

    if (fsync(fd) != 0) {
        return ql_fail_errno("cannot write %s", f->path);
    }
    f->fd = -1;
    if (close(fd) != 0 || rename(f->part, f->path) != 0) {
        const ql_status st = ql_fail_errno("cannot write %s", f->path);

        unlink(f->part);
        return st;
    }
    ql_outfile_free(f);
    return QL_OK;
}

void ql_outfile_free(ql_outfile *f)
{
    if (f->fd >= 0) {
        close(f->fd);
        unlink(f->part);
    }
    ql_free(f->path);
    ql_free(f->part);
    *f = (ql_outfile){.fd = -1};
}

ql_status ql_file_write(const char *path, const void *data, size_t n)
{
    ql_status st;
    ql_outfile f;

    QL_TRY(ql_outfile_init(&f, path));
    QL_TRY_DONE(ql_outfile_write(&f, data, n));
    st = ql_outfile_commit(&f);
done:
    ql_outfile_free(&f);
    return st;
}

static ql_status copy_fd(int fd, const char *from, ql_outfile *out)
{
    char data[CHUNK];
    size_t got;

    do {
        QL_TRY(read_fd(fd, from, data, CHUNK, &got));
        QL_TRY(ql_outfile_write(out, data, got));
    } while (got == CHUNK);
    return QL_OK;
}

ql_status ql_file_copy(const char *from, const char *to)
{
    ql_status st;
    ql_outfile out = {.fd = -1};
    size_t len;
    int fd = -1;

    QL_TRY_DONE(open_sized(from, SIZE_MAX, &fd, &len));
    QL_TRY_DONE(ql_outfile_init(&out, to));
    QL_TRY_DONE(copy_fd(fd, from, &out));
    st = ql_outfile_commit(&out);
done:
    ql_outfile_free(&out);
    if (fd >= 0) {
        close(fd);
    }
    return st;
}
