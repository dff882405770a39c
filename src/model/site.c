/* Where weights are, which of them an adapter can change, and what its tensors
 * are called. */
#include <stdio.h>
#include <string.h>

#include "src/model/adapter.h"

enum {
    PATH_BYTES = 200
};

/* Modules of a block. */
static size_t in_block(const ql_config *c)
{
    size_t n = 0;

    for (int m = 0; m < QL_MODULES; m++) {
        n += (ql_arch_modules(c->arch) >> m) & 1;
    }
    return n;
}

/* Norms of a block. */
static size_t norms_in_block(const ql_config *c)
{
    size_t n = 0;

    for (int p = 0; p < QL_NORMS; p++) {
        n += ql_config_norm(c, (ql_norm_place)p) > 0;
    }
    return n;
}

/* Sites that are in no block, in order: before the norms of blocks, and
 * behind them. */
static const ql_place apart[] = {QL_PLACE_POOLER, QL_PLACE_EMBED, QL_PLACE_HEAD,
                                 QL_PLACE_POSITION, QL_PLACE_TYPES};
static const ql_place last[] = {QL_PLACE_EMBED_NORM, QL_PLACE_LAST_NORM};

enum {
    APART = sizeof(apart) / sizeof(apart[0]),
    LAST = sizeof(last) / sizeof(last[0])
};

static bool has_place(const ql_config *c, ql_place place)
{
    const ql_names *n = c->arch->names;

    return place == QL_PLACE_POOLER       ? n->pooler != NULL
           : place == QL_PLACE_POSITION   ? n->position != NULL
           : place == QL_PLACE_TYPES      ? n->types != NULL
           : place == QL_PLACE_EMBED_NORM ? n->embed_norm != NULL
           : place == QL_PLACE_LAST_NORM  ? n->final_norm != NULL
                                          : true;
}

/* Those of n places that the model has. */
static size_t count_places(const ql_config *c, const ql_place *places, size_t n)
{
    size_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += has_place(c, places[i]);
    }
    return sum;
}

/* The i-th of the places that the model has. */
static ql_site place_at(const ql_config *c, const ql_place *places, size_t i)
{
    while (!has_place(c, *places) || i-- > 0) {
        places++;
    }
    return (ql_site){.place = *places};
}

size_t ql_site_count(const ql_config *c)
{
    return c->layers * (in_block(c) + norms_in_block(c)) +
           count_places(c, apart, APART) + count_places(c, last, LAST);
}

bool ql_site_takes_pairs(ql_site site)
{
    return site.place <= QL_PLACE_HEAD;
}

bool ql_site_is_norm(ql_site site)
{
    return site.place >= QL_PLACE_EMBED_NORM;
}

static ql_site module_at(const ql_config *c, size_t i)
{
    const size_t each = in_block(c);
    const unsigned mask = ql_arch_modules(c->arch);
    ql_site site = {.place = QL_PLACE_BLOCK, .layer = i / each};
    size_t left = i % each;

    for (int m = 0; m < QL_MODULES; m++) {
        if (mask & 1U << m && left-- == 0) {
            site.module = (ql_module)m;
            break;
        }
    }
    return site;
}

static ql_site norm_at(const ql_config *c, size_t i)
{
    const size_t each = norms_in_block(c);
    ql_site site = {.place = QL_PLACE_NORM, .layer = i / each};
    size_t left = i % each;

    for (int p = 0; p < QL_NORMS; p++) {
        if (ql_config_norm(c, (ql_norm_place)p) > 0 && left-- == 0) {
            site.norm = (ql_norm_place)p;
            break;
        }
    }
    return site;
}

ql_site ql_site_at(const ql_config *c, size_t i)
{
    const size_t modules = c->layers * in_block(c);
    const size_t others = modules + count_places(c, apart, APART);
    const size_t norms = others + c->layers * norms_in_block(c);

    return i < modules  ? module_at(c, i)
           : i < others ? place_at(c, apart, i - modules)
           : i < norms  ? norm_at(c, i - others)
                        : place_at(c, last, i - norms);
}

bool ql_site_biased(const ql_config *c, ql_site site)
{
    return site.place == QL_PLACE_BLOCK    ? c->bias & 1U << site.module
           : site.place == QL_PLACE_POOLER ? true
           : site.place == QL_PLACE_HEAD   ? c->arch->classifier
           : ql_site_is_norm(site)         ? c->arch->layer_norm
                                           : false;
}

void ql_site_shape(const ql_config *c, ql_site site, size_t *rows, size_t *cols)
{
    const ql_names *n = c->arch->names;

    *rows = c->V;
    *cols = c->C;
    switch (site.place) {
    case QL_PLACE_BLOCK:
        ql_config_module(c, site.module, rows, cols);
        break;
    case QL_PLACE_POOLER:
        *rows = n->pooler ? c->C : 0;
        break;
    case QL_PLACE_EMBED:
        break;
    case QL_PLACE_HEAD:
        *rows = ql_config_head(c);
        break;
    case QL_PLACE_POSITION:
        *rows = c->max_position;
        break;
    case QL_PLACE_TYPES:
        *rows = c->types;
        break;
    case QL_PLACE_EMBED_NORM:
        *rows = n->embed_norm ? c->C : 0;
        *cols = 0;
        break;
    case QL_PLACE_NORM:
        *rows = ql_config_norm(c, site.norm);
        *cols = 0;
        break;
    case QL_PLACE_LAST_NORM:
        *rows = n->final_norm ? c->C : 0;
        *cols = 0;
        break;
    }
    *cols = site.bias ? 0 : *cols;
}

