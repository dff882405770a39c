#include "src/data/draft.h"

#include "src/base/fail.h"

void ql_sample_draft_init(ql_sample_draft *d)
{
    ql_buf_init(&d->ids, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&d->train, QL_TAG_DATA, SIZE_MAX / 4);
}

void ql_sample_draft_free(ql_sample_draft *d)
{
    ql_buf_free(&d->ids);
    ql_buf_free(&d->train);
}

void ql_sample_draft_clear(ql_sample_draft *d)
{
    ql_buf_clear(&d->ids);
    ql_buf_clear(&d->train);
}

size_t ql_sample_draft_size(const ql_sample_draft *d)
{
    return d->train.len;
}

ql_status ql_sample_draft_push(ql_sample_draft *d, const int32_t *ids, size_t n,
                               bool train)
{
    QL_TRY(ql_buf_append(&d->ids, ids, n * sizeof(*ids)));
    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_buf_putc(&d->train, train));
    }
    return QL_OK;
}

void ql_sample_draft_cut(ql_sample_draft *d, size_t n)
{
    if (n < ql_sample_draft_size(d)) {
        d->ids.len = n * sizeof(int32_t);
        d->train.len = n;
    }
}

size_t ql_sample_draft_trained(ql_sample_draft *d)
{
    size_t n = 0;

    if (d->train.len > 0) {
        d->train.data[0] = 0;
    }
    for (size_t i = 0; i < d->train.len; i++) {
        n += d->train.data[i] != 0;
    }
    return n;
}
