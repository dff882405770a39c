#include "src/data/draft.h"

#include "src/base/fail.h"

void ql_sample_draft_init(ql_sample_draft *d)
{
    ql_buf_init(&d->ids, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&d->train, QL_TAG_DATA, SIZE_MAX / 4);
    ql_buf_init(&d->ends, QL_TAG_DATA, SIZE_MAX / 4);
    d->bos_removed = d->changed = d->whole = 0;
    d->label = 0;
}

void ql_sample_draft_free(ql_sample_draft *d)
{
    ql_buf_free(&d->ids);
    ql_buf_free(&d->train);
    ql_buf_free(&d->ends);
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

ql_status ql_sample_draft_end(ql_sample_draft *d)
{
    return ql_buf_append(&d->ends, &d->train.len, sizeof(d->train.len));
}

size_t ql_sample_draft_count(const ql_sample_draft *d)
{
    return d->ends.len / sizeof(size_t);
}

ql_sample ql_sample_draft_get(const ql_sample_draft *d, size_t i)
{
    const size_t *ends = (const void *)d->ends.data;
    const int32_t *ids = (const void *)d->ids.data;
    const uint8_t *train = (const void *)d->train.data;
    const size_t start = i > 0 ? ends[i - 1] : 0;

    /* a record without tokens has no arrays to point into */
    return (ql_sample){.ids = start > 0 ? ids + start : ids,
                       .train = start > 0 ? train + start : train,
                       .n = ends[i] - start,
                       .label = d->label};
}

size_t ql_sample_trained(ql_sample s)
{
    size_t n = s.label > 0;

    for (size_t i = 0; s.label == 0 && i < s.n; i++) {
        n += s.train[i];
    }
    return n;
}
