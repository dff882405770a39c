#include "src/text/jinja_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"

static ql_status fail_at(const ql_jparser *p, size_t line, const char *text)
{
    return ql_fail(QL_EFORMAT, "%s:%zu: TemplateSyntaxError: %s", p->where,
                   line, text);
}

ql_status ql_jparse_fail(const ql_jparser *p, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return fail_at(p, p->t->line, text);
}

ql_status ql_jparse_node(ql_jparser *p, ql_jnode_kind kind, ql_jnode **out)
{
    *out = ql_jinja_take(p->mem, 1, sizeof(**out));
    if (!*out) {
        return QL_ENOMEM;
    }
    (*out)->kind = kind;
    (*out)->line = p->t->line;
    return QL_OK;
}

bool ql_jparse_is_sign(const ql_jparser *p, const char *sign)
{
    return p->t->kind == QL_J_T_SIGN && ql_jval_says(p->t->value, sign);
}

bool ql_jparse_is_name(const ql_jparser *p, const char *name)
{
    return p->t->kind == QL_J_T_NAME && ql_jval_says(p->t->value, name);
}

bool ql_jparse_skip_sign(ql_jparser *p, const char *sign)
{
    const bool is = ql_jparse_is_sign(p, sign);

    p->t += is;
    return is;
}

bool ql_jparse_skip_name(ql_jparser *p, const char *name)
{
    const bool is = ql_jparse_is_name(p, name);

    p->t += is;
    return is;
}

static const char *const kinds[] = {
    [QL_J_T_TEXT] = "template data / text",
    [QL_J_T_NAME] = "name",
    [QL_J_T_STRING] = "string",
    [QL_J_T_INT] = "integer",
    [QL_J_T_FLOAT] = "float",
    [QL_J_T_PRINT] = "begin of print statement",
    [QL_J_T_PRINT_END] = "end of print statement",
    [QL_J_T_TAG] = "begin of statement block",
    [QL_J_T_TAG_END] = "end of statement block",
    [QL_J_T_END] = "end of template",
};

const char *ql_jparse_describe(const ql_jparser *p, char text[64])
{
    const ql_jtoken *t = p->t;

    if (t->kind != QL_J_T_NAME && t->kind != QL_J_T_SIGN) {
        return kinds[t->kind];
    }
    snprintf(text, 64, "%.*s", (int)(t->value.n < 60 ? t->value.n : 60),
             t->value.s);
    return text;
}

static ql_status expected(const ql_jparser *p, const char *what)
{
    char text[64];

    if (p->t->kind == QL_J_T_END) {
        return ql_jparse_fail(p, "unexpected end of template, expected '%s'.",
                              what);
    }
    return ql_jparse_fail(p, "expected token '%s', got '%s'", what,
                          ql_jparse_describe(p, text));
}

ql_status ql_jparse_sign(ql_jparser *p, const char *sign)
{
    return ql_jparse_skip_sign(p, sign) ? QL_OK : expected(p, sign);
}

ql_status ql_jparse_name(ql_jparser *p, ql_jval *out)
{
    if (p->t->kind != QL_J_T_NAME) {
        return expected(p, "name");
    }
    *out = p->t->value;
    p->t++;
    return QL_OK;
}

ql_status ql_jparse_kind(ql_jparser *p, ql_jtoken_kind kind)
{
    if (p->t->kind != kind) {
        return expected(p, kinds[kind]);
    }
    p->t++;
    return QL_OK;
}

ql_status ql_jparse_enter(ql_jparser *p)
{
    if (p->depth == QL_JINJA_BRACKETS) {
        return ql_jparse_fail(p, "nested deeper than %d", QL_JINJA_BRACKETS);
    }
    p->depth++;
    return QL_OK;
}

void ql_jparse_leave(ql_jparser *p)
{
    p->depth--;
}

static ql_status statements(ql_jparser *p, const char *const *ends,
                            ql_jnode **out);

/* Statements up to the tag of one of these names, which is the next token. */
static ql_status body_until(ql_jparser *p, const char *const *ends,
                            ql_jnode **out)
{
    ql_jparse_skip_sign(p, ":");
    QL_TRY(ql_jparse_kind(p, QL_J_T_TAG_END));
    return statements(p, ends, out);
}

/* The same for one name, which is skipped. */
static ql_status body(ql_jparser *p, const char *end, ql_jnode **out)
{
    QL_TRY(body_until(p, (const char *const[]){end, NULL}, out));
    p->t++;
    return QL_OK;
}

