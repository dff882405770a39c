/* Trainings that were measured several times: how far they lie apart. */
#include "src/base/fail.h"
#include "tools/bench/bench_json.h"
#include "tools/bench/bench_memory.h"
#include "tools/bench/bench_samples.h"

enum {
    SAMPLES = BENCH_STEPS * BENCH_TURNS
};

/* A number of all rounds, in ascending order. Returns how many there are. */
static size_t sorted(double to[BENCH_TURNS], const json_t *rounds,
                     const char *key)
{
    const size_t n = json_array_size(rounds);

    for (size_t i = 0; i < n; i++) {
        to[i] = bench_get_real(json_array_get(rounds, i), key);
    }
    bench_sort(to, n);
    return n;
}

/* The least and the most of a number; least may be NULL. */
static void set_ends(json_t *row, const json_t *rounds, const char *key,
                     const char *least, const char *most)
{
    double of[BENCH_TURNS];
    const size_t n = sorted(of, rounds, key);

    if (least) {
        bench_set_real(row, least, of[0]);
    }
    bench_set_real(row, most, of[n - 1]);
}

/* The speed of the steps of all rounds, but those to warm up. */
static void set_speed(json_t *row, const json_t *rounds)
{
    json_t *list = json_array();
    double seconds[SAMPLES];
    size_t n = 0;
    bench_rate rate;

    for (size_t i = 0; i < json_array_size(rounds); i++) {
        const json_t *of =
            json_object_get(json_array_get(rounds, i), "seconds");
        const size_t all = json_array_size(of);

        for (size_t j = all > 1; j < all && n < SAMPLES; j++) {
            seconds[n] = json_number_value(json_array_get(of, j));
            json_array_append_new(list, json_real(seconds[n++]));
        }
    }
    rate = bench_rate_of(seconds, n, bench_get_real(row, "step_tokens"));
    json_object_set_new(row, "step_seconds", list);
    bench_set_real(row, "tokens_per_second", rate.median);
    bench_set_real(row, "spread_percent",
                   n > 1 ? 100 * rate.spread : (double)NAN);
}

/* The round with the middle one of all peaks. */
static json_t *middle(const json_t *rounds)
{
    double peaks[BENCH_TURNS];
    const size_t n = sorted(peaks, rounds, "peak");
    size_t i = 0;

    while (bench_get_real(json_array_get(rounds, i), "peak") !=
           peaks[(n - 1) / 2]) {
        i++;
    }
    return json_array_get(rounds, i);
}

ql_status bench_memory_rounds(json_t **out, const json_t *rounds)
{
    const json_t *first = json_array_get(rounds, 0);
    json_t *row = middle(rounds);

    for (size_t i = 1; i < json_array_size(rounds); i++) {
        if (!json_equal(json_object_get(json_array_get(rounds, i), "losses"),
                        json_object_get(first, "losses"))) {
            QL_FAIL(QL_ENUMERIC, "%s, %s: not all rounds have the same losses",
                    bench_get_text(first, "shape"),
                    bench_get_text(first, "title"));
        }
    }
    bench_set_size(row, "rounds", json_array_size(rounds));
    set_ends(row, rounds, "peak", "peak_least", "peak_most");
    set_ends(row, rounds, "anonymous", "anonymous_least", "anonymous_most");
    set_ends(row, rounds, "swap", NULL, "swap");
    set_speed(row, rounds);
    *out = json_incref(row);
    return QL_OK;
}
