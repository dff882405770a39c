/* Steps of a training, from the third on, take no memory: whatever the
 * optimizer, wherever its state and the activations are. */
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "tests/check/check.h"
#include "tests/check/toy_run.h"

enum {
    STEPS = 8
};

/* What the steps say: calls of the allocator so far, after each. */
typedef struct calls {
    uint64_t n[STEPS];
    size_t steps;
} calls;

static bool count(const ql_train_event *e, void *user)
{
    calls *c = user;

    if (e->kind == QL_TRAIN_STEP) {
        assert_true(c->steps < STEPS);
        c->n[c->steps++] = ql_alloc_calls();
    }
    return true;
}

static void check_steps(const toy_run *r, const ql_train_options *o,
                        const char *what)
{
    const char *out = check_tmp_path("steps");
    calls c = {0};

    check_ok(ql_dir_remove(out));
    check_ok(ql_train(r->m, r->data, NULL, out, o, count, &c, NULL));
    assert_int_equal(c.steps, STEPS);
    for (size_t i = 2; i < STEPS; i++) {
        if (c.n[i] != c.n[i - 1]) {
            fail_msg("%s: step %zu took memory %llu times", what, i + 1,
                     (unsigned long long)(c.n[i] - c.n[i - 1]));
        }
    }
}

/* With as little of the state in memory as can be; the refusal of less says
 * how much that is. */
static void check_paged(const toy_run *r, const ql_train_options *other,
                        ql_optim optim, const char *what)
{
    ql_train_options o = *other;
    unsigned long long least = 0;
    ql_train_result result;

    o.optim = optim;
    o.lora_r = 64;
    o.optimizer_memory = 1;
    check_fails(ql_train(r->m, r->data, NULL, check_tmp_path("least"), &o, NULL,
                         NULL, NULL),
                QL_EINVAL, "paging takes at least");
    sscanf(strstr(ql_last_error(), "least"), "least %llu", &least);
    o.optimizer_memory = least;
    o.dry_run = true;
    check_ok(ql_train(r->m, r->data, NULL, check_tmp_path("least"), &o, NULL,
                      NULL, &result));
    assert_true(result.plan.page_file > 0);
    o.dry_run = false;
    check_steps(r, &o, what);
}

static void steps__take_no_memory(void **state)
{
    static const struct {
        const char *name;
        ql_optim optim;
    } kinds[] = {
        {"adamw_32bit", QL_OPTIM_ADAMW_32BIT},
        {"paged_adamw_32bit", QL_OPTIM_PAGED_ADAMW_32BIT},
        {"adamw_8bit", QL_OPTIM_ADAMW_8BIT},
        {"paged_adamw_8bit", QL_OPTIM_PAGED_ADAMW_8BIT},
    };
    ql_train_options o;
    toy_run r;

    (void)state;
    toy_run_open(&r);
    toy_run_options(&o);
    o.max_steps = STEPS;
    o.eval_strategy = QL_STRATEGY_NO;
    o.save_strategy = QL_STRATEGY_NO;
    o.lora_dropout = 0.1;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        o.optim = kinds[i].optim;
        o.logging_steps = 1;
        check_steps(&r, &o, kinds[i].name);
    }
    check_paged(&r, &o, QL_OPTIM_PAGED_ADAMW_32BIT, "32 bits in a file");
    check_paged(&r, &o, QL_OPTIM_PAGED_ADAMW_8BIT, "8 bits in a file");
    o.gradient_checkpointing = QL_CHECKPOINTING_ON;
    o.activation_dtype = QL_ACTIVATION_BF16;
    check_steps(&r, &o, "inputs in 16 bits");
    o.use_dora = true;
    check_steps(&r, &o, "DoRA");
    toy_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps__take_no_memory),
    };

    check_ok(ql_runtime_open(&check_runtime));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
