/* The class of a text. */
#include "qlora/generate.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/model/run.h"
#include "src/op/classes.h"

/* Tokens of what is to be told the class of. */
typedef struct text {
    int32_t *ids, *target;
    uint8_t *types;
    size_t n;
} text;

static ql_status encode(text *t, const ql_tokenizer *tok, const char *a,
                        const char *b)
{
    const char *const both[] = {a, b};
    const size_t lens[] = {strlen(a), b ? strlen(b) : 0};

    QL_TRY(b ? ql_tokenizer_encode_pair(tok, both, lens, true, &t->ids,
                                        &t->types, &t->n)
             : ql_tokenizer_encode(tok, a, lens[0], true, &t->ids, &t->n));
    t->target = ql_calloc(QL_TAG_DATA, t->n, sizeof(*t->target));
    return t->target ? QL_OK : QL_ENOMEM;
}

static ql_status check(const text *t, const ql_config *c)
{
    if (t->n == 0 || t->n > c->max_position) {
        QL_FAIL(QL_EINVAL,
                "the text has %zu tokens, but the model was made for 1 to %zu",
                t->n, c->max_position);
    }
    for (size_t i = 0; i < t->n; i++) {
        if (t->ids[i] < 0 || (size_t)t->ids[i] >= c->V ||
            (t->types && t->types[i] >= c->types)) {
            QL_FAIL(QL_EMISMATCH,
                    "token id %d is beyond the model's vocabulary of %zu; the "
                    "tokenizer belongs to another model",
                    (int)t->ids[i], c->V);
        }
    }
    return QL_OK;
}

/* What began at random would tell classes by chance. */
static ql_status check_top(const ql_model *m)
{
    const char *lacks = ql_adapter_lacks(&m->adapter, &m->weights);

    if (lacks) {
        QL_FAIL(QL_ENOTFOUND,
                "%s: the model has no %s, without which it tells no classes; "
                "give an adapter that brings one, or train one (qlora-train)",
                m->dir, lacks);
    }
    return QL_OK;
}

static ql_status run(const ql_model *m, const text *t, float *shares)
{
    const size_t start[] = {0, t->n};
    const ql_batch batch = {.T = t->n,
                            .sequences = 1,
                            .start = start,
                            .ids = t->ids,
                            .target = t->target,
                            .type = t->types};
    const ql_run_options opt = {
        .max_tokens = t->n, .max_length = t->n, .max_sequences = 1};
    const size_t n = m->config.labels.n;
    ql_run *r = NULL;

    QL_TRY(ql_run_open(&r, m, &opt));
    ql_run_classes(r, &batch, shares);
    ql_run_close(&r);
    ql_classes_shares(shares, shares, n);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(shares[i])) {
            QL_FAIL(QL_ENUMERIC, "a logit is not finite; the model or the "
                                 "adapter is damaged");
        }
    }
    return QL_OK;
}

ql_status ql_classify(ql_model *model, const ql_tokenizer *tok, const char *a,
                      const char *b, ql_class_fn *out, void *user)
{
    const ql_labels *labels = &model->config.labels;
    float *shares = ql_alloc(QL_TAG_WORK, labels->n, sizeof(*shares));
    text t = {0};
    ql_status st;

    if (labels->n == 0) {
        st = ql_fail(b ? QL_EINVAL : QL_EUNSUPPORTED,
                     "%s: the model is no classifier%s", model->dir,
                     b ? ", and takes no pair of texts" : "");
        goto done;
    }
    QL_TRY_DONE(check_top(model));
    QL_TRY_DONE(shares ? QL_OK : QL_ENOMEM);
    QL_TRY_DONE(encode(&t, tok, a, b));
    QL_TRY_DONE(check(&t, &model->config));
    QL_TRY_DONE(run(model, &t, shares));
    for (size_t i = 0; i < labels->n; i++) {
        out(labels->name[i], (double)shares[i], user);
    }
done:
    ql_free(shares);
    ql_free(t.ids);
    ql_free(t.types);
    ql_free(t.target);
    return st;
}
