#include "src/convert/adapter_record.h"

#include <stdlib.h>
#include <string.h>

#include "qlora/model.h"
#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/base/lines.h"

enum {
    MAX_LINE = 1 << 20
};

/* The value of a line "key: value"; NULL for another line. */
static const char *value_of(const char *line, const char *key)
{
    const size_t n = strlen(key);

    if (strncmp(line, key, n) != 0 || line[n] != ':') {
        return NULL;
    }
    return line + n + 1 + strspn(line + n + 1, " \"'");
}

static void read_line(ql_adapter_record *r, const char *line)
{
    const char *type = value_of(line, "quant_type");
    const char *twice = value_of(line, "double_quant");
    const char *method = value_of(line, "method");

    r->found = r->found || type || method;
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

static ql_status read_file(ql_adapter_record *r, const char *path)
{
    ql_lines lines;
    bool more = true;
    ql_status st;

    if (!ql_path_exists(path)) {
        return QL_OK;
    }
    QL_TRY(ql_lines_init(&lines, path, MAX_LINE));
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

/* True for checkpoint-N, with what makes it one of ours, and for best. */
static bool is_below_run(const char *dir)
{
    char *mark = ql_path_join(dir, "checkpoint.json");
    char *whole = realpath(dir, NULL);
    const char *name = whole ? strrchr(whole, '/') : NULL;
    const bool below = name && (strcmp(name, "/best") == 0 ||
                                (strncmp(name, "/checkpoint-", 12) == 0 &&
                                 mark && ql_path_exists(mark)));

    free(whole);
    ql_free(mark);
    return below;
}

ql_status ql_adapter_record_read(ql_adapter_record *r, const char *adapter_dir,
                                 const ql_quant_options *quant)
{
    static const char *const names[] = {"run.yaml", "../run.yaml"};
    const size_t n = is_below_run(adapter_dir) ? 2 : 1;
    ql_status st = QL_OK;

    *r = (ql_adapter_record){.quant = *quant};
    for (size_t i = 0; st == QL_OK && !r->found && i < n; i++) {
        char *path = ql_path_join(adapter_dir, names[i]);

        st = path ? read_file(r, path) : QL_ENOMEM;
        ql_free(path);
    }
    return st;
}

ql_status ql_model_options_adapter(ql_model_options *opt, const char *dir)
{
    ql_adapter_record r;

    QL_TRY(ql_adapter_record_read(&r, dir, &opt->quant));
    if (r.found) {
        opt->quantize = !r.dense;
        opt->quant = r.quant;
    }
    return QL_OK;
}
