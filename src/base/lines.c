#include "src/base/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "src/base/fail.h"

/* Opens without waiting for somebody to write to a named pipe; what is read
 * later on is waited for. */
static ql_status open_file(ql_lines *l, int *fd)
{
    struct stat s;

    *fd = open(l->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (*fd < 0 || fstat(*fd, &s) != 0 ||
        fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) & ~O_NONBLOCK) != 0) {
        return ql_fail_errno("cannot open %s", l->path);
    }
    if (S_ISDIR(s.st_mode)) {
        QL_FAIL(QL_EFORMAT, "cannot read %s: it is a folder", l->path);
    }
    l->size = S_ISREG(s.st_mode) ? (uint64_t)s.st_size : 0;
    return QL_OK;
}

ql_status ql_lines_init(ql_lines *l, const char *path, size_t max_line)
{
    int fd;
    ql_status st;

    *l = (ql_lines){.path = path};
    ql_buf_init(&l->line, QL_TAG_TEXT, max_line);
    st = open_file(l, &fd);
    if (st == QL_OK) {
        l->gz = gzdopen(fd, "rb");
        st = l->gz ? QL_OK : ql_fail(QL_ENOMEM, "%s: out of memory", path);
    }
    if (st == QL_OK) {
        gzbuffer(l->gz, 1 << 16);
    } else if (fd >= 0) {
        close(fd);
    }
    return st;
}

void ql_lines_free(ql_lines *l)
{
    if (l->gz) {
        gzclose(l->gz);
    }
    l->gz = NULL;
    ql_buf_free(&l->line);
}

ql_status ql_lines_state(const ql_lines *l)
{
    int code = Z_OK;
    const char *text = gzerror(l->gz, &code);

    if (code == Z_OK || code == Z_STREAM_END) {
        return QL_OK;
    }
    if (code == Z_ERRNO) {
        return ql_fail_errno("%s: cannot read after line %zu", l->path,
                             l->number);
    }
    QL_FAIL(QL_EFORMAT, "%s: damaged gzip data after line %zu (%s)", l->path,
            l->number, text);
}

/* gzgetc is a macro over zlib's own buffer, and unlike gzgets it keeps NUL
 * bytes. */
int ql_lines_get(ql_lines *l)
{
    gzFile gz = l->gz;
    const int c = gzgetc(gz);

    l->number += c == '\n';
    return c;
}

void ql_lines_unget(ql_lines *l, int c)
{
    if (c != -1) {
        gzungetc(c, l->gz);
        l->number -= c == '\n';
    }
}

uint64_t ql_lines_at(const ql_lines *l)
{
    const z_off_t at = gzoffset(l->gz);

    return at > 0 ? (uint64_t)at : 0;
}

/* Takes the bytes up to a newline or the end. */
static ql_status take_line(ql_lines *l, bool *any)
{
    const size_t number = l->number + 1;
    int c;

    *any = false;
    while ((c = ql_lines_get(l)) != -1) {
        ql_status st;

        *any = true;
        if (c == '\n') {
            return QL_OK;
        }
        st = ql_buf_putc(&l->line, (char)c);
        if (st != QL_OK) {
            return ql_fail_prefix(st, "%s:%zu: ", l->path, number);
        }
    }
    l->number += *any;
    return ql_lines_state(l);
}

ql_status ql_lines_next(ql_lines *l, bool *more)
{
    ql_buf_clear(&l->line);
    QL_TRY(take_line(l, more));
    if (!*more) {
        return QL_OK;
    }
    QL_TRY(ql_buf_append(&l->line, "", 0));
    if (l->line.len > 0 && l->line.data[l->line.len - 1] == '\r') {
        l->line.data[--l->line.len] = '\0';
    }
    return QL_OK;
}
