/* Layers that are brought into memory before their turn: what is resident
 * stays within the budget, what is read is what was written, no walk stops, and
 * what comes next is there before it is asked for. Resident bytes are those
 * that the kernel counts for the file. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/model/stream.h"
#include "tests/check/check.h"

enum {
    LAYERS = 9,
    PARTS = LAYERS + 1, /* the head is the last one */
    PART = 1 << 20,
    PATIENCE = 60000, /* looks, of a millisecond, until a helper is given up */
    FAULT = 1 << 16   /* what a page fault may bring of the neighbours */
};

static ql_weights weights;
static ql_layer layers[LAYERS];

static const char *name_of(size_t part)
{
    static char name[16];

    snprintf(name, sizeof(name), "part%zu", part);
    return name;
}

static unsigned char byte_of(size_t part, size_t i)
{
    return (unsigned char)ql_rng_at(part, i / 512);
}

static void write_part(ql_safetensors_writer *w, size_t part)
{
    unsigned char *bytes = ql_alloc(QL_TAG_DATA, PART, 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < PART; i++) {
        bytes[i] = byte_of(part, i);
    }
    check_ok(ql_safetensors_writer_put(w, name_of(part), bytes));
    ql_free(bytes);
}

static void write_model(const char *path)
{
    const size_t shape[2] = {1, PART / sizeof(float)};
    ql_safetensors_writer *w = NULL;

    check_ok(ql_safetensors_writer_open(&w, path));
    for (size_t i = 0; i < PARTS; i++) {
        check_ok(
            ql_safetensors_writer_add(w, name_of(i), QL_DTYPE_F32, shape, 2));
    }
    check_ok(ql_safetensors_writer_begin(w));
    for (size_t i = 0; i < PARTS; i++) {
        write_part(w, i);
    }
    check_ok(ql_safetensors_writer_commit(w));
    ql_safetensors_writer_close(&w);
}

static ql_qtensor matrix_of(size_t part)
{
    const ql_tensor *t = ql_shards_find(weights.shards, name_of(part));

    assert_non_null(t);
    return (ql_qtensor){.rows = 1,
                        .cols = t->elements,
                        .storage = QL_STORAGE_F32,
                        .data = t->data};
}

static int open_model(void **state)
{
    (void)state;
    write_model(check_tmp_path("model.safetensors"));
    check_ok(ql_shards_open(&weights.shards, check_tmp()));
    weights.layers = layers;
    weights.n_layers = LAYERS;
    for (size_t i = 0; i < LAYERS; i++) {
        layers[i].linear[i % QL_MODULES].w = matrix_of(i);
    }
    weights.head.w = matrix_of(LAYERS);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    ql_shards_close(&weights.shards);
    return 0;
}

/* Bytes of the model's file that the kernel counts as resident. It counts page
 * by page while the helper goes on. */
static size_t count_resident(void)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    bool ours = false;
    size_t kib;
    size_t sum = 0;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (strstr(line, "/model.safetensors")) {
            ours = true;
        } else if (ours && sscanf(line, "Rss: %zu kB", &kib) == 1) {
            sum += kib * 1024;
            ours = false;
        }
    }
    fclose(f);
    return sum;
}

/* A part that goes while another comes may be counted with it, so the least of
 * some counts is taken. */
static size_t resident(size_t most)
{
    size_t least = count_resident();

    for (int i = 0; i < 100 && least > most; i++) {
        const size_t again = count_resident();

        least = again < least ? again : least;
    }
    return least;
}

static void check_part(size_t part)
{
    const ql_qtensor w = part == LAYERS
                             ? weights.head.w
                             : layers[part].linear[part % QL_MODULES].w;
    const unsigned char *bytes = w.data;

    for (size_t i = 0; i < PART; i += 509) {
        assert_int_equal(bytes[i], byte_of(part, i));
    }
}

static void use(ql_stream *s, size_t part, ql_stream_way way, size_t budget)
{
    const size_t most = (budget > PART ? budget : PART) + (size_t)PARTS * FAULT;

    ql_stream_enter(s, part, way);
    check_part(part);
    assert_true(resident(most) <= most);
}

/* A step of training: up to the head, and back without it. */
static void train(ql_stream *s, size_t budget)
{
    for (size_t i = 0; i < PARTS; i++) {
        use(s, i, QL_STREAM_UP, budget);
    }
    for (size_t i = LAYERS; i-- > 0;) {
        use(s, i, QL_STREAM_DOWN, budget);
    }
}

static void evaluate(ql_stream *s, size_t budget)
{
    for (size_t i = 0; i < PARTS; i++) {
        use(s, i, QL_STREAM_ROUND, budget);
    }
}

static void stream__stays_within_its_budget(void **state)
{
    (void)state;
    for (size_t parts = 0; parts < PARTS; parts++) {
        const size_t budget = parts * PART + PART / 2;
        ql_stream *s;

        check_ok(ql_stream_open(&s, &weights, budget));
        assert_non_null(s);
        train(s, budget);
        evaluate(s, budget);
        train(s, budget);
        ql_stream_close(&s);
        assert_null(s);
    }
}

/* However fast the helper is, no part is read more often than it is used, nor
 * less often than it must be: of a walk up and down with room for k parts,
 * each way finds at most k of them in memory. */
static void stream__keeps_what_it_can(void **state)
{
    const size_t k = 6;
    const size_t steps = 5;
    ql_stream *s;
    ql_stream_use used;

    (void)state;
    check_ok(ql_stream_open(&s, &weights, k * PART));
    for (size_t i = 0; i < steps; i++) {
        train(s, k * PART);
    }
    used = ql_stream_used(s);
    ql_stream_close(&s);
    assert_int_equal(used.bytes % PART, 0);
    assert_in_range(used.bytes / PART, PARTS + (steps - 1) * 2 * (PARTS - k),
                    PARTS + steps * 2 * (PARTS - k + 2));
}

