#include "src/train/metrics.h"

#include "src/base/fail.h"
#include "src/base/json.h"
#include "src/base/textfile.h"

static const char head[] = "step,train_loss,train_mean_token_accuracy,"
                           "valid_loss,valid_mean_token_accuracy,"
                           "learning_rate,grad_norm,tokens_per_second,"
                           "peak_rss_bytes\n";
/* Of a classifier, which has F1 behind the accuracy. */
static const char classes_head[] = "step,train_loss,train_accuracy,"
                                   "valid_loss,valid_accuracy,valid_f1,"
                                   "learning_rate,grad_norm,"
                                   "tokens_per_second,peak_rss_bytes\n";

/* n numbers, each after a comma; with a comma alone in place of NULL. */
static ql_status put_numbers(ql_buf *csv, const double *const *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        QL_TRY(ql_buf_putc(csv, ','));
        if (x[i]) {
            QL_TRY(ql_json_put_real(csv, *x[i]));
        }
    }
    return QL_OK;
}

static ql_status put_row(ql_buf *csv, const ql_train_event *e, bool classes)
{
    const bool step = e->kind == QL_TRAIN_STEP;
    const double *const x[] = {
        step ? &e->loss : NULL,
        step ? &e->accuracy : NULL,
        step ? NULL : &e->eval_loss,
        step ? NULL : &e->eval_accuracy,
    };
    const double *const f1 = step ? NULL : &e->eval_f1;
    const double *const y[] = {
        step ? &e->learning_rate : NULL,
        step ? &e->grad_norm : NULL,
        step ? &e->tokens_per_second : NULL,
    };

    QL_TRY(ql_buf_printf(csv, "%zu", e->step));
    QL_TRY(put_numbers(csv, x, sizeof(x) / sizeof(x[0])));
    QL_TRY(put_numbers(csv, &f1, classes));
    QL_TRY(put_numbers(csv, y, sizeof(y) / sizeof(y[0])));
    return ql_buf_printf(csv, ",%llu\n", (unsigned long long)e->memory.peak);
}

/* True if an evaluation in it is that of a classifier. */
static bool classifies(const ql_history *h)
{
    bool does = false;

    for (size_t i = 0; i < ql_history_size(h); i++) {
        does |= ql_history_row(h, i)->classifies;
    }
    return does;
}

ql_status ql_metrics_save(const ql_history *h, const char *path)
{
    const bool classes = classifies(h);
    ql_textfile csv;
    ql_status st;

    QL_TRY(ql_textfile_init(&csv, path));
    QL_TRY_DONE(ql_buf_puts(&csv.text, classes ? classes_head : head));
    for (size_t i = 0; i < ql_history_size(h); i++) {
        const ql_train_event *e = ql_history_row(h, i);

        if (e->kind != QL_TRAIN_DONE) {
            QL_TRY_DONE(put_row(&csv.text, e, classes));
            QL_TRY_DONE(ql_textfile_flush(&csv));
        }
    }
    st = ql_textfile_commit(&csv);
done:
    ql_textfile_free(&csv);
    return st;
}
