/* Methods of strings. */
#include <string.h>

#include "src/text/jinja_access.h"
#include "src/text/jinja_format.h"
#include "src/text/jinja_ops.h"
#include "src/text/jinja_str.h"
#include "src/text/jinja_tables.h"
#include "src/text/jinja_text.h"

static ql_status upper(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return ql_jstr_case(j, c->self, QL_J_UPPER, out);
}

static ql_status lower(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return ql_jstr_case(j, c->self, QL_J_LOWER, out);
}

static ql_status title(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return ql_jstr_case(j, c->self, QL_J_TITLE, out);
}

static ql_status capitalize(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return ql_jstr_case(j, c->self, QL_J_CAPITALIZE, out);
}

static ql_status swapcase(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return ql_jstr_case(j, c->self, QL_J_SWAPCASE, out);
}

static ql_status strip_sides(ql_jinja *j, const ql_jcall *c, int sides,
                             ql_jval *out)
{
    const ql_jval absent = {.kind = QL_J_ABSENT};

    return ql_jstr_strip(j, c->self, ql_jarg_none(c, 0) ? absent : c->arg[0],
                         sides, out);
}

static ql_status strip(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return strip_sides(j, c, QL_J_LEFT | QL_J_RIGHT, out);
}

static ql_status lstrip(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return strip_sides(j, c, QL_J_LEFT, out);
}

static ql_status rstrip(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return strip_sides(j, c, QL_J_RIGHT, out);
}

static ql_status split_from(ql_jinja *j, const ql_jcall *c, bool from_end,
                            ql_jval *out)
{
    int64_t count = -1;

    QL_TRY(ql_jarg_int(j, c, 1, &count));
    *out = (ql_jval){.kind = QL_J_LIST};
    return ql_jstr_split(j, c->self, c->arg[0], count, from_end, &out->list);
}

static ql_status split(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return split_from(j, c, false, out);
}

static ql_status rsplit(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return split_from(j, c, true, out);
}

static ql_status splitlines(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const bool keep = ql_jarg_truth(c, 0, false);
    const ql_jval s = c->self;

    *out = (ql_jval){.kind = QL_J_LIST};
    QL_TRY(ql_jinja_list(j, 0, &out->list));
    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    for (size_t i = 0; i < s.n;) {
        const size_t n = ql_jstr_line(s.s + i, s.n - i);
        const size_t end = ql_jstr_line_end(s.s + i + n, s.n - i - n);
        ql_jval line = ql_jval_str(s.s + i, n + (keep ? end : 0));

        line.markup = s.markup;
        QL_TRY(ql_jinja_push(j, out->list, line));
        i += n + end;
    }
    return QL_OK;
}

/* The pieces before, of and behind a separator. */
static ql_status partition_at(ql_jinja *j, const ql_jcall *c, bool last,
                              ql_jval *out)
{
    const ql_jval s = c->self;
    ql_jval separator = {0};
    ql_jval parts[3];
    size_t at;

    QL_TRY(ql_jarg_str(j, c, 0, &separator));
    if (separator.n == 0) {
        QL_RAISE(j, "ValueError", "empty separator");
    }
    QL_TRY(ql_jinja_find(j, s, separator, &at));
    if (last) {
        at = ql_jchars_rfind(s.s, s.n, separator.s, separator.n);
    }
    if (at == SIZE_MAX) {
        parts[0] = last ? ql_jval_text("") : s;
        parts[1] = ql_jval_text("");
        parts[2] = last ? s : ql_jval_text("");
    } else {
        parts[0] = ql_jval_str(s.s, at);
        parts[1] = separator;
        parts[2] = ql_jval_str(s.s + at + separator.n, s.n - at - separator.n);
    }
    *out = (ql_jval){.kind = QL_J_TUPLE};
    QL_TRY(ql_jinja_list(j, 3, &out->list));
    for (size_t i = 0; i < 3; i++) {
        parts[i].markup = s.markup;
        QL_TRY(ql_jinja_push(j, out->list, parts[i]));
    }
    return QL_OK;
}

static ql_status partition(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return partition_at(j, c, false, out);
}

static ql_status rpartition(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return partition_at(j, c, true, out);
}

/* The part of self that arguments 1 and 2 leave; *skipped: characters before
 * it. False when the part begins beyond the end. */
static ql_status window(ql_jinja *j, const ql_jcall *c, ql_jval *out,
                        int64_t *skipped, bool *inside)
{
    const ql_jval s = c->self;
    const int64_t n = ql_jval_len(s);
    int64_t from = 0;
    int64_t to = n;
    size_t at;

    QL_TRY(ql_jinja_spend_bytes(j, s.n));
    if (!ql_jarg_none(c, 1)) {
        QL_TRY(ql_jarg_int(j, c, 1, &from));
    }
    if (!ql_jarg_none(c, 2)) {
        QL_TRY(ql_jarg_int(j, c, 2, &to));
    }
    *inside = from <= n;
    ql_jinja_clip(n, &from, &to);
    at = ql_jchars_offset(s.s, s.n, (size_t)from);
    *out = ql_jval_str(
        s.s + at, ql_jchars_offset(s.s + at, s.n - at, (size_t)(to - from)));
    *skipped = from;
    return QL_OK;
}

