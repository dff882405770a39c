/* The report of a run: axes, curves, the page and the card with texts that
 * would be markup, TensorBoard's files, and samples. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qlora/generate.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/convert/adapter_make.h"
#include "src/train/publish.h"
#include "src/train/report_chart.h"
#include "src/train/report_curve.h"
#include "src/train/report_facts.h"
#include "tests/check/check.h"
#include "tests/check/toy.h"

enum {
    MAX_FILE = 1 << 26
};

/* Takes the clock's place, by the linker: samples are cut on a loaded
 * machine. */
static double now;
static double tick; /* how far each look at it sets it forward */

double __wrap_ql_now_s(void);

double __wrap_ql_now_s(void)
{
    return now += tick;
}

static double random_unit(uint64_t i)
{
    return ql_rng_unit(check_seed(), i);
}

/* x is m times a power of ten, m one of 1, 2, 5. */
static bool is_round(double x)
{
    const double part = x / pow(10, floor(log10(x) + 1e-9));

    return fabs(part - 1) < 1e-6 || fabs(part - 2) < 1e-6 ||
           fabs(part - 5) < 1e-6;
}

static void check_scale(const ql_scale *s, double low, double high)
{
    const double room = 1e-9 * (s->high - s->low);

    assert_true(s->low <= low + room && s->high >= high - room);
    assert_true(s->ticks >= 2 && s->ticks <= QL_SCALE_TICKS);
    assert_true(!signbit(s->tick[0]) || s->tick[0] < 0);
    for (size_t i = 0; i < s->ticks; i++) {
        char label[QL_FACT_BYTES];
        double at = ql_scale_at(s, s->tick[i]);

        assert_true(at > -1e-9 && at < 1 + 1e-9);
        assert_true(i == 0 || s->tick[i] > s->tick[i - 1]);
        snprintf(label, sizeof(label), "%.*f", s->digits, s->tick[i]);
        at = strtod(label, NULL); /* a label says where it is */
        assert_true(fabs(at - s->tick[i]) <= 1e-6 * fabs(s->tick[i]) + 1e-12);
    }
}

static void scales__are_round_and_hold_what_they_must(void **state)
{
    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        const double size = pow(10, 12 * random_unit(2 * i) - 6);
        const double low = size * (random_unit(2 * i + 1) - 0.3);
        const double high = low + size * random_unit(2 * i + 2);
        const ql_scale s = ql_scale_of(low, high, i % 2);

        check_scale(&s, low, high);
        if (!s.log) {
            assert_true(is_round(s.tick[1] - s.tick[0]));
            assert_true(s.ticks <= 8);
        } else {
            assert_true(low > 0 && high >= 30 * low);
            assert_true(is_round(s.tick[0]) && is_round(s.tick[1]));
        }
    }
}

static void scales__of_special_values(void **state)
{
    ql_scale s;

    (void)state;
    s = ql_scale_of(0, 0, true);
    check_scale(&s, 0, 0);
    s = ql_scale_of(3, 3, true);
    check_scale(&s, 3, 3);
    for (double part = 1; part >= 1e-16; part /= 2) { /* hardly two values */
        s = ql_scale_of(3.8, 3.8 * (1 + part), true);
        check_scale(&s, 3.8, 3.8 * (1 + part));
    }
    s = ql_scale_of(1e-30, 1e30, true); /* a power of ten in each of few */
    check_scale(&s, 1e-30, 1e30);
    assert_true(s.log);
    s = ql_scale_of(0, 1e30, true);
    assert_false(s.log);
    s = ql_scale_of_steps(0);
    assert_true(s.low == 0 && s.high == 1 && s.ticks == 2);
    s = ql_scale_of_steps(7);
    assert_true(s.high == 7 && s.ticks == 8 && s.digits == 0);
    s = ql_scale_of_steps(100000);
    assert_true(s.tick[1] == 20000 && s.ticks == 6);
}

/* A curve of n points, for which there must be a log. */
static void make_curve(ql_curve *c, size_t n)
{
    ql_history h;

    ql_history_init(&h);
    for (size_t i = 0; i < n; i++) {
        const ql_train_event e = {
            .kind = QL_TRAIN_STEP, .step = i + 1, .loss = random_unit(i) + 1};

        check_ok(ql_history_add(&h, &e));
        check_ok(ql_history_add(
            &h, &(ql_train_event){.kind = QL_TRAIN_EVAL, .eval_loss = 7}));
    }
    check_ok(ql_curve_init(c, &h, "loss"));
    assert_int_equal(c->n, n);
    ql_history_free(&h);
}

