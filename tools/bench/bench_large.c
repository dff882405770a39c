#include "tools/bench/bench_large.h"

#include <math.h>
#include <string.h>

#include "src/base/clock.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/model/config.h"
#include "tools/bench/bench_folder.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_machine.h"
#include "tools/bench/bench_peaks.h"
#include "tools/bench/bench_table.h"
#include "tools/bench/bench_task.h"

enum {
    LIMITS = 8,
    SAMPLES = BENCH_STEPS * BENCH_TURNS
};

static const double gib = 1024.0 * 1024 * 1024;

/* What came of all rounds under one limit: the largest, or all samples. */
typedef struct course {
    uint64_t bytes; /* 0: no limit */
    bench_limit_kind enforced;
    uint64_t peak, anonymous, file, group, swap;
    uint64_t least; /* peak of all rounds */
    bool swap_known;
    double kept, read, weights_read, stalls, stall_s;
    double seconds[SAMPLES], cpu[SAMPLES]; /* [n] of steps */
    size_t n;
    json_t *losses; /* of the first round */
} course;

typedef struct session {
    const bench_options *o;
    const cli_common *common;
    const bench_shape *shape;
    char *dir;
    bool made; /* by us, to be removed */
    cli_term term;
    double told;
    course courses[LIMITS];
    size_t n;
    double step_tokens, product_parameters;
    bench_peaks peaks;
    bool same; /* all losses of all courses */
} session;

static const bench_pace pace = {.least = 3, .race_s = 0.5, .sample_s = 0.02};

static size_t rounds_of(const session *s)
{
    return s->o->rounds > 0 ? s->o->rounds : 1;
}

static ql_status read_limits(session *s)
{
    const cli_list *list = &s->o->limits;

    if (list->n > LIMITS) {
        QL_FAIL(QL_EINVAL, "--limits: give at most %d", LIMITS);
    }
    for (size_t i = 0; i < list->n; i++) {
        QL_TRY(
            bench_bytes_read(&s->courses[i].bytes, list->items[i], "--limits"));
    }
    s->n = list->n;
    return QL_OK;
}

static void show_writing(uint64_t done, uint64_t all, void *user)
{
    session *s = user;
    char a[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];
    char line[160];

    if (done < all && ql_now_s() - s->told < 0.25) {
        return;
    }
    s->told = ql_now_s();
    snprintf(line, sizeof(line), "writing %s: %s of %s", s->shape->name,
             cli_format_bytes(a, done), cli_format_bytes(b, all));
    cli_term_live(&s->term, line);
}

/* The folder is that of --model, which stays, or a new one. */
static ql_status find_folder(session *s)
{
    const char *work = bench_work_dir(s->o);

    QL_TRY(ql_dir_need(work, "give one with room for the model"));
    if (s->o->model) {
        s->dir = ql_strdup(QL_TAG_TEXT, s->o->model);
        return s->dir ? ql_dir_make(s->dir) : QL_ENOMEM;
    }
    QL_TRY(bench_work_folder(s->o, &s->dir));
    s->made = true;
    return QL_OK;
}

/* What is told of a shape must be true of the folder that is trained on. */
static ql_status compare(const session *s, const ql_config *c)
{
    const bench_shape *shape = s->shape;
    const struct {
        const char *what;
        size_t here, there;
    } sizes[] = {
        {"layers", c->layers, shape->layers},
        {"width", c->C, shape->C},
        {"width of feed-forward layers", c->F, shape->F},
        {"heads", c->H, shape->H},
        {"heads of keys and values", c->KV, shape->KV},
        {"vocabulary", c->V, shape->V},
        {"matrices of tokens", c->tied ? 1 : 2, shape->tied ? 1 : 2},
    };
    const char *advice = "name its shape with --shape, or give another folder";

    if (strcmp(c->arch->model_type, shape->model_type) != 0) {
        QL_FAIL(QL_EMISMATCH,
                "%s: family: %s in the model, %s in the shape %s; %s", s->dir,
                c->arch->model_type, shape->model_type, shape->name, advice);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i].here != sizes[i].there) {
            QL_FAIL(QL_EMISMATCH,
                    "%s: %s: %zu in the model, %zu in the shape %s; %s", s->dir,
                    sizes[i].what, sizes[i].here, sizes[i].there, shape->name,
                    advice);
        }
    }
    if (!c->quantized) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: the model is not in 4 bits; give what qlora-quantize "
                "makes of it",
                s->dir);
    }
    return QL_OK;
}

static ql_status check_folder(const session *s)
{
    ql_config c = {0};
    ql_status st;

    QL_TRY_DONE(ql_config_init(&c, s->dir));
    st = compare(s, &c);
done:
    ql_config_free(&c);
    return st;
}

