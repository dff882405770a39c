#include "src/text/normalize.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/text/byte_level.h"
#include "src/text/utf8.h"

#define POINTS_BYTES ((size_t)1 << 33)

void ql_normal_work_init(ql_normal_work *w)
{
    *w = (ql_normal_work){0};
    ql_buf_init(&w->points, QL_TAG_TEXT, POINTS_BYTES);
}

void ql_normal_work_free(ql_normal_work *w)
{
    ql_draft_free(&w->drafts[0]);
    ql_draft_free(&w->drafts[1]);
    ql_buf_free(&w->points);
    ql_regex_work_free(&w->regex);
}

/* The steps. */

static ql_status prepend(const ql_normal_step *step, ql_view v,
                         ql_normal_work *w, ql_draft *out)
{
    (void)w;
    QL_TRY(ql_draft_put(out, step->text, step->text_len, ql_view_at(v, 0)));
    return ql_draft_copy(out, v);
}

static ql_status replace(const ql_normal_step *step, ql_view v,
                         ql_normal_work *w, ql_draft *out)
{
    ql_search search = {0};
    size_t done = 0;
    bool found;

    for (;;) {
        QL_TRY(ql_pattern_next(&step->pattern, &w->regex, v.s, v.n, &search,
                               &found));
        if (!found) {
            return ql_draft_copy(out, ql_view_cut(v, done, v.n));
        }
        QL_TRY(ql_draft_copy(out, ql_view_cut(v, done, search.from)));
        done = search.from < v.n ? search.from : v.n - 1;
        QL_TRY(
            ql_draft_put(out, step->text, step->text_len, ql_view_at(v, done)));
        done = search.to;
    }
}

static ql_status by_char(const ql_normal_step *step, ql_view v,
                         ql_normal_work *w, ql_draft *out)
{
    (void)w;
    return ql_normal_chars_run(step->by_char, v, out);
}

static ql_status normal_form(const ql_normal_step *step, ql_view v,
                             ql_normal_work *w, ql_draft *out)
{
    return ql_normal_form_run(step->form, v, &w->points, out);
}

static ql_status precompiled(const ql_normal_step *step, ql_view v,
                             ql_normal_work *w, ql_draft *out)
{
    (void)w;
    return ql_charsmap_run(&step->charsmap, v, out);
}

static ql_status byte_level(const ql_normal_step *step, ql_view v,
                            ql_normal_work *w, ql_draft *out)
{
    (void)step;
    (void)w;
    return ql_byte_level_run(v, out);
}

static ql_status strip(const ql_normal_step *step, ql_view v, ql_normal_work *w,
                       ql_draft *out)
{
    size_t from = 0;
    size_t to = v.n;

    (void)w;
    while (step->left && from < to &&
           ql_utf8_is_space(ql_utf8_get(v.s + from, to - from))) {
        from += ql_utf8_len(v.s + from, to - from);
    }
    while (step->right && from < to) {
        const size_t back = ql_utf8_back(v.s, to);

        if (!ql_utf8_is_space(ql_utf8_get(v.s + back, to - back))) {
            break;
        }
        to = back;
    }
    return ql_draft_copy(out, ql_view_cut(v, from, to));
}

/* Reading. */

/* A new step; NULL when out of memory. */
static ql_normal_step *add(ql_normalizer *n, ql_normal_fn *run)
{
    ql_normal_step *steps;

    steps = ql_realloc(QL_TAG_TEXT, n->steps, n->n + 1, sizeof(*steps));
    if (!steps) {
        return NULL;
    }
    n->steps = steps;
    steps[n->n] = (ql_normal_step){.run = run};
    return &steps[n->n++];
}

static ql_status read_text(ql_normal_step *step, const ql_part *p,
                           const char *key)
{
    QL_TRY(ql_part_string(p, key, &step->text));
    step->text_len = strlen(step->text);
    return QL_OK;
}

static ql_status read_prepend(ql_normal_step *step, const ql_part *p)
{
    return read_text(step, p, "prepend");
}

static ql_status read_replace(ql_normal_step *step, const ql_part *p)
{
    QL_TRY(ql_pattern_init(&step->pattern, p));
    return read_text(step, p, "content");
}

