/* The options become an adapter_config.json in memory; what it asks for is
 * found out as it is for one that was read. */
#include "src/convert/adapter_make.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/utf8_check.h"
#include "src/convert/adapter_begin.h"
#include "src/convert/adapter_settings.h"
#include "src/convert/peft.h"
#include "src/format/names.h"
#include "src/model/full.h"

enum {
    PATH_BYTES = 256
};

static char where[] = "the adapter's options";

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names, sorted, each once; null if there are none. */
static json_t *sorted(const char *const *names, size_t n)
{
    const char **copy = ql_calloc(QL_TAG_MISC, n, sizeof(*copy));
    json_t *list = n > 0 ? json_array() : json_null();

    if (!copy || !list) {
        ql_free(copy);
        json_decref(list);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        copy[i] = names[i];
    }
    qsort(copy, n, sizeof(*copy), by_text);
    for (size_t i = 0; list && i < n; i++) {
        const bool again = i > 0 && strcmp(copy[i], copy[i - 1]) == 0;

        if (!again && json_array_append_new(list, json_string(copy[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    ql_free(copy);
    return list;
}

/* A name with signs that only a pattern has. */
static bool is_pattern(const char *name)
{
    return strpbrk(name, "*+?()[]{}|\\^$") != NULL;
}

static bool is_all(const ql_list *targets)
{
    bool all = targets->n == 0;

    for (size_t i = 0; i < targets->n; i++) {
        all |= strcmp(targets->items[i], "all-linear") == 0;
    }
    return all;
}

/* target_modules as PEFT has it: names, or one pattern. */
static json_t *targets_of(const ql_config *c, const ql_list *targets)
{
    const char *names[QL_MODULES + 1];
    size_t n = 0;

    if (!is_all(targets)) {
        return targets->n == 1 && is_pattern(targets->items[0])
                   ? json_string(targets->items[0])
                   : sorted(targets->items, targets->n);
    }
    for (int m = 0; m < QL_MODULES; m++) {
        const char *path = c->arch->names->module[m];

        if (path) {
            names[n++] = ql_name_leaf(path);
        }
    }
    if (c->arch->names->pooler) {
        names[n++] = ql_name_leaf(c->arch->names->pooler);
    }
    return sorted(names, n);
}

static ql_status read_layers(const ql_list *list, size_t layers, json_t *out)
{
    for (size_t i = 0; i < list->n; i++) {
        char *end;
        const unsigned long long layer = strtoull(list->items[i], &end, 10);

        if (end == list->items[i] || *end || layer >= layers) {
            QL_FAIL(QL_EINVAL,
                    "layers-to-transform: \"%s\" is no layer; there are 0 to "
                    "%zu",
                    list->items[i], layers - 1);
        }
        if (json_array_append_new(out, json_integer((json_int_t)layer)) != 0) {
            return QL_ENOMEM;
        }
    }
    return QL_OK;
}

/* "PATTERN=NUMBER" entries as an object. */
static ql_status read_pattern(const ql_list *list, const char *option,
                              bool whole, json_t *out)
{
    int failed = 0;

    for (size_t i = 0; i < list->n; i++) {
        const char *sign = strrchr(list->items[i], '=');
        char *end = NULL;
        const double x = sign ? strtod(sign + 1, &end) : 0;
        char *key = sign ? ql_strndup(QL_TAG_MISC, list->items[i],
                                      (size_t)(sign - list->items[i]))
                         : NULL;

        if (sign && !key) {
            return QL_ENOMEM;
        }
        if (!sign || !*key || end == sign + 1 || *end || !isfinite(x) ||
            (whole && !(x > 0 && x == floor(x)))) {
            ql_free(key);
            QL_FAIL(QL_EINVAL,
                    "%s: \"%s\" must be PATTERN=NUMBER, such as q_proj=8",
                    option, list->items[i]);
        }
        failed |= json_object_set_new(out, key, ql_peft_number(x));
        ql_free(key);
    }
    return failed ? QL_ENOMEM : QL_OK;
}

/* JSON has text only. */
static ql_status check_text(const ql_list *list, const char *option)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!ql_utf8_valid(list->items[i], strlen(list->items[i]))) {
            QL_FAIL(QL_EINVAL, "%s: a name that is not UTF-8 text", option);
        }
    }
    return QL_OK;
}

static ql_status check_texts(const ql_train_options *o)
{
    QL_TRY(check_text(&o->lora_target_modules, "lora-target-modules"));
    QL_TRY(check_text(&o->modules_to_save, "modules-to-save"));
    QL_TRY(check_text(&o->rank_pattern, "rank-pattern"));
    return check_text(&o->alpha_pattern, "alpha-pattern");
}

/* Modules that PEFT has a classifier's adapter train whole, whatever its head
 * is called. */
static const char *const heads[] = {"classifier", "score"};

static bool is_classifier_head(const ql_config *c, const char *name)
{
    return c->arch->classifier &&
           (strcmp(name, heads[0]) == 0 || strcmp(name, heads[1]) == 0);
}

/* modules_to_save as PEFT has it. */
static json_t *saves_of(const ql_config *c, const ql_list *saves)
{
    const size_t more = c->arch->classifier ? 2 : 0;
    const char **names =
        ql_calloc(QL_TAG_MISC, saves->n + more, sizeof(*names));
    json_t *list = NULL;

    for (size_t i = 0; names && i < saves->n + more; i++) {
        names[i] = i < saves->n ? saves->items[i] : heads[i - saves->n];
    }
    if (names) {
        list = sorted(names, saves->n + more);
    }
    ql_free(names);
    return list;
}

/* What adapter_config.json will say. */
static ql_status make_root(const ql_config *c, const ql_train_options *o,
                           json_t **root)
{
    json_t *ranks = json_object();
    json_t *alphas = json_object();
    json_t *layers = o->layers_to_transform.n > 0 ? json_array() : json_null();

    *root = json_pack(
        "{so so so so so so sb sb si so sf}", "init_lora_weights",
        ql_adapter_gaussian(o) ? json_string("gaussian") : json_true(),
        "rank_pattern", ranks, "alpha_pattern", alphas, "layers_to_transform",
        layers, "modules_to_save", saves_of(c, &o->modules_to_save),
        "target_modules", targets_of(c, &o->lora_target_modules), "use_dora",
        (int)o->use_dora, "use_rslora", (int)o->use_rslora, "r", (int)o->lora_r,
        "lora_alpha", ql_peft_number(o->lora_alpha), "lora_dropout",
        o->lora_dropout);
    if (!*root) {
        return QL_ENOMEM;
    }
    QL_TRY(read_pattern(&o->rank_pattern, "rank-pattern", true, ranks));
    QL_TRY(read_pattern(&o->alpha_pattern, "alpha-pattern", false, alphas));
    return read_layers(&o->layers_to_transform, c->layers, layers);
}

/* What the settings ask for, while it is listed: matrices, then vectors. */
typedef struct listing {
    ql_adapter_item *items;
    size_t n;
    bool vectors;
} listing;

/* Adds a module that is trained whole, if it is its turn. */
static void add_whole(listing *l, const ql_config *c, ql_site site)
{
    if (ql_site_is_norm(site) == l->vectors) {
        l->items[l->n++] = (ql_adapter_item){.site = site};
    }
    site.bias = true;
    if (l->vectors && ql_site_biased(c, site)) {
        l->items[l->n++] = (ql_adapter_item){.site = site};
    }
}

/* What is trained whole takes no pair, though its name asks for one: PEFT would
 * look for both. */
static ql_status exclude(const ql_adapter_settings *s, const char *path)
{
    json_t *list = json_object_get(s->root, "exclude_modules");
    int failed = 0;

    if (!list) {
        list = json_array();
        failed = json_object_set_new(s->root, "exclude_modules", list);
    }
    return failed || json_array_append_new(list, json_string(path)) != 0
               ? QL_ENOMEM
               : QL_OK;
}

/* Adds what the settings ask of one site, if anything. */
static ql_status plan_site(listing *l, const ql_config *c,
                           const ql_adapter_settings *s, ql_site site)
{
    ql_adapter_item item = {.site = site};
    char path[PATH_BYTES];
    bool targeted;
    bool saved;

    ql_site_path(c->arch, site, path, sizeof(path));
    saved = ql_adapter_settings_saves(s, path);
    if (saved) {
        add_whole(l, c, site);
    }
    if (l->vectors || !ql_site_takes_pairs(site)) {
        return QL_OK;
    }
    QL_TRY(ql_adapter_settings_targets(s, path, &targeted));
    if (targeted && saved) {
        return exclude(s, path);
    }
    if (targeted) {
        QL_TRY(ql_adapter_settings_module(s, path, &item.r, &item.alpha));
        l->items[l->n++] = item;
    }
    return QL_OK;
}

/* A name stands for a module that is to be trained whole, or by a pair. */
static bool is_named(const ql_config *c, const char *name, bool whole)
{
    for (size_t i = 0; i < ql_site_count(c); i++) {
        const ql_site site = ql_site_at(c, i);
        char path[PATH_BYTES];

        ql_site_path(c->arch, site, path, sizeof(path));
        if (whole
                ? ql_adapter_settings_is_in(path, name)
                : ql_site_takes_pairs(site) && ql_name_ends_path(path, name)) {
            return true;
        }
    }
    return whole && is_classifier_head(c, name);
}

/* Every name of a list must stand for a module. */
static ql_status check_names(const ql_config *c, const json_t *list,
                             const char *option, bool whole)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        char known[2 * PATH_BYTES];

        if (!is_named(c, name, whole) && whole) {
            ql_site_wholes(c, known, sizeof(known));
            QL_FAIL(QL_EINVAL,
                    "%s: \"%s\" is no module of this model, which can train "
                    "whole: %s",
                    option, name, known);
        }
        if (!is_named(c, name, whole)) {
            ql_site_leaves(c->arch, known, sizeof(known));
            QL_FAIL(QL_EINVAL,
                    "%s: \"%s\" is no module of this model, which has %s",
                    option, name, known);
        }
    }
    return QL_OK;
}

