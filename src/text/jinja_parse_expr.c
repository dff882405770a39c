/* Expressions. Binary operators are parsed by climbing their levels, all of
 * them to the left, which is what jinja2 does. */
#include "src/base/fail.h"
#include "src/text/jinja_parse.h"
#include "src/text/jinja_tables.h"

enum {
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_ADD,
    LEVEL_CONCAT,
    LEVEL_MUL,
    LEVEL_POW
};

static const struct {
    const char *text;
    bool name; /* a word, not a sign */
    int level;
    ql_jnode_kind kind;
    ql_jop op;
} operators[] = {
    {"or", true, LEVEL_OR, QL_J_N_OR, 0},
    {"and", true, LEVEL_AND, QL_J_N_AND, 0},
    {"==", false, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_EQ},
    {"!=", false, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_NE},
    {"<", false, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_LT},
    {"<=", false, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_LE},
    {">", false, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_GT},
    {">=", false, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_GE},
    {"in", true, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_IN},
    {"not", true, LEVEL_COMPARE, QL_J_N_COMPARE, QL_J_NOT_IN},
    {"+", false, LEVEL_ADD, QL_J_N_BINARY, QL_J_ADD},
    {"-", false, LEVEL_ADD, QL_J_N_BINARY, QL_J_SUB},
    {"~", false, LEVEL_CONCAT, QL_J_N_BINARY, QL_J_CONCAT},
    {"*", false, LEVEL_MUL, QL_J_N_BINARY, QL_J_MUL},
    {"/", false, LEVEL_MUL, QL_J_N_BINARY, QL_J_DIV},
    {"//", false, LEVEL_MUL, QL_J_N_BINARY, QL_J_FLOORDIV},
    {"%", false, LEVEL_MUL, QL_J_N_BINARY, QL_J_MOD},
    {"**", false, LEVEL_POW, QL_J_N_BINARY, QL_J_POW},
};

enum {
    OPERATORS = sizeof(operators) / sizeof(*operators)
};

static ql_status parse_unary(ql_jparser *p, bool filters, ql_jnode **out);
static ql_status parse_args(ql_jparser *p, ql_jnode **out);

/* The operator that comes next, OPERATORS if none does. */
static size_t operator_next(const ql_jparser *p)
{
    size_t i = 0;

    while (i < OPERATORS &&
           !(operators[i].name ? ql_jparse_is_name(p, operators[i].text)
                               : ql_jparse_is_sign(p, operators[i].text))) {
        i++;
    }
    if (i < OPERATORS && operators[i].op == QL_J_NOT_IN) {
        const ql_jtoken *next = p->t + 1;

        return next->kind == QL_J_T_NAME && ql_jval_says(next->value, "in")
                   ? i
                   : OPERATORS;
    }
    return i;
}

static ql_status parse_level(ql_jparser *p, int level, ql_jnode **out);

/* left op right. A chain of comparisons is one node; chain: left is one. */
static ql_status add_operator(ql_jparser *p, size_t i, bool chain,
                              ql_jnode **left)
{
    ql_jnode **end;
    ql_jnode *node;
    ql_jnode *right;

    QL_TRY(ql_jparse_node(p, operators[i].kind, &node));
    p->t += operators[i].op == QL_J_NOT_IN ? 2 : 1;
    QL_TRY(parse_level(p, operators[i].level + 1, &right));
    node->op = operators[i].op;
    node->a = *left;
    if (operators[i].kind != QL_J_N_COMPARE) {
        node->b = right;
        *left = node;
        return QL_OK;
    }
    if (chain) {
        node = *left;
    }
    for (end = &node->list; *end; end = &(*end)->next) {
    }
    QL_TRY(ql_jparse_node(p, QL_J_N_OPERAND, end));
    (*end)->op = operators[i].op;
    (*end)->a = right;
    *left = node;
    return QL_OK;
}

