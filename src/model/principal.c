#include "src/model/principal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/codec.h"
#include "src/base/arena.h"
#include "src/base/fail.h"
#include "src/base/rng.h"
#include "src/format/qstate.h"
#include "src/model/quantized.h"
#include "src/op/gemm.h"
#include "src/op/svd.h"

enum {
    NAME_BYTES = 256
};

/* What a start carries from pair to pair. */
typedef struct starter {
    ql_adapter *a;
    ql_weights *w;
    const ql_config *c;
    const ql_principal *p;
    uint64_t seed;
    float *x, *y;     /* the largest matrix, twice */
    float *u, *s, *v; /* triplets */
    void *work;
} starter;

bool ql_principal_takes(const ql_principal *p)
{
    return p->kind == QL_PRINCIPAL_PISSA ||
           (p->kind == QL_PRINCIPAL_LOFTQ && p->rounds > 1);
}

static ql_svd svd_of(const ql_adapter_entry *e, const ql_principal *p,
                     uint64_t key)
{
    return (ql_svd){.M = e->out,
                    .N = e->in,
                    .r = e->r,
                    .iterations = p->iterations,
                    .key = key};
}

/* The most that any pair asks for. */
typedef struct most {
    size_t matrix, rows, columns, r, work;
} most;

static most most_of(const ql_adapter *a, const ql_principal *p)
{
    most m = {0};

    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];
        const ql_svd svd = svd_of(e, p, 0);

        if (e->r > 0) {
            m.matrix = ql_larger(m.matrix, e->in * e->out);
            m.rows = ql_larger(m.rows, e->r * e->out);
            m.columns = ql_larger(m.columns, e->r * e->in);
            m.r = ql_larger(m.r, e->r);
            m.work = ql_larger(m.work, ql_svd_work_bytes(&svd));
        }
    }
    return m;
}

/* Bytes of an element of a base that is not quantized; 0 of one that is. */
static size_t dense_bytes(const ql_weights *w, ql_site site)
{
    static const size_t bytes[QL_STORAGE_COUNT] = {
        [QL_STORAGE_F32] = 4, [QL_STORAGE_BF16] = 2, [QL_STORAGE_F16] = 2};

    return site.place == QL_PLACE_BLOCK
               ? bytes[w->layers[site.layer].linear[site.module].w.storage]
           : site.place == QL_PLACE_POOLER ? bytes[w->pooler.w.storage]
                                           : 0;
}

ql_principal_need ql_principal_needs(const ql_principal *p, const ql_adapter *a,
                                     const ql_weights *w)
{
    const most m = most_of(a, p);
    const size_t floats = 2 * m.matrix + m.rows + m.columns + m.r;
    ql_principal_need need = {0};

    if (p->kind == QL_PRINCIPAL_NONE) {
        return need;
    }
    /* Beside the new base of one matrix its old one. */
    need.work = floats * sizeof(float) + m.work + m.matrix;
    if (ql_principal_takes(p)) {
        need.adapter = a->count * sizeof(float);
    }
    for (size_t i = 0; ql_principal_takes(p) && i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];

        need.weights += e->r > 0 ? e->in * e->out * dense_bytes(w, e->site) : 0;
    }
    return need;
}

static ql_linear *linear_of(ql_weights *w, ql_site site)
{
    return site.place == QL_PLACE_POOLER
               ? &w->pooler
               : &w->layers[site.layer].linear[site.module];
}

/* Name of the weight in the folder. */
static void name_of(const starter *s, ql_site site, char *name, size_t bytes)
{
    char path[NAME_BYTES];

    if (site.place == QL_PLACE_POOLER) {
        snprintf(path, sizeof(path), "%s%s", s->w->base,
                 s->c->arch->names->pooler);
    } else {
        ql_weights_path(s->w, s->c->arch, site.layer, site.module, path,
                        sizeof(path));
    }
    snprintf(name, bytes, "%s.weight", path);
}