/* PEFT, too, takes no adapter without a pair. */
static ql_status check_pairs(const listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->items[i].r > 0) {
            return QL_OK;
        }
    }
    QL_FAIL(QL_EINVAL,
            "lora-target-modules and layers-to-transform%s leave "
            "no module a pair of matrices",
            l->n > 0 ? ", beside modules-to-save," : "");
}

static ql_status plan(const ql_config *c, const ql_adapter_settings *s,
                      ql_adapter_item **items, size_t *n)
{
    const size_t sites = ql_site_count(c);
    listing l = {0};

    QL_TRY(check_names(c, json_object_get(s->root, "target_modules"),
                       "lora-target-modules", false));
    QL_TRY(check_names(c, json_object_get(s->root, "modules_to_save"),
                       "modules-to-save", true));
    l.items = ql_calloc(QL_TAG_MISC, sites, 2 * sizeof(*l.items));
    *items = l.items;
    if (!l.items) {
        return QL_ENOMEM;
    }
    for (size_t i = 0; i < 2 * sites; i++) {
        ql_status st;

        l.vectors = i >= sites;
        st = plan_site(&l, c, s, ql_site_at(c, i % sites));
        if (st != QL_OK && st != QL_ENOMEM) {
            return ql_fail(QL_EINVAL, "%s", ql_last_error());
        }
        QL_TRY(st);
    }
    *n = l.n;
    return check_pairs(&l);
}

