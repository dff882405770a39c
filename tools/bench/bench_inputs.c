#include "tools/bench/bench_inputs.h"

#include <unistd.h>

#include "src/base/fail.h"
#include "src/base/file.h"
#include "src/model/load_need.h"
#include "src/model/model_handle.h"

/* Whether the files of its weights are whole; no weight is read. */
static ql_status check_weights(const ql_config *c, const char *dir)
{
    ql_model_options how;
    ql_load_need need;
    ql_load load;

    ql_model_options_init(&how);
    load = ql_model_load(&how);
    return ql_load_needs(&need, c, dir, &load);
}

static ql_status check_tokenizer(const char *dir)
{
    ql_tokenizer *tok = NULL;
    const ql_status st = ql_tokenizer_open(&tok, dir);

    ql_tokenizer_close(&tok);
    return st;
}

static ql_status check_model(const char *dir)
{
    ql_config c = {0};
    ql_status st;

    QL_TRY(ql_dir_need(dir, "give a Hugging Face model folder"));
    QL_TRY_DONE(ql_config_init(&c, dir));
    if (c.quantized) {
        st = ql_fail(QL_EUNSUPPORTED,
                     "--real %s: the model is in 4 bits; give the original",
                     dir);
    } else {
        st = check_weights(&c, dir);
    }
done:
    ql_config_free(&c);
    return st;
}

static ql_status check_file(const char *path)
{
    return !path || access(path, R_OK) == 0
               ? QL_OK
               : ql_fail_errno("cannot read %s", path);
}

ql_status bench_inputs_check(const bench_options *o)
{
    for (size_t i = 0; i < o->real.n; i++) {
        QL_TRY(check_model(o->real.items[i]));
        QL_TRY(o->data ? check_tokenizer(o->real.items[i]) : QL_OK);
    }
    QL_TRY(check_file(o->data));
    return check_file(o->eval_data);
}
