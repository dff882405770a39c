#include "src/model/strange.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/note.h"
#include "src/format/names.h"
#include "src/model/fusion.h"

enum {
    NAME_BYTES = 256
};

/* What stands in a name, and what that is a part of. */
static const struct {
    const char *part, *what;
} tells[] = {
    {".experts.", "a mixture of experts"},
    {".block_sparse_moe.", "a mixture of experts"},
    {"vision_tower.", "a model with a vision tower"},
    {"vision_model.", "a model with a vision tower"},
    {"multi_modal_projector.", "a model with a vision tower"},
    {"mm_projector.", "a model with a vision tower"},
    {"vision_embed_tokens.", "a model with a vision tower"},
    {"vision_encoder.", "a model with a vision tower"},
    {"visual.", "a model with a vision tower"},
    {"audio_tower.", "a model with an audio tower"},
    {"audio_encoder.", "a model with an audio tower"},
    {".qweight", "a weight quantized by GPTQ or AWQ"},
    {".g_idx", "a weight quantized by GPTQ or AWQ"},
    {".SCB", "an 8-bit weight of bitsandbytes"},
    {".weight_scale", "a weight quantized with scales beside it"},
    {".weight_packed", "a weight packed by compressed-tensors"},
    {".scales", "a weight quantized for MLX"},
};

/* What is in a block behind its number: "mlp.up_proj.weight"; NULL: the tensor
 * is in none that is read. */
static const char *part_of_block(const char *name, const ql_config *c,
                                 const char *base)
{
    const char *rest = ql_name_after(name, base);
    char *end = NULL;

    rest = rest ? ql_name_after(rest, c->arch->names->layers) : NULL;
    if (!rest || *rest != '.' || !isdigit((unsigned char)rest[1])) {
        return NULL;
    }
    return strtoull(rest + 1, &end, 10) < c->layers && *end == '.' ? end + 1
                                                                   : NULL;
}

bool ql_is_buffer(const char *name)
{
    return strstr(name, "rotary_emb.") || ql_name_ends(name, ".masked_bias") ||
           strcmp(name, "attn.bias") == 0 || ql_name_ends(name, ".attn.bias") ||
           strcmp(name, "attention.bias") == 0 ||
           ql_name_ends(name, ".attention.bias");
}

/* What is behind the path of a module, whose number is in m; NULL: the part is
 * of none. */
static const char *leaf_of_module(const char *part, const ql_config *c, int *m)
{
    for (*m = 0; *m < QL_MODULES; (*m)++) {
        const char *path = c->arch->names->module[*m];
        const char *leaf = path ? ql_name_after(part, path) : NULL;

        if (leaf &&
            (strcmp(leaf, ".bias") == 0 || ql_name_after(leaf, ".weight"))) {
            return leaf;
        }
    }
    return NULL;
}

/* A bias of a layer that has none by config.json. */
static bool is_extra_bias(const char *part, const ql_config *c)
{
    int m;
    const char *leaf = leaf_of_module(part, c, &m);

    return leaf && strcmp(leaf, ".bias") == 0 && !(c->bias & 1U << m);
}

static bool is_of_norm(const char *part, const ql_config *c)
{
    const bool shifted = c->arch->layer_norm;

    for (int p = 0; p < QL_NORMS; p++) {
        const char *path = c->arch->norm[p];
        const char *leaf = path ? ql_name_after(part, path) : NULL;

        if (leaf &&
            (strcmp(leaf, ".weight") == 0 || strcmp(leaf, ".gamma") == 0 ||
             (shifted &&
              (strcmp(leaf, ".bias") == 0 || strcmp(leaf, ".beta") == 0)))) {
            return true;
        }
    }
    return false;
}

/* A bias behind the blocks, where the architecture has none. */
static bool is_late_bias(const char *name, const ql_config *c, const char *base)
{
    const ql_names *n = c->arch->names;
    char norm[NAME_BYTES];
    char head[NAME_BYTES];

    snprintf(norm, sizeof(norm), "%s%s.bias", base,
             n->final_norm ? n->final_norm : "");
    snprintf(head, sizeof(head), "%s.bias", n->head);
    return (!c->arch->layer_norm && strcmp(name, norm) == 0) ||
           (!c->arch->classifier && strcmp(name, head) == 0);
}

