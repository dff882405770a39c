/* Patterns: "%d of %s" % (...), and "{} of {name}".format(...). */
#include "src/text/jinja_format.h"

#include <string.h>

#include "src/text/jinja_access.h"
#include "src/text/jinja_chars.h"
#include "src/text/jinja_number.h"
#include "src/text/jinja_text.h"
#include "src/text/utf8.h"

/* Where values come from. */
typedef struct source {
    ql_jinja *j;
    ql_jval pattern;
    size_t at;            /* in the pattern */
    ql_jval args;         /* of % */
    const ql_jargs *call; /* of format() */
    size_t used;          /* values taken in order */
    bool markup;          /* strings are escaped */
} source;

static char peek(const source *s)
{
    return s->at < s->pattern.n ? s->pattern.s[s->at] : '\0';
}

static ql_status bad(const source *s, const char *what)
{
    QL_RAISE(s->j, "ValueError", "%s", what);
}

/* The next value of %. */
static ql_status next_value(source *s, ql_jval *out)
{
    const bool tuple = s->args.kind == QL_J_TUPLE;
    const size_t n = tuple ? s->args.list->n : 1;

    if (s->used == n) {
        QL_RAISE(s->j, "TypeError", "not enough arguments for format string");
    }
    *out = tuple ? s->args.list->v[s->used] : s->args;
    s->used++;
    return QL_OK;
}

/* The value of a key in parentheses. */
static ql_status keyed_value(source *s, ql_jval *out)
{
    const char *close;
    ql_jval *found;
    ql_jval key;

    s->at++;
    close = memchr(s->pattern.s + s->at, ')', s->pattern.n - s->at);
    if (!close) {
        return bad(s, "incomplete format key");
    }
    key = ql_jval_str(s->pattern.s + s->at,
                      (size_t)(close - s->pattern.s) - s->at);
    s->at += key.n + 1;
    if (s->args.kind != QL_J_DICT) {
        QL_RAISE(s->j, "TypeError", "format requires a mapping");
    }
    QL_TRY(ql_jinja_lookup(s->j, s->args.dict, key, &found));
    if (!found) {
        QL_RAISE(s->j, "KeyError", "'%.*s'", (int)key.n, key.s);
    }
    *out = *found;
    return QL_OK;
}

/* A width or precision: digits, or * for the next value. */
static ql_status number_or_star(source *s, int64_t *out)
{
    ql_jval v;

    if (peek(s) != '*') {
        return ql_jspec_digits(s->j, s->pattern, &s->at, out);
    }
    s->at++;
    QL_TRY(next_value(s, &v));
    if (!ql_jval_is_int(v) || ql_jval_whole(v) < 0 ||
        ql_jval_whole(v) > INT16_MAX) {
        QL_RAISE(s->j, "TypeError", "* wants int");
    }
    *out = ql_jval_whole(v);
    return QL_OK;
}

static ql_status read_percent_spec(source *s, ql_jspec *spec)
{
    bool zero = false;
    int64_t precision = -1;

    for (; peek(s) && strchr("-+ #0", peek(s)); s->at++) {
        const char c = peek(s);

        zero = zero || c == '0';
        spec->align = c == '-' ? '<' : spec->align;
        spec->alternate = spec->alternate || c == '#';
        spec->sign = c == '+' || (c == ' ' && !spec->sign) ? c : spec->sign;
    }
    QL_TRY(number_or_star(s, &spec->width));
    spec->width = spec->width < 0 ? 0 : spec->width;
    if (peek(s) == '.') {
        s->at++;
        QL_TRY(number_or_star(s, &precision));
        precision = precision < 0 ? 0 : precision;
    }
    spec->precision = (int)precision;
    while (peek(s) && strchr("hlL", peek(s))) {
        s->at++;
    }
    spec->type = peek(s);
    s->at++;
    if (zero && !spec->align && spec->type && !strchr("srac", spec->type)) {
        spec->align = '=';
        spec->fill[0] = '0';
    }
    return QL_OK;
}

