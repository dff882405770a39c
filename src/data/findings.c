#include "qlora/findings.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"

/* The kinds, in the order in which they are told. */
typedef enum kind {
    REFUSED,
    EMPTY,
    TOO_LONG,
    CUT,
    NO_END_NAMED,
    NO_END,
    DOUBLE_BOS,
    END_INSIDE,
    NO_ANSWER,
    LAST_TURN,
    CHANGED,
    DUPLICATE,
    OVERLAP,
    KINDS
} kind;

static const ql_finding kinds[KINDS] = {
    [REFUSED] = {.name = "refused",
                 .what = "records are refused",
                 .advice = "repair or remove them: training stops at the first",
                 .stops = true},
    [EMPTY] = {.name = "nothing_to_train",
               .what = "records have nothing to train on",
               .advice = "they are left out; see whether the answer is empty, "
                         "cut away, or under another key"},
    [TOO_LONG] = {.name = "too_long",
                  .what = "samples are too long and are left out",
                  .advice = "raise --max-length, or take --truncation right"},
    [CUT] = {.name = "cut",
             .what = "samples are cut to the maximum length: the end of the "
                     "answer is lost",
             .advice = "raise --max-length, or take --truncation drop"},
    [NO_END_NAMED] = {.name = "no_end_named",
                      .what = "tokenizer names no end token",
                      .advice = "set eos_token in tokenizer_config.json: a "
                                "model does not learn to stop without one"},
    [NO_END] = {.name = "no_end_token",
                .what = "samples end in no special token: where the answer "
                        "ends is not learnt",
                .advice = "end the assistant's turn in the chat template with "
                          "the end token"},
    [DOUBLE_BOS] = {.name = "double_bos",
                    .what = "samples began with two BOS tokens; one was left "
                            "out",
                    .advice = "take the BOS token out of the text, or out of "
                              "the chat template"},
    [END_INSIDE] = {.name = "joined_texts",
                    .what = "texts have end tokens inside: several documents "
                            "in one record see each other",
                    .advice = "give each document a record of its own; they "
                              "are packed without seeing each other"},
    [NO_ANSWER] = {.name = "empty_answer",
                   .what = "samples train special tokens only: the answer is "
                           "empty",
                   .advice = "remove them: the model learns to say nothing"},
    [LAST_TURN] = {.name = "turns_not_trained",
                   .what = "tokens of earlier assistant turns are not trained",
                   .advice = "leave out --train-on last_turn to train every "
                             "turn of the assistant"},
    [CHANGED] = {.name = "changed_by_template",
                 .what = "assistant turns are changed by the chat template, or "
                         "left out in part",
                 .advice = "look at them with --show; give another "
                           "--chat-template where that is not wanted"},
    [DUPLICATE] = {.name = "duplicate",
                   .what = "samples are there before, token for token",
                   .advice = "remove them: what is repeated is learnt by "
                             "heart"},
    [OVERLAP] = {.name = "evaluation_overlap",
                 .what = "samples of the evaluation data are in the training "
                         "data too",
                 .advice = "remove them from one of the two: the evaluation "
                           "would look better than it is"},
};

/* A sample as it is looked up: by what its tokens are. */
typedef struct key {
    ql_sample s;
    size_t i;
} key;

static void add(ql_finding *f, ql_origin origin, const char *reason)
{
    f->count++;
    if (f->n_examples < QL_FINDING_EXAMPLES) {
        f->examples[f->n_examples] = origin;
        f->reasons[f->n_examples++] = reason;
    }
}

/* Records that were not taken as they are: the counts are those of the report,
 * for not all of them are kept. */
static void look_at_issues(ql_finding *all, const ql_dataset *ds)
{
    static const kind kind_of[] = {[QL_FATE_CUT] = CUT,
                                   [QL_FATE_TOO_LONG] = TOO_LONG,
                                   [QL_FATE_EMPTY] = EMPTY,
                                   [QL_FATE_REFUSED] = REFUSED};
    const ql_dataset_report *r = ql_dataset_report_of(ds);

    for (size_t i = 0; i < ql_dataset_issues(ds); i++) {
        const ql_issue issue = ql_dataset_issue(ds, i);

        add(&all[kind_of[issue.fate]], issue.origin, issue.reason);
    }
    all[CUT].count = r->truncated;
    all[TOO_LONG].count = r->dropped_long;
    all[EMPTY].count = r->dropped_empty;
    all[REFUSED].count = r->refused;
    all[NO_END].count = r->unended;
    all[DOUBLE_BOS].count = r->bos_removed;
}

static bool is_text(const ql_dataset *ds, const char *path)
{
    for (size_t i = 0; i < ql_dataset_files(ds); i++) {
        const ql_dataset_report *r = ql_dataset_file_report(ds, i);

        if (strcmp(r->path, path) == 0) {
            return r->format == QL_FORMAT_TEXT;
        }
    }
    return false;
}

