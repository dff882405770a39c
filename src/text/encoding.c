#include "src/text/encoding.h"

#include "src/base/fail.h"

void ql_encoding_init(ql_encoding *e, ql_tag tag, bool track)
{
    e->track = track;
    ql_buf_init(&e->ids, tag, SIZE_MAX / 4);
    ql_buf_init(&e->starts, tag, SIZE_MAX / 4);
}

void ql_encoding_free(ql_encoding *e)
{
    ql_buf_free(&e->ids);
    ql_buf_free(&e->starts);
}

ql_status ql_encoding_push(ql_encoding *e, int32_t id, size_t start)
{
    if (e->track) {
        QL_TRY(ql_buf_append(&e->starts, &start, sizeof(start)));
    }
    return ql_buf_append(&e->ids, &id, sizeof(id));
}

void ql_encoding_cut(ql_encoding *e, size_t n)
{
    e->ids.len = n * sizeof(int32_t);
    e->starts.len = e->track ? n * sizeof(size_t) : 0;
}

size_t ql_encoding_size(const ql_encoding *e)
{
    return e->ids.len / sizeof(int32_t);
}

const int32_t *ql_encoding_ids(const ql_encoding *e)
{
    return (const void *)e->ids.data;
}

const size_t *ql_encoding_starts(const ql_encoding *e)
{
    return (const void *)e->starts.data;
}

size_t ql_encoding_first(const ql_encoding *e, size_t at)
{
    const size_t *starts = ql_encoding_starts(e);
    size_t i = 0;

    while (i < ql_encoding_size(e) && starts[i] < at) {
        i++;
    }
    return i;
}
