/* The functions that every template can call. */
#include <stdlib.h>
#include <string.h>

#include "src/text/jinja_access.h"
#include "src/text/jinja_tables.h"
#include "src/text/jinja_text.h"

static ql_status range_arg(ql_jinja *j, const ql_jcall *c, size_t i,
                           int64_t *out)
{
    const ql_jval v = c->args.v[i];

    if (v.kind == QL_J_UNDEFINED) {
        return ql_jinja_use_undefined(j, v);
    }
    if (!ql_jval_is_int(v)) {
        QL_RAISE(j, "TypeError",
                 "'%s' object cannot be interpreted as an integer",
                 ql_jval_type(v));
    }
    *out = ql_jval_whole(v);
    return QL_OK;
}

/* Numbers from start to stop, both included; 0 when there are none. */
static uint64_t count_steps(const ql_jrange *r)
{
    const uint64_t start = (uint64_t)r->start;
    const uint64_t stop = (uint64_t)r->stop;

    if (r->step > 0) {
        return r->start < r->stop ? (stop - start - 1) / (uint64_t)r->step + 1
                                  : 0;
    }
    return r->start > r->stop ? (start - stop - 1) / (0 - (uint64_t)r->step) + 1
                              : 0;
}

static ql_status range(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jrange *r = ql_jinja_take(&j->mem, 1, sizeof(*r));

    if (!r) {
        return QL_ENOMEM;
    }
    if (c->args.n < 1 || c->args.n > 3 || c->args.n_named > 0) {
        QL_RAISE(j, "TypeError", "range expected 1 to 3 arguments, got %zu",
                 c->args.n);
    }
    r->step = 1;
    QL_TRY(range_arg(j, c, c->args.n > 1, &r->stop));
    if (c->args.n > 1) {
        QL_TRY(range_arg(j, c, 0, &r->start));
    }
    if (c->args.n > 2) {
        QL_TRY(range_arg(j, c, 2, &r->step));
    }
    if (r->step == 0) {
        QL_RAISE(j, "ValueError", "range() arg 3 must not be zero");
    }
    if (count_steps(r) > QL_JINJA_RANGE) {
        QL_RAISE(j, "OverflowError",
                 "Range too big. The sandbox blocks ranges larger than "
                 "MAX_RANGE (%d).",
                 QL_JINJA_RANGE);
    }
    r->n = (size_t)count_steps(r);
    *out = (ql_jval){.kind = QL_J_RANGE, .range = r};
    return QL_OK;
}

/* Adds pairs, given as a mapping or as an iterable of two each. */
static ql_status add_pairs(ql_jinja *j, ql_jdict *d, ql_jval from)
{
    ql_jlist *list;

    if (from.kind == QL_J_DICT) {
        for (size_t i = 0; i < from.dict->n; i++) {
            QL_TRY(ql_jinja_put(j, d, from.dict->k[i], from.dict->v[i]));
        }
        return QL_OK;
    }
    QL_TRY(ql_jinja_iterate(j, from, &list));
    for (size_t i = 0; i < list->n; i++) {
        ql_jlist *pair;

        QL_TRY(ql_jinja_iterate(j, list->v[i], &pair));
        if (pair->n != 2) {
            QL_RAISE(j, "ValueError",
                     "dictionary update sequence element #%zu has length %zu; "
                     "2 is required",
                     i, pair->n);
        }
        QL_TRY(ql_jinja_put(j, d, pair->v[0], pair->v[1]));
    }
    return QL_OK;
}

static ql_status dict(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    if (c->args.n > 1) {
        QL_RAISE(j, "TypeError", "dict expected at most 1 argument, got %zu",
                 c->args.n);
    }
    QL_TRY(ql_jinja_dict(j, 0, out));
    if (c->args.n > 0) {
        QL_TRY(add_pairs(j, out->dict, c->args.v[0]));
    }
    for (size_t i = 0; i < c->args.n_named; i++) {
        QL_TRY(ql_jinja_put(j, out->dict, c->args.names[i], c->args.named[i]));
    }
    return QL_OK;
}

static ql_status namespace(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    QL_TRY(dict(j, c, out));
    out->kind = QL_J_NAMESPACE;
    return QL_OK;
}

