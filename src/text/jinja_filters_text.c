/* Filters on text. Most take any value and begin with its str(). */
#include <string.h>

#include "src/text/jinja_chars.h"
#include "src/text/jinja_format.h"
#include "src/text/jinja_json.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_str.h"
#include "src/text/jinja_tables.h"
#include "src/text/jinja_text.h"
#include "src/text/utf8.h"

static ql_status upper(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(ql_jinja_soft_str(j, c->self, out));
    return ql_jstr_case(j, *out, QL_J_UPPER, out);
}

static ql_status lower(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(ql_jinja_soft_str(j, c->self, out));
    return ql_jstr_case(j, *out, QL_J_LOWER, out);
}

static ql_status capitalize(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(ql_jinja_soft_str(j, c->self, out));
    return ql_jstr_case(j, *out, QL_J_CAPITALIZE, out);
}

/* A word begins behind these, and nowhere else: unlike str.title(). */
static bool begins_word(int32_t c)
{
    return ql_jchar_is_space(c) || (c < 128 && c > 0 && strchr("-({[<", c));
}

static ql_status title(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_buf *b;
    ql_jval s;

    QL_TRY(ql_jinja_str(j, c->self, &s));
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    b = ql_jinja_scratch(j);
    for (size_t i = 0, n; i < s.n; i += n) {
        n = 0;
        while (i + n < s.n &&
               !begins_word(ql_utf8_get(s.s + i + n, s.n - i - n))) {
            n += ql_utf8_len(s.s + i + n, s.n - i - n);
        }
        if (n > 0) {
            const size_t head = ql_utf8_len(s.s + i, n);

            QL_TRY(ql_jchars_put_case(b, s.s + i, head, QL_J_UPPER));
            QL_TRY(ql_jchars_put_case(b, s.s + i + head, n - head, QL_J_LOWER));
        } else {
            n = ql_utf8_len(s.s + i, s.n - i);
            QL_TRY(ql_buf_append(b, s.s + i, n));
        }
    }
    return ql_jinja_scratch_done(j, out);
}

static ql_status trim(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const ql_jval absent = {.kind = QL_J_ABSENT};
    ql_jval s;

    QL_TRY(ql_jinja_soft_str(j, c->self, &s));
    return ql_jstr_strip(j, s, ql_jarg_none(c, 0) ? absent : c->arg[0],
                         QL_J_LEFT | QL_J_RIGHT, out);
}

static ql_status replace(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    int64_t count = -1;
    ql_jval s;
    ql_jval old;
    ql_jval fresh;

    QL_TRY(ql_jinja_str(j, c->self, &s));
    QL_TRY(ql_jinja_str(j, c->arg[0], &old));
    QL_TRY(ql_jinja_str(j, c->arg[1], &fresh));
    if (!ql_jarg_none(c, 2)) {
        QL_TRY(ql_jarg_int(j, c, 2, &count));
    }
    return ql_jstr_replace(j, s, old, fresh, count, out);
}

static ql_status string(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return ql_jinja_soft_str(j, c->self, out);
}

static ql_status safe(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(ql_jinja_str(j, c->self, out));
    out->markup = true;
    return QL_OK;
}

static ql_status escape(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return ql_jinja_escape(j, c->self, out);
}

static ql_status forceescape(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval s;

    QL_TRY(ql_jinja_str(j, c->self, &s));
    return ql_jinja_escape(j, s, out);
}

static ql_status format(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval args = {.kind = QL_J_TUPLE};
    ql_jval s;

    if (c->args.n > 0 && c->args.n_named > 0) {
        QL_RAISE(j, "FilterArgumentError",
                 "can't handle positional and keyword arguments at the same "
                 "time");
    }
    QL_TRY(ql_jinja_soft_str(j, c->self, &s));
    if (c->args.n_named == 0) {
        QL_TRY(ql_jinja_list(j, 0, &args.list));
        for (size_t i = 0; i < c->args.n; i++) {
            QL_TRY(ql_jinja_push(j, args.list, c->args.v[i]));
        }
        return ql_jinja_percent(j, s, args, out);
    }
    QL_TRY(ql_jinja_dict(j, 0, &args));
    for (size_t i = 0; i < c->args.n_named; i++) {
        QL_TRY(
            ql_jinja_put_new(j, args.dict, c->args.names[i], c->args.named[i]));
    }
    return ql_jinja_percent(j, s, args, out);
}

/* The first line stands as it is unless first; empty lines unless blank. */
static ql_status put_indented(ql_jinja *j, ql_jval s, ql_jval indent,
                              bool first, bool blank, ql_jval *out)
{
    ql_buf *b = ql_jinja_scratch(j);
    size_t line = 0;

    if (first) {
        QL_TRY(ql_buf_append(b, indent.s, indent.n));
    }
    for (size_t i = 0; i <= s.n && (i < s.n || line == 0); line++) {
        const size_t end = i + ql_jstr_line(s.s + i, s.n - i);

        QL_TRY(ql_buf_puts(b, line > 0 ? "\n" : ""));
        QL_TRY(ql_jinja_spend_bytes(j, end - i + indent.n));
        if (line > 0 && (blank || end > i)) {
            QL_TRY(ql_buf_append(b, indent.s, indent.n));
        }
        QL_TRY(ql_buf_append(b, s.s + i, end - i));
        i = end + ql_jstr_line_end(s.s + end, s.n - end);
    }
    return ql_jinja_scratch_done(j, out);
}