static ql_status check_site(const starter *s, const ql_adapter_entry *e)
{
    char path[NAME_BYTES];
    char name[NAME_BYTES + 8];

    ql_site_path(s->c->arch, e->site, path, sizeof(path));
    if (e->site.place != QL_PLACE_BLOCK && e->site.place != QL_PLACE_POOLER) {
        QL_FAIL(QL_EINVAL,
                "init-lora-weights: %s is no linear layer of a block, and "
                "only those can begin so; leave it out of the target modules",
                path);
    }
    if (!(e->scale > 0)) {
        QL_FAIL(QL_EINVAL,
                "init-lora-weights: the scale of %s is %g, and only pairs of a "
                "positive one can begin so; give a positive alpha",
                path, (double)e->scale);
    }
    name_of(s, e->site, name, sizeof(name));
    if (ql_qstate_find(s->w->shards, name)) {
        QL_FAIL(QL_EINVAL,
                "init-lora-weights: the folder holds %s in 4 bits; give the "
                "folder that it was made from",
                path);
    }
    return QL_OK;
}

/* The tensor that a quantized weight was made of. */
static const ql_tensor *source_of(const starter *s, ql_site site)
{
    char name[NAME_BYTES + 8];

    name_of(s, site, name, sizeof(name));
    return ql_shards_find(s->w->shards, name);
}

/* x = W as the folder has it. */
static ql_status read_base(const starter *s, const ql_adapter_entry *e,
                           float *x)
{
    const ql_qtensor *w = &linear_of(s->w, e->site)->w;
    const ql_tensor *t = source_of(s, e->site);
    ql_tensor whole;
    void *data;
    ql_status st;

    if (w->storage != QL_STORAGE_4BIT) {
        ql_dequantize(x, w, 0, e->in * e->out);
        return QL_OK;
    }
    QL_TRY(ql_shards_whole(&whole, &data, s->w->shards, t));
    st =
        (s->c->arch->transposed ? ql_tensor_turn : ql_tensor_to_f32)(x, &whole);
    ql_free(data);
    ql_shards_drop(s->w->shards, t);
    return st;
}

/* The parts of a quantized weight become the weights' own, in place of those of
 * old. */
static ql_status own_parts(ql_weights *w, ql_quantized *q,
                           const ql_qtensor *old)
{
    void *const parts[] = {q->packed, q->absmax_u8 ? q->absmax_u8 : q->absmax,
                           q->nested_absmax};
    ql_status st = QL_OK;

    if (q->absmax_u8) {
        ql_free(q->absmax); /* of use while the others were made */
    }
    ql_weights_disown(w, old->data);
    ql_weights_disown(w, old->absmax);
    ql_weights_disown(w, old->absmax_u8);
    ql_weights_disown(w, old->nested_absmax);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i] && ql_weights_own(w, parts[i]) != QL_OK) {
            st = QL_ENOMEM;
        }
    }
    return st;
}

/* x becomes the base, quantized as that was. */
static ql_status put_quantized(const starter *s, const ql_adapter_entry *e,
                               const float *x)
{
    const ql_load *load = &s->w->load;
    ql_qtensor *w = &linear_of(s->w, e->site)->w;
    const ql_qtensor old = *w;
    const ql_tensor t = {.name = "of a weight less its pair",
                         .dtype = QL_DTYPE_F32,
                         .rank = 2,
                         .shape = {e->out, e->in},
                         .elements = e->in * e->out,
                         .data = (const unsigned char *)x};
    ql_quantized q;

    QL_TRY(
        ql_quantized_init(&q, &t, load->book, load->block, load->double_quant));
    *w = ql_quantized_view(&q, e->out, e->in, load->book, load->block,
                           QL_DTYPE_F32);
    w->round = old.round;
    return own_parts(s->w, &q, &old);
}

/* x becomes the base, in the type that the base had. */
static ql_status put_dense(const starter *s, const ql_adapter_entry *e,
                           const float *x)
{
    static const ql_dtype types[QL_STORAGE_COUNT] = {
        [QL_STORAGE_F32] = QL_DTYPE_F32,
        [QL_STORAGE_BF16] = QL_DTYPE_BF16,
        [QL_STORAGE_F16] = QL_DTYPE_F16,
    };
    ql_qtensor *w = &linear_of(s->w, e->site)->w;
    const ql_dtype type = types[w->storage];
    const size_t n = e->in * e->out;
    void *data = ql_alloc(QL_TAG_WEIGHTS, n, ql_dtype_bits(type) / 8);

    QL_TRY(ql_weights_own(s->w, data));
    if (!ql_floats_to(type, data, x, n)) {
        QL_FAIL(QL_EFORMAT, "a weight less its pair is beyond the numbers of "
                            "its type; load the model in F32");
    }
    ql_weights_disown(s->w, w->data);
    w->data = data;
    return QL_OK;
}