static ql_status parse_set(ql_jparser *p, ql_jnode **out)
{
    ql_jnode *in;

    QL_TRY(ql_jparse_node(p, QL_J_N_SET, out));
    QL_TRY(ql_jparse_target(p, true, NULL, &(*out)->a));
    if (ql_jparse_skip_sign(p, "=")) {
        return ql_jparse_tuple(p, true, NULL, &(*out)->b);
    }
    (*out)->kind = QL_J_N_SET_BLOCK;
    QL_TRY(ql_jparse_node(p, QL_J_N_INPUT, &in));
    QL_TRY(ql_jparse_filters(p, in, false, &(*out)->b));
    p->soft = false;
    return body(p, "endset", &(*out)->body);
}

static ql_status parse_for(ql_jparser *p, ql_jnode **out)
{
    static const char *const ends[] = {"endfor", "else", NULL};

    QL_TRY(ql_jparse_node(p, QL_J_N_FOR, out));
    QL_TRY(ql_jparse_target(p, false, "in", &(*out)->a));
    if (!ql_jparse_skip_name(p, "in")) {
        return expected(p, "in");
    }
    QL_TRY(ql_jparse_tuple(p, false, "recursive", &(*out)->b));
    if (ql_jparse_skip_name(p, "if")) {
        QL_TRY(ql_jparse_expr(p, true, &(*out)->c));
    }
    if (ql_jparse_skip_name(p, "recursive")) {
        (*out)->flags |= QL_J_RECURSIVE;
    }
    p->soft = false;
    p->loops++;
    QL_TRY(body_until(p, ends, &(*out)->body));
    p->loops--;
    if (ql_jparse_skip_name(p, "else")) {
        return body(p, "endfor", &(*out)->other);
    }
    p->t++;
    return QL_OK;
}

static ql_status parse_if(ql_jparser *p, ql_jnode **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    int flags = 0;

    p->soft = true;
    for (;;) {
        QL_TRY(ql_jparse_node(p, QL_J_N_IF, out));
        (*out)->flags = flags;
        QL_TRY(ql_jparse_tuple(p, false, NULL, &(*out)->a));
        QL_TRY(body_until(p, ends, &(*out)->body));
        if (!ql_jparse_skip_name(p, "elif")) {
            break;
        }
        flags = QL_J_ELIF;
        out = &(*out)->other;
    }
    if (ql_jparse_skip_name(p, "else")) {
        return body(p, "endif", &(*out)->other);
    }
    p->t++;
    return QL_OK;
}

static ql_status parse_with(ql_jparser *p, ql_jnode **out)
{
    ql_jnode **last;

    QL_TRY(ql_jparse_node(p, QL_J_N_WITH, out));
    last = &(*out)->list;
    while (p->t->kind != QL_J_T_TAG_END) {
        if ((*out)->list) {
            QL_TRY(ql_jparse_sign(p, ","));
        }
        QL_TRY(ql_jparse_node(p, QL_J_N_SET, last));
        QL_TRY(ql_jparse_target(p, false, NULL, &(*last)->a));
        QL_TRY(ql_jparse_sign(p, "="));
        QL_TRY(ql_jparse_expr(p, true, &(*last)->b));
        last = &(*last)->next;
    }
    p->soft = false;
    return body(p, "endwith", &(*out)->body);
}

/* Parameters with their defaults, in parentheses. */
static ql_status parse_signature(ql_jparser *p, ql_jnode **last)
{
    bool defaults = false;

    QL_TRY(ql_jparse_sign(p, "("));
    for (size_t n = 0; !ql_jparse_is_sign(p, ")"); n++) {
        if (n > 0) {
            QL_TRY(ql_jparse_sign(p, ","));
        }
        QL_TRY(ql_jparse_node(p, QL_J_N_NAMED, last));
        QL_TRY(ql_jparse_name(p, &(*last)->value));
        if (ql_jparse_skip_sign(p, "=")) {
            defaults = true;
            QL_TRY(ql_jparse_expr(p, true, &(*last)->a));
        } else if (defaults) {
            return ql_jparse_fail(
                p, "non-default argument follows default argument");
        }
        last = &(*last)->next;
    }
    return ql_jparse_sign(p, ")");
}

/* The body of a macro: no loop outside can be left from it. */
static ql_status macro_body(ql_jparser *p, ql_jnode *macro, const char *end)
{
    ql_jnode *outer = p->macro;
    const int loops = p->loops;

    p->macro = macro;
    p->loops = 0;
    p->soft = false;
    QL_TRY(body(p, end, &macro->body));
    p->macro = outer;
    p->loops = loops;
    return QL_OK;
}

