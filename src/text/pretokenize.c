#include "src/text/pretokenize.h"

#include <string.h>

#include "src/base/fail.h"

static ql_status read_one(void *ctx, const ql_part *p, const char *type)
{
    ql_pretokenizer *pre = ctx;

    if (strcmp(type, "Metaspace") != 0) {
        return ql_part_unsupported(p, type);
    }
    if (pre->given) {
        return ql_part_unsupported(p, "a Sequence of more than one part");
    }
    pre->given = true;
    return ql_metaspace_init(&pre->metaspace, p);
}

ql_status ql_pretokenizer_init(ql_pretokenizer *p, const json_t *json,
                               const char *where)
{
    const ql_part part = {json, where, "pre_tokenizer"};

    *p = (ql_pretokenizer){0};
    if (!json || json_is_null(json)) {
        return QL_OK;
    }
    return ql_part_each(&part, "pretokenizers", read_one, p);
}

ql_status ql_pretokenizer_run(const ql_pretokenizer *p, ql_view v, bool first,
                              ql_draft *draft, ql_view *out)
{
    *out = v;
    if (!p->given) {
        return QL_OK;
    }
    ql_draft_clear(draft);
    QL_TRY(ql_metaspace_run(&p->metaspace, v, first, draft));
    *out = ql_draft_view(draft);
    return QL_OK;
}

size_t ql_pretokenizer_word(const ql_pretokenizer *p, ql_view v)
{
    return p->given ? ql_metaspace_word(&p->metaspace, v) : v.n;
}