static ql_status parse_not(ql_jparser *p, ql_jnode **out)
{
    QL_TRY(ql_jparse_node(p, QL_J_N_NOT, out));
    p->t++;
    QL_TRY(ql_jparse_enter(p));
    QL_TRY(parse_level(p, LEVEL_NOT, &(*out)->a));
    ql_jparse_leave(p);
    return QL_OK;
}

/* An expression whose operators are of this level and above. */
static ql_status parse_level(ql_jparser *p, int level, ql_jnode **out)
{
    bool chain = false;

    if (level <= LEVEL_NOT && ql_jparse_is_name(p, "not")) {
        QL_TRY(parse_not(p, out));
    } else {
        QL_TRY(parse_unary(p, true, out));
    }
    for (;;) {
        const size_t i = operator_next(p);

        if (i == OPERATORS || operators[i].level < level) {
            return QL_OK;
        }
        QL_TRY(add_operator(p, i, chain, out));
        chain = operators[i].level == LEVEL_COMPARE;
    }
}

ql_status ql_jparse_expr(ql_jparser *p, bool conditions, ql_jnode **out)
{
    const ql_junknown *before = p->unknown;

    QL_TRY(ql_jparse_enter(p));
    QL_TRY(parse_level(p, LEVEL_OR, out));
    while (conditions && ql_jparse_is_name(p, "if")) {
        ql_jnode *cond;

        QL_TRY(ql_jparse_node(p, QL_J_N_COND, &cond));
        p->t++;
        cond->b = *out;
        QL_TRY(parse_level(p, LEVEL_OR, &cond->a));
        if (ql_jparse_skip_name(p, "else")) {
            QL_TRY(ql_jparse_expr(p, true, &cond->c));
        }
        *out = cond;
        for (ql_junknown *u = p->unknown; u != before; u = u->before) {
            u->soft = true;
        }
    }
    ql_jparse_leave(p);
    return QL_OK;
}

static bool at_tuple_end(const ql_jparser *p, const char *end)
{
    return p->t->kind == QL_J_T_PRINT_END || p->t->kind == QL_J_T_TAG_END ||
           ql_jparse_is_sign(p, ")") || (end && ql_jparse_is_name(p, end));
}

ql_status ql_jparse_tuple(ql_jparser *p, bool conditions, const char *end,
                          ql_jnode **out)
{
    char text[64];
    ql_jnode *first = NULL;
    ql_jnode **last = &first;
    bool tuple = false;

    while (!at_tuple_end(p, end)) {
        QL_TRY(ql_jparse_expr(p, conditions, last));
        last = &(*last)->next;
        if (!ql_jparse_skip_sign(p, ",")) {
            break;
        }
        tuple = true;
    }
    if (!first) {
        return ql_jparse_fail(p, "Expected an expression, got '%s'",
                              ql_jparse_describe(p, text));
    }
    *out = first;
    if (tuple) {
        QL_TRY(ql_jparse_node(p, QL_J_N_TUPLE, out));
        (*out)->list = first;
    }
    return QL_OK;
}

static ql_status parse_parens(ql_jparser *p, ql_jnode **out)
{
    p->t++;
    if (ql_jparse_is_sign(p, ")")) {
        QL_TRY(ql_jparse_node(p, QL_J_N_TUPLE, out));
    } else {
        QL_TRY(ql_jparse_tuple(p, true, NULL, out));
    }
    return ql_jparse_sign(p, ")");
}

static ql_status parse_list(ql_jparser *p, ql_jnode **out)
{
    ql_jnode **last;

    QL_TRY(ql_jparse_node(p, QL_J_N_LIST, out));
    last = &(*out)->list;
    p->t++;
    while (!ql_jparse_is_sign(p, "]")) {
        QL_TRY(ql_jparse_expr(p, true, last));
        last = &(*last)->next;
        if (!ql_jparse_skip_sign(p, ",")) {
            break;
        }
    }
    return ql_jparse_sign(p, "]");
}