/* A model that is there already is taken, if it is of the shape; its weights
 * come last, so that what was not done is begun anew. */
static ql_status write_folder(session *s)
{
    const bench_folder f = {.shape = s->shape,
                            .seed = s->common->seed,
                            .fn = show_writing,
                            .user = s};
    char *config = ql_path_join(s->dir, "config.json");
    char *weights = ql_path_join(s->dir, "model.safetensors");
    char *index = ql_path_join(s->dir, "model.safetensors.index.json");
    ql_status st = QL_ENOMEM;

    if (!config || !weights || !index) {
        goto done;
    }
    st = QL_OK;
    if (ql_path_exists(config)) {
        QL_TRY_DONE(check_folder(s));
    }
    if (!ql_path_exists(weights) && !ql_path_exists(index)) {
        st = bench_folder_write(s->dir, &f);
        cli_term_clear(&s->term);
    }
done:
    ql_free(config);
    ql_free(weights);
    ql_free(index);
    return st;
}

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void take(session *s, course *c, const bench_task *t)
{
    const json_t *losses = json_object_get(t->out, "losses");
    size_t n = c->n;

    c->enforced = t->enforced;
    c->least = c->n > 0 && c->least < t->child.peak ? c->least : t->child.peak;
    c->swap = more(c->swap, t->child.swap);
    c->swap_known = t->child.swap_known;
    c->peak = more(c->peak, t->child.peak);
    c->anonymous = more(c->anonymous, t->child.anonymous);
    c->file = more(c->file, t->child.file);
    c->group = more(c->group, t->child.group_peak);
    c->kept = fmax(c->kept, bench_get_real(t->out, "weight_memory"));
    c->read = fmax(c->read, bench_get_real(t->out, "read"));
    c->weights_read =
        fmax(c->weights_read, bench_get_real(t->out, "weights_read"));
    c->stalls = fmax(c->stalls, bench_get_real(t->out, "stalls"));
    c->stall_s = fmax(c->stall_s, bench_get_real(t->out, "stall_s"));
    bench_task_steps(t, "seconds", c->seconds, &c->n, SAMPLES);
    bench_task_steps(t, "cpu_seconds", c->cpu, &n, SAMPLES);
    s->step_tokens = bench_get_real(t->out, "step_tokens");
    s->product_parameters = bench_get_real(t->out, "product_parameters");
    if (!c->losses) {
        c->losses = json_deep_copy(losses);
    }
    if (!s->courses[0].losses || !json_equal(s->courses[0].losses, losses)) {
        s->same = false;
    }
}

static ql_status run_one(session *s, course *c)
{
    char size[CLI_TEXT_BYTES];
    char what[96];
    bench_task t = {.o = s->o,
                    .common = s->common,
                    .what = what,
                    .model = s->dir,
                    .method = QL_METHOD_QLORA,
                    .optim = s->o->optim,
                    .memory = c->bytes};
    ql_status st;

    snprintf(what, sizeof(what), "%s in %s", s->shape->name,
             c->bytes ? cli_format_bytes(size, c->bytes) : "all memory");
    bench_forget_files(s->dir);
    st = bench_task_run(&t);
    if (st == QL_OK) {
        take(s, c, &t);
    }
    json_decref(t.out);
    return st;
}

static double last_loss(const course *c)
{
    const size_t n = json_array_size(c->losses);

    return json_number_value(json_array_get(c->losses, n - 1));
}

/* How far the peaks of the rounds lie apart, %. */
static double peak_spread(const session *s, const course *c)
{
    return rounds_of(s) > 1
               ? 100 * (double)(c->peak - c->least) / (double)c->peak
               : (double)NAN;
}