static ql_status parse_macro(ql_jparser *p, ql_jnode **out)
{
    QL_TRY(ql_jparse_node(p, QL_J_N_MACRO, out));
    QL_TRY(ql_jparse_name(p, &(*out)->value));
    QL_TRY(parse_signature(p, &(*out)->list));
    return macro_body(p, *out, "endmacro");
}

static ql_status parse_call(ql_jparser *p, ql_jnode **out)
{
    ql_jnode *macro;

    QL_TRY(ql_jparse_node(p, QL_J_N_CALL_BLOCK, out));
    QL_TRY(ql_jparse_node(p, QL_J_N_MACRO, &macro));
    macro->value = ql_jval_text("caller");
    (*out)->b = macro;
    if (ql_jparse_is_sign(p, "(")) {
        QL_TRY(parse_signature(p, &macro->list));
    }
    QL_TRY(ql_jparse_expr(p, true, &(*out)->a));
    if ((*out)->a->kind != QL_J_N_CALL) {
        return ql_jparse_fail(p, "expected call");
    }
    return macro_body(p, macro, "endcall");
}

static ql_status parse_filter(ql_jparser *p, ql_jnode **out)
{
    ql_jnode *in;

    QL_TRY(ql_jparse_node(p, QL_J_N_FILTER_BLOCK, out));
    QL_TRY(ql_jparse_node(p, QL_J_N_INPUT, &in));
    QL_TRY(ql_jparse_filters(p, in, true, &(*out)->a));
    p->soft = false;
    return body(p, "endfilter", &(*out)->body);
}

static ql_status parse_generation(ql_jparser *p, ql_jnode **out)
{
    const int loops = p->loops;

    QL_TRY(ql_jparse_node(p, QL_J_N_GENERATION, out));
    p->loops = 0;
    p->soft = false;
    QL_TRY(body(p, "endgeneration", &(*out)->body));
    p->loops = loops;
    return QL_OK;
}

static ql_status parse_print(ql_jparser *p, ql_jnode **out)
{
    QL_TRY(ql_jparse_node(p, QL_J_N_PRINT, out));
    QL_TRY(ql_jparse_expr(p, true, &(*out)->a));
    while (ql_jparse_skip_sign(p, ",")) {
        out = &(*out)->next;
        QL_TRY(ql_jparse_node(p, QL_J_N_PRINT, out));
        QL_TRY(ql_jparse_expr(p, true, &(*out)->a));
    }
    return QL_OK;
}

static ql_status parse_jump(ql_jparser *p, ql_jnode **out)
{
    const bool leaves = ql_jval_says(p->t[-1].value, "break");

    if (p->loops == 0) {
        return ql_jparse_fail(p, "'%s' outside loop",
                              leaves ? "break" : "continue");
    }
    return ql_jparse_node(p, leaves ? QL_J_N_BREAK : QL_J_N_CONTINUE, out);
}

typedef ql_status tag_fn(ql_jparser *p, ql_jnode **out);

/* A tag without a function is one of jinja2 that is not supported. */
static const struct {
    const char *name;
    tag_fn *parse;
} tags[] = {
    {"if", parse_if},         {"for", parse_for},
    {"set", parse_set},       {"macro", parse_macro},
    {"call", parse_call},     {"filter", parse_filter},
    {"with", parse_with},     {"generation", parse_generation},
    {"print", parse_print},   {"break", parse_jump},
    {"continue", parse_jump}, {"block", NULL},
    {"extends", NULL},        {"include", NULL},
    {"import", NULL},         {"from", NULL},
    {"autoescape", NULL},     {"do", NULL},
    {"trans", NULL},          {"debug", NULL},
};

static ql_status unknown_tag(const ql_jparser *p, ql_jval name)
{
    char text[512];
    size_t n;

    snprintf(text, sizeof(text), "Encountered unknown tag '%.*s'.",
             (int)(name.n < 64 ? name.n : 64), name.s);
    n = strlen(text);
    if (p->ends) {
        snprintf(text + n, sizeof(text) - n,
                 " Jinja was looking for the following tags: %s. The innermost"
                 " block that needs to be closed is '%.*s'.",
                 p->ends, (int)p->tag.n, p->tag.s);
    }
    return fail_at(p, p->t->line, text);
}

