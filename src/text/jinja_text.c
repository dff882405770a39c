#include "src/text/jinja_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "src/base/json.h"
#include "src/text/jinja_chars.h"
#include "src/text/jinja_macro.h"
#include "src/text/utf8.h"

static ql_status put_float(ql_buf *b, double f)
{
    if (!isfinite(f)) {
        return ql_buf_puts(b, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
    }
    return ql_json_put_real(b, f);
}

static ql_status put_escape(ql_buf *b, int32_t c)
{
    static const char *const named[128] = {
        ['\\'] = "\\\\", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};

    if (c < 128 && named[c]) {
        return ql_buf_puts(b, named[c]);
    }
    return ql_buf_printf(b,
                         c < 0x100     ? "\\x%02" PRIx32
                         : c < 0x10000 ? "\\u%04" PRIx32
                                       : "\\U%08" PRIx32,
                         (uint32_t)c);
}

static ql_status put_quoted(ql_buf *b, ql_jval v)
{
    const bool single =
        !memchr(v.s, '\'', v.n) || memchr(v.s, '"', v.n) != NULL;
    const char quote = single ? '\'' : '"';
    size_t len;

    QL_TRY(ql_buf_putc(b, quote));
    for (size_t i = 0; i < v.n; i += len) {
        const int32_t c = ql_utf8_get(v.s + i, v.n - i);

        len = ql_utf8_len(v.s + i, v.n - i);
        if (c == quote) {
            QL_TRY(ql_buf_putc(b, '\\'));
            QL_TRY(ql_buf_putc(b, quote));
        } else if (c == '\\' || !ql_jchar_is_printable(c)) {
            QL_TRY(put_escape(b, c));
        } else {
            QL_TRY(ql_buf_append(b, v.s + i, len));
        }
    }
    return ql_buf_putc(b, quote);
}

static ql_status put(ql_jinja *j, ql_buf *b, ql_jval v, int depth);

/* Elements with commas between them; of a mapping, with their keys. */
static ql_status put_elements(ql_jinja *j, ql_buf *b, const ql_jval *k,
                              const ql_jval *v, size_t n, int depth)
{
    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_buf_puts(b, i > 0 ? ", " : ""));
        if (k) {
            QL_TRY(put(j, b, k[i], depth));
            QL_TRY(ql_buf_puts(b, ": "));
        }
        QL_TRY(put(j, b, v[i], depth));
    }
    return QL_OK;
}

static ql_status put_list(ql_jinja *j, ql_buf *b, ql_jval v, int depth)
{
    const bool list = v.kind == QL_J_LIST;

    QL_TRY(ql_buf_putc(b, list ? '[' : '('));
    QL_TRY(put_elements(j, b, NULL, v.list->v, v.list->n, depth));
    return ql_buf_puts(b, list ? "]" : v.list->n == 1 ? ",)" : ")");
}

static ql_status put_dict(ql_jinja *j, ql_buf *b, ql_jval v, int depth)
{
    const ql_jdict *d = v.dict;
    const bool named = v.kind == QL_J_NAMESPACE;

    QL_TRY(ql_buf_puts(b, named ? "<Namespace {" : "{"));
    QL_TRY(put_elements(j, b, d->k, d->v, d->n, depth));
    return ql_buf_puts(b, named ? "}>" : "}");
}

static ql_status put_view(ql_jinja *j, ql_buf *b, ql_jval v, int depth)
{
    const ql_jdict *d = v.view->dict;

    QL_TRY(ql_buf_printf(b, "%s([", ql_jval_type(v)));
    for (size_t i = 0; i < d->n; i++) {
        ql_jval item = v.view->part == QL_J_KEYS ? d->k[i] : d->v[i];

        if (v.view->part == QL_J_ITEMS) {
            QL_TRY(ql_jinja_pair(j, d->k[i], d->v[i], &item));
        }
        QL_TRY(ql_buf_puts(b, i > 0 ? ", " : ""));
        QL_TRY(put(j, b, item, depth));
    }
    return ql_buf_puts(b, "])");
}

