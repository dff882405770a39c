#include "src/train/planner.h"

#include <assert.h>
#include <stdio.h>

#include "src/base/alloc.h"
#include "src/base/fail.h"
#include "src/base/room.h"
#include "src/op/gemm.h"

/* Parts that the allocator knows are in the order of its tags. */
static_assert((int)QL_PLAN_WEIGHTS == (int)QL_TAG_WEIGHTS &&
                  (int)QL_PLAN_OPTIMIZER == (int)QL_TAG_OPTIM &&
                  (int)QL_PLAN_ACTIVATIONS == (int)QL_TAG_ACTIV &&
                  (int)QL_PLAN_LOG == (int)QL_TAG_MISC &&
                  (int)QL_PLAN_PROGRAM == (int)QL_TAG_COUNT,
              "parts and tags go together");

static const uint64_t mib = 1 << 20;

enum {
    MARGIN_SHARE = 16,     /* of what is free, left to others */
    MARGIN_LEAST = 64,     /* MiB */
    PROGRAM_GROWTH = 1024, /* KiB: stacks, buffers of libraries */
    FILES_GROWTH = 1024    /* KiB: of programs and libraries, what was not used
                              so far */
};

const char *ql_plan_part_name(ql_plan_part part)
{
    static const char *const names[QL_PLAN_PARTS] = {
        [QL_PLAN_WEIGHTS] = "weights, not mapped",
        [QL_PLAN_ADAPTER] = "trained weights",
        [QL_PLAN_GRADIENTS] = "gradients",
        [QL_PLAN_OPTIMIZER] = "optimizer",
        [QL_PLAN_ACTIVATIONS] = "activations",
        [QL_PLAN_WORK] = "work space",
        [QL_PLAN_DATA] = "data",
        [QL_PLAN_TEXT] = "vocabulary and texts",
        [QL_PLAN_LOG] = "log and others",
        [QL_PLAN_PROGRAM] = "program",
        [QL_PLAN_MAPPED] = "weights, mapped",
        [QL_PLAN_FILES] = "program's files",
    };

    return names[part];
}

/* The plan while it is made. */
typedef struct planner {
    ql_plan *p;
    const ql_plan_facts *f;
    ql_memory_use now;
    uint64_t embed; /* bytes of an embedding that is not the head */
    size_t mapped;  /* bytes of weights that may be read layer by layer */
    size_t least;   /* the least of them that must stay */
} planner;

uint64_t ql_plan_budget(uint64_t given, const ql_memory_use *now)
{
    const uint64_t room = ql_memory_room("");
    uint64_t margin = room / MARGIN_SHARE;

    if (given > 0 || room == UINT64_MAX) {
        return given > 0 ? given : UINT64_MAX;
    }
    margin = margin > MARGIN_LEAST * mib ? margin : MARGIN_LEAST * mib;
    return now->resident + (room > margin ? room - margin : 0);
}

/* Memory that is held now, by purpose. */
static void count_held(planner *pl)
{
    uint64_t known = 0;

    for (int tag = 0; tag < QL_TAG_COUNT; tag++) {
        pl->p->bytes[tag] = ql_alloc_bytes((ql_tag)tag);
        known += pl->p->bytes[tag];
    }
    pl->p->bytes[QL_PLAN_PROGRAM] =
        (pl->now.anonymous > known ? pl->now.anonymous - known : 0) +
        PROGRAM_GROWTH * UINT64_C(1024);
    pl->p->bytes[QL_PLAN_FILES] = pl->now.file + FILES_GROWTH * UINT64_C(1024);
}

static void add_up(ql_plan *p)
{
    p->anonymous = 0;
    for (int i = 0; i < QL_PLAN_MAPPED; i++) {
        p->anonymous += p->bytes[i];
    }
    p->total =
        p->anonymous + p->bytes[QL_PLAN_MAPPED] + p->bytes[QL_PLAN_FILES];
}

/* Sets a choice, and what follows from it: keep layers keep their activations,
 * of the others so many their outputs, the inputs of spill layers are in a
 * file. */
static void keep_layers(planner *pl, size_t keep, size_t outputs, size_t spill)
{
    ql_run_options run = pl->f->run;
    ql_run_need need;

    run.keep_layers = pl->p->keep_layers = keep;
    run.keep_outputs = outputs;
    run.spill_layers = pl->p->spill_layers = spill;
    need = ql_run_needs(pl->f->model, &run);
    pl->p->keep_outputs = need.outputs;
    pl->p->activation_file = need.file;
    pl->p->bytes[QL_PLAN_ACTIVATIONS] =
        ql_alloc_bytes(QL_TAG_ACTIV) + need.kept;
    pl->p->bytes[QL_PLAN_WORK] = ql_alloc_bytes(QL_TAG_WORK) + need.scratch;
    if (pl->f->principal.work > need.kept + need.scratch) {
        pl->p->bytes[QL_PLAN_WORK] +=
            pl->f->principal.work - need.kept - need.scratch;
    }
    add_up(pl->p);
}

static ql_status set_optimizer(planner *pl, uint64_t memory)
{
    ql_optimizer_options opt = pl->f->optimizer;
    ql_optimizer_need need;

    opt.memory = pl->p->optimizer_memory = memory;
    QL_TRY(ql_optimizer_plan(&need, &opt, pl->f->sizes, pl->f->n));
    pl->p->bytes[QL_PLAN_OPTIMIZER] =
        ql_alloc_bytes(QL_TAG_OPTIM) + need.memory;
    pl->p->page_file = need.file;
    add_up(pl->p);
    return QL_OK;
}