static void show(session *s)
{
    static const bench_column columns[] = {
        {"shape", "shape", -10, BENCH_TEXT},
        {"limit_gib", "limit, GiB", 10, 1},
        {"enforced_by", "by", -14, BENCH_TEXT},
        {"peak_gib", "peak, GiB", 9, 3},
        {"peak_spread_percent", "spread %", 8, 1},
        {"anonymous_gib", "private", 8, 3},
        {"file_gib", "files", 7, 3},
        {"group_peak_gib", "with cache", 10, 3},
        {"swap_gib", "swapped", 7, 3},
        {"weight_memory_gib", "kept", 7, 3},
        {"read_gib", "read, GiB", 9, 3},
        {"weights_read_gib", "streamed", 8, 3},
        {"stalls", "stalls", 6, 0},
        {"stall_s", "s", 7, 1},
        {"step_tokens", "tokens", 6, 0},
        {"steps", "steps", 5, 0},
        {"tokens_per_second", "tokens/s", 9, 3},
        {"spread_percent", "spread %", 8, 1},
        {"speed_ratio", "ratio", 6, 3},
        {"tokens_per_cpu_second", "/cpu s", 8, 3},
        {"cpu_ratio", "ratio", 6, 3},
        {"peak_percent", "% of peak", 9, 1},
        {"first_loss", "first loss", 10, 6},
        {"last_loss", "last loss", 10, 6},
    };
    const bench_table t = {"large", columns,
                           sizeof(columns) / sizeof(columns[0]),
                           s->common->json};
    double speed = (double)NAN;
    double thrift = (double)NAN;

    bench_table_head(&t);
    for (size_t i = 0; i < s->n; i++) {
        course *c = &s->courses[i];
        const bench_rate rate = bench_rate_of(c->seconds, c->n, s->step_tokens);
        const bench_rate cpu = bench_rate_of(c->cpu, c->n, s->step_tokens);
        const double gflops = 4e-9 * s->product_parameters * rate.median;
        const double peak = fmax(s->peaks.gflops[BENCH_FP32][BENCH_ALL],
                                 s->peaks.gflops[BENCH_BF16][BENCH_ALL]);

        speed = i ? speed : rate.median;
        thrift = i ? thrift : cpu.median;
        bench_table_row(
            &t,
            (const bench_cell[]){
                bench_text(s->shape->name),
                bench_number(c->bytes ? (double)c->bytes / gib : (double)NAN),
                bench_text(bench_limit_name(c->enforced)),
                bench_number((double)c->peak / gib),
                bench_number(peak_spread(s, c)),
                bench_number((double)c->anonymous / gib),
                bench_number((double)c->file / gib),
                bench_number(c->group ? (double)c->group / gib : (double)NAN),
                bench_number(c->swap_known ? (double)c->swap / gib
                                           : (double)NAN),
                bench_number(c->kept > 0 ? c->kept / gib : (double)NAN),
                bench_number(c->read < 0 ? (double)NAN : c->read / gib),
                bench_number(c->weights_read / gib),
                bench_number(c->stalls),
                bench_number(c->stall_s),
                bench_number(s->step_tokens),
                bench_number((double)c->n),
                bench_number(rate.median),
                bench_number(100 * rate.spread),
                bench_number(rate.median / speed),
                bench_number(cpu.median),
                bench_number(cpu.median / thrift),
                bench_number(100 * gflops / peak),
                bench_number(json_number_value(json_array_get(c->losses, 0))),
                bench_number(last_loss(c)),
            });
    }
}

static ql_status check(const session *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const course *c = &s->courses[i];

        for (size_t j = 0; j < json_array_size(c->losses); j++) {
            if (!json_is_number(json_array_get(c->losses, j))) {
                QL_FAIL(QL_ENUMERIC, "the loss of step %zu is not finite",
                        j + 1);
            }
        }
        if (c->bytes > 0 && c->peak > c->bytes) {
            QL_FAIL(QL_ENOMEM, "the process took more than its limit");
        }
    }
    if (!s->same) {
        QL_FAIL(QL_ENUMERIC, "losses are not the same under all limits");
    }
    return QL_OK;
}

static ql_status measure(session *s)
{
    QL_TRY(write_folder(s));
    bench_machine_show(s->common->json, s->o->command);
    bench_peaks_measure(&s->peaks, &pace, false, s->common->json);
    for (size_t round = 0; round < rounds_of(s); round++) {
        for (size_t i = 0; i < s->n; i++) {
            QL_TRY(run_one(s, &s->courses[i]));
        }
    }
    bench_peaks_measure(&s->peaks, &pace, false, s->common->json);
    show(s);
    return check(s);
}

ql_status bench_large(const bench_options *o, const cli_common *common)
{
    session *s = ql_calloc(QL_TAG_MISC, 1, sizeof(*s));
    ql_status st;

    if (!s) {
        return QL_ENOMEM;
    }
    s->o = o;
    s->common = common;
    s->same = true;
    cli_term_init(&s->term, stderr, common->quiet);
    QL_TRY_DONE(bench_shape_find(&s->shape, o->shape ? o->shape : "llama-7b"));
    QL_TRY_DONE(read_limits(s));
    QL_TRY_DONE(find_folder(s));
    st = measure(s);
done:
    for (size_t i = 0; i < s->n; i++) {
        json_decref(s->courses[i].losses);
    }
    if (s->made) {
        ql_dir_remove(s->dir);
    }
    ql_free(s->dir);
    ql_free(s);
    return st;
}
