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

/* Sites that are in no block, in order. */
static const ql_place apart[] = {QL_PLACE_POOLER, QL_PLACE_EMBED,
                                 QL_PLACE_HEAD};

enum {
    APART = sizeof(apart) / sizeof(apart[0])
};

/* Of these, those that the model does not have: the first ones. */
static size_t missing(const ql_config *c)
{
    return c->arch->names->pooler ? 0 : 1;
}

size_t ql_site_count(const ql_config *c)
{
    return c->layers * in_block(c) + APART - missing(c);
}

ql_site ql_site_at(const ql_config *c, size_t i)
{
    const size_t each = in_block(c);
    const unsigned mask = ql_arch_modules(c->arch);
    ql_site site = {.place = QL_PLACE_BLOCK, .layer = i / each};
    size_t left = i % each;

    if (i >= c->layers * each) {
        return (ql_site){.place = apart[i - c->layers * each + missing(c)]};
    }
    for (int m = 0; m < QL_MODULES; m++) {
        if (mask & 1U << m && left-- == 0) {
            site.module = (ql_module)m;
            break;
        }
    }
    return site;
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
