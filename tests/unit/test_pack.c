/* Packs of samples: each sample is in one, none is longer than the room, few
 * are needed, and the order is kept where it has to be. */
#include <stdio.h>
#include <stdlib.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/data/pack.h"
#include "tests/check/check.h"

static int falling(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a;
    const size_t y = *(const size_t *)b;

    return (x < y) - (x > y);
}

/* n falling lengths from low to high. Owned: free. */
static size_t *lengths(size_t n, size_t low, size_t high, uint64_t salt)
{
    const uint64_t key = ql_rng_split(check_seed(), salt);
    size_t *length = malloc(n * sizeof(*length));

    assert_non_null(length);
    for (size_t i = 0; i < n; i++) {
        length[i] = low + ql_rng_below(key, i, high - low + 1);
    }
    qsort(length, n, sizeof(*length), falling);
    return length;
}

/* Fails unless each sample is in one pack, and none is empty or longer than
 * room, unless it is one sample. */
static void check_packs(const ql_packs *p, const size_t *length, size_t n,
                        size_t room)
{
    unsigned char *seen = calloc(n, 1);

    assert_non_null(seen);
    assert_int_equal(p->first[0], 0);
    assert_int_equal(p->first[p->n], n);
    for (size_t i = 0; i < p->n; i++) {
        size_t sum = 0;

        assert_true(p->first[i] < p->first[i + 1]);
        for (size_t j = p->first[i]; j < p->first[i + 1]; j++) {
            assert_true(p->member[j] < n);
            assert_int_equal(seen[p->member[j]]++, 0);
            sum += length[p->member[j]];
        }
        assert_true(sum <= room || p->first[i] + 1 == p->first[i + 1]);
    }
    free(seen);
}

/* Packs of n lengths from low to high, and the fewest that there can be. */
static size_t fill(size_t n, size_t low, size_t high, size_t room,
                   size_t *fewest)
{
    size_t *length = lengths(n, low, high, n + high);
    size_t tokens = 0;
    size_t packs;
    ql_packs p;

    for (size_t i = 0; i < n; i++) {
        tokens += length[i];
    }
    *fewest = (tokens + room - 1) / room;
    check_ok(ql_packs_fill(&p, length, n, room));
    check_packs(&p, length, n, room);
    packs = p.n;
    ql_packs_free(&p);
    free(length);
    return packs;
}

static void packs__are_sound_for_lengths_of_every_kind(void **state)
{
    size_t fewest;

    (void)state;
    for (size_t n = 1; n < 40; n++) {
        for (size_t room = 1; room < 70; room += 1 + room / 4) {
            fill(n, 1, room, room, &fewest);
            fill(n, room, room, room, &fewest);
            fill(n, (room + 1) / 2, room, room, &fewest);
            fill(n, 1, (room + 2) / 3, room, &fewest);
        }
    }
}

/* Lengths as files of records have them, narrow and wide. */
static void packs__are_nearly_as_few_as_there_can_be(void **state)
{
    static const struct {
        size_t n, low, high, room;
    } kinds[] = {
        {1000, 1, 1024, 1024},  {3000, 100, 200, 1024}, {1000, 10, 400, 1024},
        {5000, 120, 160, 1024}, {900, 300, 600, 2048},  {10000, 2, 60, 1024},
        {2000, 1, 500, 512},    {300, 1, 9000, 32768},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t fewest;
        const size_t packs = fill(kinds[i].n, kinds[i].low, kinds[i].high,
                                  kinds[i].room, &fewest);

        printf("%zu lengths from %zu to %zu: %zu packs, fewest %zu\n",
               kinds[i].n, kinds[i].low, kinds[i].high, packs, fewest);
        assert_true((double)packs <= 1.035 * (double)fewest);
    }
}

/* Best fit puts 5 and 4 together and needs three. */
static void packs__are_fewer_than_those_of_best_fit(void **state)
{
    static const size_t length[] = {5, 4, 4, 3, 2, 2};
    ql_packs p;

    (void)state;
    check_ok(ql_packs_fill(&p, length, 6, 10));
    check_packs(&p, length, 6, 10);
    assert_int_equal(p.n, 2);
    ql_packs_free(&p);
}

static void packs__in_order_keep_it(void **state)
{
    static const size_t length[] = {3, 4, 3, 1, 9, 12, 1, 2};
    static const size_t first[] = {0, 3, 5, 6, 8};
    ql_packs p;

    (void)state;
    check_ok(ql_packs_in_order(&p, length, 8, 10));
    check_packs(&p, length, 8, 10);
    assert_int_equal(p.n, 4);
    assert_memory_equal(p.first, first, sizeof(first));
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(p.member[i], i);
    }
    ql_packs_free(&p);
    check_ok(ql_packs_in_order(&p, length, 8, 0));
    assert_int_equal(p.n, 8);
    check_packs(&p, length, 8, 0);
    ql_packs_free(&p);
}

static void packs__survive_want_of_memory(void **state)
{
    static const size_t length[] = {3, 2, 1};
    ql_packs p;

    (void)state;
    for (long i = 0; i < 4; i++) {
        ql_alloc_fail_after(i);
        assert_int_equal(ql_packs_fill(&p, length, 3, 5), QL_ENOMEM);
        if (i < 2) {
            ql_alloc_fail_after(i);
            assert_int_equal(ql_packs_in_order(&p, length, 3, 5), QL_ENOMEM);
        }
        assert_null(p.first);
    }
    ql_alloc_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs__are_sound_for_lengths_of_every_kind),
        cmocka_unit_test(packs__are_nearly_as_few_as_there_can_be),
        cmocka_unit_test(packs__are_fewer_than_those_of_best_fit),
        cmocka_unit_test(packs__in_order_keep_it),
        cmocka_unit_test(packs__survive_want_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
