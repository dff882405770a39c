/* Values of JSON one after the other, each taken as far as its brackets close;
 * what begins with none is taken as a line, for the parser to complain of. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "qlora/generate.h"
#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"

enum {
    MAX_BYTES = 1 << 28,
    WHAT_BYTES = 4200
};

struct ql_conversations {
    FILE *in;
    bool given; /* in is standard input */
    char *name;
    size_t line; /* the current one, from 1 */
    ql_buf text;
    char what[WHAT_BYTES];
};

static ql_status open_in(ql_conversations *c, const char *path)
{
    c->given = strcmp(path, "-") == 0;
    c->name = ql_strdup(QL_TAG_TEXT, c->given ? "standard input" : path);
    if (!c->name) {
        return QL_ENOMEM;
    }
    if (ql_path_is_dir(path)) {
        QL_FAIL(QL_EFORMAT, "cannot read %s: it is a folder", path);
    }
    c->in = c->given ? stdin : fopen(path, "re");
    return c->in ? QL_OK : ql_fail_errno("cannot open %s", path);
}

ql_status ql_conversations_open(ql_conversations **out, const char *path)
{
    ql_conversations *c = ql_calloc(QL_TAG_TEXT, 1, sizeof(*c));
    ql_status st;

    *out = NULL;
    if (!c) {
        return QL_ENOMEM;
    }
    c->line = 1;
    ql_buf_init(&c->text, QL_TAG_TEXT, MAX_BYTES);
    st = open_in(c, path);
    if (st == QL_OK) {
        *out = c;
    } else {
        ql_conversations_close(&c);
    }
    return st;
}

void ql_conversations_close(ql_conversations **c)
{
    if (*c) {
        if ((*c)->in && !(*c)->given) {
            fclose((*c)->in);
        }
        ql_buf_free(&(*c)->text);
        ql_free((*c)->name);
        ql_free(*c);
    }
    *c = NULL;
}

static int next_byte(ql_conversations *c)
{
    const int b = getc(c->in);

    c->line += b == '\n';
    return b;
}

/* The next byte that is not blank, and no byte order mark; EOF at the end. */
static int skip_blanks(ql_conversations *c)
{
    int b;

    do {
        b = next_byte(c);
    } while (b == ' ' || b == '\t' || b == '\r' || b == '\n' || b == 0xEF ||
             b == 0xBB || b == 0xBF);
    return b;
}

/* Where we are inside a value. */
typedef struct nesting {
    size_t depth;
    bool string, escape;
} nesting;

/* Takes note of a byte; false behind the last one of the value. */
static bool goes_on(nesting *n, int b)
{
    if (n->escape) {
        n->escape = false;
    } else if (n->string) {
        n->escape = b == '\\';
        n->string = b != '"';
    } else if (b == '"') {
        n->string = true;
    } else if (b == '{' || b == '[') {
        n->depth++;
    } else if (b == '}' || b == ']') {
        n->depth--;
    }
    return n->depth > 0;
}

/* *closed: it has brackets, and they are. */
static ql_status take_value(ql_conversations *c, int first, bool *closed)
{
    const bool bracket = first == '{' || first == '[';
    nesting n = {0};
    int b = first;

    while (b != EOF && !*closed && (bracket || b != '\n')) {
        QL_TRY(ql_buf_putc(&c->text, (char)b));
        *closed = bracket && !goes_on(&n, b);
        b = *closed ? b : next_byte(c);
    }
    return QL_OK;
}

/* Refuses what is no JSON and does not tell where the next one begins. */
static ql_status check_value(const ql_conversations *c, bool closed)
{
    json_t *root = NULL;

    if (strlen(c->text.data) != c->text.len) {
        QL_FAIL(QL_EFORMAT, "%s: there is a NUL byte", c->what);
    }
    if (!closed) {
        QL_TRY(ql_json_parse(&root, c->text.data, c->text.len, c->what));
        json_decref(root);
    }
    return QL_OK;
}

ql_status ql_conversations_next(ql_conversations *c, const char **json,
                                const char **what, size_t *line)
{
    ql_status st = QL_OK;
    bool closed = false;
    int first;

    *json = NULL;
    *what = c->what;
    errno = 0;
    ql_buf_clear(&c->text);
    first = skip_blanks(c);
    *line = c->line;
    snprintf(c->what, sizeof(c->what), "%.4096s:%zu", c->name, *line);
    if (first != EOF) {
        st = take_value(c, first, &closed);
        st = st == QL_OK ? st : ql_fail_prefix(st, "%s: ", c->what);
    }
    if (ferror(c->in)) {
        return ql_fail_errno("cannot read %s", c->name);
    }
    if (st == QL_OK && first != EOF) {
        QL_TRY(check_value(c, closed));
        *json = c->text.data;
    }
    return st;
}
