/* The micro-batches of an epoch: every sample once, whatever the packing; the
 * same for the same seed and epoch; sizes as they were promised. */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/data/batches.h"
#include "src/data/dataset_handle.h"
#include "tests/check/check.h"

enum {
    SAMPLES = 101,
    LONGEST = 60,
    TRAINED = 5 /* of so many tokens one is not, or in every other sample all
                   but one */
};

static bool is_trained(size_t sample, size_t t)
{
    return t > 0 && ((t + sample) % TRAINED != 0) == (sample % 2 == 0);
}

/* Samples of 2 to LONGEST tokens, one of them of LONGEST; the first token is
 * the sample's number. */
static ql_dataset *make_data(void)
{
    static int32_t ids[SAMPLES][LONGEST];
    static uint8_t train[SAMPLES][LONGEST];
    ql_sample samples[SAMPLES];
    ql_dataset *ds = NULL;

    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t some = 2 + ql_rng_below(7, i, LONGEST / 2);

        for (size_t t = 0; t < LONGEST; t++) {
            ids[i][t] = (int32_t)(t == 0 ? i : 1000 + t);
            train[i][t] = is_trained(i, t);
        }
        samples[i] = (ql_sample){
            .ids = ids[i], .train = train[i], .n = i == 50 ? LONGEST : some};
    }
    check_ok(ql_dataset_of_samples(&ds, samples, SAMPLES));
    return ds;
}

/* The numbers of the samples of an epoch, in order; all else is checked. */
static void read_epoch(ql_batches *b, size_t epoch, int32_t *number)
{
    size_t n = 0;

    ql_batches_begin(b, epoch);
    for (size_t i = 0; i < b->n; i++) {
        size_t trained = 0;
        ql_batch batch;

        ql_batches_get(b, i, &batch);
        assert_true(batch.T <= b->max_tokens);
        assert_true(batch.sequences <= b->max_sequences);
        assert_int_equal(batch.start[batch.sequences], batch.T);
        for (size_t j = 0; j < batch.sequences; j++) {
            const size_t at = batch.start[j];
            const size_t end = batch.start[j + 1];
            const size_t sample = (size_t)batch.ids[at];

            number[n] = batch.ids[at];
            assert_int_equal(ql_dataset_sample(b->ds, (size_t)number[n]).n,
                             end - at);
            n++;
            for (size_t t = at; t < end; t++) {
                const size_t next = t + 1 - at;
                const bool learnt = t + 1 < end && is_trained(sample, next);

                assert_int_equal(batch.target[t],
                                 learnt ? 1000 + (int32_t)next : -1);
                trained += learnt;
            }
        }
        assert_int_equal(ql_batches_trained(b, i), trained);
        assert_true(trained <= b->max_trained);
    }
    assert_int_equal(n, SAMPLES);
}

static int rising(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a;
    const int32_t y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

static void check_all_there(const int32_t *number)
{
    int32_t sorted[SAMPLES];

    memcpy(sorted, number, sizeof(sorted));
    qsort(sorted, SAMPLES, sizeof(*sorted), rising);
    for (int32_t i = 0; i < SAMPLES; i++) {
        assert_int_equal(sorted[i], i);
    }
}

/* Two epochs differ where they are shuffled; each can be had again, in any
 * order, from another ql_batches. */
static void check_options(const ql_dataset *ds, const ql_batches_options *opt)
{
    int32_t epoch[3][SAMPLES];
    int32_t again[SAMPLES];
    ql_batches b;
    ql_batches other;

    check_ok(ql_batches_init(&b, ds, opt));
    check_ok(ql_batches_init(&other, ds, opt));
    for (size_t e = 0; e < 3; e++) {
        read_epoch(&b, e, epoch[e]);
        check_all_there(epoch[e]);
    }
    assert_int_equal(memcmp(epoch[0], epoch[1], sizeof(epoch[0])) != 0,
                     opt->shuffle);
    for (size_t e = 3; e-- > 0;) {
        read_epoch(&other, e, again);
        assert_memory_equal(again, epoch[e], sizeof(again));
    }
    assert_int_equal(b.n, (b.packs + opt->size - 1) / opt->size);
    assert_true(opt->packing ? b.packs < SAMPLES : b.packs == SAMPLES);
    ql_batches_free(&b);
    ql_batches_free(&other);
}

static void batches__have_every_sample_once_an_epoch(void **state)
{
    static const size_t sizes[] = {1, 2, 7, SAMPLES - 1, SAMPLES, 1000};
    ql_dataset *ds = make_data();

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int kind = 0; kind < 4; kind++) {
            check_options(ds, &(ql_batches_options){.size = sizes[i],
                                                    .packing = kind % 2,
                                                    .shuffle = kind / 2,
                                                    .seed = 3});
        }
    }
    ql_dataset_close(&ds);
}

