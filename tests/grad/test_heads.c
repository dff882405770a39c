/* Heads beside each other and apart: both orders, there and back. */
#include "src/op/heads.h"

#include "tests/grad/grad.h"

/* The column of element d of head h of part 0 (q), 1 (k) or 2 (v). */
static size_t column(const ql_heads *s, int part, size_t h, size_t d)
{
    if (s->by_head) {
        return (h * 3 + (size_t)part) * s->D + d;
    }
    return (part == 0 ? h : s->H + (part == 2 ? s->KV : 0) + h) * s->D + d;
}

static void check_part(const ql_heads *s, int part, const float *got,
                       const float *x)
{
    const size_t heads = part == 0 ? s->H : s->KV;
    const size_t W = (s->H + 2 * s->KV) * s->D;

    for (size_t i = 0; i < s->T * heads * s->D; i++) {
        const size_t t = i / (heads * s->D);
        const size_t h = i / s->D % heads;

        assert_true(got[i] == x[t * W + column(s, part, h, i % s->D)]);
    }
}

static void check_shape(ql_heads s)
{
    const size_t q_size = s.T * s.H * s.D;
    const size_t k_size = s.T * s.KV * s.D;
    const size_t n = q_size + 2 * k_size;
    float *x = room_fill(n, 1);
    float *q = room_open(q_size);
    float *k = room_open(k_size);
    float *v = room_open(k_size);
    float *back = room_open(n);

    ql_heads_split(q, k, v, x, s);
    check_part(&s, 0, q, x);
    check_part(&s, 1, k, x);
    check_part(&s, 2, v, x);
    ql_heads_join(back, q, k, v, s);
    assert_memory_equal(back, x, n * sizeof *x);
    room_close(x, n);
    room_close(q, q_size);
    room_close(k, k_size);
    room_close(v, k_size);
    room_close(back, n);
}

static void heads__are_split_and_joined(void **state)
{
    (void)state;
    check_shape((ql_heads){1, 1, 1, 2, false});
    check_shape((ql_heads){3, 4, 2, 6, false});
    check_shape((ql_heads){130, 6, 2, 32, false});
    check_shape((ql_heads){1, 1, 1, 2, true});
    check_shape((ql_heads){7, 3, 3, 10, true});
    check_shape((ql_heads){130, 4, 4, 32, true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads__are_split_and_joined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