/* The parts in the order of their use: turns of it, again and again. */
typedef struct walk {
    size_t part[2 * PARTS];
    ql_stream_way way[2 * PARTS];
    size_t n;
} walk;

static void walk_add(walk *w, size_t part, ql_stream_way way)
{
    w->part[w->n] = part;
    w->way[w->n++] = way;
}

static walk walk_of(bool training)
{
    walk w = {.n = 0};

    for (size_t i = 0; i < PARTS; i++) {
        walk_add(&w, i, training ? QL_STREAM_UP : QL_STREAM_ROUND);
    }
    for (size_t i = LAYERS; training && i-- > 0;) {
        walk_add(&w, i, QL_STREAM_DOWN);
    }
    return w;
}

/* Turns from one until a part is used. */
static size_t wait_of(const walk *w, size_t turn, size_t part)
{
    size_t n = 0;

    while (w->part[(turn + n) % w->n] != part) {
        n++;
    }
    return n;
}

/* Of all parts, the k that are used next: those that should be in memory when
 * a turn is over. Returns how many of them were not before. */
static size_t bring(bool here[PARTS], const walk *w, size_t turn, size_t k)
{
    size_t brought = 0;

    for (size_t i = 0; i < PARTS; i++) {
        size_t sooner = 0;
        bool kept;

        for (size_t j = 0; j < PARTS; j++) {
            sooner += wait_of(w, turn, j) < wait_of(w, turn, i);
        }
        kept = sooner < k;
        brought += kept && !here[i];
        here[i] = kept;
    }
    return brought;
}

/* Lets the helper do what it does beside a layer that takes long: until it has
 * read so much. It goes on by itself, or never. */
static ql_stream_use let_read(ql_stream *s, uint64_t bytes)
{
    const struct timespec moment = {.tv_nsec = 1000 * 1000};

    for (int i = 0; i < PATIENCE && ql_stream_used(s).bytes < bytes; i++) {
        nanosleep(&moment, NULL);
    }
    return ql_stream_used(s);
}

/* Beside the part in use, all that there is room for is read, and just that;
 * so nothing is waited for. */
static void check_ahead(const walk *w, size_t k)
{
    bool here[PARTS] = {false};
    uint64_t bytes = bring(here, w, 0, k) * PART;
    ql_stream *s;

    check_ok(ql_stream_open(&s, &weights, k * PART));
    let_read(s, bytes);
    for (size_t turn = 0; turn < 3 * w->n; turn++) {
        const size_t at = turn % w->n;
        ql_stream_use used;

        ql_stream_enter(s, w->part[at], w->way[at]);
        bytes += bring(here, w, turn, k) * PART;
        used = let_read(s, bytes);
        assert_int_equal(used.bytes, bytes);
        assert_int_equal(used.stalls, 0);
        check_part(w->part[at]);
    }
    ql_stream_close(&s);
}

static void stream__reads_ahead_of_use(void **state)
{
    const walk training = walk_of(true);
    const walk evaluation = walk_of(false);

    (void)state;
    for (size_t k = 2; k < PARTS; k++) {
        check_ahead(&training, k);
        check_ahead(&evaluation, k);
    }
}

static void stream__does_nothing_when_all_fits(void **state)
{
    ql_stream *s;
    size_t all;
    size_t least;
    size_t before;

    (void)state;
    ql_stream_needs(&weights, &all, &least);
    assert_int_equal(all, PARTS * PART);
    assert_int_equal(least, 2 * PART);
    check_ok(ql_stream_open(&s, &weights, all - 1));
    assert_non_null(s); /* which begins with nothing in memory */
    ql_stream_close(&s);
    before = count_resident();
    check_ok(ql_stream_open(&s, &weights, all));
    assert_null(s);
    for (size_t i = 0; i < PARTS; i++) {
        ql_stream_enter(s, i, QL_STREAM_UP);
    }
    assert_int_equal(ql_stream_used(s).bytes, 0);
    assert_int_equal(ql_stream_used(s).stalls, 0);
    assert_int_equal(count_resident(), before);
    ql_stream_close(&s);
}

/* Weights that were quantized while loading are not in a file: dropping them
 * would lose them. */
static void stream__leaves_other_memory_alone(void **state)
{
    const ql_qtensor mapped = layers[3].linear[3].w;
    float *own = ql_alloc(QL_TAG_WEIGHTS, PART, 1);
    ql_stream *s;

    (void)state;
    assert_non_null(own);
    memcpy(own, mapped.data, PART);
    layers[3].linear[3].w.data = own;
    check_ok(ql_stream_open(&s, &weights, 2 * PART));
    train(s, 3 * PART);
    train(s, 3 * PART);
    ql_stream_close(&s);
    layers[3].linear[3].w = mapped;
    ql_free(own);
}

static void stream__fails_without_memory(void **state)
{
    (void)state;
    for (long n = 0; n < 3; n++) {
        ql_stream *s;

        ql_alloc_fail_after(n);
        check_fails(ql_stream_open(&s, &weights, PART), QL_ENOMEM, "memory");
        ql_alloc_fail_after(-1);
        assert_null(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream__stays_within_its_budget),
        cmocka_unit_test(stream__keeps_what_it_can),
        cmocka_unit_test(stream__reads_ahead_of_use),
        cmocka_unit_test(stream__does_nothing_when_all_fits),
        cmocka_unit_test(stream__leaves_other_memory_alone),
        cmocka_unit_test(stream__fails_without_memory),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