static ql_status parse_dict(ql_jparser *p, ql_jnode **out)
{
    ql_jnode **last;

    QL_TRY(ql_jparse_node(p, QL_J_N_DICT, out));
    last = &(*out)->list;
    p->t++;
    while (!ql_jparse_is_sign(p, "}")) {
        QL_TRY(ql_jparse_node(p, QL_J_N_PAIR, last));
        QL_TRY(ql_jparse_expr(p, true, &(*last)->a));
        QL_TRY(ql_jparse_sign(p, ":"));
        QL_TRY(ql_jparse_expr(p, true, &(*last)->b));
        last = &(*last)->next;
        if (!ql_jparse_skip_sign(p, ",")) {
            break;
        }
    }
    return ql_jparse_sign(p, "}");
}

/* Strings one after the other are one. */
static ql_status parse_string(ql_jparser *p, ql_jnode **out)
{
    size_t n = 0;
    char *s;

    QL_TRY(ql_jparse_node(p, QL_J_N_CONST, out));
    for (const ql_jtoken *t = p->t; t->kind == QL_J_T_STRING; t++) {
        n += t->value.n;
    }
    s = ql_jinja_take(p->mem, n + 1, 1);
    if (!s) {
        return QL_ENOMEM;
    }
    (*out)->value = ql_jval_str(s, n);
    for (; p->t->kind == QL_J_T_STRING; p->t++) {
        for (size_t i = 0; i < p->t->value.n; i++) {
            *s++ = p->t->value.s[i];
        }
    }
    return QL_OK;
}

/* What the body of a macro asks for beside its parameters. */
static void note_use(ql_jparser *p, ql_jval name)
{
    if (p->macro) {
        p->macro->flags |= ql_jval_says(name, "caller")    ? QL_J_USES_CALLER
                           : ql_jval_says(name, "varargs") ? QL_J_USES_VARARGS
                           : ql_jval_says(name, "kwargs")  ? QL_J_USES_KWARGS
                                                           : 0;
    }
}

static ql_status parse_name(ql_jparser *p, ql_jnode **out)
{
    static const struct {
        const char *name;
        ql_jval value;
    } constants[] = {
        {"true", {.kind = QL_J_BOOL, .b = true}},
        {"True", {.kind = QL_J_BOOL, .b = true}},
        {"false", {.kind = QL_J_BOOL, .b = false}},
        {"False", {.kind = QL_J_BOOL, .b = false}},
        {"none", {.kind = QL_J_NONE}},
        {"None", {.kind = QL_J_NONE}},
    };

    QL_TRY(ql_jparse_node(p, QL_J_N_NAME, out));
    (*out)->value = p->t->value;
    for (size_t i = 0; i < sizeof(constants) / sizeof(*constants); i++) {
        if (ql_jval_says(p->t->value, constants[i].name)) {
            (*out)->kind = QL_J_N_CONST;
            (*out)->value = constants[i].value;
        }
    }
    note_use(p, (*out)->value);
    p->t++;
    return QL_OK;
}

static ql_status parse_primary(ql_jparser *p, ql_jnode **out)
{
    char text[64];

    switch (p->t->kind) {
    case QL_J_T_NAME:
        return parse_name(p, out);
    case QL_J_T_STRING:
        return parse_string(p, out);
    case QL_J_T_INT:
    case QL_J_T_FLOAT:
        QL_TRY(ql_jparse_node(p, QL_J_N_CONST, out));
        (*out)->value = p->t->value;
        p->t++;
        return QL_OK;
    default:
        break;
    }
    if (ql_jparse_is_sign(p, "(")) {
        return parse_parens(p, out);
    }
    if (ql_jparse_is_sign(p, "[")) {
        return parse_list(p, out);
    }
    if (ql_jparse_is_sign(p, "{")) {
        return parse_dict(p, out);
    }
    return ql_jparse_fail(p, "unexpected '%s'", ql_jparse_describe(p, text));
}

