/* What a run will take of the disk, before it is taken. */
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/convert/trained_folder.h"
#include "src/train/trainer.h"

/* Bytes of what is written, without what is small. */
typedef struct sizes {
    uint64_t checkpoint, best, result;
} sizes;

static sizes sizes_of(const ql_trainer *t)
{
    const uint64_t times = sizeof(float) * (t->adapter.taken ? 2 : 1);
    const uint64_t adapter = t->adapter.count * times;
    const uint64_t best = t->has_eval ? adapter : 0;

    return (sizes){.checkpoint =
                       adapter + best + ql_optimizer_state_bytes(t->optimizer),
                   .best = best,
                   .result = t->adapter.elements * times};
}

/* Checkpoints that there are at the end. *most: at once, when the oldest is
 * still there, and the newest is. */
static size_t count_checkpoints(const ql_trainer *t, size_t *most)
{
    const ql_train_options *o = t->opt;
    const size_t every = o->save_strategy == QL_STRATEGY_EPOCH
                             ? t->length.steps_per_epoch
                             : o->save_steps;
    size_t all;

    *most = 0;
    if (o->save_strategy == QL_STRATEGY_NO) {
        return 0;
    }
    all = t->length.total / every + 1;
    if (o->save_total_limit > 0 && o->save_total_limit < all) {
        *most = o->save_total_limit + 1;
        return o->save_total_limit;
    }
    *most = all;
    return all;
}

/* What a name in the output folder takes of the disk. */
static ql_status used(const ql_trainer *t, const char *name, uint64_t *bytes)
{
    char *path = ql_path_join(t->out_dir, name);

    *bytes = path ? ql_disk_used(path) : 0;
    ql_free(path);
    return path ? QL_OK : QL_ENOMEM;
}

/* Adds all checkpoints. newest: the step of the last; 0: there is none. */
static ql_status add_checkpoints(const ql_trainer *t, uint64_t *bytes,
                                 size_t *newest)
{
    ql_status st = QL_OK;
    size_t *steps;
    size_t n;

    QL_TRY(ql_checkpoint_list(t->out_dir, &steps, &n));
    *newest = n > 0 ? steps[0] : 0;
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        char *path = ql_checkpoint_path(t->out_dir, steps[i]);

        *bytes += path ? ql_disk_used(path) : 0;
        st = path ? QL_OK : QL_ENOMEM;
        ql_free(path);
    }
    ql_free(steps);
    return st;
}

/* What is there of that which is written on the way, and replaces it or counts
 * with it. */
static ql_status look(const ql_trainer *t, uint64_t *bytes, size_t *newest)
{
    static const char *const names[] = {"best",         "runs",
                                        "metrics.csv",  "trainer_state.json",
                                        "samples.json", "report.html"};

    *bytes = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint64_t more;

        QL_TRY(used(t, names[i], &more));
        *bytes += more;
    }
    return add_checkpoints(t, bytes, newest);
}

static uint64_t beyond(uint64_t all, uint64_t there)
{
    return all > there ? all - there : 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* There must be room for all checkpoints, or for those that stay and the result
 * beside an old one, which goes last; with checkpoints there is room for the
 * result in that of the oldest. What goes on from its newest checkpoint needs
 * what it has not written yet; what begins anew over another run needs room for
 * a first one of all it writes, however much that left. */
ql_status ql_trainer_disk_need(const ql_trainer *t, const ql_checkpoint *from)
{
    const sizes s = sizes_of(t);
    size_t most;
    const size_t kept = count_checkpoints(t, &most);
    const uint64_t end = kept * s.checkpoint + s.best + s.result;
    const uint64_t way = most * s.checkpoint + s.best + s.result;
    uint64_t there;
    uint64_t old;
    uint64_t need;
    size_t newest;

    QL_TRY(look(t, &there, &newest));
    QL_TRY(used(t, ql_trained_weights(ql_trainer_full(t)), &old));
    old = old < s.result ? old : s.result; /* it goes last */
    need = larger(beyond(end, there), beyond(way, there + old));
    if (!from->path || from->progress.step != newest) {
        need = larger(need, most > 0 ? s.checkpoint : s.best);
    }
    return ql_disk_need(t->out_dir, need + t->plan.activation_file);
}
