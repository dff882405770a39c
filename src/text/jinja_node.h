/* A parsed template: statements and expressions, as a tree. */
#ifndef QL_TEXT_JINJA_NODE_H
#define QL_TEXT_JINJA_NODE_H

#include "src/text/jinja_ops.h"

typedef enum ql_jnode_kind {
    /* expressions; the fields each uses */
    QL_J_N_CONST,   /* value */
    QL_J_N_NAME,    /* value */
    QL_J_N_LIST,    /* list */
    QL_J_N_TUPLE,   /* list */
    QL_J_N_DICT,    /* list of pairs: a, b */
    QL_J_N_ATTR,    /* a . value */
    QL_J_N_ITEM,    /* a [ b ] */
    QL_J_N_SLICE,   /* a [ list of three ]; an empty place is CONST absent */
    QL_J_N_CALL,    /* a ( list ) */
    QL_J_N_FILTER,  /* a | value ( list ), entry */
    QL_J_N_TEST,    /* a is value ( list ), entry */
    QL_J_N_INPUT,   /* what a filter of a block is applied to */
    QL_J_N_UNARY,   /* op a */
    QL_J_N_BINARY,  /* a op b */
    QL_J_N_COMPARE, /* a, list of operands: op a */
    QL_J_N_NOT,     /* a */
    QL_J_N_AND,     /* a, b */
    QL_J_N_OR,      /* a, b */
    QL_J_N_COND,    /* b if a else c; c may be NULL */
    /* parts of expressions */
    QL_J_N_PAIR,
    QL_J_N_OPERAND,
    QL_J_N_NAMED,     /* an argument: value = a */
    QL_J_N_STAR,      /* * a */
    QL_J_N_STAR_STAR, /* ** a */
    QL_J_N_NSREF,     /* a target: value . a */
    /* statements */
    QL_J_N_TEXT,         /* value */
    QL_J_N_PRINT,        /* a */
    QL_J_N_IF,           /* a, body; other: what follows elif or else */
    QL_J_N_FOR,          /* for a in b if c, body; other: what follows else */
    QL_J_N_SET,          /* a = b */
    QL_J_N_SET_BLOCK,    /* a, filter b or NULL, body */
    QL_J_N_MACRO,        /* value ( list of NAMED ), body */
    QL_J_N_CALL_BLOCK,   /* call a, macro b */
    QL_J_N_FILTER_BLOCK, /* filter a, body */
    QL_J_N_WITH,         /* list of SET, body */
    QL_J_N_GENERATION,   /* body */
    QL_J_N_BREAK,
    QL_J_N_CONTINUE,
    QL_J_N_KINDS
} ql_jnode_kind;

enum {
    /* FOR */
    QL_J_RECURSIVE = 1,
    /* MACRO: what its body asks for */
    QL_J_USES_CALLER = 1,
    QL_J_USES_VARARGS = 2,
    QL_J_USES_KWARGS = 4,
    /* IF: it came with elif */
    QL_J_ELIF = 1
};

typedef struct ql_jnode {
    ql_jnode_kind kind;
    ql_jop op;
    int flags;
    size_t line;
    ql_jval value;
    const ql_jentry *entry; /* NULL: there is no such filter or test */
    struct ql_jnode *a;
    struct ql_jnode *b;
    struct ql_jnode *c;
    struct ql_jnode *list;  /* linked by next */
    struct ql_jnode *body;  /* linked by next */
    struct ql_jnode *other; /* linked by next */
    struct ql_jnode *next;
} ql_jnode;

#endif
