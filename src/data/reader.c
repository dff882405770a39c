#include "src/data/reader.h"

#include <string.h>

#include "src/base/blank.h"
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

/* The next byte that is not blank; -1 at the end. */
static int skip_blanks(ql_lines *l)
{
    int c = ql_lines_get(l);

    while (ql_is_blank(c)) {
        c = ql_lines_get(l);
    }
    return c;
}

/* What people give by mistake, by its first bytes. */
static const struct {
    const char *magic;
    bool always; /* no plain text begins so */
    const char *what;
} foreign[] = {
    {"\xff\xfe", true, "UTF-16, or a like encoding: save it as UTF-8"},
    {"\xfe\xff", true, "UTF-16, or a like encoding: save it as UTF-8"},
    {"PK\3", true, "a zip archive: unpack it first"},
    {"BZh", true, "compressed by bzip2: unpack it, or use gzip"},
    {"\x28\xb5\x2f", true, "compressed by zstd: unpack it, or use gzip"},
    {"\xfd\x37\x7a", true, "compressed by xz: unpack it, or use gzip"},
    {"%PD", true, "a PDF file: its text is needed"},
    {"PAR", false, "a Parquet file: write its rows as JSON lines"},
    {"<!D", false, "a page of the web and not data"},
    {"<!d", false, "a page of the web and not data"},
    {"<ht", false, "a page of the web and not data"},
    {"ver", false, "a pointer of Git LFS, it seems: fetch the file itself"},
};

/* Passes over a byte order mark; refuses what cannot be read. */
static ql_status look_at_start(ql_lines *l, bool text)
{
    static const char mark[] = "\xef\xbb\xbf";
    char start[4] = "";
    int got[3];
    int n = 0;

    for (; n < 3 && (got[n] = ql_lines_get(l)) != -1; n++) {
        start[n] = (char)got[n];
    }
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        const char *magic = foreign[i].magic;

        if ((!text || foreign[i].always) &&
            strncmp(start, magic, strlen(magic)) == 0) {
            QL_FAIL(QL_EFORMAT, "%s is %s", l->path, foreign[i].what);
        }
    }
    while (n > 0 && strcmp(start, mark) != 0) {
        ql_lines_unget(l, got[--n]);
    }
    return ql_lines_state(l);
}

/* A file that is plain text as such, or because the user says so and it does
 * not look like records, is read as it is; but for white space at its start
 * in the latter case. */
static ql_status begin(ql_reader *r, ql_format format)
{
    const bool named = is_plain_text(r->lines.path);
    const bool text = named && (!format || format == QL_FORMAT_TEXT);
    ql_lines *l = &r->lines;
    int c;

    QL_TRY(look_at_start(l, text || format == QL_FORMAT_TEXT));
    c = text ? ql_lines_get(l) : skip_blanks(l);
    if (text || (format == QL_FORMAT_TEXT && c != '{' && c != '[')) {
        r->kind = QL_READER_TEXT;
        r->odd = text && !format && (c == '{' || c == '[');
    } else if (c == '[') {
        r->kind = QL_READER_LIST;
        return ql_lines_state(l);
    }
    ql_lines_unget(l, c);
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

ql_status ql_reader_open(ql_reader *r, const char *path, ql_format format)
{
    *r = (ql_reader){.kind = QL_READER_LINES};
    QL_TRY(ql_lines_init(&r->lines, path, RECORD_BYTES));
    return begin(r, format);
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