static ql_status put_base(const starter *s, const ql_adapter_entry *e,
                          const float *x)
{
    return linear_of(s->w, e->site)->w.storage == QL_STORAGE_4BIT
               ? put_quantized(s, e, x)
               : put_dense(s, e, x);
}

static float *part_of(const ql_adapter *a, const ql_adapter_entry *e,
                      size_t part, float *array)
{
    return array + a->tensors[e->first + part].at;
}

/* x -= s B A, of a pair in an array of the adapter's layout. */
static void take_pair(const starter *s, const ql_adapter_entry *e, float *array,
                      float *x)
{
    ql_gemm(e->out, e->in, e->r, -e->scale,
            ql_mat_n(part_of(s->a, e, 1, array), e->r),
            ql_mat_n(part_of(s->a, e, 0, array), e->in), 1, x, e->in);
}

/* The pair becomes the leading triplets of x. */
static void lead(const starter *s, size_t i, const float *x)
{
    const ql_adapter_entry *e = &s->a->entries[i];
    const ql_svd svd = svd_of(e, s->p, ql_rng_split(s->seed, i));
    float *a = part_of(s->a, e, 0, s->a->param);
    float *b = part_of(s->a, e, 1, s->a->param);

    ql_svd_run(s->u, s->s, s->v, x, &svd, s->work);
    for (size_t r = 0; r < e->r; r++) {
        const float root = sqrtf(s->s[r] / e->scale);

        for (size_t k = 0; k < e->in; k++) {
            a[r * e->in + k] = root * s->v[r * e->in + k];
        }
        for (size_t n = 0; n < e->out; n++) {
            b[n * e->r + r] = root * s->u[r * e->out + n];
        }
    }
}

/* Takes what param has of a pair off the base. */
static ql_status take_off(const starter *s, const ql_adapter_entry *e)
{
    float *taken = s->a->taken;

    for (size_t part = 0; taken && part < 2; part++) {
        memcpy(part_of(s->a, e, part, taken),
               part_of(s->a, e, part, s->a->param),
               s->a->sizes[e->first + part] * sizeof(float));
    }
    take_pair(s, e, s->a->param, s->x);
    return put_base(s, e, s->x);
}

static ql_status start_pissa(const starter *s, size_t i)
{
    const ql_adapter_entry *e = &s->a->entries[i];

    QL_TRY(read_base(s, e, s->x));
    lead(s, i, s->x);
    return take_off(s, e);
}

static ql_status start_loftq(const starter *s, size_t i)
{
    const ql_adapter_entry *e = &s->a->entries[i];
    const ql_linear *lin = linear_of(s->w, e->site);
    const size_t n = e->in * e->out;

    if (lin->w.storage != QL_STORAGE_4BIT) {
        QL_FAIL(QL_EINVAL, "init-lora-weights loftq: the linear layers are not "
                           "quantized; use --method qlora");
    }
    for (size_t round = 0; round < s->p->rounds; round++) {
        QL_TRY(read_base(s, e, s->x));
        if (round > 0) {
            QL_TRY(take_off(s, e));
            QL_TRY(read_base(s, e, s->x));
        }
        ql_dequantize(s->y, &lin->w, 0, n);
        for (size_t k = 0; k < n; k++) {
            s->x[k] -= s->y[k];
        }
        lead(s, i, s->x);
    }
    return QL_OK;
}

static ql_status open_room(starter *s)
{
    const most m = most_of(s->a, s->p);

    s->x = ql_alloc(QL_TAG_WORK, m.matrix, sizeof(float));
    s->y = ql_alloc(QL_TAG_WORK, m.matrix, sizeof(float));
    s->u = ql_alloc(QL_TAG_WORK, m.rows, sizeof(float));
    s->v = ql_alloc(QL_TAG_WORK, m.columns, sizeof(float));
    s->s = ql_alloc(QL_TAG_WORK, m.r, sizeof(float));
    s->work = ql_alloc(QL_TAG_WORK, m.work, 1);
    return s->x && s->y && s->u && s->v && s->s && s->work ? QL_OK : QL_ENOMEM;
}

static void close_room(starter *s)
{
    ql_free(s->x);
    ql_free(s->y);
    ql_free(s->u);
    ql_free(s->v);
    ql_free(s->s);
    ql_free(s->work);
}