void ql_site_path(const ql_arch *arch, ql_site site, char *path, size_t bytes)
{
    const ql_names *n = arch->names;

    switch (site.place) {
    case QL_PLACE_BLOCK:
        ql_arch_path(arch, site.layer, site.module, path, bytes);
        break;
    case QL_PLACE_POOLER:
        snprintf(path, bytes, "%s%s", n->base, n->pooler);
        break;
    case QL_PLACE_EMBED:
        snprintf(path, bytes, "%s%s", n->base, n->embed);
        break;
    case QL_PLACE_HEAD:
        snprintf(path, bytes, "%s", n->head);
        break;
    case QL_PLACE_POSITION:
        snprintf(path, bytes, "%s%s", n->base, n->position);
        break;
    case QL_PLACE_TYPES:
        snprintf(path, bytes, "%s%s", n->base, n->types);
        break;
    case QL_PLACE_EMBED_NORM:
        snprintf(path, bytes, "%s%s", n->base, n->embed_norm);
        break;
    case QL_PLACE_NORM:
        snprintf(path, bytes, "%s%s.%zu.%s", n->base, n->layers, site.layer,
                 arch->norm[site.norm]);
        break;
    case QL_PLACE_LAST_NORM:
        snprintf(path, bytes, "%s%s", n->base, n->final_norm);
        break;
    }
}

/* Whether a module before m ends in the same name. */
static bool named_before(const ql_names *n, int m)
{
    for (int i = 0; i < m; i++) {
        if (n->module[i] && strcmp(ql_name_leaf(n->module[i]),
                                   ql_name_leaf(n->module[m])) == 0) {
            return true;
        }
    }
    return false;
}

void ql_site_leaves(const ql_arch *arch, char *text, size_t bytes)
{
    const ql_names *n = arch->names;
    size_t used = 0;

    for (int m = 0; m < QL_MODULES; m++) {
        if (n->module[m] && !named_before(n, m) && used < bytes) {
            used += (size_t)snprintf(text + used, bytes - used, "%s, ",
                                     ql_name_leaf(n->module[m]));
        }
    }
    if (used < bytes) {
        snprintf(text + used, bytes - used, "%s and %s", ql_name_leaf(n->embed),
                 ql_name_leaf(n->head));
    }
}

/* Adds ", NAME" to text. */
static void add_name(char *text, size_t bytes, const char *name)
{
    const size_t used = strlen(text);

    snprintf(text + used, bytes - used, "%s%s", used > 0 ? ", " : "", name);
}

void ql_site_wholes(const ql_config *c, char *text, size_t bytes)
{
    const size_t base = strlen(c->arch->names->base);

    text[0] = '\0';
    for (size_t i = 0; i < ql_site_count(c); i++) {
        const ql_site site = ql_site_at(c, i);
        char path[PATH_BYTES];

        ql_site_path(c->arch, site, path, sizeof(path));
        if (site.place == QL_PLACE_NORM && site.layer == 0) {
            add_name(text, bytes, c->arch->norm[site.norm]);
        } else if (site.place == QL_PLACE_BLOCK && site.layer == 0) {
            add_name(text, bytes, c->arch->names->module[site.module]);
        } else if (site.place == QL_PLACE_HEAD) {
            add_name(text, bytes, path);
        } else if (site.place != QL_PLACE_BLOCK &&
                   site.place != QL_PLACE_NORM) {
            add_name(text, bytes, path + base);
        }
    }
}

void ql_adapter_path(const ql_adapter *a, size_t i, char *path, size_t bytes)
{
    ql_site_path(a->arch, a->entries[i].site, path, bytes);
}

void ql_adapter_name(const ql_adapter *a, size_t i, char *name, size_t bytes)
{
    static const char *const linear[QL_PARTS] = {
        [QL_PART_A] = "lora_A.weight",
        [QL_PART_B] = "lora_B.weight",
        [QL_PART_MAGNITUDE] = "lora_magnitude_vector",
        [QL_PART_WHOLE] = "weight",
    };
    static const char *const embedding[QL_PARTS] = {
        [QL_PART_A] = "lora_embedding_A",
        [QL_PART_B] = "lora_embedding_B",
        [QL_PART_MAGNITUDE] = "lora_magnitude_vector",
        [QL_PART_WHOLE] = "weight",
    };
    const ql_adapter_tensor *t = &a->tensors[i];
    const ql_site site = a->entries[t->entry].site;
    const bool embed = site.place == QL_PLACE_EMBED;
    char path[PATH_BYTES];

    ql_adapter_path(a, t->entry, path, sizeof(path));
    if (a->opt.full) {
        snprintf(name, bytes, "%s.%s", path, site.bias ? "bias" : "weight");
        return;
    }
    snprintf(name, bytes, "base_model.model.%s.%s", path,
             site.bias ? "bias"
             : embed   ? embedding[t->part]
                       : linear[t->part]);
}
