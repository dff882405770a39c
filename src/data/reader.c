#include "src/data/reader.h"

#include <string.h>

#include "src/base/fail.h"

enum {
    RECORD_BYTES = 1 << 26
};

/* True for "x.txt" and "x.txt.gz". */
static bool is_plain_text(const char *path)
{
    static const char *const ends[] = {".txt", ".txt.gz"};
    const size_t n = strlen(path);

    for (size_t i = 0; i < 2; i++) {
        const size_t m = strlen(ends[i]);

        if (n > m && strcmp(path + n - m, ends[i]) == 0) {
            return true;
        }
    }
    return false;
}

void ql_reader_free(ql_reader *r)
{
    ql_lines_free(&r->lines);
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next byte that is not blank; -1 at the end. */
static int skip_blanks(ql_lines *l)
{
    int c = ql_lines_get(l);

    while (is_blank(c)) {
        c = ql_lines_get(l);
    }
    return c;
}

/* Passes over a byte order mark. */
static void skip_mark(ql_lines *l)
{
    static const int mark[] = {0xef, 0xbb, 0xbf};
    int got[3];
    int n = 0;

    do {
        got[n] = ql_lines_get(l);
    } while (got[n] == mark[n] && ++n < 3);
    while (n < 3 && n >= 0) {
        ql_lines_unget(l, got[n--]);
    }
}

static ql_status begin(ql_reader *r)
{
    ql_lines *l = &r->lines;
    int c;

    skip_mark(l);
    if (is_plain_text(l->path)) {
        r->kind = QL_READER_TEXT;
    } else {
        c = skip_blanks(l);
        if (c == '[') {
            r->kind = QL_READER_LIST;
        } else {
            ql_lines_unget(l, c);
        }
    }
    return ql_lines_state(l);
}

static ql_status next_line(ql_reader *r, ql_buf *out, size_t *line, bool *more)
{
    ql_lines *l = &r->lines;

    for (;;) {
        QL_TRY(ql_lines_next(l, more));
        if (!*more) {
            return QL_OK;
        }
        if (strspn(l->line.data, " \t\r") < l->line.len) {
            *line = l->number;
            return ql_buf_append(out, l->line.data, l->line.len);
        }
    }
}

static ql_status no_list(const ql_lines *l, const char *what)
{
    QL_TRY(ql_lines_state(l));
    QL_FAIL(QL_EFORMAT, "%s:%zu: not a JSON list: %s", l->path, l->number + 1,
            what);
}

/* Where we are inside an element. */
typedef struct nesting {
    size_t depth;
    bool string;
    bool escape;
} nesting;

/* Takes note of a byte; true when it is the comma or bracket behind the
 * element. */
static bool ends_element(nesting *n, int c)
{
    if (n->string) {
        n->string = n->escape || c != '"';
        n->escape = !n->escape && c == '\\';
        return false;
    }
    n->string = c == '"';
    if (n->depth == 0 && (c == ',' || c == ']')) {
        return true;
    }
    n->depth += c == '[' || c == '{';
    n->depth -= n->depth > 0 && (c == ']' || c == '}');
    return false;
}

/* Appends an element, which begins with c, up to the comma or bracket that
 * follows it. */
static ql_status take_element(ql_lines *l, int c, size_t line, ql_buf *out,
                              bool *last)
{
    const size_t start = out->len;
    nesting n = {0};

    while (!ends_element(&n, c)) {
        if (c == -1) {
            return no_list(l, "it has no end");
        }
        if (out->len - start == RECORD_BYTES) {
            QL_FAIL(QL_EFORMAT, "%s:%zu: the record is longer than %d bytes",
                    l->path, line, (int)RECORD_BYTES);
        }
        QL_TRY(ql_buf_putc(out, (char)c));
        c = ql_lines_get(l);
    }
    *last = c == ']';
    if (out->len == start && !*last) {
        return no_list(l, "an element is missing");
    }
    return QL_OK;
}

/* An empty element before a bracket is none: "[]", and also "[1,]", which is
 * no fault of any record. */
static ql_status next_element(ql_reader *r, ql_buf *out, size_t *line,
                              bool *more)
{
    ql_lines *l = &r->lines;
    const size_t start = out->len;
    int c = r->done ? -1 : skip_blanks(l);

    *line = l->number + 1;
    if (!r->done) {
        QL_TRY(take_element(l, c, *line, out, &r->done));
        if (r->done && skip_blanks(l) != -1) {
            return no_list(l, "something follows it");
        }
        QL_TRY(ql_lines_state(l));
    }
    *more = out->len > start;
    return QL_OK;
}

ql_status ql_reader_open(ql_reader *r, const char *path)
{
    *r = (ql_reader){.kind = QL_READER_LINES};
    QL_TRY(ql_lines_init(&r->lines, path, RECORD_BYTES));
    return begin(r);
}

ql_status ql_reader_next(ql_reader *r, ql_buf *out, size_t *line, bool *more)
{
    *more = false;
    return r->kind == QL_READER_LIST ? next_element(r, out, line, more)
                                     : next_line(r, out, line, more);
}

ql_status ql_reader_fill(ql_reader *r, ql_buf *out, size_t len, bool *more)
{
    *more = true;
    while (out->len < len) {
        const int c = ql_lines_get(&r->lines);

        if (c == -1) {
            *more = false;
            return ql_lines_state(&r->lines);
        }
        QL_TRY(ql_buf_putc(out, (char)c));
    }
    return QL_OK;
}
