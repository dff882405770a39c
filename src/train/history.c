#include "src/train/history.h"

#include <math.h>

void ql_history_init(ql_history *h)
{
    *h = (ql_history){0};
    ql_buf_init(&h->rows, QL_TAG_MISC,
                QL_HISTORY_ROWS * sizeof(ql_train_event));
}

void ql_history_free(ql_history *h)
{
    ql_buf_free(&h->rows);
    *h = (ql_history){0};
}

ql_status ql_history_reserve(ql_history *h, size_t n)
{
    const size_t bytes = n * sizeof(ql_train_event);

    return bytes > h->rows.len ? ql_buf_reserve(&h->rows, bytes - h->rows.len)
                               : QL_OK;
}

size_t ql_history_size(const ql_history *h)
{
    return h->rows.len / sizeof(ql_train_event);
}

const ql_train_event *ql_history_row(const ql_history *h, size_t i)
{
    return (const ql_train_event *)(const void *)h->rows.data + i;
}

static void add(ql_history_sum *to, const ql_history_sum *s)
{
    to->loss.sum += s->loss.sum;
    to->loss.count += s->loss.count;
    to->loss.hits += s->loss.hits;
    to->steps += s->steps;
    to->tokens += s->tokens;
    to->seconds += s->seconds;
}

void ql_history_step(ql_history *h, const ql_history_sum *step,
                     ql_train_event *e)
{
    const ql_history_sum *s = &h->last;

    add(&h->last, step);
    add(&h->all, step);
    e->loss = s->loss.sum / (double)s->loss.count;
    e->accuracy = (double)s->loss.hits / (double)s->loss.count;
    e->tokens_per_second = s->seconds > 0 ? (double)s->tokens / s->seconds : 0;
    e->tokens = h->all.tokens;
}

ql_status ql_history_add(ql_history *h, const ql_train_event *e)
{
    if (e->kind == QL_TRAIN_STEP) {
        h->last = (ql_history_sum){0};
    }
    return ql_buf_append(&h->rows, e, sizeof(*e));
}

void ql_history_drop(ql_history *h)
{
    h->rows.len -= sizeof(ql_train_event);
}

size_t ql_history_waited(const ql_history *h)
{
    double best = HUGE_VAL;
    size_t waited = 0;

    for (size_t i = 0; i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if (e->kind == QL_TRAIN_EVAL && e->step > 0 && !e->closing) {
            waited = e->eval_loss < best ? 0 : waited + 1;
            best = fmin(best, e->eval_loss);
        }
    }
    return waited;
}

const ql_train_event *ql_history_best(const ql_history *h)
{
    const ql_train_event *best = NULL;

    for (size_t i = 0; i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if (e->kind == QL_TRAIN_EVAL && e->step > 0 &&
            (!best || e->eval_loss < best->eval_loss)) {
            best = e;
        }
    }
    return best;
}