/* One place of a slice; an empty one is absent. */
static ql_status parse_bound(ql_jparser *p, ql_jnode **out)
{
    if (ql_jparse_is_sign(p, ":") || ql_jparse_is_sign(p, "]") ||
        ql_jparse_is_sign(p, ",")) {
        return ql_jparse_node(p, QL_J_N_CONST, out);
    }
    return ql_jparse_expr(p, true, out);
}

/* What stands in brackets behind a value. */
static ql_status parse_subscript(ql_jparser *p, ql_jnode *node)
{
    ql_jnode *first;

    p->t++;
    QL_TRY(parse_bound(p, &first));
    if (!ql_jparse_is_sign(p, ":")) {
        if (first->kind == QL_J_N_CONST && first->value.kind == QL_J_ABSENT) {
            return ql_jparse_fail(p, "unexpected '%.*s'", (int)p->t->value.n,
                                  p->t->value.s);
        }
        node->b = first;
        if (ql_jparse_is_sign(p, ",")) {
            return ql_jparse_fail(p, "several subscripts are not supported");
        }
        return ql_jparse_sign(p, "]");
    }
    node->kind = QL_J_N_SLICE;
    node->list = first;
    p->t++;
    QL_TRY(parse_bound(p, &first->next));
    if (ql_jparse_skip_sign(p, ":")) {
        QL_TRY(parse_bound(p, &first->next->next));
    } else {
        QL_TRY(ql_jparse_node(p, QL_J_N_CONST, &first->next->next));
    }
    return ql_jparse_sign(p, "]");
}

static ql_status parse_dot(ql_jparser *p, ql_jnode *node)
{
    p->t++;
    if (p->t->kind == QL_J_T_NAME) {
        node->kind = QL_J_N_ATTR;
        node->value = p->t->value;
    } else if (p->t->kind == QL_J_T_INT) {
        QL_TRY(ql_jparse_node(p, QL_J_N_CONST, &node->b));
        node->b->value = p->t->value;
    } else {
        return ql_jparse_fail(p, "expected name or number");
    }
    p->t++;
    return QL_OK;
}

/* Attributes, elements and calls of a value. */
static ql_status parse_postfix(ql_jparser *p, ql_jnode **out)
{
    for (;;) {
        const bool dot = ql_jparse_is_sign(p, ".");
        const bool item = ql_jparse_is_sign(p, "[");
        ql_jnode *node;

        if (!dot && !item && !ql_jparse_is_sign(p, "(")) {
            return QL_OK;
        }
        QL_TRY(ql_jparse_node(p, QL_J_N_ITEM, &node));
        node->a = *out;
        *out = node;
        if (dot) {
            QL_TRY(parse_dot(p, node));
        } else if (item) {
            QL_TRY(parse_subscript(p, node));
        } else {
            node->kind = QL_J_N_CALL;
            QL_TRY(parse_args(p, &node->list));
        }
    }
}

/* How far a list of arguments has come: they come in this order. */
enum {
    ARGS_PLAIN,
    ARGS_NAMED,
    ARGS_STAR,
    ARGS_STAR_STAR
};

static ql_status parse_arg(ql_jparser *p, int *stage, ql_jnode **out)
{
    const ql_jtoken *next = p->t + 1;
    const bool star = ql_jparse_is_sign(p, "*");
    const bool stars = ql_jparse_is_sign(p, "**");
    const bool named = p->t->kind == QL_J_T_NAME && next->kind == QL_J_T_SIGN &&
                       ql_jval_says(next->value, "=");
    const int kind = star    ? ARGS_STAR
                     : stars ? ARGS_STAR_STAR
                     : named ? ARGS_NAMED
                             : ARGS_PLAIN;

    if (*stage == ARGS_STAR_STAR || (kind == ARGS_STAR && *stage == kind) ||
        (kind == ARGS_PLAIN && *stage > kind)) {
        return ql_jparse_fail(p, "invalid syntax for function call expression");
    }
    *stage = kind > *stage ? kind : *stage;
    if (kind == ARGS_PLAIN) {
        return ql_jparse_expr(p, true, out);
    }
    QL_TRY(ql_jparse_node(p,
                          star    ? QL_J_N_STAR
                          : stars ? QL_J_N_STAR_STAR
                                  : QL_J_N_NAMED,
                          out));
    (*out)->value = p->t->value;
    p->t += named ? 2 : 1;
    return ql_jparse_expr(p, true, &(*out)->a);
}