static void batches__without_shuffling_keep_the_order(void **state)
{
    ql_dataset *ds = make_data();
    int32_t number[SAMPLES];
    ql_batches b;

    (void)state;
    for (int packing = 0; packing < 2; packing++) {
        check_ok(ql_batches_init(
            &b, ds, &(ql_batches_options){.size = 2, .packing = packing}));
        read_epoch(&b, 1, number);
        for (int32_t i = 0; i < SAMPLES; i++) {
            assert_int_equal(number[i], i);
        }
        ql_batches_free(&b);
    }
    ql_dataset_close(&ds);
}

/* Without packing it is that of a sample; with it no more than the tokens, for
 * in every sample some are not. */
static void batches__tell_how_many_are_trained_at_most(void **state)
{
    ql_batches_options opt = {.size = 1, .shuffle = true};
    ql_dataset *ds = make_data();
    size_t most = 0;
    ql_batches b;

    (void)state;
    check_ok(ql_batches_init(&b, ds, &opt));
    for (size_t i = 0; i < b.n; i++) {
        const size_t n = ql_batches_trained(&b, i);

        most = n > most ? n : most;
    }
    assert_int_equal(b.max_trained, most);
    ql_batches_free(&b);
    opt.packing = true;
    check_ok(ql_batches_init(&b, ds, &opt));
    assert_in_range(b.max_trained, most, b.max_tokens - 1);
    ql_batches_free(&b);
    ql_dataset_close(&ds);
}

static void batches__depend_on_the_seed(void **state)
{
    ql_dataset *ds = make_data();
    int32_t number[2][SAMPLES];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ql_batches b;

        check_ok(ql_batches_init(
            &b, ds,
            &(ql_batches_options){
                .size = 1, .packing = true, .shuffle = true, .seed = i}));
        read_epoch(&b, 0, number[i]);
        ql_batches_free(&b);
    }
    assert_memory_not_equal(number[0], number[1], sizeof(number[0]));
    ql_dataset_close(&ds);
}

/* Who shares a sequence with whom changes, not only the order of sequences. */
static void packs__of_an_epoch_have_other_members_than_the_last(void **state)
{
    ql_dataset *ds = make_data();
    size_t with[2][SAMPLES] = {{0}}; /* sum of the numbers in its pack */
    size_t moved = 0;
    ql_batches b;

    (void)state;
    check_ok(ql_batches_init(
        &b, ds,
        &(ql_batches_options){.size = 1, .packing = true, .shuffle = true}));
    assert_true(b.fill > 0.9 && b.fill <= 1);
    for (size_t e = 0; e < 2; e++) {
        ql_batches_begin(&b, e);
        for (size_t i = 0; i < b.n; i++) {
            size_t sum = 0;
            ql_batch batch;

            ql_batches_get(&b, i, &batch);
            assert_true(batch.T <= LONGEST);
            for (size_t j = 0; j < batch.sequences; j++) {
                sum += (size_t)batch.ids[batch.start[j]];
            }
            for (size_t j = 0; j < batch.sequences; j++) {
                with[e][batch.ids[batch.start[j]]] = sum;
            }
        }
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        moved += with[0][i] != with[1][i];
    }
    assert_true(moved > SAMPLES / 2);
    ql_batches_free(&b);
    ql_dataset_close(&ds);
}

static void batches__survive_want_of_memory(void **state)
{
    const ql_batches_options opt = {
        .size = 2, .packing = true, .shuffle = true};
    ql_dataset *ds = make_data();
    bool ok = false;
    long n = 0;
    ql_batches b;

    (void)state;
    for (; !ok; n++) {
        ok = check_lacking(n, ql_batches_init(&b, ds, &opt));
        assert_true(ok || !b.ids);
    }
    assert_true(n > 10);
    ql_batches_free(&b);
    ql_dataset_close(&ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches__have_every_sample_once_an_epoch),
        cmocka_unit_test(batches__without_shuffling_keep_the_order),
        cmocka_unit_test(batches__tell_how_many_are_trained_at_most),
        cmocka_unit_test(batches__depend_on_the_seed),
        cmocka_unit_test(packs__of_an_epoch_have_other_members_than_the_last),
        cmocka_unit_test(batches__survive_want_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
