/* Values of a template, as Python has them: numbers, text, lists, mappings,
 * and what can be called. All live in the memory of one rendering (constants:
 * in that of the template) and, namespaces apart, never change. */
#ifndef QL_TEXT_JINJA_VALUE_H
#define QL_TEXT_JINJA_VALUE_H

#include "qlora/types.h"

typedef enum ql_jkind {
    QL_J_ABSENT, /* an argument that was not given */
    QL_J_UNDEFINED,
    QL_J_NONE,
    QL_J_BOOL,
    QL_J_INT,
    QL_J_FLOAT,
    QL_J_STR,
    QL_J_LIST,
    QL_J_TUPLE,
    QL_J_DICT,
    QL_J_RANGE,
    QL_J_VIEW,      /* keys, values or items of a mapping */
    QL_J_LAZY,      /* what Python makes an iterator for: read once */
    QL_J_NAMESPACE, /* the one thing that can be changed */
    QL_J_FUNCTION,  /* of a table */
    QL_J_METHOD,    /* of a table, bound to a value */
    QL_J_MACRO,
    QL_J_LOOP,
    QL_J_CYCLER,
    QL_J_JOINER,
    QL_J_KINDS
} ql_jkind;

typedef struct ql_jval ql_jval;

typedef struct ql_jlist {
    ql_jval *v; /* [n] */
    size_t n;
    size_t cap;
    bool group; /* a tuple of the filter groupby, which has names */
} ql_jlist;

typedef struct ql_jdict {
    ql_jval *k; /* [n], in the order of insertion */
    ql_jval *v; /* [n] */
    size_t n;
    size_t cap;
} ql_jdict;

typedef struct ql_jrange {
    int64_t start;
    int64_t stop;
    int64_t step;
    size_t n;
} ql_jrange;

typedef struct ql_jview {
    const ql_jdict *dict;
    enum {
        QL_J_KEYS,
        QL_J_VALUES,
        QL_J_ITEMS
    } part;
} ql_jview;

typedef struct ql_jundef ql_jundef;
typedef struct ql_jlazy ql_jlazy;
typedef struct ql_jmethod ql_jmethod;
typedef struct ql_jmacro ql_jmacro;
typedef struct ql_jloop ql_jloop;
typedef struct ql_jcycler ql_jcycler;
typedef struct ql_jentry ql_jentry;

struct ql_jval {
    ql_jkind kind;
    bool markup; /* a string that counts as escaped: what |safe gives */
    size_t n;    /* bytes of a string */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s; /* UTF-8 */
        ql_jlist *list;
        ql_jdict *dict; /* of a namespace as well */
        const ql_jrange *range;
        const ql_jview *view;
        const ql_jundef *undef;
        ql_jlazy *lazy;
        const ql_jentry *function;
        const ql_jmethod *method;
        const ql_jmacro *macro;
        ql_jloop *loop;
        ql_jcycler *cycler; /* of a joiner as well */
    };
};

struct ql_jcycler {
    ql_jlist items;
    size_t at;
};

static inline ql_jval ql_jval_none(void)
{
    return (ql_jval){.kind = QL_J_NONE};
}

static inline ql_jval ql_jval_bool(bool b)
{
    return (ql_jval){.kind = QL_J_BOOL, .b = b};
}

static inline ql_jval ql_jval_int(int64_t i)
{
    return (ql_jval){.kind = QL_J_INT, .i = i};
}

static inline ql_jval ql_jval_float(double f)
{
    return (ql_jval){.kind = QL_J_FLOAT, .f = f};
}

/* A string of n bytes that live as long as the value. */
static inline ql_jval ql_jval_str(const char *s, size_t n)
{
    return (ql_jval){.kind = QL_J_STR, .s = s, .n = n};
}

/* The same, of bytes up to a NUL. */
ql_jval ql_jval_text(const char *s);

static inline ql_jval ql_jval_list(ql_jlist *list)
{
    return (ql_jval){.kind = QL_J_LIST, .list = list};
}

static inline bool ql_jval_is_str(ql_jval v)
{
    return v.kind == QL_J_STR;
}

/* An int or a bool, which Python takes for one. */
static inline bool ql_jval_is_int(ql_jval v)
{
    return v.kind == QL_J_INT || v.kind == QL_J_BOOL;
}

static inline bool ql_jval_is_number(ql_jval v)
{
    return ql_jval_is_int(v) || v.kind == QL_J_FLOAT;
}

/* The whole number of an int or bool; the value of any number. */
int64_t ql_jval_whole(ql_jval v);
double ql_jval_real(ql_jval v);

/* True when v is a string with this content. */
bool ql_jval_says(ql_jval v, const char *s);

/* Two strings with the same bytes. */
bool ql_jval_same_text(ql_jval a, ql_jval b);

/* What Python's bool() says, and len(): -1 for what has no length. Cannot
 * fail. */
bool ql_jval_truth(ql_jval v);
int64_t ql_jval_len(ql_jval v);

/* The name of the type, as Python's errors have it: "str", "NoneType". */
const char *ql_jval_type(ql_jval v);

#endif