static ql_status parse_args(ql_jparser *p, ql_jnode **out)
{
    int stage = ARGS_PLAIN;

    QL_TRY(ql_jparse_sign(p, "("));
    while (!ql_jparse_is_sign(p, ")")) {
        QL_TRY(parse_arg(p, &stage, out));
        out = &(*out)->next;
        if (!ql_jparse_is_sign(p, ")")) {
            QL_TRY(ql_jparse_sign(p, ","));
        }
    }
    return ql_jparse_sign(p, ")");
}

/* Takes note of a filter or test without a row. */
static ql_status note_unknown(ql_jparser *p, const ql_jnode *node)
{
    ql_junknown *u;

    if (node->entry) {
        return QL_OK;
    }
    u = ql_jinja_take(p->mem, 1, sizeof(*u));
    if (!u) {
        return QL_ENOMEM;
    }
    *u = (ql_junknown){node, p->soft, p->unknown};
    p->unknown = u;
    return QL_OK;
}

/* A name, which may have dots in it. */
static ql_status parse_dotted(ql_jparser *p, ql_jval *out)
{
    QL_TRY(ql_jparse_name(p, out));
    if (ql_jparse_is_sign(p, ".")) {
        return ql_jparse_fail(p, "No filter or test has a dot in its name.");
    }
    return QL_OK;
}

ql_status ql_jparse_filters(ql_jparser *p, ql_jnode *in, bool begun,
                            ql_jnode **out)
{
    while (begun || ql_jparse_is_sign(p, "|")) {
        ql_jnode *node;

        p->t += begun ? 0 : 1;
        begun = false;
        QL_TRY(ql_jparse_node(p, QL_J_N_FILTER, &node));
        QL_TRY(parse_dotted(p, &node->value));
        node->entry = ql_jinja_filter(node->value);
        QL_TRY(note_unknown(p, node));
        if (ql_jparse_is_sign(p, "(")) {
            QL_TRY(parse_args(p, &node->list));
        }
        node->a = in;
        in = node;
    }
    *out = in;
    return QL_OK;
}

/* True when a value comes next that is the argument of a test. */
static bool at_test_arg(const ql_jparser *p)
{
    switch (p->t->kind) {
    case QL_J_T_NAME:
        return !ql_jparse_is_name(p, "else") && !ql_jparse_is_name(p, "or") &&
               !ql_jparse_is_name(p, "and");
    case QL_J_T_STRING:
    case QL_J_T_INT:
    case QL_J_T_FLOAT:
        return true;
    default:
        return ql_jparse_is_sign(p, "[") || ql_jparse_is_sign(p, "{");
    }
}

static ql_status parse_test(ql_jparser *p, ql_jnode **out)
{
    ql_jnode *node;
    ql_jnode *no = NULL;

    QL_TRY(ql_jparse_node(p, QL_J_N_TEST, &node));
    p->t++;
    if (ql_jparse_is_name(p, "not")) {
        QL_TRY(ql_jparse_node(p, QL_J_N_NOT, &no));
        p->t++;
    }
    QL_TRY(parse_dotted(p, &node->value));
    node->entry = ql_jinja_test(node->value);
    QL_TRY(note_unknown(p, node));
    if (ql_jparse_is_sign(p, "(")) {
        QL_TRY(parse_args(p, &node->list));
    } else if (at_test_arg(p)) {
        if (ql_jparse_is_name(p, "is")) {
            return ql_jparse_fail(p, "You cannot chain multiple tests with is");
        }
        QL_TRY(parse_primary(p, &node->list));
        QL_TRY(parse_postfix(p, &node->list));
    }
    node->a = *out;
    *out = node;
    if (no) {
        no->a = node;
        *out = no;
    }
    return QL_OK;
}

