#include "src/text/pretokenize.h"

#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/text/byte_level.h"
#include "src/text/scripts.h"
#include "src/text/utf8.h"

enum {
    MAX_STEPS = 64 /* they call each other */
};

/* What ByteLevel and Whitespace look for, spelled as in tokenizer.json. The
 * second is not Oniguruma's in the reference: there the two joiners are parts
 * of words. */
static const char byte_level_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
    "\\s+(?!\\S)|\\s+";
static const char whitespace_words[] =
    "[\\w\\x{200c}\\x{200d}]+|[^\\w\\s\\x{200c}\\x{200d}]+";

/* Gives a piece to step i, or to the model after the last one. */
static ql_status give(ql_pre_work *w, size_t i, ql_view v)
{
    const ql_pretokenizer *p = w->p;

    if (v.n == 0) {
        return QL_OK;
    }
    return i < p->n ? p->steps[i].run(&p->steps[i], w, v) : w->word(w->ctx, v);
}

/* The steps. */

typedef struct next {
    ql_pre_work *w;
    size_t i;
} next;

static ql_status give_next(void *ctx, ql_view piece)
{
    const next *n = ctx;

    return give(n->w, n->i, piece);
}

static ql_status split(const ql_pre_step *step, ql_pre_work *w, ql_view v)
{
    next n = {w, step->index + 1};

    return ql_split_run(&step->split, &w->regex, v, give_next, &n);
}

static ql_status byte_level(const ql_pre_step *step, ql_pre_work *w, ql_view v)
{
    ql_draft *draft = &w->drafts[step->index];

    ql_draft_clear(draft);
    QL_TRY(ql_byte_level_run(v, draft));
    return give(w, step->index + 1, ql_draft_view(draft));
}

static ql_status space_before(const ql_pre_step *step, ql_pre_work *w,
                              ql_view v)
{
    ql_draft *draft = &w->drafts[step->index];

    if (v.s[0] == ' ') {
        return give(w, step->index + 1, v);
    }
    ql_draft_clear(draft);
    QL_TRY(ql_draft_put(draft, " ", 1, ql_view_at(v, 0)));
    QL_TRY(ql_draft_copy(draft, v));
    return give(w, step->index + 1, ql_draft_view(draft));
}

static ql_status metaspace(const ql_pre_step *step, ql_pre_work *w, ql_view v)
{
    const bool first = w->begins && ql_view_at(v, 0) == 0;
    ql_draft *draft = &w->drafts[step->index];
    ql_view text;
    size_t n;

    ql_draft_clear(draft);
    QL_TRY(ql_metaspace_run(&step->metaspace, v, first, draft));
    text = ql_draft_view(draft);
    for (size_t i = 0; i < text.n; i += n) {
        const ql_view rest = ql_view_cut(text, i, text.n);

        n = ql_metaspace_word(&step->metaspace, rest);
        QL_TRY(give(w, step->index + 1, ql_view_cut(rest, 0, n)));
    }
    return QL_OK;
}

/* Reading. */

static ql_pre_step *add(ql_pretokenizer *p, ql_pre_fn *run)
{
    ql_pre_step *steps;

    steps = ql_realloc(QL_TAG_TEXT, p->steps, p->n + 1, sizeof(*steps));
    if (!steps) {
        return NULL;
    }
    p->steps = steps;
    steps[p->n] = (ql_pre_step){.run = run, .index = p->n};
    return &steps[p->n++];
}

static ql_status add_chars(ql_pretokenizer *p, ql_split_char_fn *is_delimiter,
                           ql_split_behavior behavior)
{
    ql_pre_step *step = add(p, split);

    if (!step) {
        return QL_ENOMEM;
    }
    step->split.is_delimiter = is_delimiter;
    step->split.behavior = behavior;
    return QL_OK;
}

static ql_status add_regex(ql_pretokenizer *p, const char *pattern,
                           const ql_part *part)
{
    ql_pre_step *step = add(p, split);

    if (!step) {
        return QL_ENOMEM;
    }
    step->split.behavior = QL_SPLIT_ISOLATED;
    return ql_regex_init(&step->split.pattern.regex, pattern, strlen(pattern),
                         part);
}

static ql_status read_behavior(const ql_part *part, ql_split_behavior *out)
{
    const char *name = NULL;

    QL_TRY(ql_json_string(part->json, "behavior", part->where, &name));
    if (name && !ql_split_behavior_named(name, out)) {
        return ql_part_unsupported(part, "this \"behavior\"");
    }
    return QL_OK;
}

static ql_status read_bert(ql_pretokenizer *p, const ql_part *part)
{
    (void)part;
    QL_TRY(add_chars(p, ql_utf8_is_space, QL_SPLIT_REMOVED));
    return add_chars(p, ql_utf8_is_punctuation, QL_SPLIT_ISOLATED);
}

/* Older files leave use_regex out. */
static ql_status read_byte_level(ql_pretokenizer *p, const ql_part *part)
{
    bool prefix = true;
    bool regex = true;

    QL_TRY(ql_json_bool(part->json, "add_prefix_space", part->where, &prefix));
    QL_TRY(ql_json_bool(part->json, "use_regex", part->where, &regex));
    if (prefix && !add(p, space_before)) {
        return QL_ENOMEM;
    }
    if (regex) {
        QL_TRY(add_regex(p, byte_level_words, part));
    }
    return add(p, byte_level) ? QL_OK : QL_ENOMEM;
}