/* Place of a string in self, in characters; -1 if it is not there. */
static ql_status place(ql_jinja *j, const ql_jcall *c, bool last, ql_jval *out)
{
    ql_jval what = {0};
    ql_jval part;
    int64_t skipped;
    bool inside;
    size_t at;

    QL_TRY(ql_jarg_str(j, c, 0, &what));
    QL_TRY(window(j, c, &part, &skipped, &inside));
    QL_TRY(ql_jinja_find(j, part, what, &at));
    if (last) {
        at = ql_jchars_rfind(part.s, part.n, what.s, what.n);
    }
    *out = ql_jval_int(-1);
    if (at != SIZE_MAX && inside) {
        out->i = skipped + ql_jval_len(ql_jval_str(part.s, at));
    }
    return QL_OK;
}

static ql_status find(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return place(j, c, false, out);
}

static ql_status rfind(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return place(j, c, true, out);
}

static ql_status need_found(ql_jinja *j, ql_jval found)
{
    if (found.i < 0) {
        QL_RAISE(j, "ValueError", "substring not found");
    }
    return QL_OK;
}

static ql_status index_of(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(place(j, c, false, out));
    return need_found(j, *out);
}

static ql_status rindex_of(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(place(j, c, true, out));
    return need_found(j, *out);
}

static ql_status count(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval what = {0};
    int64_t skipped;
    ql_jval part;
    bool inside;
    size_t at;

    QL_TRY(ql_jarg_str(j, c, 0, &what));
    QL_TRY(window(j, c, &part, &skipped, &inside));
    QL_TRY(ql_jinja_find(j, part, what, &at)); /* counts the steps */
    *out = ql_jval_int(0);
    if (what.n == 0) {
        out->i = inside ? ql_jval_len(part) + 1 : 0;
        return QL_OK;
    }
    while (at != SIZE_MAX) {
        out->i++;
        part.s += at + what.n;
        part.n -= at + what.n;
        at = ql_jchars_find(part.s, part.n, what.s, what.n);
    }
    return ql_jinja_spend(j, (size_t)out->i);
}

static bool at_side(ql_jval s, ql_jval what, bool end)
{
    return what.n <= s.n &&
           memcmp(end ? s.s + s.n - what.n : s.s, what.s, what.n) == 0;
}

/* Whether a string, or one of several, stands at this side. */
static ql_status stands_at(ql_jinja *j, const ql_jcall *c, bool end,
                           ql_jval *out)
{
    const ql_jval one = c->arg[0];
    const ql_jlist *several = one.kind == QL_J_TUPLE ? one.list : NULL;
    const size_t n = several ? several->n : 1;
    int64_t skipped;
    ql_jval part;
    bool inside;

    QL_TRY(window(j, c, &part, &skipped, &inside));
    *out = ql_jval_bool(false);
    for (size_t i = 0; i < n && !out->b; i++) {
        const ql_jval what = several ? several->v[i] : one;

        if (!ql_jval_is_str(what)) {
            QL_RAISE(j, "TypeError",
                     "%s first arg must be str or a tuple of str, not %s",
                     end ? "endswith" : "startswith", ql_jval_type(what));
        }
        QL_TRY(ql_jinja_spend_bytes(j, what.n));
        out->b = inside && at_side(part, what, end);
    }
    return QL_OK;
}

static ql_status startswith(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return stands_at(j, c, false, out);
}

static ql_status endswith(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return stands_at(j, c, true, out);
}

static ql_status removeprefix(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval what = {0};

    QL_TRY(ql_jarg_str(j, c, 0, &what));
    *out = c->self;
    if (at_side(c->self, what, false)) {
        out->s += what.n;
        out->n -= what.n;
    }
    return QL_OK;
}

static ql_status removesuffix(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval what = {0};

    QL_TRY(ql_jarg_str(j, c, 0, &what));
    *out = c->self;
    if (at_side(c->self, what, true)) {
        out->n -= what.n;
    }
    return QL_OK;
}

static ql_status replace(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval old = {0};
    ql_jval fresh = {0};
    int64_t most = -1;

    QL_TRY(ql_jarg_str(j, c, 0, &old));
    QL_TRY(ql_jarg_str(j, c, 1, &fresh));
    QL_TRY(ql_jarg_int(j, c, 2, &most));
    if (c->self.markup) {
        QL_TRY(ql_jinja_escape(j, fresh, &fresh));
    }
    return ql_jstr_replace(j, c->self, old, fresh, most, out);
}