static ql_status text_of(source *s, char type, ql_jval v, ql_jval *out)
{
    if (type == 's') {
        return s->markup ? ql_jinja_escape(s->j, v, out)
                         : ql_jinja_str(s->j, v, out);
    }
    if (type == 'c' && ql_jval_is_int(v)) {
        ql_buf *b = ql_jinja_scratch(s->j);
        const int64_t c = ql_jval_whole(v);

        if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            QL_RAISE(s->j, "OverflowError", "%%c arg not in range(0x110000)");
        }
        QL_TRY(ql_jchar_put(b, (int32_t)c));
        return ql_jinja_scratch_done(s->j, out);
    }
    if (type == 'c') {
        *out = v;
        if (!ql_jval_is_str(v) || ql_jval_len(v) != 1) {
            QL_RAISE(s->j, "TypeError", "%%c requires int or char");
        }
        return QL_OK;
    }
    QL_TRY(ql_jinja_repr(s->j, v, out));
    return s->markup ? ql_jinja_escape(s->j, *out, out) : QL_OK;
}

/* A number as the type of the field wants it. */
static ql_status number_of(source *s, ql_jspec *spec, ql_jval *v)
{
    const char type = spec->type;

    if (v->kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(s->j, *v);
    }
    if (!ql_jval_is_number(*v) ||
        (strchr("xXo", type) && !ql_jval_is_int(*v))) {
        QL_RAISE(s->j, "TypeError", "%%%c format: %s is required, not %s", type,
                 strchr("xXo", type) ? "an integer" : "a real number",
                 ql_jval_type(*v));
    }
    if (strchr("diu", type)) {
        spec->type = 'd';
        if (spec->precision >= 0) {
            return ql_jinja_refuse(s->j, "the precision of a whole number is "
                                         "not supported");
        }
        if (v->kind == QL_J_FLOAT) {
            int64_t i;

            QL_TRY(ql_jinja_truncate(s->j, v->f, &i));
            *v = ql_jval_int(i);
        }
    }
    return QL_OK;
}

/* The field whose % was read. */
static ql_status put_percent(source *s, ql_buf *b)
{
    ql_jspec spec = {.precision = -1};
    ql_jval v = {.kind = QL_J_ABSENT};

    if (peek(s) == '(') {
        QL_TRY(keyed_value(s, &v));
    }
    QL_TRY(read_percent_spec(s, &spec));
    if (spec.type == '%') {
        return ql_buf_putc(b, '%');
    }
    if (!spec.type) {
        return bad(s, "incomplete format");
    }
    if (!strchr("sracdiuxXoeEfFgG", spec.type)) {
        QL_RAISE(s->j, "ValueError",
                 "unsupported format character '%c' at index %zu", spec.type,
                 s->at - 1);
    }
    if (v.kind == QL_J_ABSENT) {
        QL_TRY(next_value(s, &v));
    }
    QL_TRY(ql_jinja_spend(s->j, 1));
    if (strchr("srac", spec.type)) {
        QL_TRY(text_of(s, spec.type, v, &v));
        spec.align = spec.align ? spec.align : '>';
        return ql_jspec_put_text(s->j, b, &spec, v);
    }
    QL_TRY(number_of(s, &spec, &v));
    return ql_jspec_put_number(s->j, b, &spec, v);
}

static ql_status percent(source *s, ql_buf *b)
{
    const ql_jkind k = s->args.kind;

    while (s->at < s->pattern.n) {
        const char *from = s->pattern.s + s->at;
        const char *mark = memchr(from, '%', s->pattern.n - s->at);
        const size_t n = mark ? (size_t)(mark - from) : s->pattern.n - s->at;

        QL_TRY(ql_buf_append(b, from, n));
        s->at += n;
        if (mark) {
            s->at++;
            QL_TRY(put_percent(s, b));
        }
    }
    if (s->used < (k == QL_J_TUPLE ? s->args.list->n : 1) && k != QL_J_DICT &&
        k != QL_J_LIST && k != QL_J_RANGE && k != QL_J_UNDEFINED) {
        QL_RAISE(s->j, "TypeError",
                 "not all arguments converted during string formatting");
    }
    return QL_OK;
}

/* Runs one of the two ways, in a buffer of its own: the values' texts need
 * the scratch buffer. */