static ql_status keep_taken(ql_adapter *a)
{
    a->taken = ql_calloc(QL_TAG_ADAPTER, a->count, sizeof(float));
    return a->taken ? QL_OK : QL_ENOMEM;
}

ql_status ql_principal_start(ql_adapter *a, ql_weights *w, const ql_config *c,
                             const ql_principal *p, uint64_t seed)
{
    starter s = {.a = a, .w = w, .c = c, .p = p, .seed = seed};
    ql_status st = QL_OK;

    for (size_t i = 0; i < a->n; i++) {
        QL_TRY(a->entries[i].r > 0 ? check_site(&s, &a->entries[i]) : QL_OK);
    }
    if (ql_principal_takes(p)) {
        QL_TRY(keep_taken(a));
    }
    QL_TRY_DONE(open_room(&s));
    for (size_t i = 0; i < a->n; i++) {
        if (a->entries[i].r > 0) {
            QL_TRY_DONE(p->kind == QL_PRINCIPAL_PISSA ? start_pissa(&s, i)
                                                      : start_loftq(&s, i));
        }
    }
done:
    close_room(&s);
    return st;
}

/* The halves of a pair that was saved as one: its own, and what was taken. */
static void halve(ql_adapter *a, size_t i, const ql_adapter *twice)
{
    const ql_adapter_entry *e = &a->entries[i];
    const size_t each = e->r * e->in;
    const float *from = part_of(twice, &twice->entries[i], 0, twice->param);
    const float *up = part_of(twice, &twice->entries[i], 1, twice->param);
    float *b = part_of(a, e, 1, a->param);
    float *taken = part_of(a, e, 1, a->taken);

    memcpy(part_of(a, e, 0, a->param), from, each * sizeof(float));
    memcpy(part_of(a, e, 0, a->taken), from + each, each * sizeof(float));
    for (size_t n = 0; n < e->out; n++) {
        for (size_t r = 0; r < e->r; r++) {
            b[n * e->r + r] = up[n * 2 * e->r + r];
            taken[n * e->r + r] = -up[n * 2 * e->r + e->r + r];
        }
    }
}

static ql_status check_twice(const ql_adapter *a, const ql_adapter *twice)
{
    bool fits = a->n == twice->n && a->n_tensors == twice->n_tensors;

    for (size_t i = 0; fits && i < a->n; i++) {
        const ql_adapter_entry *x = &a->entries[i];
        const ql_adapter_entry *y = &twice->entries[i];

        fits =
            x->site.place == y->site.place && x->site.layer == y->site.layer &&
            x->site.module == y->site.module && x->site.norm == y->site.norm &&
            x->site.bias == y->site.bias && 2 * x->r == y->r;
    }
    if (!fits) {
        QL_FAIL(QL_EMISMATCH, "rank or modules of the adapter are not those "
                              "of the options");
    }
    return QL_OK;
}

/* Takes off the base what was taken before. */
static ql_status retake(ql_adapter *a, ql_weights *w, const ql_config *c)
{
    const ql_principal none = {0};
    starter s = {.a = a, .w = w, .c = c, .p = &none};
    ql_status st;

    QL_TRY_DONE(open_room(&s));
    for (size_t i = 0; i < a->n; i++) {
        const ql_adapter_entry *e = &a->entries[i];

        if (e->r > 0) {
            QL_TRY_DONE(check_site(&s, e));
            QL_TRY_DONE(read_base(&s, e, s.x));
            take_pair(&s, e, a->taken, s.x);
            QL_TRY_DONE(put_base(&s, e, s.x));
        }
    }
done:
    close_room(&s);
    return st;
}

ql_status ql_principal_restore(ql_adapter *a, ql_weights *w, const ql_config *c,
                               const ql_adapter *twice)
{
    QL_TRY(check_twice(a, twice));
    QL_TRY(a->taken ? QL_OK : keep_taken(a));
    for (size_t i = 0; i < a->n; i++) {
        if (a->entries[i].r > 0) {
            halve(a, i, twice);
        }
    }
    for (size_t i = 0; i < a->n_tensors; i++) {
        const ql_part part = a->tensors[i].part;

        if (part == QL_PART_WHOLE || part == QL_PART_MAGNITUDE) {
            memcpy(a->param + a->tensors[i].at,
                   twice->param + twice->tensors[i].at,
                   a->sizes[i] * sizeof(float));
        }
    }
    return w ? retake(a, w, c) : QL_OK;
}