static void set_weights(planner *pl, uint64_t memory)
{
    pl->p->weight_memory = memory;
    pl->p->bytes[QL_PLAN_MAPPED] =
        pl->embed + (memory > 0 ? memory : pl->mapped);
    add_up(pl->p);
}

uint64_t ql_plan_over(const ql_plan *p)
{
    return p->total > p->budget ? p->total - p->budget : 0;
}

/* The most layers that the budget lets keep their activations, as far as there
 * is a choice, and outputs, which take less for the time that they save. */
static void choose_layers(planner *pl)
{
    const ql_plan *p = pl->p;
    const bool none =
        pl->f->checkpointing == QL_CHECKPOINTING_ON || pl->f->run.bf16_inputs;

    keep_layers(pl, none ? 0 : p->layers, p->layers, 0);
    if (pl->f->checkpointing == QL_CHECKPOINTING_OFF) {
        return;
    }
    while (ql_plan_over(p) > 0 && p->keep_layers > 0) {
        keep_layers(pl, p->keep_layers - 1, p->layers, 0);
    }
    while (ql_plan_over(p) > 0 && p->keep_outputs > 0) {
        keep_layers(pl, 0, p->keep_outputs - 1, 0);
    }
}

/* Pages out as much of the optimizer's state as is over the budget. */
static ql_status page_optimizer(planner *pl)
{
    const ql_plan *p = pl->p;
    ql_optimizer_need need;
    uint64_t want;

    QL_TRY(ql_optimizer_plan(&need, &pl->f->optimizer, pl->f->sizes, pl->f->n));
    if (ql_plan_over(p) == 0 || need.least >= need.memory) {
        return QL_OK;
    }
    want = need.memory > ql_plan_over(p) ? need.memory - ql_plan_over(p) : 0;
    return set_optimizer(pl, want > need.least ? want : need.least);
}

/* Leaves the inputs of as many layers to a file as is needed. Buffers must not
 * take more than that brings. */
static void spill_inputs(planner *pl)
{
    const uint64_t before = pl->p->total;
    const size_t all = pl->p->layers;

    if (pl->p->keep_layers > 0) {
        return;
    }
    for (size_t n = 1; n <= all && ql_plan_over(pl->p) > 0; n++) {
        keep_layers(pl, 0, pl->p->keep_outputs, n);
    }
    if (pl->p->total >= before) {
        keep_layers(pl, 0, pl->p->keep_outputs, 0);
    }
}

static void stream_weights(planner *pl)
{
    const uint64_t excess = ql_plan_over(pl->p);

    if (excess > 0 && pl->mapped > pl->least) {
        set_weights(pl, excess < pl->mapped - pl->least ? pl->mapped - excess
                                                        : pl->least);
    }
}

/* Works out the leanest plan that is needed. */
static ql_status choose(planner *pl)
{
    set_weights(pl, 0);
    QL_TRY(set_optimizer(pl, pl->f->optimizer.memory));
    choose_layers(pl);
    QL_TRY(page_optimizer(pl));
    spill_inputs(pl);
    stream_weights(pl);
    return QL_OK;
}

static ql_status refuse(const ql_plan *p)
{
    QL_FAIL(QL_ENOMEM,
            "training takes at least %.1f MiB, %.1f MiB more than the %.1f "
            "MiB that it may have (--memory)",
            (double)p->total / (double)mib,
            (double)ql_plan_over(p) / (double)mib,
            (double)p->budget / (double)mib);
}

/* A matrix of a block is trained whole. */
static bool trains_blocks(const ql_weights *w)
{
    bool any = false;

    for (size_t i = 0; i < w->n_layers; i++) {
        for (int m = 0; m < QL_MODULES; m++) {
            any |= w->layers[i].linear[m].trained;
        }
    }
    return any;
}

/* Of the products of all that is trained whole: blocks, or the head alone. */
static size_t longest_side(const ql_plan_facts *f, bool blocks)
{
    const ql_config *c = &f->model->config;
    const size_t other = blocks ? c->F : c->V;
    const size_t wide = c->C > other ? c->C : other;

    return wide > f->run.max_tokens ? wide : f->run.max_tokens;
}

ql_status ql_plan_make(ql_plan *p, const ql_plan_facts *f)
{
    const ql_weights *w = &f->model->weights;
    const bool blocks = trains_blocks(w);
    planner pl = {.p = p, .f = f};
    ql_status st;

    *p = (ql_plan){.layers = f->model->config.layers};
    ql_memory_read(&pl.now);
    p->budget = ql_plan_budget(f->budget, &pl.now);
    count_held(&pl);
    p->bytes[QL_PLAN_ADAPTER] += f->count * sizeof(float);
    p->bytes[QL_PLAN_GRADIENTS] += f->count * sizeof(float);
    if (w->head.trained || blocks) {
        p->bytes[QL_PLAN_PROGRAM] += ql_gemm_memory(longest_side(f, blocks));
    }
    p->bytes[QL_PLAN_LOG] += f->log;
    p->bytes[QL_PLAN_WEIGHTS] += f->principal.weights;
    p->bytes[QL_PLAN_ADAPTER] += 2 * f->principal.adapter; /* also when read */
    pl.embed =
        w->embed.w.data != w->head.w.data ? ql_stream_bytes(w, &w->embed.w) : 0;
    ql_stream_needs(w, &pl.mapped, &pl.least);
    st = choose(&pl);
    if (st != QL_OK) {
        *p = (ql_plan){0};
        return st;
    }
    p->peak = p->total > pl.now.peak ? p->total : pl.now.peak;
    return ql_plan_over(p) > 0 ? refuse(p) : QL_OK;
}