static ql_status run(source *s, ql_status (*way)(source *s, ql_buf *b),
                     ql_jval *out)
{
    ql_status st;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_TEXT, QL_JINJA_OUTPUT);
    QL_TRY_DONE(way(s, &b));
    QL_TRY_DONE(ql_jinja_string(s->j, b.data, b.len, out));
    out->markup = s->markup;
done:
    ql_buf_free(&b);
    return st;
}

ql_status ql_jinja_percent(ql_jinja *j, ql_jval pattern, ql_jval args,
                           ql_jval *out)
{
    source s = {
        .j = j, .pattern = pattern, .args = args, .markup = pattern.markup};

    QL_TRY(ql_jinja_spend_bytes(j, pattern.n));
    return run(&s, percent, out);
}

/* A plain argument by its number. */
static ql_status argument(source *s, int64_t i, ql_jval *out)
{
    if (i < 0 || (uint64_t)i >= s->call->n) {
        QL_RAISE(s->j, "IndexError",
                 "Replacement index %d out of range for positional args tuple",
                 (int)i);
    }
    *out = s->call->v[i];
    return QL_OK;
}

static ql_status named_argument(source *s, ql_jval name, ql_jval *out)
{
    for (size_t i = 0; i < s->call->n_named; i++) {
        if (ql_jval_same_text(s->call->names[i], name)) {
            *out = s->call->named[i];
            return QL_OK;
        }
    }
    QL_RAISE(s->j, "KeyError", "'%.*s'", (int)name.n, name.s);
}

/* Up to one of these characters. */
static ql_jval word(source *s, const char *ends)
{
    const size_t from = s->at;

    while (s->at < s->pattern.n && !strchr(ends, peek(s))) {
        s->at++;
    }
    return ql_jval_str(s->pattern.s + from, s->at - from);
}

/* A number when the word is one, -1 for any other. */
static ql_status number_in(source *s, ql_jval w, int64_t *out)
{
    size_t i = 0;

    QL_TRY(ql_jspec_digits(s->j, w, &i, out));
    *out = i == w.n ? *out : -1;
    return QL_OK;
}

/* name.part[part]...: what a field shows. */
static ql_status field_value(source *s, ql_jval *out)
{
    const ql_jval name = word(s, ".[!:}");
    int64_t i;

    QL_TRY(number_in(s, name, &i));
    if (name.n == 0) {
        QL_TRY(argument(s, (int64_t)s->used++, out));
    } else if (i >= 0) {
        QL_TRY(argument(s, i, out));
    } else {
        QL_TRY(named_argument(s, name, out));
    }
    while (peek(s) == '.' || peek(s) == '[') {
        const bool item = peek(s) == '[';
        ql_jval part;

        s->at++;
        part = word(s, item ? "]" : ".[!:}");
        QL_TRY(number_in(s, part, &i));
        if (item) {
            s->at++;
            part = i >= 0 ? ql_jval_int(i) : part;
            QL_TRY(ql_jinja_item(s->j, *out, part, out));
        } else {
            QL_TRY(ql_jinja_attr(s->j, *out, part, out));
        }
    }
    return QL_OK;
}