static ql_status read_delimiter(ql_pretokenizer *p, const ql_part *part)
{
    ql_pre_step *step = add(p, split);
    ql_pattern *pattern;
    size_t n;

    if (!step) {
        return QL_ENOMEM;
    }
    pattern = &step->split.pattern;
    QL_TRY(ql_part_string(part, "delimiter", &pattern->literal));
    n = strlen(pattern->literal);
    if (n == 0 || ql_utf8_len(pattern->literal, n) != n) {
        QL_FAIL(QL_EFORMAT, "%s: %s: \"delimiter\" must be one character",
                part->where, part->kind);
    }
    pattern->n = n;
    return QL_OK;
}

static ql_status read_digits(ql_pretokenizer *p, const ql_part *part)
{
    bool individual = false;

    QL_TRY(ql_json_bool(part->json, "individual_digits", part->where,
                        &individual));
    return add_chars(p, ql_utf8_is_number,
                     individual ? QL_SPLIT_ISOLATED : QL_SPLIT_CONTIGUOUS);
}

static ql_status read_metaspace(ql_pretokenizer *p, const ql_part *part)
{
    ql_pre_step *step = add(p, metaspace);

    return step ? ql_metaspace_init(&step->metaspace, part) : QL_ENOMEM;
}

static ql_status read_punctuation(ql_pretokenizer *p, const ql_part *part)
{
    ql_split_behavior behavior = QL_SPLIT_ISOLATED;

    QL_TRY(read_behavior(part, &behavior));
    return add_chars(p, ql_utf8_is_punctuation, behavior);
}

static ql_status read_split(ql_pretokenizer *p, const ql_part *part)
{
    ql_pre_step *step = add(p, split);

    if (!step) {
        return QL_ENOMEM;
    }
    QL_TRY(ql_pattern_init(&step->split.pattern, part));
    if (!json_object_get(part->json, "behavior")) {
        QL_FAIL(QL_EFORMAT, "%s: %s: Split needs a \"behavior\"", part->where,
                part->kind);
    }
    QL_TRY(read_behavior(part, &step->split.behavior));
    return ql_json_bool(part->json, "invert", part->where, &step->split.invert);
}

/* Each script with the characters that go with any script; what comes before
 * the first script is dropped. */
static ql_status read_scripts(ql_pretokenizer *p, const ql_part *part)
{
    ql_pre_step *step = add(p, split);

    if (!step) {
        return QL_ENOMEM;
    }
    step->split.behavior = QL_SPLIT_REMOVED;
    step->split.invert = true;
    return ql_scripts_regex(&step->split.pattern.regex, part);
}

/* Words and runs of what is neither word nor white space. */
static ql_status read_whitespace(ql_pretokenizer *p, const ql_part *part)
{
    QL_TRY(add_regex(p, whitespace_words, part));
    p->steps[p->n - 1].split.invert = true;
    p->steps[p->n - 1].split.behavior = QL_SPLIT_REMOVED;
    return QL_OK;
}

static ql_status read_whitespace_split(ql_pretokenizer *p, const ql_part *part)
{
    (void)part;
    return add_chars(p, ql_utf8_is_space, QL_SPLIT_REMOVED);
}

static const struct {
    const char *type;
    ql_status (*read)(ql_pretokenizer *p, const ql_part *part);
} kinds[] = {
    {"BertPreTokenizer", read_bert},
    {"ByteLevel", read_byte_level},
    {"CharDelimiterSplit", read_delimiter},
    {"Digits", read_digits},
    {"Metaspace", read_metaspace},
    {"Punctuation", read_punctuation},
    {"Split", read_split},
    {"UnicodeScripts", read_scripts},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
};

static ql_status add_part(void *ctx, const ql_part *part, const char *type)
{
    ql_pretokenizer *p = ctx;

    if (p->n >= MAX_STEPS) {
        return ql_part_unsupported(part, "a Sequence as long as this");
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            return kinds[i].read(p, part);
        }
    }
    return ql_part_unsupported(part, type);
}

ql_status ql_pretokenizer_init(ql_pretokenizer *p, const json_t *json,
                               const char *where)
{
    const ql_part part = {json, where, "pre_tokenizer"};

    *p = (ql_pretokenizer){0};
    if (!json || json_is_null(json)) {
        return QL_OK;
    }
    return ql_part_each(&part, "pretokenizers", add_part, p);
}

void ql_pretokenizer_free(ql_pretokenizer *p)
{
    for (size_t i = 0; i < p->n; i++) {
        ql_split_free(&p->steps[i].split);
    }
    ql_free(p->steps);
    *p = (ql_pretokenizer){0};
}

ql_status ql_pre_work_init(ql_pre_work *w, const ql_pretokenizer *p)
{
    *w = (ql_pre_work){.p = p};
    w->drafts = ql_calloc(QL_TAG_TEXT, p->n, sizeof(*w->drafts));
    return w->drafts ? QL_OK : QL_ENOMEM;
}

void ql_pre_work_free(ql_pre_work *w)
{
    for (size_t i = 0; w->drafts && i < w->p->n; i++) {
        ql_draft_free(&w->drafts[i]);
    }
    ql_free(w->drafts);
    ql_regex_work_free(&w->regex);
    *w = (ql_pre_work){0};
}

ql_status ql_pretokenizer_run(ql_pre_work *w, ql_view v)
{
    return give(w, 0, v);
}
