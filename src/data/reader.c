#include "src/data/reader.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/lines.h"

enum {
    LINE_BYTES = 1 << 28
};

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t\r");
}

static ql_status read_record(const char *text, size_t len, const char *where,
                             ql_record_fn *fn, void *ctx)
{
    json_t *record = NULL;
    ql_status st;

    if (*skip_blanks(text) == '[') {
        QL_FAIL(QL_EFORMAT,
                "%s: a JSON list; write one record per line instead (JSON "
                "lines)",
                where);
    }
    QL_TRY(ql_json_parse(&record, text, len, where));
    if (json_is_object(record)) {
        st = fn(ctx, record);
        st = st == QL_OK ? st : ql_fail_prefix(st, "%s: ", where);
    } else {
        st = ql_fail(QL_EFORMAT, "%s: a record must be a JSON object", where);
    }
    json_decref(record);
    return st;
}

static ql_status read_line(const ql_lines *l, ql_record_fn *fn, void *ctx)
{
    const char *text = l->line.data;
    size_t len = l->line.len;
    ql_status st;
    ql_buf where;

    if (l->number == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if ((size_t)(skip_blanks(text) - text) == len) {
        return QL_OK;
    }
    ql_buf_init(&where, QL_TAG_DATA, SIZE_MAX / 4);
    QL_TRY_DONE(ql_buf_printf(&where, "%s:%zu", l->path, l->number));
    st = read_record(text, len, where.data, fn, ctx);
done:
    ql_buf_free(&where);
    return st;
}

ql_status ql_records_read(const char *path, ql_record_fn *fn, void *ctx)
{
    ql_status st;
    ql_lines l;
    bool more;

    QL_TRY_DONE(ql_lines_init(&l, path, LINE_BYTES));
    for (;;) {
        QL_TRY_DONE(ql_lines_next(&l, &more));
        if (!more) {
            break;
        }
        QL_TRY_DONE(read_line(&l, fn, ctx));
    }
done:
    ql_lines_free(&l);
    return st;
}
