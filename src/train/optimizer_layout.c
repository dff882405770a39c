#include "src/train/optimizer_layout.h"

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/pages.h"

enum {
    LEAST_8BIT = 4096, /* elements of a tensor: min_8bit_size of bitsandbytes */
    PART = 4 << 20,    /* most bytes of a part */
    SHARE = 4          /* buffers take one of so many shares of the memory */
};

static const struct {
    bool eight, paged, alike; /* alike: moments are of the parameters' type */
} kinds[] = {
    [QL_OPTIM_PAGED_ADAMW_32BIT] = {.paged = true},
    [QL_OPTIM_ADAMW_32BIT] = {.paged = false},
    [QL_OPTIM_PAGED_ADAMW_8BIT] = {.eight = true, .paged = true},
    [QL_OPTIM_ADAMW_8BIT] = {.eight = true},
    [QL_OPTIM_ADAMW_TORCH] = {.alike = true},
};

static size_t piece_bytes(const ql_adam_piece *e)
{
    return ql_adam_state_bytes(e->n, e->moments);
}

static size_t count_pieces(const size_t *size, size_t n)
{
    size_t pieces = 0;

    for (size_t i = 0; i < n; i++) {
        pieces += (size[i] + QL_ADAM_PIECE - 1) / QL_ADAM_PIECE;
    }
    return pieces;
}

static ql_moments moments_of(ql_optim kind, size_t elements, bool half)
{
    if (kinds[kind].eight && elements >= LEAST_8BIT) {
        return QL_MOMENTS_8BIT;
    }
    return kinds[kind].alike && half ? QL_MOMENTS_BF16 : QL_MOMENTS_F32;
}

static void cut(ql_layout *l, const ql_optimizer_options *opt,
                const size_t *size, size_t n)
{
    ql_adam_piece *piece = l->pieces;

    for (size_t i = 0; i < n; i++) {
        const bool half = i < opt->half;

        for (size_t at = 0; at < size[i]; at += QL_ADAM_PIECE) {
            const size_t left = size[i] - at;

            *piece = (ql_adam_piece){
                .at = l->bytes,
                .first = l->count,
                .n = (uint32_t)(left < QL_ADAM_PIECE ? left : QL_ADAM_PIECE),
                .rate = opt->rate ? opt->rate[i] : 1,
                .plain = n - i <= opt->plain,
                .half = half,
                .moments = moments_of(opt->kind, size[i], half),
            };
            l->count += half ? (piece->n + 1) / 2 : piece->n;
            l->bytes += piece_bytes(piece);
            l->eight |= piece->moments == QL_MOMENTS_8BIT;
            piece++;
        }
    }
}

/* Bytes beside pieces in memory and buffers, when there are n parts. */
static uint64_t fixed_bytes(const ql_layout *l, size_t n)
{
    uint64_t bytes = QL_LAYOUT_HANDLE + l->n_pieces * sizeof(*l->pieces);

    if (l->eight) {
        bytes += sizeof(ql_adam_maps);
    }
    if (n > 0) {
        bytes += (n + 1) * (sizeof(*l->first) + sizeof(*l->bound));
    }
    return bytes;
}

/* Joins the pieces that are not resident to parts of no more than most bytes,
 * and notes them where there is room for that. Returns their number. */
static size_t join(ql_layout *l, size_t most)
{
    size_t parts = 0;
    uint64_t begin = 0;

    for (size_t i = l->resident_pieces; i < l->n_pieces; i++) {
        const ql_adam_piece *e = &l->pieces[i];

        if (parts == 0 || e->at + piece_bytes(e) - begin > most) {
            begin = e->at;
            if (l->first) {
                l->first[parts] = i;
                l->bound[parts] = begin - l->resident_bytes;
            }
            parts++;
        }
    }
    if (l->first) {
        l->first[parts] = l->n_pieces;
        l->bound[parts] = l->bytes - l->resident_bytes;
    }
    return parts;
}