static void curves__that_are_thinned_keep_what_stands_out(void **state)
{
    static const size_t sizes[] = {1, 2, 19, 20, 21, 22, 57, 1000, 5003};

    (void)state;
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        double low[2] = {HUGE_VAL, HUGE_VAL};
        double high[2] = {-HUGE_VAL, -HUGE_VAL};
        ql_curve all;
        ql_curve c;

        make_curve(&all, sizes[k]);
        make_curve(&c, sizes[k]);
        ql_curve_thin(&c, 20);
        assert_true(c.n <= 20 && (c.n >= 10 || c.n == sizes[k]));
        ql_curve_range(&all, &low[0], &high[0]);
        ql_curve_range(&c, &low[1], &high[1]);
        assert_true(low[0] == low[1] && high[0] == high[1]);
        assert_true(c.x[0] == 1 && c.x[c.n - 1] == (double)sizes[k]);
        for (size_t i = 0; i < c.n; i++) {
            assert_true(i == 0 || c.x[i] > c.x[i - 1]);
            assert_true(c.y[i] == all.y[(size_t)c.x[i] - 1]);
        }
        ql_curve_free(&c);
        ql_curve_free(&all);
    }
}

static void curves__are_smoothed_by_their_formula(void **state)
{
    enum {
        N = 400
    };
    const double sees = fmin(N / 40.0, 5 + N / 200.0);
    const double w = sees / (1 + sees);
    ql_curve c;
    ql_curve s;

    (void)state;
    make_curve(&c, N);
    make_curve(&s, N);
    check_ok(ql_curve_smooth(&s));
    for (size_t i = 0; i < N; i++) {
        double sum = 0;
        double weight = 0;

        for (size_t j = 0; j < N; j++) {
            const double wj = pow(w, i > j ? (double)(i - j) : (double)(j - i));

            sum += wj * c.y[j];
            weight += wj;
        }
        assert_true(fabs(s.y[i] - sum / weight) < 1e-12);
    }
    ql_curve_free(&c);
    ql_curve_free(&s);
}

/* A run on the toy model, as far as reports know it. */
typedef struct toy_run {
    ql_model *m;
    ql_tokenizer *tok;
    ql_dataset *ds;
    ql_train_options opt;
    ql_adapter adapter;
    ql_history history;
    ql_publish publish;
} toy_run;

static void toy_open(toy_run *t, size_t steps, const char *dir)
{
    *t = (toy_run){0};
    check_ok(ql_model_open(&t->m, toy_model(), NULL));
    check_ok(ql_tokenizer_open(&t->tok, toy_model()));
    t->ds = toy_data(t->tok, 6);
    ql_train_options_init(&t->opt);
    check_ok(ql_adapter_make(&t->adapter, &t->m->config, &t->m->weights,
                             &t->opt, 1, false));
    ql_history_init(&t->history);
    check_ok(ql_history_reserve(&t->history, steps));
    for (size_t i = 1; i <= steps; i++) {
        const double x = random_unit(i);
        const ql_history_sum s = {
            .loss = {20 * x, 10, 3}, .steps = 1, .tokens = 30, .seconds = x};
        ql_train_event e = {.kind = QL_TRAIN_STEP,
                            .step = i,
                            .grad_norm = x,
                            .memory = {.peak = 1000, .resident = 500}};

        ql_history_step(&t->history, &s, &e);
        check_ok(ql_history_add(&t->history, &e));
    }
    t->publish.report = (ql_report){.dir = dir,
                                    .history = &t->history,
                                    .opt = &t->opt,
                                    .length = {3, steps, 0},
                                    .trainable = 10,
                                    .model = t->m,
                                    .adapter = &t->adapter,
                                    .data = t->ds,
                                    .samples = &t->publish.samples};
}

static void toy_close(toy_run *t)
{
    ql_publish_free(&t->publish, true);
    ql_history_free(&t->history);
    ql_adapter_free(&t->adapter);
    ql_dataset_close(&t->ds);
    ql_tokenizer_close(&t->tok);
    ql_model_close(&t->m);
}

static char *read_text(const char *path)
{
    char *text;
    size_t n;

    check_ok(ql_file_read(path, MAX_FILE, &text, &n));
    assert_int_equal(strlen(text), n);
    return text;
}

static void check_has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("\"%s\" is not in the text", part);
    }
}