static ql_status read_strip(ql_normal_step *step, const ql_part *p)
{
    step->left = step->right = true;
    QL_TRY(ql_json_bool(p->json, "strip_left", p->where, &step->left));
    return ql_json_bool(p->json, "strip_right", p->where, &step->right);
}

static ql_status read_precompiled(ql_normal_step *step, const ql_part *p)
{
    return ql_charsmap_init(&step->charsmap, p);
}

static const struct {
    const char *type;
    ql_normal_fn *run;
    ql_status (*read)(ql_normal_step *step, const ql_part *p);
    ql_normal_char_fn *by_char;
    ql_normal_form form;
} kinds[] = {
    {"ByteLevel", byte_level, NULL, NULL, 0},
    {"Lowercase", by_char, NULL, ql_normal_lowercase, 0},
    {"NFC", normal_form, NULL, NULL, QL_NFC},
    {"NFD", normal_form, NULL, NULL, QL_NFD},
    {"NFKC", normal_form, NULL, NULL, QL_NFKC},
    {"NFKD", normal_form, NULL, NULL, QL_NFKD},
    {"Nmt", by_char, NULL, ql_normal_nmt, 0},
    {"Precompiled", precompiled, read_precompiled, NULL, 0},
    {"Prepend", prepend, read_prepend, NULL, 0},
    {"Replace", replace, read_replace, NULL, 0},
    {"Strip", strip, read_strip, NULL, 0},
    {"StripAccents", by_char, NULL, ql_normal_without_marks, 0},
};

static ql_status add_by_char(ql_normalizer *n, ql_normal_char_fn *fn)
{
    ql_normal_step *step = add(n, by_char);

    if (!step) {
        return QL_ENOMEM;
    }
    step->by_char = fn;
    return QL_OK;
}

/* BertNormalizer is up to five steps. Accents go where lower case is wanted,
 * unless it says otherwise. */
static ql_status add_bert(ql_normalizer *n, const ql_part *p)
{
    bool clean = true;
    bool chinese = true;
    bool lowercase = true;
    bool accents;
    ql_normal_step *step;

    QL_TRY(ql_json_bool(p->json, "clean_text", p->where, &clean));
    QL_TRY(ql_json_bool(p->json, "handle_chinese_chars", p->where, &chinese));
    QL_TRY(ql_json_bool(p->json, "lowercase", p->where, &lowercase));
    accents = lowercase;
    QL_TRY(ql_json_bool(p->json, "strip_accents", p->where, &accents));
    if (clean) {
        QL_TRY(add_by_char(n, ql_normal_clean));
    }
    if (chinese) {
        QL_TRY(add_by_char(n, ql_normal_chinese));
    }
    if (accents) {
        step = add(n, normal_form);
        if (!step) {
            return QL_ENOMEM;
        }
        step->form = QL_NFD;
        QL_TRY(add_by_char(n, ql_normal_without_nonspacing));
    }
    return lowercase ? add_by_char(n, ql_normal_lowercase) : QL_OK;
}

static ql_status add_step(void *ctx, const ql_part *p, const char *type)
{
    ql_normalizer *n = ctx;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            ql_normal_step *step = add(n, kinds[i].run);

            if (!step) {
                return QL_ENOMEM;
            }
            step->by_char = kinds[i].by_char;
            step->form = kinds[i].form;
            return kinds[i].read ? kinds[i].read(step, p) : QL_OK;
        }
    }
    return strcmp(type, "BertNormalizer") == 0 ? add_bert(n, p)
                                               : ql_part_unsupported(p, type);
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
        ql_pattern_free(&n->steps[i].pattern);
        ql_free(n->steps[i].text);
        ql_charsmap_free(&n->steps[i].charsmap);
    }
    ql_free(n->steps);
    *n = (ql_normalizer){0};
}

ql_status ql_normalizer_run(const ql_normalizer *n, ql_view v,
                            ql_normal_work *w, ql_view *out)
{
    int turn = 0;

    for (size_t i = 0; i < n->n && v.n > 0; i++) {
        const ql_normal_step *step = &n->steps[i];
        ql_draft *draft = &w->drafts[turn];

        if (step->run == normal_form && ql_normal_form_idle(step->form, v)) {
            continue;
        }
        ql_draft_clear(draft);
        QL_TRY(step->run(step, v, w, draft));
        v = ql_draft_view(draft);
        turn = !turn;
    }
    *out = v;
    return QL_OK;
}