static void read_align(ql_jval w, size_t *i, ql_jspec *spec)
{
    const size_t first = w.n > 0 ? ql_utf8_len(w.s, w.n) : 0;

    if (first > 0 && first < w.n && strchr("<>^=", w.s[first])) {
        memcpy(spec->fill, w.s, first);
        spec->align = w.s[first];
        *i = first + 1;
    } else if (w.n > 0 && strchr("<>^=", w.s[0])) {
        spec->align = w.s[0];
        *i = 1;
    }
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static ql_status read_spec(source *s, ql_jval w, ql_jspec *spec)
{
    int64_t precision = -1;
    size_t i = 0;

    read_align(w, &i, spec);
    if (i < w.n && strchr("+- ", w.s[i])) {
        spec->sign = w.s[i++];
    }
    spec->alternate = i < w.n && w.s[i] == '#';
    i += spec->alternate;
    if (i < w.n && w.s[i] == '0' && !spec->align) {
        spec->fill[0] = '0';
        spec->align = '=';
    }
    QL_TRY(ql_jspec_digits(s->j, w, &i, &spec->width));
    spec->width = spec->width < 0 ? 0 : spec->width;
    spec->grouped = i < w.n && w.s[i] == ',';
    i += spec->grouped;
    if (i < w.n && w.s[i] == '.') {
        i++;
        QL_TRY(ql_jspec_digits(s->j, w, &i, &precision));
        if (precision < 0) {
            return bad(s, "Format specifier missing precision");
        }
    }
    spec->precision = (int)precision;
    spec->type = i < w.n ? w.s[i++] : '\0';
    return i < w.n || (spec->type && !strchr("sdxXobeEfFgG%", spec->type))
               ? bad(s, "Invalid format specifier")
               : QL_OK;
}

static ql_status put_by_spec(source *s, ql_buf *b, ql_jval v, ql_jval w)
{
    ql_jspec spec = {.precision = -1};
    const bool number = ql_jval_is_number(v);

    if (memchr(w.s, '{', w.n)) {
        return ql_jinja_refuse(s->j, "fields within fields are not supported");
    }
    if (w.n > 0 && !number && !ql_jval_is_str(v)) {
        QL_RAISE(s->j, "TypeError",
                 "unsupported format string passed to %s.__format__",
                 ql_jval_type(v));
    }
    QL_TRY(read_spec(s, w, &spec));
    if (number && w.n > 0 &&
        (spec.type || v.kind != QL_J_FLOAT || spec.precision >= 0)) {
        if (spec.type == 's' ||
            (v.kind == QL_J_FLOAT && spec.type && strchr("dxXob", spec.type))) {
            QL_RAISE(s->j, "ValueError",
                     "Unknown format code '%c' for object of type '%s'",
                     spec.type, ql_jval_type(v));
        }
        return ql_jspec_put_number(s->j, b, &spec, v);
    }
    if (!number && ((spec.type && spec.type != 's') || spec.sign ||
                    spec.alternate || spec.grouped)) {
        return bad(s, "a number's format for a string");
    }
    if (s->markup) {
        QL_TRY(ql_jinja_escape(s->j, v, &v));
    } else {
        QL_TRY(ql_jinja_str(s->j, v, &v));
    }
    spec.align = !number && spec.align == '=' ? '<'
                 : number && !spec.align      ? '>'
                                              : spec.align;
    return ql_jspec_put_text(s->j, b, &spec, v);
}

/* The field whose brace was read. */
static ql_status put_field(source *s, ql_buf *b)
{
    ql_jval spec = ql_jval_text("");
    ql_jval v;

    QL_TRY(ql_jinja_spend(s->j, 1));
    QL_TRY(field_value(s, &v));
    if (peek(s) == '!') {
        s->at++;
        if (peek(s) != 'r' && peek(s) != 's') {
            return bad(s, "expected 's' or 'r' behind '!'");
        }
        QL_TRY(peek(s) == 'r' ? ql_jinja_repr(s->j, v, &v)
                              : ql_jinja_str(s->j, v, &v));
        s->at++;
    }
    if (peek(s) == ':') {
        s->at++;
        spec = word(s, "}");
    }
    if (peek(s) != '}') {
        return bad(s, "expected '}' before end of string");
    }
    s->at++;
    return put_by_spec(s, b, v, spec);
}

static ql_status braces(source *s, ql_buf *b)
{
    while (s->at < s->pattern.n) {
        const char c = peek(s);

        s->at++;
        if (c != '{' && c != '}') {
            QL_TRY(ql_buf_putc(b, c));
        } else if (peek(s) == c) {
            QL_TRY(ql_buf_putc(b, c));
            s->at++;
        } else if (c == '{') {
            QL_TRY(put_field(s, b));
        } else {
            return bad(s, "Single '}' encountered in format string");
        }
    }
    return ql_buf_append(b, "", 0);
}

ql_status ql_jinja_format(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    source s = {
        .j = j, .pattern = c->self, .call = &c->args, .markup = c->self.markup};

    QL_TRY(ql_jinja_spend_bytes(j, c->self.n));
    return run(&s, braces, out);
}
