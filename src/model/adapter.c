#include "src/model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qlora/train.h"
#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/rng.h"

enum {
    MAX_RANK = 1 << 14,
    PATH_BYTES = 200
};

ql_status ql_adapter_options_check(const ql_adapter_options *o)
{
    if (o->r == 0 || o->r > MAX_RANK) {
        QL_FAIL(QL_EINVAL, "LoRA rank %zu: give a number from 1 to %d", o->r,
                MAX_RANK);
    }
    if (!isfinite(o->alpha) || o->alpha <= 0) {
        QL_FAIL(QL_EINVAL, "LoRA alpha %g: give a positive number", o->alpha);
    }
    if (!(o->dropout >= 0) || (float)o->dropout >= 1) {
        QL_FAIL(QL_EINVAL,
                "LoRA dropout %g: give a number from 0 up to, but "
                "not including, 1",
                o->dropout);
    }
    if ((o->targets & ((1U << QL_MODULES) - 1)) == 0) {
        QL_FAIL(QL_EINVAL, "no linear layer is to be adapted");
    }
    return QL_OK;
}

/* Fills the entries and counts the parameters. */
static void lay_out(ql_adapter *a, const ql_config *c)
{
    for (size_t layer = 0; layer < c->layers; layer++) {
        for (int m = 0; m < QL_MODULES; m++) {
            ql_adapter_entry *e = &a->entries[a->n];

            *e = (ql_adapter_entry){.layer = layer, .module = (ql_module)m};
            if (!ql_config_module(c, e->module, &e->out, &e->in) ||
                !(a->opt.targets & 1U << m)) {
                continue;
            }
            e->a = a->count;
            e->b = e->a + a->opt.r * e->in;
            a->count = e->b + a->opt.r * e->out;
            a->sizes[2 * a->n] = e->b - e->a;
            a->sizes[2 * a->n + 1] = a->count - e->b;
            a->n++;
        }
    }
}

static void randomize(ql_adapter *a, uint64_t seed)
{
    memset(a->param, 0, a->count * sizeof(float));
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const uint64_t key = ql_rng_split(seed, i);
        const double bound = 1 / sqrt((double)e->in);

        for (size_t j = 0; j < a->opt.r * e->in; j++) {
            a->param[e->a + j] = (float)(bound * (2 * ql_rng_unit(key, j) - 1));
        }
    }
}

ql_status ql_adapter_init(ql_adapter *a, const ql_config *c,
                          const ql_adapter_options *opt, uint64_t seed,
                          bool trained)
{
    *a = (ql_adapter){.arch = c->arch, .opt = *opt};
    QL_TRY(ql_adapter_options_check(opt));
    a->entries =
        ql_calloc(QL_TAG_MISC, c->layers * QL_MODULES, sizeof(*a->entries));
    a->sizes =
        ql_alloc(QL_TAG_MISC, c->layers * QL_MODULES, 2 * sizeof(*a->sizes));
    if (!a->entries || !a->sizes) {
        ql_adapter_free(a);
        return QL_ENOMEM;
    }
    lay_out(a, c);
    a->param = ql_alloc(QL_TAG_ADAPTER, a->count, sizeof(float));
    if (!a->param || (trained && ql_adapter_train(a) != QL_OK)) {
        ql_adapter_free(a);
        return QL_ENOMEM;
    }
    randomize(a, seed);
    return QL_OK;
}

ql_status ql_adapter_train(ql_adapter *a)
{
    a->grad = ql_calloc(QL_TAG_GRAD, a->count, sizeof(float));
    return a->grad ? QL_OK : QL_ENOMEM;
}

void ql_adapter_free(ql_adapter *a)
{
    ql_free(a->entries);
    ql_free(a->sizes);
    ql_free(a->param);
    ql_free(a->grad);
    *a = (ql_adapter){0};
}

void ql_adapter_attach(const ql_adapter *a, ql_weights *w)
{
    for (size_t i = 0; i < w->n_layers; i++) {
        for (int m = 0; m < QL_MODULES; m++) {
            w->layers[i].linear[m].lora = (ql_lora){0};
        }
    }
    for (size_t i = 0; a && i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const double r = (double)a->opt.r;

        w->layers[e->layer].linear[e->module].lora = (ql_lora){
            .r = a->opt.r,
            .scale = (float)(a->opt.alpha / (a->opt.rslora ? sqrt(r) : r)),
            .a = a->param + e->a,
            .b = a->param + e->b,
            .da = a->grad ? a->grad + e->a : NULL,
            .db = a->grad ? a->grad + e->b : NULL,
        };
    }
}

void ql_adapter_path(const ql_adapter *a, size_t i, char *path, size_t bytes)
{
    const ql_adapter_entry *e = &a->entries[i];

    ql_arch_path(a->arch, e->layer, e->module, path, bytes);
}

void ql_adapter_name(const ql_adapter *a, size_t i, bool b, char *name,
                     size_t bytes)
{
    char path[PATH_BYTES];

    ql_adapter_path(a, i, path, sizeof(path));
    snprintf(name, bytes, "base_model.model.%s.lora_%c.weight", path,
             b ? 'B' : 'A');
}

const char *ql_target_name(size_t i)
{
    return i < QL_MODULES
               ? ql_name_leaf(ql_arch_find("llama")->names->module[i])
               : NULL;
}

ql_status ql_targets_parse(const char *const *names, size_t n, unsigned *mask)
{
    *mask = 0;
    for (size_t i = 0; i < n; i++) {
        const bool all = strcmp(names[i], "all-linear") == 0;
        unsigned one = 0;

        for (int m = 0; m < QL_MODULES; m++) {
            if (all || strcmp(names[i], ql_target_name((size_t)m)) == 0) {
                one |= 1U << m;
            }
        }
        if (one == 0) {
            QL_FAIL(
                QL_EINVAL,
                "target module \"%s\" is no linear layer of this model, which "
                "has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and "
                "down_proj (all-linear: all of them)",
                names[i]);
        }
        *mask |= one;
    }
    return QL_OK;
}
