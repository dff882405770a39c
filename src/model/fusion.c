#include "src/model/fusion.h"

#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/format/qstate.h"
#include "src/model/weights.h"

enum {
    NAME_BYTES = 256
};

/* Names of one matrix, and of those that are its rows, the first of which is a
 * module and the others the next ones. */
static const struct fusion {
    const char *whole;
    ql_module first;
    size_t n;
    const char *parts[QL_SHARDS_PARTS];
} fusions[] = {
    {"self_attn.qkv_proj",
     QL_MODULE_Q,
     3,
     {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
    {"self_attn.W_pack",
     QL_MODULE_Q,
     3,
     {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
    {"mlp.gate_up_proj", QL_MODULE_GATE, 2, {"mlp.gate_proj", "mlp.up_proj"}},
};

/* A projection of a layer in names: those of its parts, then of the whole. */
typedef struct names {
    char text[QL_SHARDS_PARTS + 1][NAME_BYTES];
    const char *part[QL_SHARDS_PARTS];
    const char *whole;
    size_t rows[QL_SHARDS_PARTS]; /* of the parts, by config.json */
} names;

static void name_all(names *out, const ql_shards *s, const ql_config *c,
                     const struct fusion *f, size_t layer, const char *leaf)
{
    const ql_names *n = c->arch->names;
    const char *base = ql_weights_base(s, n);
    const size_t rows[QL_MODULES] = {
        [QL_MODULE_Q] = c->H * c->D,  [QL_MODULE_K] = c->KV * c->D,
        [QL_MODULE_V] = c->KV * c->D, [QL_MODULE_GATE] = c->F,
        [QL_MODULE_UP] = c->F,
    };

    for (size_t i = 0; i <= f->n; i++) {
        snprintf(out->text[i], NAME_BYTES, "%s%s.%zu.%s.%s", base, n->layers,
                 layer, i < f->n ? f->parts[i] : f->whole, leaf);
    }
    for (size_t i = 0; i < f->n; i++) {
        out->part[i] = out->text[i];
        out->rows[i] = rows[(size_t)f->first + i];
    }
    out->whole = out->text[f->n];
}

static ql_status wrong_rows(const ql_tensor *t, size_t rows)
{
    QL_FAIL(QL_EFORMAT, "tensor %s: it has %zu rows, but config.json needs %zu",
            t->name, t->shape[0], rows);
}

/* A dense tensor that is there; NULL: it is not, or is in 4 bits. */
static const ql_tensor *find_dense(const ql_shards *s, const char *name)
{
    const ql_tensor *t = ql_shards_find(s, name);

    return t && t->rank > 0 && !ql_qstate_find(s, name) ? t : NULL;
}

/* One matrix, or the bias of one, becomes those that the model has. */
static ql_status split(ql_shards *s, const names *n, size_t parts)
{
    const ql_tensor *t = find_dense(s, n->whole);
    size_t rows = 0;

    for (size_t i = 0; t && i < parts; i++) {
        rows += n->rows[i];
        t = ql_shards_find(s, n->part[i]) ? NULL : t;
    }
    if (!t) {
        return QL_OK;
    }
    return t->shape[0] == rows ? ql_shards_split(s, t, n->part, n->rows, parts)
                               : wrong_rows(t, rows);
}

/* The matrices become the one that the model has. */
static ql_status join(ql_shards *s, const names *n, size_t parts)
{
    const ql_tensor *t[QL_SHARDS_PARTS];

    for (size_t i = 0; i < parts; i++) {
        t[i] = find_dense(s, n->part[i]);
        if (!t[i] || t[i]->rank != 2 || t[i]->dtype != t[0]->dtype ||
            t[i]->shape[1] != t[0]->shape[1] || ql_shards_find(s, n->whole)) {
            return QL_OK; /* is refused as what the model does not have */
        }
        if (t[i]->shape[0] != n->rows[i]) {
            return wrong_rows(t[i], n->rows[i]);
        }
    }
    return ql_shards_join(s, n->whole, t, parts);
}

static bool has_module(const ql_arch *arch, size_t m, const char *path)
{
    const char *own = arch->names->module[m];

    return own && strcmp(own, path) == 0;
}

static ql_status apply(ql_shards *s, const ql_config *c, const struct fusion *f,
                       size_t layer)
{
    static const char *const leaves[] = {"weight", "bias"};
    const size_t first = (size_t)f->first;
    names n;

    if (has_module(c->arch, first, f->whole)) {
        name_all(&n, s, c, f, layer, leaves[0]);
        return join(s, &n, f->n);
    }
    for (size_t i = 0; i < 2 && has_module(c->arch, first, f->parts[0]); i++) {
        name_all(&n, s, c, f, layer, leaves[i]);
        QL_TRY(split(s, &n, f->n));
    }
    return QL_OK;
}

static bool is_in(const char *part, const char *path)
{
    const size_t n = strlen(path);

    return strncmp(part, path, n) == 0 && part[n] == '.';
}

/* A head that is the embedding, and the only one stored, is seen as that. */
static ql_status tie(ql_shards *s, const ql_config *c)
{
    const ql_names *n = c->arch->names;
    const char *base = ql_weights_base(s, n);
    char head[NAME_BYTES];
    char embed[NAME_BYTES];
    const char *name = embed;
    const ql_tensor *t;

    snprintf(head, sizeof(head), "%s.weight", n->head);
    snprintf(embed, sizeof(embed), "%s%s.weight", base, n->embed);
    t = c->tied && !ql_shards_find(s, embed) ? find_dense(s, head) : NULL;
    return t ? ql_shards_split(s, t, &name, &t->shape[0], 1) : QL_OK;
}

bool ql_fusion_has(const char *part)
{
    for (size_t i = 0; i < sizeof(fusions) / sizeof(fusions[0]); i++) {
        bool found = is_in(part, fusions[i].whole);

        for (size_t k = 0; k < fusions[i].n; k++) {
            found |= is_in(part, fusions[i].parts[k]);
        }
        if (found) {
            return true;
        }
    }
    return false;
}

ql_status ql_fusion_apply(ql_shards *s, const ql_config *c)
{
    QL_TRY(tie(s, c));
    for (size_t i = 0; i < sizeof(fusions) / sizeof(fusions[0]); i++) {
        for (size_t layer = 0; layer < c->layers; layer++) {
            QL_TRY(apply(s, c, &fusions[i], layer));
        }
    }
    return QL_OK;
}

ql_status ql_fusion_open(ql_shards **out, const char *dir, const ql_config *c)
{
    ql_status st;

    QL_TRY(ql_shards_open(out, dir));
    st = ql_fusion_apply(*out, c);
    if (st != QL_OK) {
        ql_shards_close(out);
    }
    return st;
}