static ql_status check(const char *name, const ql_config *c, const char *base)
{
    const char *part = part_of_block(name, c, base);
    int module;

    for (size_t i = 0; i < sizeof(tells) / sizeof(tells[0]); i++) {
        if (strstr(name, tells[i].part)) {
            QL_FAIL(QL_EUNSUPPORTED, "tensor %s: %s is not supported", name,
                    tells[i].what);
        }
    }
    if (part && is_extra_bias(part, c)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s: config.json says that this layer has no bias",
                name);
    }
    if (part && !leaf_of_module(part, c, &module) && ql_fusion_has(part)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s: architecture \"%s\" has this projection in %s, and "
                "made so are only matrices in 16 or 32 bits, all of one type",
                name, c->arch->model_type,
                c->arch->qkv == QL_QKV_APART ? "several matrices"
                                             : "one matrix with others");
    }
    if ((part && !ql_is_buffer(part) && !leaf_of_module(part, c, &module) &&
         !is_of_norm(part, c)) ||
        is_late_bias(name, c, base)) {
        QL_FAIL(QL_EUNSUPPORTED,
                "tensor %s: architecture \"%s\" has no such part, and a model "
                "that has it is not supported",
                name, c->arch->model_type);
    }
    return QL_OK;
}

/* Whether a tensor is of what lies at base and path: a weight, a bias, or what
 * stands beside one. */
static bool is_at(const char *name, const char *base, const char *path)
{
    const char *rest = path ? ql_name_after(name, base) : NULL;

    rest = rest ? ql_name_after(rest, path) : NULL;
    return rest && *rest == '.';
}

/* Whether a tensor is read, or has been found to change nothing. */
static bool is_known(const char *name, const ql_config *c, const char *base)
{
    const ql_names *n = c->arch->names;
    const char *const ends[] = {n->embed, n->position,   n->final_norm,
                                n->types, n->embed_norm, n->pooler};
    bool known = part_of_block(name, c, base) || is_at(name, "", n->head) ||
                 ql_is_buffer(name) || ql_name_ends(name, ".position_ids");

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        known |= is_at(name, base, ends[i]);
    }
    return known;
}

/* The matrix of a path, if it has a row for each token. */
static const ql_tensor *find_matrix(const ql_shards *s, const ql_config *c,
                                    const char *base, const char *path)
{
    char name[NAME_BYTES];
    const ql_tensor *t;

    snprintf(name, sizeof(name), "%s%s.weight", base, path);
    t = ql_shards_find(s, name);
    return t && t->data && t->rank == 2 && t->shape[0] == c->V &&
                   t->shape[1] == c->C
               ? t
               : NULL;
}

/* Tells of a head of its own beside an embedding that it is by config.json: as
 * in transformers it is not used. Some rows will tell. */
static void note_head(const ql_shards *s, const ql_config *c, const char *base)
{
    enum {
        ROWS = 64
    };
    const ql_names *n = c->arch->names;
    const ql_tensor *head = c->tied ? find_matrix(s, c, "", n->head) : NULL;
    const ql_tensor *embed = find_matrix(s, c, base, n->embed);

    if (!head || !embed || head->dtype != embed->dtype) {
        return;
    }
    for (size_t i = 0; i < ROWS; i++) {
        const size_t row = head->bytes / c->V;
        const size_t at = (c->V - 1) * i / (ROWS - 1) * row;

        if (memcmp(head->data + at, embed->data + at, row) != 0) {
            ql_warn("%s is not the embedding, as config.json says that it is "
                    "(\"tie_word_embeddings\"): the embedding is used",
                    head->name);
            return;
        }
    }
}

ql_status ql_strange_check(const ql_shards *s, const ql_config *c,
                           const char *base)
{
    const char *first = NULL;
    size_t unread = 0;

    for (size_t i = 0; i < ql_shards_count(s); i++) {
        const char *name = ql_shards_at(s, i)->name;

        QL_TRY(check(name, c, base));
        if (!is_known(name, c, base)) {
            first = unread++ == 0 ? name : first;
        }
    }
    if (unread > 0) {
        ql_warn("tensors that this architecture does not use: %zu, the first "
                "of them %s",
                unread, first);
    }
    note_head(s, c, base);
    return QL_OK;
}