/* The items, and what adapter_config.json will say: Owned. */
static ql_status plan_options(const ql_config *c, const ql_train_options *o,
                              ql_adapter_item **items, size_t *n, json_t **root)
{
    ql_adapter_settings s = {
        .path = where, .r = o->lora_r, .alpha = o->lora_alpha};

    *items = NULL;
    *root = NULL;
    *n = 0;
    QL_TRY(check_texts(o));
    QL_TRY(make_root(c, o, root));
    s.root = *root;
    return plan(c, &s, items, n);
}

static ql_adapter_options options_of(const ql_train_options *o)
{
    return (ql_adapter_options){.r = o->lora_r,
                                .alpha = o->lora_alpha,
                                .dropout = o->lora_dropout,
                                .rslora = o->use_rslora,
                                .dora = o->use_dora,
                                .gaussian = ql_adapter_gaussian(o),
                                .full = o->method == QL_METHOD_FULL,
                                .half = o->dtype == QL_WEIGHT_BF16};
}

ql_status ql_adapter_fits(const ql_config *c, const ql_train_options *o)
{
    const ql_adapter_options opt = options_of(o);
    ql_principal principal;
    ql_adapter_item *items;
    json_t *root;
    size_t n;
    ql_status st = ql_adapter_options_check(&opt);

    if (st == QL_OK) {
        st = ql_adapter_principal(&principal, o);
    }
    if (st == QL_OK && !opt.full) {
        st = plan_options(c, o, &items, &n, &root);
        ql_free(items);
        json_decref(root);
    }
    return st;
}

static ql_status make_full(ql_adapter *a, const ql_config *c,
                           const ql_weights *w, const ql_adapter_options *how,
                           bool trained)
{
    ql_status st = ql_full_init(a, c, how, trained);

    if (st == QL_OK && w) {
        st = ql_adapter_start(a, w);
    }
    if (st != QL_OK) {
        ql_adapter_free(a);
    }
    return st;
}

static ql_status check_top(const ql_adapter *a, const ql_weights *w)
{
    const char *lacks = ql_adapter_lacks(a, w);

    if (lacks) {
        QL_FAIL(QL_EINVAL,
                "the model has no %s, and one that began at random would be in "
                "no file; have it trained with the adapter (--modules-to-save "
                "%s), or train by --method full",
                lacks, lacks);
    }
    return QL_OK;
}

