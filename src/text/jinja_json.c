#include "src/text/jinja_json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/quote.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_text.h"

static ql_status from(ql_jinja *j, const json_t *json, int depth, ql_jval *out);

static ql_status too_deep(ql_jinja *j)
{
    QL_RAISE(j, "", "a value is nested deeper than %d", QL_JINJA_NESTING);
}

static ql_status from_array(ql_jinja *j, const json_t *json, int depth,
                            ql_jval *out)
{
    const size_t n = json_array_size(json);
    ql_jlist *list;

    QL_TRY(ql_jinja_list(j, n, &list));
    for (size_t i = 0; i < n; i++) {
        QL_TRY(from(j, json_array_get(json, i), depth, &list->v[i]));
        list->n++;
    }
    *out = ql_jval_list(list);
    return QL_OK;
}

static ql_status from_object(ql_jinja *j, const json_t *json, int depth,
                             ql_jval *out)
{
    json_t *o = (json_t *)(uintptr_t)json; /* iterators take no const */

    QL_TRY(ql_jinja_dict(j, json_object_size(o), out));
    for (void *it = json_object_iter(o); it;
         it = json_object_iter_next(o, it)) {
        const char *key = json_object_iter_key(it);
        ql_jval v;

        QL_TRY(from(j, json_object_iter_value(it), depth, &v));
        QL_TRY(ql_jinja_put_new(j, out->dict, ql_jval_text(key), v));
    }
    return QL_OK;
}

