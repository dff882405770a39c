/* Any bytes as quant_state: read within the limits that its readers rely on,
 * or refused. What is read is written and read again the same. */
#include <math.h>
#include <string.h>

#include "src/format/qstate.h"
#include "tests/fuzz/fuzz.h"

static void read_again(const ql_qstate *q)
{
    ql_qstate back;
    ql_buf b;

    ql_buf_init(&b, QL_TAG_MISC, 4096);
    FUZZ_CHECK(ql_qstate_format(&b, q) == QL_OK);
    FUZZ_CHECK(ql_qstate_parse(&back, b.data, b.len, "again") == QL_OK);
    FUZZ_CHECK(back.book == q->book && back.dtype == q->dtype);
    FUZZ_CHECK(back.block == q->block && back.nested == q->nested);
    FUZZ_CHECK(back.rows == q->rows && back.cols == q->cols);
    FUZZ_CHECK(back.nested_block == q->nested_block);
    FUZZ_CHECK(memcmp(&back.nested_offset, &q->nested_offset, 8) == 0);
    ql_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ql_qstate q;

    if (ql_qstate_parse(&q, (const char *)data, size, "input") != QL_OK) {
        FUZZ_CHECK(strstr(ql_last_error(), "input: ") == ql_last_error());
        return 0;
    }
    FUZZ_CHECK(q.block >= 2 && q.block % 2 == 0);
    FUZZ_CHECK(q.rows > 0 && q.cols > 0);
    FUZZ_CHECK(!q.nested || q.nested_block > 0);
    FUZZ_CHECK(isfinite((float)q.nested_offset));
    read_again(&q);
    return 0;
}