/* Filters, tests and calls of a value, in any order. */
static ql_status parse_filters_and_tests(ql_jparser *p, ql_jnode **out)
{
    for (;;) {
        if (ql_jparse_is_sign(p, "|")) {
            QL_TRY(ql_jparse_filters(p, *out, false, out));
        } else if (ql_jparse_is_name(p, "is")) {
            QL_TRY(parse_test(p, out));
        } else if (ql_jparse_is_sign(p, "(")) {
            ql_jnode *call;

            QL_TRY(ql_jparse_node(p, QL_J_N_CALL, &call));
            call->a = *out;
            *out = call;
            QL_TRY(parse_args(p, &call->list));
        } else {
            return QL_OK;
        }
    }
}

static ql_status parse_unary(ql_jparser *p, bool filters, ql_jnode **out)
{
    const bool minus = ql_jparse_is_sign(p, "-");

    if (minus || ql_jparse_is_sign(p, "+")) {
        QL_TRY(ql_jparse_node(p, QL_J_N_UNARY, out));
        (*out)->op = minus ? QL_J_NEG : QL_J_POS;
        p->t++;
        QL_TRY(ql_jparse_enter(p));
        QL_TRY(parse_unary(p, false, &(*out)->a));
        ql_jparse_leave(p);
    } else {
        QL_TRY(parse_primary(p, out));
    }
    QL_TRY(parse_postfix(p, out));
    return filters ? parse_filters_and_tests(p, out) : QL_OK;
}

static ql_status parse_target_item(ql_jparser *p, bool namespaces,
                                   ql_jnode **out);

/* Targets with commas between them. */
static ql_status parse_targets(ql_jparser *p, bool namespaces, const char *end,
                               ql_jnode **out)
{
    ql_jnode *first = NULL;
    ql_jnode **last = &first;
    bool tuple = false;

    do {
        QL_TRY(parse_target_item(p, namespaces, last));
        last = &(*last)->next;
        tuple = tuple || ql_jparse_is_sign(p, ",");
    } while (ql_jparse_skip_sign(p, ",") && !at_tuple_end(p, end));
    *out = first;
    if (tuple) {
        QL_TRY(ql_jparse_node(p, QL_J_N_TUPLE, out));
        (*out)->list = first;
    }
    return QL_OK;
}

static ql_status parse_target_item(ql_jparser *p, bool namespaces,
                                   ql_jnode **out)
{
    QL_TRY(ql_jparse_enter(p));
    if (ql_jparse_skip_sign(p, "(")) {
        QL_TRY(parse_targets(p, false, NULL, out));
        QL_TRY(ql_jparse_sign(p, ")"));
    } else {
        QL_TRY(parse_primary(p, out));
        if ((*out)->kind != QL_J_N_NAME) {
            return ql_jparse_fail(p, "can't assign to '%s'",
                                  (*out)->kind == QL_J_N_CONST  ? "const"
                                  : (*out)->kind == QL_J_N_LIST ? "list"
                                                                : "dict");
        }
        if (namespaces && ql_jparse_skip_sign(p, ".")) {
            (*out)->kind = QL_J_N_NSREF;
            QL_TRY(ql_jparse_node(p, QL_J_N_CONST, &(*out)->a));
            QL_TRY(ql_jparse_name(p, &(*out)->a->value));
        }
    }
    ql_jparse_leave(p);
    return QL_OK;
}

ql_status ql_jparse_target(ql_jparser *p, bool namespaces, const char *end,
                           ql_jnode **out)
{
    return parse_targets(p, namespaces, end, out);
}