static ql_status from(ql_jinja *j, const json_t *json, int depth, ql_jval *out)
{
    if (depth > QL_JINJA_NESTING) {
        return too_deep(j);
    }
    *out = ql_jval_none();
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT:
        return from_object(j, json, depth + 1, out);
    case JSON_ARRAY:
        return from_array(j, json, depth + 1, out);
    case JSON_STRING:
        *out = ql_jval_str(json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        *out = ql_jval_int(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = ql_jval_float(json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = ql_jval_bool(json_is_true(json));
        break;
    case JSON_NULL:
    default:
        break;
    }
    return QL_OK;
}

ql_status ql_jinja_from_json(ql_jinja *j, const json_t *json, ql_jval *out)
{
    return from(j, json, 0, out);
}

/* How json.dumps is to write. */
typedef struct writer {
    ql_jinja *j;
    ql_buf *b;
    bool ascii;
    bool sort;
    bool pretty;    /* a line for each element */
    ql_jval indent; /* a string for each level */
    ql_jval comma;
    ql_jval colon;
} writer;

static ql_status put_json(const writer *w, ql_jval v, int depth);

static ql_status put_text(const writer *w, ql_jval v)
{
    QL_TRY(ql_jinja_spend_bytes(w->j, v.n));
    return w->ascii ? ql_quote_ascii(w->b, v.s, v.n)
                    : ql_quote_utf8_n(w->b, v.s, v.n);
}

static ql_status put_break(const writer *w, int depth)
{
    if (!w->pretty) {
        return QL_OK;
    }
    QL_TRY(ql_buf_putc(w->b, '\n'));
    QL_TRY(ql_jinja_spend_bytes(w->j, (size_t)depth * w->indent.n));
    for (int i = 0; i < depth; i++) {
        QL_TRY(ql_buf_append(w->b, w->indent.s, w->indent.n));
    }
    return QL_OK;
}

/* The comma, if one is due, and the line break before an element. */
static ql_status put_gap(const writer *w, size_t i, int depth)
{
    if (i > 0) {
        QL_TRY(ql_buf_append(w->b, w->comma.s, w->comma.n));
    }
    return put_break(w, depth);
}

static ql_status put_array(const writer *w, const ql_jlist *list, int depth)
{
    if (list->n == 0) {
        return ql_buf_puts(w->b, "[]");
    }
    QL_TRY(ql_buf_putc(w->b, '['));
    for (size_t i = 0; i < list->n; i++) {
        QL_TRY(put_gap(w, i, depth));
        QL_TRY(put_json(w, list->v[i], depth));
    }
    QL_TRY(put_break(w, depth - 1));
    return ql_buf_putc(w->b, ']');
}

static ql_status put_key(const writer *w, ql_jval k)
{
    if (ql_jval_is_str(k)) {
        return put_text(w, k);
    }
    if (!ql_jval_is_number(k) && k.kind != QL_J_NONE) {
        QL_RAISE(w->j, "TypeError",
                 "keys must be str, int, float, bool or None, not %s",
                 ql_jval_type(k));
    }
    QL_TRY(ql_buf_putc(w->b, '"'));
    QL_TRY(put_json(w, k, 1));
    return ql_buf_putc(w->b, '"');
}

static ql_status put_object(const writer *w, const ql_jdict *d, int depth)
{
    size_t *order = ql_jinja_take(&w->j->mem, d->n, sizeof(*order));

    if (!order) {
        return QL_ENOMEM;
    }
    if (d->n == 0) {
        return ql_buf_puts(w->b, "{}");
    }
    QL_TRY(ql_jinja_order(w->j, d->k, w->sort ? d->n : 0, false, order));
    QL_TRY(ql_buf_putc(w->b, '{'));
    for (size_t i = 0; i < d->n; i++) {
        const size_t at = w->sort ? order[i] : i;

        QL_TRY(put_gap(w, i, depth));
        QL_TRY(put_key(w, d->k[at]));
        QL_TRY(ql_buf_append(w->b, w->colon.s, w->colon.n));
        QL_TRY(put_json(w, d->v[at], depth));
    }
    QL_TRY(put_break(w, depth - 1));
    return ql_buf_putc(w->b, '}');
}

static ql_status put_json(const writer *w, ql_jval v, int depth)
{
    QL_TRY(ql_jinja_spend(w->j, 1));
    if (depth > QL_JINJA_NESTING) {
        return too_deep(w->j);
    }
    switch (v.kind) {
    case QL_J_NONE:
        return ql_buf_puts(w->b, "null");
    case QL_J_BOOL:
        return ql_buf_puts(w->b, v.b ? "true" : "false");
    case QL_J_INT:
        return ql_buf_printf(w->b, "%" PRId64, v.i);
    case QL_J_FLOAT:
        return ql_json_put_real(w->b, v.f);
    case QL_J_STR:
        return put_text(w, v);
    case QL_J_LIST:
    case QL_J_TUPLE:
        return put_array(w, v.list, depth + 1);
    case QL_J_DICT:
        return put_object(w, v.dict, depth + 1);
    default:
        QL_RAISE(w->j, "TypeError",
                 "Object of type %s is not JSON serializable", ql_jval_type(v));
    }
}

static ql_status read_indent(writer *w, ql_jval v)
{
    if (v.kind == QL_J_ABSENT || v.kind == QL_J_NONE) {
        return QL_OK;
    }
    w->pretty = true;
    w->comma = ql_jval_text(",");
    if (ql_jval_is_str(v)) {
        w->indent = v;
        return QL_OK;
    }
    if (!ql_jval_is_int(v)) {
        QL_RAISE(w->j, "TypeError", "indent must be a number or a string");
    }
    return ql_jinja_repeat(w->j, ql_jval_text(" "), ql_jval_whole(v),
                           &w->indent);
}

static ql_status read_separators(writer *w, ql_jval v)
{
    if (v.kind == QL_J_ABSENT || v.kind == QL_J_NONE) {
        return QL_OK;
    }
    if ((v.kind != QL_J_TUPLE && v.kind != QL_J_LIST) || v.list->n != 2 ||
        !ql_jval_is_str(v.list->v[0]) || !ql_jval_is_str(v.list->v[1])) {
        QL_RAISE(w->j, "TypeError", "separators must be two strings");
    }
    w->comma = v.list->v[0];
    w->colon = v.list->v[1];
    return QL_OK;
}

ql_status ql_jinja_tojson(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    writer w = {.j = j,
                .comma = ql_jval_text(", "),
                .colon = ql_jval_text(": "),
                .indent = ql_jval_text("")};

    w.ascii = c->arg[0].kind != QL_J_ABSENT && ql_jval_truth(c->arg[0]);
    QL_TRY(read_indent(&w, c->arg[1]));
    QL_TRY(read_separators(&w, c->arg[2]));
    w.sort = c->arg[3].kind != QL_J_ABSENT && ql_jval_truth(c->arg[3]);
    w.b = ql_jinja_scratch(j);
    QL_TRY(put_json(&w, c->self, 0));
    return ql_jinja_scratch_done(j, out);
}
