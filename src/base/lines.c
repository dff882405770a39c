#include "src/base/lines.h"

#include <errno.h>
#include <zlib.h>

#include "src/base/fail.h"
#include "src/base/file.h"

ql_status ql_lines_init(ql_lines *l, const char *path, size_t max_line)
{
    *l = (ql_lines){.path = path};
    ql_buf_init(&l->line, QL_TAG_TEXT, max_line);
    if (ql_path_is_dir(path)) {
        QL_FAIL(QL_EFORMAT, "cannot read %s: it is a folder", path);
    }
    errno = 0;
    l->gz = gzopen(path, "rb");
    if (!l->gz) {
        errno = errno ? errno : ENOMEM;
        return ql_fail_errno("cannot open %s", path);
    }
    gzbuffer(l->gz, 1 << 16);
    return QL_OK;
}

void ql_lines_free(ql_lines *l)
{
    if (l->gz) {
        gzclose(l->gz);
    }
    l->gz = NULL;
    ql_buf_free(&l->line);
}

/* The stream's state after gzgets gave nothing: the end, or a fault. */
static ql_status stream_state(const ql_lines *l)
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

/* Takes the bytes up to a newline or the end; gzgetc is a macro over zlib's
 * own buffer, and unlike gzgets it keeps NUL bytes. */
static ql_status take_line(ql_lines *l, bool *any)
{
    gzFile gz = l->gz;
    ql_status st;
    int c;

    *any = false;
    while ((c = gzgetc(gz)) != -1) {
        *any = true;
        if (c == '\n') {
            return QL_OK;
        }
        st = ql_buf_putc(&l->line, (char)c);
        if (st != QL_OK) {
            return ql_fail_prefix(st, "%s:%zu: ", l->path, l->number + 1);
        }
    }
    return stream_state(l);
}

ql_status ql_lines_next(ql_lines *l, bool *more)
{
    ql_buf_clear(&l->line);
    QL_TRY(take_line(l, more));
    if (!*more) {
        return QL_OK;
    }
    l->number++;
    QL_TRY(ql_buf_append(&l->line, "", 0));
    if (l->line.len > 0 && l->line.data[l->line.len - 1] == '\r') {
        l->line.data[--l->line.len] = '\0';
    }
    return QL_OK;
}