static ql_status make_parts(ql_layout *l, size_t most)
{
    l->n_parts = join(l, most);
    l->first = ql_alloc(QL_TAG_OPTIM, l->n_parts + 1, sizeof(*l->first));
    l->bound = ql_alloc(QL_TAG_OPTIM, l->n_parts + 1, sizeof(*l->bound));
    if (!l->first || !l->bound) {
        return QL_ENOMEM;
    }
    join(l, most);
    for (size_t i = 0; i < l->n_parts; i++) {
        const size_t bytes = (size_t)(l->bound[i + 1] - l->bound[i]);

        l->part = bytes > l->part ? bytes : l->part;
    }
    return QL_OK;
}

static size_t largest_piece(const ql_layout *l)
{
    size_t largest = 0;

    for (size_t i = 0; i < l->n_pieces; i++) {
        const size_t bytes = piece_bytes(&l->pieces[i]);

        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* What paging takes at least. There are no more parts than pieces. */
static uint64_t least_bytes(const ql_layout *l)
{
    return fixed_bytes(l, l->n_pieces) + ql_pages_memory(largest_piece(l));
}

/* Spreads the state over memory and file. There will be more parts than
 * buffers: what is not resident exceeds what the buffers take. */
static ql_status spread(ql_layout *l, const ql_optimizer_options *opt)
{
    const uint64_t fixed = fixed_bytes(l, l->n_pieces);
    const size_t largest = largest_piece(l);
    const uint64_t least = least_bytes(l);
    uint64_t left;
    size_t part;

    if (opt->memory < least) {
        QL_FAIL(QL_EINVAL,
                "optimizer-memory of %llu bytes: paging takes at least %llu",
                (unsigned long long)opt->memory, (unsigned long long)least);
    }
    left = (opt->memory - fixed) / SHARE / QL_PAGES_BUFFERS;
    part = left < PART ? (size_t)left : PART;
    part = part < largest ? largest : part;
    left = opt->memory - fixed - ql_pages_memory(part);
    for (const ql_adam_piece *e = l->pieces; piece_bytes(e) <= left; e++) {
        left -= piece_bytes(e);
        l->resident_bytes += piece_bytes(e);
        l->resident_pieces++;
    }
    return make_parts(l, part);
}

ql_status ql_layout_init(ql_layout *l, const ql_optimizer_options *opt,
                         const size_t *size, size_t n)
{
    ql_status st = QL_OK;

    *l = (ql_layout){.n_pieces = count_pieces(size, n)};
    l->pieces = ql_alloc(QL_TAG_OPTIM, l->n_pieces, sizeof(*l->pieces));
    if (!l->pieces) {
        return QL_ENOMEM;
    }
    cut(l, opt, size, n);
    if (kinds[opt->kind].paged && opt->memory > 0 &&
        fixed_bytes(l, 0) + l->bytes > opt->memory) {
        st = spread(l, opt);
    } else {
        l->resident_pieces = l->n_pieces;
        l->resident_bytes = l->bytes;
    }
    if (st != QL_OK) {
        ql_layout_free(l);
    }
    return st;
}

void ql_layout_free(ql_layout *l)
{
    ql_free(l->pieces);
    ql_free(l->first);
    ql_free(l->bound);
    *l = (ql_layout){0};
}

ql_status ql_optimizer_plan(ql_optimizer_need *need,
                            const ql_optimizer_options *opt, const size_t *size,
                            size_t n)
{
    ql_layout l;

    QL_TRY(ql_layout_init(&l, opt, size, n));
    need->memory = fixed_bytes(&l, l.n_parts) + l.resident_bytes;
    if (l.n_parts > 0) {
        need->memory += ql_pages_memory(l.part);
    }
    need->file = l.bytes - l.resident_bytes;
    need->least = kinds[opt->kind].paged ? least_bytes(&l) : need->memory;
    ql_layout_free(&l);
    return QL_OK;
}
