/* The text is first seen as a row of spans, matches and what is between them;
 * each behavior then joins or drops spans as they come. */
#include "src/text/split.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

typedef struct span {
    size_t from;
    size_t to;
    bool match;
} span;

/* One run over a text. */
typedef struct run {
    const ql_split *split;
    ql_view v;
    ql_split_piece_fn *piece;
    void *ctx;
    span held; /* waits for what comes after it */
    bool holds;
    bool last_match; /* the span before was a match */
} run;

bool ql_split_behavior_named(const char *name, ql_split_behavior *out)
{
    static const char *const names[] = {
        [QL_SPLIT_REMOVED] = "Removed",
        [QL_SPLIT_ISOLATED] = "Isolated",
        [QL_SPLIT_MERGED_BEFORE] = "MergedWithPrevious",
        [QL_SPLIT_MERGED_AFTER] = "MergedWithNext",
        [QL_SPLIT_CONTIGUOUS] = "Contiguous",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (ql_split_behavior)i;
            return true;
        }
    }
    return false;
}

void ql_split_free(ql_split *s)
{
    ql_pattern_free(&s->pattern);
    *s = (ql_split){0};
}

static ql_status emit(run *r, span s)
{
    return r->piece(r->ctx, ql_view_cut(r->v, s.from, s.to));
}

static ql_status release(run *r)
{
    const bool holds = r->holds;

    r->holds = false;
    return holds ? emit(r, r->held) : QL_OK;
}

static ql_status hold(run *r, span s)
{
    QL_TRY(release(r));
    r->held = s;
    r->holds = true;
    return QL_OK;
}

static ql_status removed(run *r, span s)
{
    return s.match ? QL_OK : emit(r, s);
}

static ql_status merged_before(run *r, span s)
{
    if (s.match && !r->last_match && r->holds) {
        r->held.to = s.to;
        return QL_OK;
    }
    return hold(r, s);
}

/* What is held is a match. */
static ql_status merged_after(run *r, span s)
{
    if (s.match) {
        return hold(r, s);
    }
    if (r->holds) {
        s.from = r->held.from;
        r->holds = false;
    }
    return emit(r, s);
}

static ql_status contiguous(run *r, span s)
{
    if (r->holds && s.match == r->last_match) {
        r->held.to = s.to;
        return QL_OK;
    }
    return hold(r, s);
}

static ql_status (*const behaviors[])(run *r, span s) = {
    [QL_SPLIT_REMOVED] = removed,
    [QL_SPLIT_ISOLATED] = emit,
    [QL_SPLIT_MERGED_BEFORE] = merged_before,
    [QL_SPLIT_MERGED_AFTER] = merged_after,
    [QL_SPLIT_CONTIGUOUS] = contiguous,
};

static ql_status push(run *r, size_t from, size_t to, bool match)
{
    const span s = {from, to, match != r->split->invert};

    QL_TRY(behaviors[r->split->behavior](r, s));
    r->last_match = s.match;
    return QL_OK;
}

static ql_status run_chars(run *r)
{
    const ql_view v = r->v;
    size_t done = 0;
    size_t len;

    for (size_t i = 0; i < v.n; i += len) {
        len = ql_utf8_len(v.s + i, v.n - i);
        if (!r->split->is_delimiter(ql_utf8_get(v.s + i, v.n - i))) {
            continue;
        }
        if (done < i) {
            QL_TRY(push(r, done, i, false));
        }
        done = i + len;
        QL_TRY(push(r, i, done, true));
    }
    return done < v.n ? push(r, done, v.n, false) : QL_OK;
}

static ql_status run_pattern(run *r, ql_regex_work *w)
{
    ql_search search = {0};
    size_t done = 0;
    bool found;

    for (;;) {
        QL_TRY(ql_pattern_next(&r->split->pattern, w, r->v.s, r->v.n, &search,
                               &found));
        if (!found) {
            break;
        }
        if (done != search.from) {
            QL_TRY(push(r, done, search.from, false));
        }
        QL_TRY(push(r, search.from, search.to, true));
        done = search.to;
    }
    return done < r->v.n ? push(r, done, r->v.n, false) : QL_OK;
}

ql_status ql_split_run(const ql_split *s, ql_regex_work *w, ql_view v,
                       ql_split_piece_fn *piece, void *ctx)
{
    run r = {.split = s, .v = v, .piece = piece, .ctx = ctx};

    QL_TRY(s->is_delimiter ? run_chars(&r) : run_pattern(&r, w));
    return release(&r);
}