static ql_status raise_exception(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jval text;

    (void)out;
    QL_TRY(ql_jinja_str(j, c->arg[0], &text));
    QL_RAISE(j, "", "%.*s", (int)(text.n < 1024 ? text.n : 1024), text.s);
}

/* strftime by another name: compilers want its pattern to be a literal. */
typedef size_t tell_fn(char *text, size_t size, const char *pattern,
                       const struct tm *now);
static tell_fn *const tell = strftime;

/* %f, microseconds, is Python's own; strftime of C does the rest. */
static ql_status put_time(ql_buf *b, const char *format, size_t n,
                          const struct tm *now)
{
    char piece[4] = "%";
    char text[256];

    for (size_t i = 0; i < n; i++) {
        if (format[i] != '%' || i + 1 == n) {
            QL_TRY(ql_buf_putc(b, format[i]));
            continue;
        }
        i++;
        piece[1] = format[i];
        piece[2] = '\0';
        if (format[i] == '-' && i + 1 < n) {
            piece[2] = format[++i];
            piece[3] = '\0';
        }
        if (piece[1] == 'f') {
            QL_TRY(ql_buf_puts(b, "000000"));
            continue;
        }
        text[0] = '\0';
        text[tell(text, sizeof(text), piece, now)] = '\0';
        QL_TRY(ql_buf_puts(b, text));
    }
    return ql_buf_append(b, "", 0);
}

static ql_status strftime_now(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    const time_t clock = time(NULL);
    ql_jval format = ql_jval_text("");
    struct tm now;

    QL_TRY(ql_jarg_str(j, c, 0, &format));
    if (j->now) {
        now = *j->now;
    } else if (!localtime_r(&clock, &now)) {
        QL_RAISE(j, "ValueError", "the clock cannot be read");
    }
    QL_TRY(put_time(ql_jinja_scratch(j), format.s, format.n, &now));
    return ql_jinja_scratch_done(j, out);
}

static ql_status cycler(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jcycler *cy = ql_jinja_take(&j->mem, 1, sizeof(*cy));

    if (!cy) {
        return QL_ENOMEM;
    }
    if (c->args.n == 0 || c->args.n_named > 0) {
        QL_RAISE(j, "RuntimeError", "at least one item has to be provided");
    }
    cy->items = (ql_jlist){.v = c->args.v, .n = c->args.n};
    *out = (ql_jval){.kind = QL_J_CYCLER, .cycler = cy};
    return QL_OK;
}

static ql_status cycler_next(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jcycler *cy = c->self.cycler;

    (void)j;
    *out = cy->items.v[cy->at];
    cy->at = (cy->at + 1) % cy->items.n;
    return QL_OK;
}

static ql_status cycler_reset(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    (void)j;
    c->self.cycler->at = 0;
    *out = ql_jval_none();
    return QL_OK;
}

static ql_status joiner(ql_jinja *j, const ql_jcall *c, ql_jval *out)
{
    ql_jcycler *cy = ql_jinja_take(&j->mem, 1, sizeof(*cy));
    ql_jval separator = ql_jval_text(", ");

    if (!cy) {
        return QL_ENOMEM;
    }
    if (c->arg[0].kind != QL_J_ABSENT) {
        separator = c->arg[0];
    }
    QL_TRY(ql_jinja_push(j, &cy->items, separator));
    *out = (ql_jval){.kind = QL_J_JOINER, .cycler = cy};
    return QL_OK;
}

const ql_jentry ql_jinja_cycler_methods[] = {
    {"next", cycler_next, NULL, 0, 0},
    {"reset", cycler_reset, NULL, 0, 0},
    {0},
};

const ql_jentry ql_jinja_functions[] = {
    {"range", range, NULL, 0, QL_J_VARIADIC},
    {"dict", dict, NULL, 0, QL_J_VARIADIC},
    {"namespace", namespace, NULL, 0, QL_J_VARIADIC},
    {"raise_exception", raise_exception, "message", 1, 0},
    {"strftime_now", strftime_now, "format", 1, 0},
    {"cycler", cycler, NULL, 0, QL_J_VARIADIC},
    {"joiner", joiner, "sep", 0, 0},
    {"lipsum", NULL, NULL, 0, QL_J_MISSING},
    {0},
};
