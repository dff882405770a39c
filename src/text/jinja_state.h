/* The state of one rendering: memory, output, limits, variables; and what all
 * parts of the evaluator do with it. */
#ifndef QL_TEXT_JINJA_STATE_H
#define QL_TEXT_JINJA_STATE_H

#include <time.h>

#include "src/base/buf.h"
#include "src/base/fail.h"
#include "src/text/jinja_mem.h"
#include "src/text/jinja_value.h"

/* Limits of one rendering. The largest conversations stay far below. */
enum {
    QL_JINJA_STEPS = 20000000,   /* nodes, elements and blocks of bytes */
    QL_JINJA_DEPTH = 1000,       /* evaluations within evaluations */
    QL_JINJA_NESTING = 200,      /* lists within lists */
    QL_JINJA_RANGE = 100000,     /* numbers of a range(), as in jinja2 */
    QL_JINJA_OUTPUT = 1 << 26,   /* bytes of text */
    QL_JINJA_MEMORY = 256 << 20, /* bytes in all */
    QL_JINJA_BLOCK = 64          /* bytes that count as a step */
};

typedef enum ql_jflow {
    QL_J_NEXT,
    QL_J_BREAK,
    QL_J_CONTINUE
} ql_jflow;

typedef struct ql_jbinding {
    ql_jval name;
    ql_jval value;
    struct ql_jbinding *next;
} ql_jbinding;

typedef struct ql_jscope {
    struct ql_jscope *parent;
    ql_jbinding *first;
} ql_jscope;

typedef struct ql_jinja {
    ql_jinja_mem mem;
    const char *where; /* what errors name */
    size_t line;       /* of the template, where evaluation is */
    size_t steps;      /* that are left */
    int depth;
    bool raised;      /* the sentence names the place already */
    ql_jflow flow;    /* a loop that is being left */
    ql_jscope *scope; /* innermost */
    ql_jval input;    /* of the filter of a block */
    ql_buf out;       /* text so far, that of captures included */
    int captures;     /* texts of macros and blocks in the making */
    bool want_spans;
    ql_buf spans; /* size_t pairs: bytes inside {% generation %} */
    ql_buf scratch;
    const struct tm *now; /* NULL: the clock */
} ql_jinja;

/* How a value came to be undefined. */
struct ql_jundef {
    const char *hint; /* the sentence, or NULL: made of the following */
    const char *exception;
    ql_jval obj; /* absent: name is that of a variable */
    ql_jval name;
};

/* Arguments as they are written in a call. */
typedef struct ql_jargs {
    ql_jval *v; /* [n] */
    size_t n;
    ql_jval *names; /* [n_named] */
    ql_jval *named; /* [n_named] */
    size_t n_named;
} ql_jargs;

enum {
    QL_J_PARAMS = 6
};

/* A call of a filter, test, method or function of a table. */
typedef struct ql_jcall {
    ql_jval self;             /* what it is applied to; absent: a function */
    ql_jval arg[QL_J_PARAMS]; /* by parameter; absent where not given */
    ql_jargs args;            /* as given */
} ql_jcall;

typedef ql_status ql_jentry_fn(ql_jinja *j, const ql_jcall *c, ql_jval *out);

enum {
    QL_J_VARIADIC = 1, /* args are not sorted to parameters */
    QL_J_MAKES_LAZY = 2,
    QL_J_UNSAFE = 4, /* what the sandbox of jinja2 forbids */
    QL_J_MISSING = 8 /* Python has it, we do not */
};

/* A row of a table. Tables end with a row of zeros. */
struct ql_jentry {
    const char *name;
    ql_jentry_fn *fn;
    const char *params; /* names, separated by blanks */
    int need;           /* how many of them must be given */
    int flags;
};

struct ql_jmethod {
    ql_jval self;
    const ql_jentry *entry;
};

/* An iterator: its elements are made when it is first read. */
struct ql_jlazy {
    const char *type;       /* its name */
    const ql_jentry *entry; /* what makes them; NULL: they are there */
    ql_jcall call;
    ql_jlist *items;
    bool read;
};

/* Stores "WHERE:LINE: TYPE: sentence" and returns QL_EFORMAT. */
ql_status ql_jinja_raise(ql_jinja *j, const char *type, const char *fmt, ...)
    QL_PRINTF(3, 4);

/* The same for what is sound, but not supported: QL_EUNSUPPORTED. */
ql_status ql_jinja_refuse(ql_jinja *j, const char *fmt, ...) QL_PRINTF(2, 3);

#define QL_RAISE(j, type, ...) return ql_jinja_raise((j), (type), __VA_ARGS__)

/* Counts evaluations within evaluations; each enter needs a leave unless it
 * fails. */
ql_status ql_jinja_enter(ql_jinja *j);
void ql_jinja_leave(ql_jinja *j);

/* Counts n steps. Fails with QL_EFORMAT when the limit is met. */
ql_status ql_jinja_spend(ql_jinja *j, size_t n);

/* The same for work on n bytes. */
ql_status ql_jinja_spend_bytes(ql_jinja *j, size_t n);

/* An undefined value: a variable; a part of obj; or one with a sentence, which
 * must be a constant. Errors: QL_ENOMEM. */
ql_status ql_jinja_undefined(ql_jinja *j, ql_jval obj, ql_jval name,
                             ql_jval *out);
ql_status ql_jinja_undefined_hint(ql_jinja *j, const char *hint, ql_jval *out);

/* Raises what using an undefined value raises. */
ql_status ql_jinja_use_undefined(ql_jinja *j, ql_jval v);

/* A new string, list or mapping. Errors: QL_ENOMEM. */
ql_status ql_jinja_string(ql_jinja *j, const char *s, size_t n, ql_jval *out);
ql_status ql_jinja_list(ql_jinja *j, size_t cap, ql_jlist **out);
ql_status ql_jinja_push(ql_jinja *j, ql_jlist *list, ql_jval v);
ql_status ql_jinja_pair(ql_jinja *j, ql_jval a, ql_jval b, ql_jval *out);
ql_status ql_jinja_dict(ql_jinja *j, size_t cap, ql_jval *out);

/* Appends without looking for the key. */
ql_status ql_jinja_put_new(ql_jinja *j, ql_jdict *d, ql_jval k, ql_jval v);

/* An iterator over elements that are there. type: as Python calls it. */
ql_status ql_jinja_iterator(ql_jinja *j, const char *type, ql_jlist *items,
                            ql_jval *out);

/* The empty scratch buffer, for text in the making. Nothing that may use it
 * may be called before the text is done. */
ql_buf *ql_jinja_scratch(ql_jinja *j);

/* A string of what the scratch buffer holds. */
ql_status ql_jinja_scratch_done(ql_jinja *j, ql_jval *out);

/* Sets a variable in the innermost scope. */
ql_status ql_jinja_set(ql_jinja *j, ql_jval name, ql_jval value);

/* A scope within another. */
ql_status ql_jinja_scope(ql_jinja *j, ql_jscope *parent, ql_jscope **out);

#endif