static ql_status put_range(ql_buf *b, const ql_jrange *r)
{
    QL_TRY(ql_buf_printf(b, "range(%" PRId64 ", %" PRId64, r->start, r->stop));
    if (r->step != 1) {
        QL_TRY(ql_buf_printf(b, ", %" PRId64, r->step));
    }
    return ql_buf_putc(b, ')');
}

static ql_status put_other(ql_buf *b, ql_jval v)
{
    if (v.kind == QL_J_MACRO) {
        QL_TRY(ql_buf_puts(b, "<Macro "));
        QL_TRY(put_quoted(b, ql_jmacro_name(v.macro)));
        return ql_buf_putc(b, '>');
    }
    if (v.kind == QL_J_FUNCTION) {
        return ql_buf_printf(b, "<function %s>", v.function->name);
    }
    return ql_buf_printf(b, "<%s object>", ql_jval_type(v));
}

static ql_status put(ql_jinja *j, ql_buf *b, ql_jval v, int depth)
{
    QL_TRY(ql_jinja_spend(j, 1));
    if (depth > QL_JINJA_NESTING) {
        QL_RAISE(j, "", "a value is nested deeper than %d", QL_JINJA_NESTING);
    }
    switch (v.kind) {
    case QL_J_UNDEFINED:
        return ql_buf_puts(b, "Undefined");
    case QL_J_NONE:
        return ql_buf_puts(b, "None");
    case QL_J_BOOL:
        return ql_buf_puts(b, v.b ? "True" : "False");
    case QL_J_INT:
        return ql_buf_printf(b, "%" PRId64, v.i);
    case QL_J_FLOAT:
        return put_float(b, v.f);
    case QL_J_STR:
        QL_TRY(ql_jinja_spend_bytes(j, v.n));
        QL_TRY(ql_buf_puts(b, v.markup ? "Markup(" : ""));
        QL_TRY(put_quoted(b, v));
        return ql_buf_puts(b, v.markup ? ")" : "");
    case QL_J_LIST:
    case QL_J_TUPLE:
        return put_list(j, b, v, depth + 1);
    case QL_J_DICT:
    case QL_J_NAMESPACE:
        return put_dict(j, b, v, depth + 1);
    case QL_J_RANGE:
        return put_range(b, v.range);
    case QL_J_VIEW:
        return put_view(j, b, v, depth + 1);
    default:
        return put_other(b, v);
    }
}

ql_status ql_jinja_put_repr(ql_jinja *j, ql_buf *b, ql_jval v)
{
    return put(j, b, v, 0);
}

ql_status ql_jinja_put_str(ql_jinja *j, ql_buf *b, ql_jval v)
{
    if (ql_jval_is_str(v)) {
        QL_TRY(ql_jinja_spend_bytes(j, v.n));
        return ql_buf_append(b, v.s, v.n);
    }
    return v.kind == QL_J_UNDEFINED ? ql_buf_append(b, "", 0) : put(j, b, v, 0);
}

ql_status ql_jinja_str(ql_jinja *j, ql_jval v, ql_jval *out)
{
    if (ql_jval_is_str(v)) {
        *out = v;
        out->markup = false;
        return QL_OK;
    }
    QL_TRY(ql_jinja_put_str(j, ql_jinja_scratch(j), v));
    return ql_jinja_scratch_done(j, out);
}

ql_status ql_jinja_repr(ql_jinja *j, ql_jval v, ql_jval *out)
{
    QL_TRY(ql_jinja_put_repr(j, ql_jinja_scratch(j), v));
    return ql_jinja_scratch_done(j, out);
}

ql_status ql_jinja_soft_str(ql_jinja *j, ql_jval v, ql_jval *out)
{
    QL_TRY(ql_jinja_str(j, v, out));
    out->markup = v.markup;
    return QL_OK;
}

ql_status ql_jinja_escape(ql_jinja *j, ql_jval v, ql_jval *out)
{
    ql_jval text;

    if (v.markup) {
        *out = v;
        return QL_OK;
    }
    QL_TRY(ql_jinja_str(j, v, &text));
    QL_TRY(ql_jinja_spend_bytes(j, text.n));
    QL_TRY(ql_jchars_put_html(ql_jinja_scratch(j), text.s, text.n));
    QL_TRY(ql_jinja_scratch_done(j, out));
    out->markup = true;
    return QL_OK;
}
