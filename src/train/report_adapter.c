#include "src/train/report_adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/train/report_facts.h"

enum {
    PATH_BYTES = 200,
    MAX_TEXT = 1 << 16
};

/* What the entries of an adapter have in common, and what not. */
typedef struct ranges {
    size_t pairs, whole;        /* entries of either kind */
    size_t least, most;         /* ranks of pairs */
    double low, high;           /* alphas */
    size_t first, last, layers; /* of blocks that have some */
    bool other;                 /* embedding or head has a pair */
} ranges;

static double alpha_of(const ql_adapter *a, const ql_adapter_entry *e)
{
    const double r = (double)e->r;

    return (double)e->scale * (a->opt.rslora ? sqrt(r) : r);
}

static void add_pair(ranges *g, const ql_adapter *a, const ql_adapter_entry *e)
{
    const double alpha = alpha_of(a, e);
    const bool first = g->pairs++ == 0;

    g->least = first || e->r < g->least ? e->r : g->least;
    g->most = first || e->r > g->most ? e->r : g->most;
    g->low = first ? alpha : fmin(g->low, alpha);
    g->high = first ? alpha : fmax(g->high, alpha);
    g->other |= e->site.place != QL_PLACE_BLOCK;
}

/* Entries come in the order of blocks. */
static ranges ranges_of(const ql_adapter *a)
{
    ranges g = {0};

    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];

        if (e->r > 0) {
            add_pair(&g, a, e);
        } else {
            g.whole++;
        }
        if (e->site.place == QL_PLACE_BLOCK &&
            (g.layers == 0 || e->site.layer != g.last)) {
            g.first = g.layers++ == 0 ? e->site.layer : g.first;
            g.last = e->site.layer;
        }
    }
    return g;
}

static const char *kind_of(const ql_adapter *a)
{
    static const char *const kinds[2][2] = {{"LoRA", "Rank-stabilized LoRA"},
                                            {"DoRA", "Rank-stabilized DoRA"}};

    return kinds[a->opt.dora][a->opt.rslora];
}

/* "rank 16", "ranks 8 to 64". */
static void put_ranks(char text[QL_FACT_BYTES], const ranges *g)
{
    if (g->least == g->most) {
        snprintf(text, QL_FACT_BYTES, "rank %zu", g->least);
    } else {
        snprintf(text, QL_FACT_BYTES, "ranks %zu to %zu", g->least, g->most);
    }
}

static json_t *name_run(const ql_report *r, const char *model, bool packed)
{
    const ranges g = ranges_of(r->adapter);
    char ranks[QL_FACT_BYTES];

    if (r->adapter->opt.full) {
        return json_sprintf("Full fine-tuning of %s", model);
    }
    put_ranks(ranks, &g);
    return json_sprintf("%s%s%s on %s%s",
                        g.pairs > 0 ? kind_of(r->adapter) : "Whole matrices",
                        g.pairs > 0 ? " of " : "", g.pairs > 0 ? ranks : "",
                        model, packed ? " in 4 bits" : "");
}

json_t *ql_fact_run(const ql_report *r)
{
    json_t *model = ql_fact_base_name(ql_model_dir(r->model));
    json_t *text;
    ql_model_info m;

    ql_model_info_read(r->model, &m);
    text =
        name_run(r, model ? json_string_value(model) : "", m.linear_4bit > 0);
    json_decref(model);
    return text;
}

/* True if a list, "q_proj, k_proj", has a name. */
static bool has(const ql_buf *list, const char *name)
{
    const size_t n = strlen(name);
    const char *p = list->len > 0 ? list->data : NULL;

    while (p && !(strncmp(p, name, n) == 0 && (!p[n] || p[n] == ','))) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    return p != NULL;
}

/* The last parts of the paths of pairs, or of whole matrices, each once. */
static json_t *leaves(const ql_adapter *a, bool pairs)
{
    char path[PATH_BYTES];
    json_t *out = NULL;
    ql_status st = QL_OK;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, MAX_TEXT);
    for (size_t i = 0; st == QL_OK && i < a->n; i++) {
        const char *leaf;

        ql_adapter_path(a, i, path, sizeof(path));
        leaf = ql_name_leaf(path);
        if ((a->entries[i].r > 0) == pairs && !has(&b, leaf)) {
            st = ql_buf_printf(&b, "%s%s", b.len > 0 ? ", " : "", leaf);
        }
    }
    if (st == QL_OK && b.len > 0) {
        out = json_string(b.data);
    }
    ql_buf_free(&b);
    return out;
}

static void add_pairs(json_t *list, const ql_report *r, const ranges *g)
{
    const ql_adapter *a = r->adapter;
    char ranks[QL_FACT_BYTES];
    char alphas[QL_FACT_BYTES];

    put_ranks(ranks, g);
    if (g->high - g->low < 1e-6 * g->high) {
        snprintf(alphas, sizeof(alphas), "alpha %.6g", g->high);
    } else {
        snprintf(alphas, sizeof(alphas), "alphas %.6g to %.6g", g->low,
                 g->high);
    }
    ql_fact_add(list, "adapter",
                json_sprintf("%s, %s, %s, dropout %.3g", kind_of(a), ranks,
                             alphas, r->opt->lora_dropout));
    ql_fact_add(list, "it acts on", leaves(a, true));
}

void ql_fact_add_adapter(json_t *list, const ql_report *r)
{
    static const char *const methods[] = {
        [QL_METHOD_QLORA] = "qlora: an adapter on a base in 4 bits",
        [QL_METHOD_LORA] = "lora: an adapter on the base as it is stored",
        [QL_METHOD_FULL] = "full: all weights, as copies in 32 bits",
    };
    const ranges g = ranges_of(r->adapter);
    const size_t all = r->model->config.layers;

    ql_fact_add(list, "method", json_string(methods[r->opt->method]));
    if (r->adapter->opt.full) {
        return;
    }
    if (g.pairs > 0) {
        add_pairs(list, r, &g);
    }
    if (g.whole > 0) {
        ql_fact_add(list, "trained whole", leaves(r->adapter, false));
    }
    if (g.layers > 0 && g.layers < all) {
        ql_fact_add(list, "layers that have one",
                    json_sprintf("%zu of %zu, from %zu to %zu", g.layers, all,
                                 g.first, g.last));
    }
}

json_t *ql_fact_adapter(const ql_report *r)
{
    static const size_t ranks[] = {8, 16, 32, 64, 128, 256, 320, 512};
    const ql_adapter *a = r->adapter;
    const ranges g = ranges_of(a);
    json_t *tags = json_pack("[s]", "lora");
    size_t i = 0;

    if (a->opt.dora) {
        json_array_append_new(tags, json_string("dora"));
    }
    if (r->opt->method == QL_METHOD_QLORA) {
        json_array_append_new(tags, json_string("qlora"));
    }
    while (i + 1 < sizeof(ranks) / sizeof(ranks[0]) && ranks[i] < g.most) {
        i++;
    }
    return json_pack("{s:o, s:I, s:b, s:b}", "tags", tags, "rank",
                     (json_int_t)ranks[i], "plain",
                     !a->opt.dora && g.whole == 0 && !g.other, "full",
                     (int)a->opt.full);
}
