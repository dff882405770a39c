#include "src/convert/export_base.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/lines.h"
#include "src/base/note.h"

enum {
    MAX_LINE = 1 << 20
};

/* What run.yaml tells of a training. */
typedef struct record {
    bool found;
    bool dense; /* its method leaves the weights as they are */
    ql_quant_options quant;
} record;

/* The value of a line "key: value"; NULL for another line. */
static const char *value_of(const char *line, const char *key)
{
    const size_t n = strlen(key);

    if (strncmp(line, key, n) != 0 || line[n] != ':') {
        return NULL;
    }
    return line + n + 1 + strspn(line + n + 1, " \"'");
}

static void read_line(record *r, const char *line)
{
    const char *type = value_of(line, "quant_type");
    const char *twice = value_of(line, "double_quant");
    const char *method = value_of(line, "method");

    if (type) {
        r->quant.type =
            strncmp(type, "fp4", 3) == 0 ? QL_QUANT_FP4 : QL_QUANT_NF4;
    }
    if (twice) {
        r->quant.double_quant = strncmp(twice, "true", 4) == 0;
    }
    if (method) {
        r->dense = strncmp(method, "qlora", 5) != 0;
    }
}

static ql_status read_record(record *r, const char *path)
{
    ql_lines lines;
    bool more = true;
    ql_status st;

    if (!ql_path_exists(path)) {
        return QL_OK;
    }
    QL_TRY(ql_lines_init(&lines, path, MAX_LINE));
    r->found = true;
    for (;;) {
        st = ql_lines_next(&lines, &more);
        if (st != QL_OK || !more) {
            break;
        }
        read_line(r, lines.line.data);
    }
    ql_lines_free(&lines);
    return st;
}

static ql_status find_record(record *r, const char *adapter_dir)
{
    static const char *const names[] = {"run.yaml", "../run.yaml"};
    ql_status st = QL_OK;

    for (size_t i = 0; st == QL_OK && !r->found && i < 2; i++) {
        char *path = ql_path_join(adapter_dir, names[i]);

        st = path ? read_record(r, path) : QL_ENOMEM;
        ql_free(path);
    }
    return st;
}

ql_status ql_export_base_find(ql_merged_base *base, const char *adapter_dir,
                              const ql_export_options *opt)
{
    record r = {.quant = opt->quant};

    QL_TRY(ql_quant_options_check(&opt->quant));
    if (adapter_dir) {
        QL_TRY(find_record(&r, adapter_dir));
    }
    base->quant = r.quant;
    base->requantize = opt->base == QL_EXPORT_BASE_AUTO
                           ? r.found && !r.dense
                           : opt->base == QL_EXPORT_BASE_DEQUANTIZED;
    return QL_OK;
}

ql_status ql_export_base_tell(const ql_config *c, const char *model_dir,
                              const char *adapter_dir)
{
    record r = {0};

    ql_quant_options_init(&r.quant);
    QL_TRY(find_record(&r, adapter_dir));
    if (r.found && !r.dense && !c->quantized) {
        ql_note("the adapter was trained on weights in 4 bits; the model "
                "beside it: qlora-export gguf --model %s --base dequantized"
                "%s%s --output FILE",
                model_dir,
                r.quant.type == QL_QUANT_FP4 ? " --quant-type fp4" : "",
                r.quant.double_quant ? "" : " --no-double-quant");
    }
    return QL_OK;
}

ql_status ql_export_base_check(const ql_merged *m, const char *model_dir,
                               const ql_export_options *opt)
{
    if (m->packed && opt->base == QL_EXPORT_BASE_ORIGINAL) {
        QL_FAIL(QL_EINVAL,
                "%s is in 4 bits: its original weights are not there; name the "
                "original model, or merge into the dequantized weights",
                model_dir);
    }
    return QL_OK;
}