static ql_status indent(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval text = ql_jval_text("    ");
    int64_t width = 4;
    ql_jval s;

    if (c->self.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, c->self);
    }
    if (!ql_jval_is_str(c->self)) {
        return ql_jinja_binary(j, QL_J_ADD, c->self, ql_jval_text("\n"), out);
    }
    if (ql_jval_is_str(c->arg[0])) {
        text = c->arg[0];
    } else {
        QL_TRY(ql_jarg_int(j, c, 0, &width));
        QL_TRY(ql_jinja_repeat(j, ql_jval_text(" "), width, &text));
    }
    /* one line end more, so that the last line has one */
    QL_TRY(ql_jinja_binary(j, QL_J_ADD, c->self, ql_jval_text("\n"), &s));
    QL_TRY(put_indented(j, s, text, ql_jarg_truth(c, 1, false),
                        ql_jarg_truth(c, 2, false), out));
    out->markup = c->self.markup;
    return QL_OK;
}

static ql_status center(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    int64_t width = 80;
    ql_jval s;

    QL_TRY(ql_jarg_int(j, c, 0, &width));
    QL_TRY(ql_jinja_soft_str(j, c->self, &s));
    return ql_jstr_pad(j, s, width, ql_jval_text(" "), QL_J_LEFT | QL_J_RIGHT,
                       out);
}

/* Cuts at length, the end included, but not by a few characters only. */
static ql_status truncate(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval end = ql_jval_text("...");
    int64_t length = 255;
    int64_t leeway = 5;
    ql_jval s;
    size_t n;

    s = c->self;
    if (ql_jval_len(s) < 0) {
        QL_RAISE(j, "TypeError", "object of type '%s' has no len()",
                 ql_jval_type(s));
    }
    QL_TRY(ql_jarg_int(j, c, 0, &length));
    QL_TRY(ql_jarg_str(j, c, 2, &end));
    if (!ql_jarg_none(c, 3)) {
        QL_TRY(ql_jarg_int(j, c, 3, &leeway));
    }
    if (length < ql_jval_len(end) || leeway < 0) {
        QL_RAISE(j, "AssertionError", "expected length >= %d, got %d",
                 (int)ql_jval_len(end), (int)length);
    }
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    if (ql_jval_len(s) <= leeway || ql_jval_len(s) - leeway <= length) {
        *out = s;
        return QL_OK;
    }
    if (!ql_jval_is_str(s)) {
        QL_RAISE(j, "TypeError", "truncate() wants a string, not %s",
                 ql_jval_type(s));
    }
    n = ql_jchars_offset(s.s, s.n, (size_t)(length - ql_jval_len(end)));
    if (!ql_jarg_truth(c, 1, false)) {
        const size_t blank = ql_jchars_rfind(s.s, n, " ", 1);

        n = blank == SIZE_MAX ? n : blank;
    }
    return ql_jinja_binary(j, QL_J_ADD, ql_jval_str(s.s, n), end, out);
}

static ql_status wordcount(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    bool inside = false;
    int64_t count = 0;
    ql_jval s;

    QL_TRY(ql_jinja_str(j, c->self, &s));
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    for (size_t i = 0; i < s.n; i += ql_utf8_len(s.s + i, s.n - i)) {
        const int32_t ch = ql_utf8_get(s.s + i, s.n - i);
        const bool word = ch == '_' || ql_jchar_is_alnum(ch);

        count += word && !inside;
        inside = word;
    }
    *out = ql_jval_int(count);
    return QL_OK;
}

const ql_jentry ql_jinja_text_filters[] = {
    {"upper", upper, NULL, 0, 0},
    {"lower", lower, NULL, 0, 0},
    {"capitalize", capitalize, NULL, 0, 0},
    {"title", title, NULL, 0, 0},
    {"trim", trim, "chars", 0, 0},
    {"replace", replace, "old new count", 2, 0},
    {"string", string, NULL, 0, 0},
    {"safe", safe, NULL, 0, 0},
    {"e", escape, NULL, 0, 0},
    {"escape", escape, NULL, 0, 0},
    {"forceescape", forceescape, NULL, 0, 0},
    {"format", format, NULL, 0, QL_J_VARIADIC},
    {"indent", indent, "width first blank", 0, 0},
    {"center", center, "width", 0, 0},
    {"truncate", truncate, "length killwords end leeway", 0, 0},
    {"wordcount", wordcount, NULL, 0, 0},
    {"tojson", ql_jinja_tojson, "ensure_ascii indent separators sort_keys", 0,
     0},
    {0},
};