static void report__shows_texts_as_they_are(void **state)
{
    const char *page = check_tmp_path("page.html");
    const char *card = check_tmp_path("card.md");
    char prompt[] = "</script><script>alert(1)</script>&amp;\x01";
    char before[] = "'quoted' \"twice\"\n# no heading\n```\n";
    ql_sample_text text = {
        .prompt = prompt, .expected = before, .before = before};
    toy_run t;
    char *got;

    (void)state;
    toy_open(&t, 5, "dir/<b>out\n\xff&/");
    t.opt.settings = "model: <i>x</i>\nlist: [a, 'b: c']\nbad\n";
    t.publish.samples = (ql_samples){&text, 1};
    t.publish.report.state = QL_REPORT_STOPPED;
    t.publish.report.why = "stopped <here>";
    check_ok(ql_report_save(&t.publish.report, page));
    check_ok(ql_report_save_card(&t.publish.report, card));
    got = read_text(page);
    check_has(got, "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
                   "&amp;amp;?");
    check_has(got, "&#39;quoted&#39; &quot;twice&quot;");
    check_has(got, "<h1>&lt;b&gt;out?\?&amp;</h1>");
    check_has(got, "<dt>model</dt><dd>&lt;i&gt;x&lt;/i&gt;</dd>");
    check_has(got, "<dt>list</dt><dd>[a, &#39;b: c&#39;]</dd>");
    check_has(got, "Stopped &lt;here&gt;");
    assert_null(strstr(got, "alert(1)</script>"));
    ql_free(got);
    got = read_text(card);
    check_has(got, "\n    # no heading\n    ```\n");
    check_has(got, "\n# <b>out?\?&\n");
    ql_free(got);
    t.publish.samples = (ql_samples){0};
    toy_close(&t);
}

/* Makes the adapter anew, as the options of t are now; the page has a and b,
 * the card c. */
static void check_adapter(toy_run *t, const char *a, const char *b,
                          const char *c)
{
    const char *page = check_tmp_path("page.html");
    const char *card = check_tmp_path("card.md");
    char *got;

    ql_adapter_free(&t->adapter);
    check_ok(ql_adapter_make(&t->adapter, &t->m->config, &t->m->weights,
                             &t->opt, 1, false));
    check_ok(ql_report_save(&t->publish.report, page));
    check_ok(ql_report_save_card(&t->publish.report, card));
    got = read_text(page);
    check_has(got, a);
    check_has(got, b);
    ql_free(got);
    got = read_text(card);
    check_has(got, c);
    ql_free(got);
}

static void report__says_what_is_trained(void **state)
{
    static const char *const targets[] = {"q_proj", "v_proj"};
    static const char *const layers[] = {"1"};
    static const char *const ranks[] = {"q_proj=4"};
    static const char *const alphas[] = {"v_proj=8"};
    static const char *const saved[] = {"lm_head"};
    toy_run t;

    (void)state;
    toy_open(&t, 3, "out");
    check_adapter(&t, "<p class=\"lead\">LoRA of rank 16 on ",
                  "<dd>LoRA, rank 16, alpha 32, dropout 0.05</dd>",
                  "--max-lora-rank 16 ");
    t.opt.method = QL_METHOD_LORA;
    check_adapter(&t, "<dd>lora: an adapter on the base as it is stored</dd>",
                  "<dd>q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
                  "down_proj</dd>",
                  "- lora\n- text-generation\n");
    t.opt.method = QL_METHOD_QLORA;
    t.opt.lora_target_modules = (ql_list){targets, 2};
    t.opt.rank_pattern = (ql_list){ranks, 1};
    t.opt.alpha_pattern = (ql_list){alphas, 1};
    t.opt.layers_to_transform = (ql_list){layers, 1};
    t.opt.use_rslora = true;
    check_adapter(&t, "Rank-stabilized LoRA of ranks 4 to 16 on ",
                  "<dd>Rank-stabilized LoRA, ranks 4 to 16, alphas 8 to 32, "
                  "dropout 0.05</dd>",
                  "- layers that have one: 1 of 2, from 1 to 1\n");
    t.opt.use_dora = true;
    t.opt.modules_to_save = (ql_list){saved, 1};
    check_adapter(&t, "Rank-stabilized DoRA of ranks 4 to 16 on ",
                  "<dt>trained whole</dt><dd>lm_head</dd>",
                  "qlora-export merge --model");
    toy_close(&t);
}

static void report__of_a_run_that_did_nothing_is_whole(void **state)
{
    const char *page = check_tmp_path("none.html");
    toy_run t;
    char *got;

    (void)state;
    toy_open(&t, 0, "out");
    t.publish.report.state = QL_REPORT_RUNNING;
    check_ok(ql_report_save(&t.publish.report, page));
    got = read_text(page);
    check_has(got, "</html>");
    check_has(got, "http-equiv=\"refresh\"");
    assert_null(strstr(got, "<figure"));
    ql_free(got);
    toy_close(&t);
}

