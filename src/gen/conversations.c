/* Values of JSON one after the other, each taken as far as its brackets close;
 * what begins with none is taken as a line, for the parser to complain of. So
 * is a value that is seen to be broken, and what it took of the lines behind
 * its first one is read again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "qlora/generate.h"
#include "src/base/blank.h"
#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/lines.h"

enum {
    MAX_BYTES = 1 << 28,
    MAX_DEPTH = 2048, /* of brackets: that of jansson */
    WHAT_BYTES = 4200
};

struct ql_conversations {
    FILE *in;      /* what is read as it comes; NULL: file is read */
    ql_lines file; /* what has a size, gzip-compressed or not */
    bool given;    /* in is standard input */
    bool damaged;  /* file has nothing more that could be read */
    char *name;
    size_t line; /* the current one, from 1 */
    bool lost;   /* the last value was broken */
    ql_buf read; /* bytes of the current value, and those to be read again */
    size_t at;   /* of the next byte in read; its end: that is in the file */
    ql_buf text; /* what was handed out */
    char what[WHAT_BYTES];
};

/* zlib waits until it has much to unpack: it gets none that come one by one. */
static ql_status open_in(ql_conversations *c, const char *path)
{
    struct stat s;

    c->given = strcmp(path, "-") == 0;
    c->name = ql_strdup(QL_TAG_TEXT, c->given ? "standard input" : path);
    if (!c->name) {
        return QL_ENOMEM;
    }
    if (ql_path_is_dir(path)) {
        QL_FAIL(QL_EFORMAT, "cannot read %s: it is a folder", path);
    }
    if (!c->given && stat(path, &s) == 0 && S_ISREG(s.st_mode)) {
        return ql_lines_init(&c->file, c->name, MAX_BYTES);
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
    ql_buf_init(&c->read, QL_TAG_TEXT, MAX_BYTES);
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
        ql_lines_free(&(*c)->file);
        ql_buf_free(&(*c)->read);
        ql_buf_free(&(*c)->text);
        ql_free((*c)->name);
        ql_free(*c);
    }
    *c = NULL;
}

/* *b: EOF at the end, and behind what is damaged, which is told once. */
static ql_status get(ql_conversations *c, int *b)
{
    ql_status st;

    errno = 0;
    if (c->in) {
        *b = getc(c->in);
        return *b == EOF && ferror(c->in)
                   ? ql_fail_errno("cannot read %s", c->name)
                   : QL_OK;
    }
    *b = c->damaged ? EOF : ql_lines_get(&c->file);
    if (*b != EOF || c->damaged) {
        return QL_OK;
    }
    st = ql_lines_state(&c->file);
    c->damaged = st != QL_OK;
    return st;
}

static void unget(ql_conversations *c, int b)
{
    if (c->in) {
        ungetc(b, c->in);
    } else {
        ql_lines_unget(&c->file, b);
    }
}

/* *b: EOF at the end. What there is no room for stays in the file. */
static ql_status next_byte(ql_conversations *c, int *b)
{
    ql_status st;

    if (c->at == c->read.len) {
        QL_TRY(get(c, b));
        if (*b == EOF) {
            return QL_OK;
        }
        st = ql_buf_putc(&c->read, (char)*b);
        if (st != QL_OK) {
            unget(c, *b);
            return st;
        }
    }
    *b = (unsigned char)c->read.data[c->at++];
    c->line += *b == '\n';
    return QL_OK;
}

/* The same, and those before it may go. They do when they are as many as those
 * behind, so that each is moved but a few times. */
static ql_status skip_byte(ql_conversations *c, int *b)
{
    const size_t behind = c->read.len - c->at;

    if (c->at > 0 && c->at >= behind) {
        memmove(c->read.data, c->read.data + c->at, behind + 1);
        c->read.len = behind;
        c->at = 0;
    }
    return next_byte(c, b);
}

static bool opens(int b)
{
    return b == '{' || b == '[';
}

/* The next byte that is not blank, and no byte order mark. */
static ql_status skip_blanks(ql_conversations *c, int *b)
{
    do {
        QL_TRY(skip_byte(c, b));
    } while (ql_is_blank(*b) || *b == 0xEF || *b == 0xBB || *b == 0xBF);
    return QL_OK;
}