ql_status ql_adapter_make(ql_adapter *a, const ql_config *c, ql_weights *w,
                          const ql_train_options *o, uint64_t seed,
                          bool trained)
{
    const ql_adapter_options opt = options_of(o);
    ql_principal principal;
    ql_adapter_item *items = NULL;
    json_t *root = NULL;
    size_t n;
    ql_status st;

    *a = (ql_adapter){0};
    QL_TRY(ql_adapter_options_check(&opt));
    if (opt.full) {
        return make_full(a, c, w, &opt, trained);
    }
    QL_TRY(ql_adapter_principal(&principal, o));
    QL_TRY_DONE(plan_options(c, o, &items, &n, &root));
    QL_TRY_DONE(ql_adapter_init(a, c, &opt, items, n, seed, trained));
    a->config = json_incref(root);
    QL_TRY_DONE(w ? check_top(a, w) : QL_OK);
    if (w && principal.kind != QL_PRINCIPAL_NONE) {
        QL_TRY_DONE(ql_principal_start(a, w, c, &principal, seed));
    }
    st = w ? ql_adapter_start(a, w) : QL_OK;
done:
    if (st != QL_OK) {
        ql_adapter_free(a);
    }
    ql_free(items);
    json_decref(root);
    return st;
}

ql_status ql_adapter_measure(ql_adapter *a, const ql_config *c,
                             const ql_weights *w, const ql_train_options *o)
{
    ql_adapter_options opt = options_of(o);
    ql_adapter_item *items;
    json_t *root;
    size_t n;
    ql_status st;

    *a = (ql_adapter){0};
    QL_TRY(ql_adapter_options_check(&opt));
    opt.measured = true;
    if (opt.full) {
        return ql_full_init(a, c, &opt, true);
    }
    st = plan_options(c, o, &items, &n, &root);
    if (st == QL_OK) {
        st = ql_adapter_init(a, c, &opt, items, n, 0, true);
    }
    if (st == QL_OK) {
        st = check_top(a, w);
    }
    if (st != QL_OK) {
        ql_adapter_free(a);
    }
    ql_free(items);
    json_decref(root);
    return st;
}

static bool same_site(ql_site a, ql_site b)
{
    return a.place == b.place && a.layer == b.layer && a.module == b.module &&
           a.norm == b.norm && a.bias == b.bias;
}

static const ql_adapter_entry *entry_of(const ql_adapter *a, ql_site site)
{
    for (size_t i = 0; i < a->n; i++) {
        if (same_site(a->entries[i].site, site)) {
            return &a->entries[i];
        }
    }
    return NULL;
}

/* The adapter changes the modules that items name, by their ranks and scales,
 * and no others. */
static ql_status check_items(const ql_adapter *a, const ql_train_options *o,
                             const ql_adapter_item *items, size_t n,
                             const char *dir)
{
    char path[PATH_BYTES];

    for (size_t i = 0; i < n; i++) {
        const ql_adapter_item *item = &items[i];
        const ql_adapter_entry *e = entry_of(a, item->site);
        const double root =
            o->use_rslora ? sqrt((double)item->r) : (double)item->r;

        ql_site_path(a->arch, item->site, path, sizeof(path));
        if (!e) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: the options ask for %s, which the adapter does not "
                    "change",
                    dir, path);
        }
        if (e->r != item->r ||
            (e->r > 0 && e->scale != (float)(item->alpha / root))) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: rank or scale of %s are not what the options say", dir,
                    path);
        }
    }
    for (size_t i = 0; i < a->n; i++) {
        bool found = false;

        for (size_t j = 0; !found && j < n; j++) {
            found = same_site(a->entries[i].site, items[j].site);
        }
        if (!found) {
            ql_adapter_path(a, i, path, sizeof(path));
            QL_FAIL(QL_EMISMATCH,
                    "%s: the adapter changes %s, which the options do not ask "
                    "for",
                    dir, path);
        }
    }
    return QL_OK;
}

ql_status ql_adapter_matches(const ql_adapter *a, const ql_config *c,
                             const ql_train_options *o, const char *dir)
{
    const char *other = a->opt.r != o->lora_r            ? "lora-r"
                        : a->opt.alpha != o->lora_alpha  ? "lora-alpha"
                        : a->opt.rslora != o->use_rslora ? "use-rslora"
                        : a->opt.dora != o->use_dora     ? "use-dora"
                                                         : NULL;
    ql_adapter_item *items;
    json_t *root;
    size_t n;
    ql_status st;

    if (other) {
        QL_FAIL(QL_EMISMATCH, "%s: the adapter has another %s than the options",
                dir, other);
    }
    st = plan_options(c, o, &items, &n, &root);
    if (st == QL_OK) {
        st = check_items(a, o, items, n, dir);
    }
    ql_free(items);
    json_decref(root);
    return st;
}
