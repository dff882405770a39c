#include "src/text/normalize.h"

#include <string.h>

#include "src/base/fail.h"

static ql_status prepend(const ql_normal_step *step, ql_view v, ql_draft *out)
{
    QL_TRY(ql_draft_put(out, step->to, strlen(step->to), ql_view_at(v, 0)));
    return ql_draft_copy(out, v);
}

static ql_status replace(const ql_normal_step *step, ql_view v, ql_draft *out)
{
    const size_t from_len = strlen(step->from);
    const size_t to_len = strlen(step->to);
    size_t done = 0;
    size_t i = 0;

    while (i + from_len <= v.n) {
        if (memcmp(v.s + i, step->from, from_len) != 0) {
            i++;
            continue;
        }
        QL_TRY(ql_draft_copy(out, ql_view_cut(v, done, i)));
        QL_TRY(ql_draft_put(out, step->to, to_len, ql_view_at(v, i)));
        i += from_len;
        done = i;
    }
    return ql_draft_copy(out, ql_view_cut(v, done, v.n));
}

static ql_status add_step(void *ctx, const ql_part *p, const char *type)
{
    ql_normalizer *n = ctx;
    ql_normal_step *steps;
    ql_normal_step *step;

    steps = ql_realloc(QL_TAG_TEXT, n->steps, n->n + 1, sizeof(*steps));
    if (!steps) {
        return QL_ENOMEM;
    }
    n->steps = steps;
    step = &steps[n->n++];
    *step = (ql_normal_step){0};
    if (strcmp(type, "Prepend") == 0) {
        step->run = prepend;
        return ql_part_string(p, "prepend", &step->to);
    }
    if (strcmp(type, "Replace") == 0) {
        step->run = replace;
        QL_TRY(ql_part_pattern(p, &step->from));
        return ql_part_string(p, "content", &step->to);
    }
    return ql_part_unsupported(p, type);
}

ql_status ql_normalizer_init(ql_normalizer *n, const json_t *json,
                             const char *where)
{
    const ql_part p = {json, where, "normalizer"};

    *n = (ql_normalizer){0};
    if (!json || json_is_null(json)) {
        return QL_OK;
    }
    return ql_part_each(&p, "normalizers", add_step, n);
}

void ql_normalizer_free(ql_normalizer *n)
{
    for (size_t i = 0; i < n->n; i++) {
        ql_free(n->steps[i].from);
        ql_free(n->steps[i].to);
    }
    ql_free(n->steps);
    *n = (ql_normalizer){0};
}

ql_status ql_normalizer_run(const ql_normalizer *n, ql_view v,
                            ql_draft drafts[2], ql_view *out)
{
    for (size_t i = 0; i < n->n && v.n > 0; i++) {
        ql_draft *draft = &drafts[i % 2];

        ql_draft_clear(draft);
        QL_TRY(n->steps[i].run(&n->steps[i], v, draft));
        v = ql_draft_view(draft);
    }
    *out = v;
    return QL_OK;
}