/* The tag whose name is the next token. */
static ql_status statement(ql_jparser *p, ql_jnode **out)
{
    const ql_jval outer = p->tag;
    const bool soft = p->soft;
    const ql_jval name = p->t->value;
    size_t i = 0;

    if (p->t->kind != QL_J_T_NAME) {
        return ql_jparse_fail(p, "tag name expected");
    }
    while (i < sizeof(tags) / sizeof(*tags) &&
           !ql_jval_says(name, tags[i].name)) {
        i++;
    }
    if (i == sizeof(tags) / sizeof(*tags)) {
        return unknown_tag(p, name);
    }
    if (!tags[i].parse) {
        QL_FAIL(QL_EUNSUPPORTED, "%s:%zu: the tag '%s' is not supported",
                p->where, p->t->line, tags[i].name);
    }
    p->tag = name;
    p->t++;
    QL_TRY(ql_jparse_enter(p));
    QL_TRY(tags[i].parse(p, out));
    ql_jparse_leave(p);
    p->soft = soft;
    p->tag = outer;
    return ql_jparse_kind(p, QL_J_T_TAG_END);
}

/* The ends of a block as errors list them: 'elif' or 'else' or 'endif'. */
static void list_ends(const char *const *ends, char *text, size_t size)
{
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; ends[i] && n < size; i++) {
        n += (size_t)snprintf(text + n, size - n, "%s'%s'", i > 0 ? " or " : "",
                              ends[i]);
    }
}

/* Fails unless the template may end here. */
static ql_status end_of_template(const ql_jparser *p)
{
    if (!p->ends) {
        return QL_OK;
    }
    return ql_jparse_fail(p,
                          "Unexpected end of template. Jinja was looking for "
                          "the following tags: %s. The innermost block that "
                          "needs to be closed is '%.*s'.",
                          p->ends, (int)p->tag.n, p->tag.s);
}

static bool at_end(const ql_jparser *p, const char *const *ends)
{
    while (*ends && !ql_jparse_is_name(p, *ends)) {
        ends++;
    }
    return *ends != NULL;
}

/* One of what a template consists of. */
static ql_status parse_part(ql_jparser *p, ql_jnode **out)
{
    if (p->t->kind == QL_J_T_TEXT) {
        QL_TRY(ql_jparse_node(p, QL_J_N_TEXT, out));
        (*out)->value = p->t->value;
        p->t++;
        return QL_OK;
    }
    QL_TRY(ql_jparse_node(p, QL_J_N_PRINT, out));
    QL_TRY(ql_jparse_kind(p, QL_J_T_PRINT));
    QL_TRY(ql_jparse_tuple(p, true, NULL, &(*out)->a));
    return ql_jparse_kind(p, QL_J_T_PRINT_END);
}

/* Parts up to a tag of one of these names; NULL: up to the end. */
static ql_status statements(ql_jparser *p, const char *const *ends,
                            ql_jnode **out)
{
    const char *outer = p->ends;
    char text[64];

    if (ends) {
        list_ends(ends, text, sizeof(text));
        p->ends = text;
    }
    while (p->t->kind != QL_J_T_END) {
        if (p->t->kind == QL_J_T_TAG) {
            p->t++;
            if (ends && at_end(p, ends)) {
                p->ends = outer;
                return QL_OK;
            }
            QL_TRY(statement(p, out));
        } else {
            QL_TRY(parse_part(p, out));
        }
        while (*out) {
            out = &(*out)->next;
        }
    }
    return end_of_template(p);
}

/* The first unknown filter or test that is certain to be met is an error. */
static ql_status check_unknown(const ql_jparser *p)
{
    const ql_jnode *first = NULL;

    for (const ql_junknown *u = p->unknown; u; u = u->before) {
        first = u->soft ? first : u->node;
    }
    if (!first) {
        return QL_OK;
    }
    QL_FAIL(QL_EUNSUPPORTED, "%s:%zu: No %s named '%.*s'.", p->where,
            first->line, first->kind == QL_J_N_TEST ? "test" : "filter",
            (int)first->value.n, first->value.s);
}

ql_status ql_jinja_parse(ql_jinja_mem *mem, const char *text, size_t len,
                         const char *where, ql_jnode **out)
{
    ql_jparser p = {.mem = mem, .where = where};
    ql_jtoken *tokens;

    *out = NULL;
    QL_TRY(ql_jinja_lex(mem, text, len, where, &tokens));
    p.t = tokens;
    QL_TRY(statements(&p, NULL, out));
    return check_unknown(&p);
}