/* Whether token id stands before the last place. */
static bool has_inside(ql_sample s, int32_t id)
{
    for (size_t i = 0; i + 1 < s.n; i++) {
        if (s.ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* Whether nothing but special tokens and white space is trained. */
static ql_status trains_nothing(const ql_tokenizer *tok, ql_sample s,
                                int32_t *scratch, bool *nothing)
{
    char *text;
    size_t len;
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.train[i]) {
            scratch[n++] = s.ids[i];
        }
    }
    QL_TRY(ql_tokenizer_decode(tok, scratch, n, true, &text, &len));
    *nothing = strspn(text, " \t\r\n") == len;
    ql_free(text);
    return QL_OK;
}

static ql_status look_at_samples(ql_finding *all, const ql_findings_case *c)
{
    const ql_dataset *ds = c->data;
    const int32_t eos = ql_tokenizer_eos(c->tok);
    int32_t *scratch = ql_alloc(QL_TAG_DATA, ql_dataset_report_of(ds)->longest,
                                sizeof(*scratch));
    ql_status st = scratch ? QL_OK : QL_ENOMEM;

    for (size_t i = 0; st == QL_OK && i < ql_dataset_size(ds); i++) {
        const ql_sample s = ql_dataset_sample(ds, i);
        const ql_origin origin = ql_dataset_origin(ds, i);
        bool nothing = false;

        if (s.label > 0) {
            continue; /* what is asked here is of texts that are learnt */
        }
        st = trains_nothing(c->tok, s, scratch, &nothing);
        if (nothing) {
            add(&all[NO_ANSWER], origin, NULL);
        }
        if (is_text(ds, origin.path) && has_inside(s, eos)) {
            add(&all[END_INSIDE], origin, NULL);
        }
    }
    ql_free(scratch);
    return st;
}

static int by_tokens(const void *a, const void *b)
{
    const key *x = a;
    const key *y = b;
    const size_t n = x->s.n < y->s.n ? x->s.n : y->s.n;
    const int order = memcmp(x->s.ids, y->s.ids, n * sizeof(*x->s.ids));

    return order != 0 ? order : (x->s.n > y->s.n) - (x->s.n < y->s.n);
}

static int by_tokens_and_place(const void *a, const void *b)
{
    const key *x = a;
    const key *y = b;
    const int order = by_tokens(a, b);

    return order != 0 ? order : (x->i > y->i) - (x->i < y->i);
}

static int by_place(const void *a, const void *b)
{
    const key *x = a;
    const key *y = b;

    return (x->i > y->i) - (x->i < y->i);
}

/* Samples that are there before, in order. Uses keys, sorted by tokens and
 * place, as scratch. */
static void look_for_twins(ql_finding *f, const ql_dataset *ds, key *keys,
                           size_t n)
{
    size_t twins = 0;

    for (size_t i = 1; i < n; i++) {
        if (by_tokens(&keys[i - 1], &keys[i]) == 0) {
            keys[n + twins++] = keys[i];
        }
    }
    qsort(keys + n, twins, sizeof(*keys), by_place);
    for (size_t i = 0; i < twins; i++) {
        add(f, ql_dataset_origin(ds, keys[n + i].i), NULL);
    }
}

static void look_for_overlap(ql_finding *f, const ql_dataset *eval,
                             const key *keys, size_t n)
{
    for (size_t i = 0; i < ql_dataset_size(eval); i++) {
        const key k = {.s = ql_dataset_sample(eval, i)};

        if (bsearch(&k, keys, n, sizeof(k), by_tokens)) {
            add(f, ql_dataset_origin(eval, i), NULL);
        }
    }
}

static ql_status look_for_equals(ql_finding *all, const ql_findings_case *c)
{
    const size_t n = ql_dataset_size(c->data);
    key *keys = ql_alloc(QL_TAG_DATA, 2 * n, sizeof(*keys));

    if (!keys) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        keys[i] = (key){.s = ql_dataset_sample(c->data, i), .i = i};
    }
    qsort(keys, n, sizeof(*keys), by_tokens_and_place);
    look_for_twins(&all[DUPLICATE], c->data, keys, n);
    if (c->eval) {
        look_for_overlap(&all[OVERLAP], c->eval, keys, n);
    }
    ql_free(keys);
    return QL_OK;
}

/* Trained tokens of whole that data leaves out. */
static size_t unmarked(const ql_findings_case *c)
{
    const size_t here = ql_dataset_report_of(c->data)->trained_tokens;
    const size_t all =
        c->whole ? ql_dataset_report_of(c->whole)->trained_tokens : 0;

    return all > here ? all - here : 0;
}

ql_status ql_findings_of(const ql_findings_case *c, ql_finding **findings,
                         size_t *n)
{
    ql_finding *all = ql_alloc(QL_TAG_DATA, KINDS, sizeof(*all));
    ql_status st;

    *findings = NULL;
    *n = 0;
    if (!all) {
        return QL_ENOMEM;
    }
    memcpy(all, kinds, sizeof(kinds));
    look_at_issues(all, c->data);
    all[NO_END_NAMED].count =
        ql_tokenizer_eos(c->tok) < 0 &&
        ql_dataset_report_of(c->data)->format != QL_FORMAT_CLASSIFICATION;
    all[LAST_TURN].count = unmarked(c);
    QL_TRY_DONE(look_at_samples(all, c));
    QL_TRY_DONE(look_for_equals(all, c));
    for (size_t i = 0; i < KINDS; i++) {
        if (all[i].count > 0) {
            all[(*n)++] = all[i];
        }
    }
    *findings = all;
    all = NULL;
done:
    ql_free(all);
    return st;
}