static void report__without_memory_is_not_written(void **state)
{
    const char *page = check_tmp_path("oom.html");
    bool ok = false;
    toy_run t;

    (void)state;
    toy_open(&t, 5, "out");
    for (long n = 0; !ok; n += 1 + n / 16) {
        ok = check_lacking(n, ql_report_save(&t.publish.report, page));
        assert_true(ok || !ql_path_exists(page));
    }
    toy_close(&t);
}

/* What jansson holds, which has an allocator of its own. */
static size_t json_now, json_peak;

static void *json_alloc(size_t n)
{
    size_t *p = malloc(n + 16);

    if (p) {
        *p = n;
        json_now += n;
        json_peak = json_now > json_peak ? json_now : json_peak;
    }
    return p ? (char *)p + 16 : NULL;
}

static void json_free_one(void *p)
{
    if (p) {
        size_t *block = (size_t *)(void *)((char *)p - 16);

        json_now -= *block;
        free(block);
    }
}

/* Bytes that a report takes on top of what there is, at most. */
static size_t report_takes(size_t steps)
{
    const char *page = check_tmp_path("long.html");
    size_t before;
    size_t took;
    toy_run t;

    toy_open(&t, steps, "out");
    before = ql_alloc_bytes(QL_TAG_MISC) + ql_alloc_bytes(QL_TAG_TEXT);
    json_peak = json_now;
    check_ok(ql_report_save(&t.publish.report, page));
    took = ql_alloc_peak(QL_TAG_MISC) + ql_alloc_peak(QL_TAG_TEXT) - before +
           json_peak - json_now;
    toy_close(&t);
    return took;
}

static void report__of_a_long_run_takes_little_more_memory(void **state)
{
    enum {
        ROWS = 50000
    };
    json_malloc_t alloc;
    json_free_t free_one;
    size_t took;

    (void)state;
    json_get_alloc_funcs(&alloc, &free_one);
    json_set_alloc_funcs(json_alloc, json_free_one);
    took = report_takes(ROWS);
    json_set_alloc_funcs(alloc, free_one);
    print_message("%zu bytes\n", took);
    assert_true(took <= QL_REPORT_BYTES + ROWS * QL_REPORT_ROW_BYTES);
}

/* With a card of the user's own, what they wrote stays. */
static void publish__leaves_a_card_of_others(void **state)
{
    const char *dir = check_tmp_path("mine");
    const char *card = check_tmp_path("mine/README.md");
    static const char mine[] = "# My own notes\n";
    toy_run t;
    char *got;

    (void)state;
    check_ok(ql_dir_make(dir));
    check_ok(ql_file_write(card, mine, strlen(mine)));
    toy_open(&t, 2, dir);
    ql_publish_files(&t.publish, dir, QL_REPORT_FINISHED, NULL);
    got = read_text(card);
    assert_string_equal(got, mine);
    ql_free(got);
    t.opt.overwrite_output_dir = true;
    ql_publish_files(&t.publish, dir, QL_REPORT_FINISHED, NULL);
    got = read_text(card);
    check_has(got, "library_name: peft");
    ql_free(got);
    t.opt.overwrite_output_dir = false; /* now it is ours */
    assert_int_equal(unlink(check_tmp_path("mine/report.html")), 0);
    check_ok(ql_file_write(card, "<!-- written by qlora-train -->", 31));
    ql_publish_files(&t.publish, dir, QL_REPORT_FINISHED, NULL);
    got = read_text(card);
    check_has(got, "library_name: peft");
    ql_free(got);
    assert_true(ql_path_exists(check_tmp_path("mine/report.html")));
    toy_close(&t);
}

static void tensorboard__that_cannot_write_says_so_once(void **state)
{
    const ql_train_event e = {.kind = QL_TRAIN_EVAL, .step = 3};
    const char *dir = check_tmp_path("board");
    ql_tensorboard t = {0};

    (void)state;
    check_ok(ql_tensorboard_add(&t, &e)); /* it was never opened */
    ql_tensorboard_free(&t, true);
    check_ok(ql_dir_make(dir));
    check_ok(ql_file_write(check_tmp_path("board/runs"), "x", 1));
    check_fails(ql_tensorboard_init(&t, dir, 0), QL_EIO, "board/runs");
    check_ok(ql_tensorboard_add(&t, &e));
    ql_tensorboard_free(&t, true);
}

