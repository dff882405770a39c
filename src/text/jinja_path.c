#include "src/text/jinja_path.h"

#include <string.h>

#include "src/text/jinja_access.h"
#include "src/text/jinja_chars.h"

/* A step of a path: a number when it is all digits. */
static ql_jval step_of(const char *s, size_t n)
{
    int64_t i = 0;
    size_t k = 0;

    while (k < n && k < 9 && s[k] >= '0' && s[k] <= '9') {
        i = i * 10 + (s[k++] - '0');
    }
    return n > 0 && k == n ? ql_jval_int(i) : ql_jval_str(s, n);
}

static ql_status take_step(ql_jinja *j, ql_jval step, ql_jval fallback,
                           ql_jval *v)
{
    QL_TRY(ql_jinja_item(j, *v, step, v));
    if (v->kind == QL_J_UNDEFINED && fallback.kind != QL_J_ABSENT &&
        fallback.kind != QL_J_NONE) {
        *v = fallback;
    }
    return QL_OK;
}

ql_status ql_jinja_path(ql_jinja *j, ql_jval v, ql_jval path, ql_jval fallback,
                        ql_jval *out)
{
    *out = v;
    if (path.kind == QL_J_ABSENT || path.kind == QL_J_NONE) {
        return QL_OK;
    }
    if (!ql_jval_is_str(path)) {
        return take_step(j, path, fallback, out);
    }
    for (size_t i = 0; i <= path.n;) {
        const char *dot = memchr(path.s + i, '.', path.n - i);
        const size_t end = dot ? (size_t)(dot - path.s) : path.n;

        QL_TRY(take_step(j, step_of(path.s + i, end - i), fallback, out));
        i = end + 1;
    }
    return QL_OK;
}

ql_status ql_jinja_fold(ql_jinja *j, ql_jval v, bool case_counts, ql_jval *out)
{
    *out = v;
    if (case_counts || !ql_jval_is_str(v)) {
        return QL_OK;
    }
    QL_TRY(ql_jinja_spend_bytes(j, v.n));
    QL_TRY(ql_jchars_put_case(ql_jinja_scratch(j), v.s, v.n, QL_J_LOWER));
    return ql_jinja_scratch_done(j, out);
}

ql_status ql_jinja_key(ql_jinja *j, ql_jval v, ql_jval path, bool case_counts,
                       ql_jval *out)
{
    QL_TRY(ql_jinja_path(j, v, path, (ql_jval){.kind = QL_J_ABSENT}, out));
    return ql_jinja_fold(j, *out, case_counts, out);
}