/* The elements as they are to be joined: strings, escaped if self is. */
static ql_status join_parts(ql_jinja *j, const ql_jcall *c, ql_jlist **out)
{
    ql_jlist *list;

    QL_TRY(ql_jinja_iterate(j, c->arg[0], &list));
    QL_TRY(ql_jinja_list(j, list->n, out));
    for (size_t i = 0; i < list->n; i++) {
        ql_jval v = list->v[i];

        if (c->self.markup) {
            QL_TRY(ql_jinja_escape(j, v, &v));
        }
        if (!ql_jval_is_str(v)) {
            QL_RAISE(j, "TypeError",
                     "sequence item %zu: expected str instance, %s found", i,
                     ql_jval_type(v));
        }
        QL_TRY(ql_jinja_push(j, *out, v));
    }
    return QL_OK;
}

static ql_status join(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jlist *parts;
    ql_buf *b;

    if (!ql_jinja_can_iterate(c->arg[0])) {
        QL_RAISE(j, "TypeError", "can only join an iterable");
    }
    QL_TRY(join_parts(j, c, &parts));
    b = ql_jinja_scratch(j);
    for (size_t i = 0; i < parts->n; i++) {
        if (i > 0) {
            QL_TRY(ql_jinja_put_str(j, b, c->self));
        }
        QL_TRY(ql_jinja_put_str(j, b, parts->v[i]));
    }
    QL_TRY(ql_jinja_scratch_done(j, out));
    out->markup = c->self.markup;
    return QL_OK;
}

static ql_status pad(ql_jinja *j, const ql_jcall *c, int sides, ql_jval *out)
{
    ql_jval fill = ql_jval_text(" ");
    int64_t width = 0;

    QL_TRY(ql_jarg_int(j, c, 0, &width));
    QL_TRY(ql_jarg_str(j, c, 1, &fill));
    return ql_jstr_pad(j, c->self, width, fill, sides, out);
}

static ql_status center(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return pad(j, c, QL_J_LEFT | QL_J_RIGHT, out);
}

static ql_status ljust(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return pad(j, c, QL_J_RIGHT, out);
}

static ql_status rjust(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    return pad(j, c, QL_J_LEFT, out);
}

/* Zeros go behind the sign. */
static ql_status zfill(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const ql_jval s = c->self;
    const size_t sign = s.n > 0 && (s.s[0] == '-' || s.s[0] == '+');
    int64_t width = 0;
    ql_jval digits = ql_jval_str(s.s + sign, s.n - sign);

    QL_TRY(ql_jarg_int(j, c, 0, &width));
    width -= width > 0 ? (int64_t)sign : 0;
    QL_TRY(
        ql_jstr_pad(j, digits, width, ql_jval_text("0"), QL_J_LEFT, &digits));
    digits.markup = s.markup;
    if (sign == 0) {
        *out = digits;
        return QL_OK;
    }
    return ql_jinja_binary(j, QL_J_ADD, ql_jval_str(s.s, 1), digits, out);
}

const ql_jentry ql_jinja_str_methods[] = {
    {"upper", upper, NULL, 0, 0},
    {"lower", lower, NULL, 0, 0},
    {"title", title, NULL, 0, 0},
    {"capitalize", capitalize, NULL, 0, 0},
    {"swapcase", swapcase, NULL, 0, 0},
    {"strip", strip, "chars", 0, 0},
    {"lstrip", lstrip, "chars", 0, 0},
    {"rstrip", rstrip, "chars", 0, 0},
    {"split", split, "sep maxsplit", 0, 0},
    {"rsplit", rsplit, "sep maxsplit", 0, 0},
    {"splitlines", splitlines, "keepends", 0, 0},
    {"partition", partition, "sep", 1, 0},
    {"rpartition", rpartition, "sep", 1, 0},
    {"find", find, "sub start end", 1, 0},
    {"rfind", rfind, "sub start end", 1, 0},
    {"index", index_of, "sub start end", 1, 0},
    {"rindex", rindex_of, "sub start end", 1, 0},
    {"count", count, "sub start end", 1, 0},
    {"startswith", startswith, "prefix start end", 1, 0},
    {"endswith", endswith, "suffix start end", 1, 0},
    {"removeprefix", removeprefix, "prefix", 1, 0},
    {"removesuffix", removesuffix, "suffix", 1, 0},
    {"replace", replace, "old new count", 2, 0},
    {"join", join, "iterable", 1, 0},
    {"center", center, "width fillchar", 1, 0},
    {"ljust", ljust, "width fillchar", 1, 0},
    {"rjust", rjust, "width fillchar", 1, 0},
    {"zfill", zfill, "width", 1, 0},
    {"format", ql_jinja_format, NULL, 0, QL_J_VARIADIC},
    {"casefold", NULL, NULL, 0, QL_J_MISSING},
    {"encode", NULL, NULL, 0, QL_J_MISSING},
    {"expandtabs", NULL, NULL, 0, QL_J_MISSING},
    {"format_map", NULL, NULL, 0, QL_J_MISSING},
    {"maketrans", NULL, NULL, 0, QL_J_MISSING},
    {"translate", NULL, NULL, 0, QL_J_MISSING},
    {0},
};
