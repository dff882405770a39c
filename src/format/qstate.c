#include "src/format/qstate.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"
#include "src/base/json.h"

enum {
    NAME_BYTES = 512,
    MAX_BLOCK = 1 << 20
};

static const struct {
    const char *name;
    ql_dtype dtype;
} dtypes[] = {{"float32", QL_DTYPE_F32},
              {"bfloat16", QL_DTYPE_BF16},
              {"float16", QL_DTYPE_F16}};

enum {
    DTYPES = sizeof(dtypes) / sizeof(dtypes[0])
};

static const char *dtype_name(ql_dtype dtype)
{
    for (size_t i = 0; i < DTYPES; i++) {
        if (dtypes[i].dtype == dtype) {
            return dtypes[i].name;
        }
    }
    return "float32";
}

ql_status ql_qstate_format(ql_buf *out, const ql_qstate *q)
{
    QL_TRY(ql_buf_printf(out,
                         "{\"quant_type\": \"%s\", \"blocksize\": %zu, "
                         "\"dtype\": \"%s\", \"shape\": [%zu, %zu]",
                         ql_codebook_names[q->book], q->block,
                         dtype_name(q->dtype), q->rows, q->cols));
    if (q->nested) {
        QL_TRY(ql_buf_printf(out,
                             ", \"nested_blocksize\": %zu, \"nested_dtype\": "
                             "\"float32\", \"nested_offset\": ",
                             q->nested_block));
        QL_TRY(ql_json_put_real(out, q->nested_offset));
    }
    return ql_buf_putc(out, '}');
}

static ql_status parse_names(ql_qstate *q, const json_t *o, const char *where)
{
    const char *type = NULL;
    const char *dtype = NULL;

    QL_TRY(ql_json_string(o, "quant_type", where, &type));
    QL_TRY(ql_json_string(o, "dtype", where, &dtype));
    if (!type || !dtype) {
        QL_FAIL(QL_EFORMAT,
                "%s: must be a JSON object with \"quant_type\" and \"dtype\"",
                where);
    }
    q->book = QL_CODEBOOK_COUNT;
    for (int i = 0; i < QL_CODEBOOK_COUNT; i++) {
        q->book = strcmp(ql_codebook_names[i], type) == 0 ? (ql_codebook_id)i
                                                          : q->book;
    }
    if (q->book == QL_CODEBOOK_COUNT) {
        QL_FAIL(QL_EUNSUPPORTED, "%s: quant_type \"%s\" is not supported",
                where, type);
    }
    for (size_t i = 0; i < DTYPES; i++) {
        if (strcmp(dtypes[i].name, dtype) == 0) {
            q->dtype = dtypes[i].dtype;
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED, "%s: dtype \"%s\" is not supported", where, dtype);
}

static ql_status parse_shape(ql_qstate *q, const json_t *o, const char *where)
{
    const json_t *shape = json_object_get(o, "shape");
    json_int_t n[2] = {0, 0};

    if (json_array_size(shape) == 2) {
        n[0] = json_integer_value(json_array_get(shape, 0));
        n[1] = json_integer_value(json_array_get(shape, 1));
    }
    if (n[0] <= 0 || n[1] <= 0) {
        QL_FAIL(QL_EFORMAT, "%s: \"shape\" must be two positive numbers",
                where);
    }
    q->rows = (size_t)n[0];
    q->cols = (size_t)n[1];
    return QL_OK;
}

static ql_status parse_nested(ql_qstate *q, const json_t *o, const char *where)
{
    const json_t *offset = json_object_get(o, "nested_offset");

    q->nested = offset != NULL;
    if (!q->nested) {
        return QL_OK;
    }
    q->nested_block = 256;
    QL_TRY(ql_json_size(o, "nested_blocksize", where, &q->nested_block));
    QL_TRY(ql_json_real(o, "nested_offset", where, &q->nested_offset));
    if (q->nested_block == 0 || !(fabs(q->nested_offset) <= (double)FLT_MAX)) {
        QL_FAIL(QL_EFORMAT, "%s: the nested fields are absurd", where);
    }
    return QL_OK;
}

ql_status ql_qstate_parse(ql_qstate *q, const char *text, size_t len,
                          const char *where)
{
    ql_status st;
    json_t *o = NULL;

    *q = (ql_qstate){0};
    QL_TRY(ql_json_parse(&o, text, len, where));
    QL_TRY_DONE(parse_names(q, o, where));
    QL_TRY_DONE(ql_json_size(o, "blocksize", where, &q->block));
    if (q->block < 2 || q->block % 2 != 0 || q->block > MAX_BLOCK) {
        st =
            ql_fail(QL_EFORMAT, "%s: blocksize %zu is absurd", where, q->block);
        goto done;
    }
    QL_TRY_DONE(parse_shape(q, o, where));
    st = parse_nested(q, o, where);
done:
    json_decref(o);
    return st;
}

const ql_tensor *ql_qstate_find(const ql_shards *s, const char *name)
{
    for (int i = 0; i < QL_CODEBOOK_COUNT; i++) {
        char full[NAME_BYTES];
        const ql_tensor *t;

        snprintf(full, sizeof(full), "%s.quant_state.bitsandbytes__%s", name,
                 ql_codebook_names[i]);
        t = ql_shards_find(s, full);
        if (t) {
            return t;
        }
    }
    return NULL;
}
