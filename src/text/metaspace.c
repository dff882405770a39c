#include "src/text/metaspace.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/utf8.h"

/* Older files say add_prefix_space, which stands for always or never. */
static ql_status read_prepend(ql_metaspace *m, const ql_part *p)
{
    static const char *const names[] = {"always", "first", "never"};
    const char *scheme = NULL;
    bool space = true;

    QL_TRY(ql_json_bool(p->json, "add_prefix_space", p->where, &space));
    QL_TRY(ql_json_string(p->json, "prepend_scheme", p->where, &scheme));
    m->prepend = space ? QL_PREPEND_ALWAYS : QL_PREPEND_NEVER;
    if (!scheme) {
        return QL_OK;
    }
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(scheme, names[i]) == 0) {
            m->prepend = (ql_prepend)i;
            return QL_OK;
        }
    }
    return ql_part_unsupported(p, "this \"prepend_scheme\"");
}

ql_status ql_metaspace_init(ql_metaspace *m, const ql_part *p)
{
    const char *mark = "\xe2\x96\x81";
    size_t n;

    *m = (ql_metaspace){.split = true};
    QL_TRY(ql_json_string(p->json, "replacement", p->where, &mark));
    n = strlen(mark);
    if (n == 0 || ql_utf8_len(mark, n) != n) {
        QL_FAIL(QL_EFORMAT, "%s: %s: \"replacement\" must be one character",
                p->where, p->kind);
    }
    memcpy(m->mark, mark, n);
    QL_TRY(ql_json_bool(p->json, "split", p->where, &m->split));
    return read_prepend(m, p);
}

static bool begins(ql_view v, size_t i, const char *mark)
{
    const size_t n = strlen(mark);

    return v.n - i >= n && memcmp(v.s + i, mark, n) == 0;
}

ql_status ql_metaspace_run(const ql_metaspace *m, ql_view v, bool first,
                           ql_draft *out)
{
    const size_t n = strlen(m->mark);
    const bool wanted = m->prepend == QL_PREPEND_ALWAYS ||
                        (m->prepend == QL_PREPEND_FIRST && first);

    if (wanted && v.s[0] != ' ' && !begins(v, 0, m->mark)) {
        QL_TRY(ql_draft_put(out, m->mark, n, ql_view_at(v, 0)));
    }
    for (size_t i = 0; i < v.n; i++) {
        if (v.s[i] == ' ') {
            QL_TRY(ql_draft_put(out, m->mark, n, ql_view_at(v, i)));
        } else {
            QL_TRY(ql_draft_copy(out, ql_view_cut(v, i, i + 1)));
        }
    }
    return QL_OK;
}

size_t ql_metaspace_word(const ql_metaspace *m, ql_view v)
{
    size_t i = ql_utf8_len(v.s, v.n);

    while (m->split && i < v.n && !begins(v, i, m->mark)) {
        i++;
    }
    return m->split ? i : v.n;
}