/* The bracket that the next line with one as its first byte begins with. */
static ql_status skip_lines(ql_conversations *c, int *b)
{
    int before;

    *b = 0;
    do {
        before = *b;
        QL_TRY(skip_byte(c, b));
    } while (*b != EOF && !(before == '\n' && opens(*b)));
    return QL_OK;
}

typedef enum progress {
    GOES_ON,
    CLOSED,
    BROKEN
} progress;

/* Where we are inside a value. */
typedef struct nesting {
    size_t depth;
    char open[MAX_DEPTH]; /* [depth] */
    int last;             /* the last byte that is not blank */
    bool string, escape;
} nesting;

static progress go_through_string(nesting *n, int b)
{
    n->string = n->escape || b != '"';
    n->escape = !n->escape && b == '\\';
    return b == '\n' ? BROKEN : GOES_ON;
}

/* A bracket is the first byte, or behind one of these. */
static progress open_bracket(nesting *n, int b)
{
    const bool fits =
        !n->last || opens(n->last) || n->last == ',' || n->last == ':';

    if (!fits || n->depth == MAX_DEPTH) {
        return BROKEN;
    }
    n->open[n->depth++] = (char)b;
    return GOES_ON;
}

static progress close_bracket(nesting *n, int b)
{
    if (n->open[--n->depth] != (b == '}' ? '{' : '[')) {
        return BROKEN;
    }
    return n->depth ? GOES_ON : CLOSED;
}

/* Takes note of a byte. A value that is broken is no JSON, whatever comes. */
static progress take_note(nesting *n, int b)
{
    progress p = GOES_ON;

    if (n->string) {
        return go_through_string(n, b);
    }
    n->string = b == '"';
    if (opens(b)) {
        p = open_bracket(n, b);
    } else if (b == '}' || b == ']') {
        p = close_bracket(n, b);
    }
    n->last = ql_is_blank(b) ? n->last : b;
    return p;
}

/* Up to the end of a value whose bracket was read; *broken: there is none. */
static ql_status take_value(ql_conversations *c, int bracket, bool *broken)
{
    nesting n = {0};
    progress p = take_note(&n, bracket);

    *broken = true;
    while (p == GOES_ON) {
        int b;

        QL_TRY(next_byte(c, &b));
        p = b == EOF ? BROKEN : take_note(&n, b);
    }
    *broken = p == BROKEN;
    return QL_OK;
}

/* Up to the end of the line, which is left. */
static ql_status take_line(ql_conversations *c)
{
    int b;

    do {
        QL_TRY(next_byte(c, &b));
    } while (b != EOF && b != '\n');
    if (b == '\n') {
        c->at--;
        c->line--;
    }
    return QL_OK;
}

/* Has all behind the first line of a value, which begins there, read again. */
static void go_back(ql_conversations *c, size_t begin, size_t line)
{
    const char *first = c->read.data + begin;
    const char *end = memchr(first, '\n', c->at - begin);

    if (end) {
        c->at = (size_t)(end - c->read.data);
        c->line = line;
    }
}

static ql_status take(ql_conversations *c, int first, size_t line)
{
    const size_t begin = c->at - 1;
    ql_status st = opens(first) ? take_value(c, first, &c->lost) : take_line(c);

    if (st == QL_OK) {
        st = ql_buf_append(&c->text, c->read.data + begin, c->at - begin);
    }
    if (st == QL_EFORMAT) {
        c->lost = true;
        st = c->damaged ? st : ql_fail_prefix(st, "%s: ", c->what);
    }
    if (c->lost) {
        go_back(c, begin, line);
    }
    return st;
}

ql_status ql_conversations_next(ql_conversations *c, const char **json,
                                const char **what, size_t *line)
{
    int first;

    *json = NULL;
    *what = c->what;
    *line = c->line;
    ql_buf_clear(&c->text);
    QL_TRY(c->lost ? skip_lines(c, &first) : skip_blanks(c, &first));
    c->lost = false;
    *line = c->line;
    snprintf(c->what, sizeof(c->what), "%.4096s:%zu", c->name, *line);
    if (first == EOF) {
        return QL_OK;
    }
    QL_TRY(take(c, first, *line));
    if (strlen(c->text.data) != c->text.len) {
        QL_FAIL(QL_EFORMAT, "%s: there is a NUL byte", c->what);
    }
    *json = c->text.data;
    return QL_OK;
}