/* What generation makes of the same prompts, where they are tokenized to the
 * same ids. */
static void samples__are_what_the_model_would_write(void **state)
{
    enum {
        ROOM = 40
    };
    const ql_run_options opt = {
        .max_tokens = ROOM, .max_length = ROOM, .max_sequences = 1};
    ql_generate_options g;
    ql_samples s;
    ql_run *run = NULL;
    toy_run t;
    size_t same = 0;

    (void)state;
    toy_open(&t, 1, "out");
    ql_generate_options_init(&g);
    g.temperature = 0;
    check_ok(ql_run_open(&run, t.m, &opt));
    check_ok(ql_samples_init(&s, t.ds, 4, t.tok, ROOM));
    assert_int_equal(s.n, 4);
    check_ok(ql_samples_write(&s, run, t.m->config.V, t.tok, ROOM, false));
    check_ok(ql_samples_write(&s, run, t.m->config.V, t.tok, ROOM, true));
    for (size_t i = 0; i < s.n; i++) {
        const ql_sample_text *p = &s.texts[i];
        char *want = NULL;
        int32_t *ids;
        size_t n;

        assert_string_equal(p->before, p->after); /* nothing was trained */
        assert_true(strlen(p->expected) > 0);
        check_ok(ql_tokenizer_encode(t.tok, p->prompt, strlen(p->prompt), true,
                                     &ids, &n));
        if (n == p->n && memcmp(ids, p->ids, n * sizeof(*ids)) == 0) {
            g.max_new_tokens = ROOM - n;
            check_ok(ql_generate(t.m, t.tok, p->prompt, &g, NULL, NULL, &want));
            same++;
            assert_memory_equal(p->before, want + strspn(want, " \n"),
                                strlen(want + strspn(want, " \n")));
        }
        ql_free(ids);
        ql_free(want);
    }
    assert_true(same > 0);
    ql_samples_free(&s);
    ql_run_close(&run);
    toy_close(&t);
}

/* All have their share of the time, whatever those before them took. */
static void samples__end_with_their_time(void **state)
{
    static const char cut[] = " \xE2\x80\xA6";
    const ql_run_options opt = {
        .max_tokens = 40, .max_length = 40, .max_sequences = 1};
    ql_samples s;
    ql_run *run = NULL;
    toy_run t;

    (void)state;
    toy_open(&t, 1, "out");
    check_ok(ql_run_open(&run, t.m, &opt));
    check_ok(ql_samples_init(&s, t.ds, 4, t.tok, 40));
    check_ok(ql_samples_write(&s, run, t.m->config.V, t.tok, 40, false));
    tick = 1;
    check_ok(ql_samples_write(&s, run, t.m->config.V, t.tok, 40, true));
    tick = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *all = s.texts[i].before;
        const char *some = s.texts[i].after;
        const size_t n = strlen(some);

        assert_in_range(n, strlen(cut) + 1, strlen(all) - 1);
        assert_string_equal(some + n - strlen(cut), cut);
        assert_memory_equal(some, all, n - strlen(cut));
    }
    ql_samples_free(&s);
    ql_run_close(&run);
    toy_close(&t);
}

/* Records without room for an answer are passed over. */
static void samples__need_room(void **state)
{
    ql_samples s;
    toy_run t;

    (void)state;
    toy_open(&t, 1, "out");
    check_ok(ql_samples_init(&s, t.ds, 4, t.tok, 5));
    assert_int_equal(s.n, 0);
    ql_samples_free(&s);
    check_ok(ql_samples_init(&s, t.ds, 100, t.tok, 1000));
    assert_int_equal(s.n, 6);
    ql_samples_free(&s);
    toy_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curves__are_smoothed_by_their_formula),
        cmocka_unit_test(curves__that_are_thinned_keep_what_stands_out),
        cmocka_unit_test(publish__leaves_a_card_of_others),
        cmocka_unit_test(report__of_a_long_run_takes_little_more_memory),
        cmocka_unit_test(report__of_a_run_that_did_nothing_is_whole),
        cmocka_unit_test(report__says_what_is_trained),
        cmocka_unit_test(report__shows_texts_as_they_are),
        cmocka_unit_test(report__without_memory_is_not_written),
        cmocka_unit_test(samples__are_what_the_model_would_write),
        cmocka_unit_test(samples__end_with_their_time),
        cmocka_unit_test(samples__need_room),
        cmocka_unit_test(scales__are_round_and_hold_what_they_must),
        cmocka_unit_test(scales__of_special_values),
        cmocka_unit_test(tensorboard__that_cannot_write_says_so_once),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
