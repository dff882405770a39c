/* qlora-train: LoRA adapters on a 4-bit base, or all weights. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tools/cli/exit.h"
#include "tools/data_progress.h"
#include "tools/train_screen.h"

/* Sets the date that chat templates are told: that which the run began with,
 * or this moment, for all data. */
static ql_status set_date(train_options *o, char **begun, char now[32])
{
    const time_t clock = time(NULL);
    struct tm local;
    ql_status st;

    *begun = NULL;
    if (o->d.date) {
        return QL_OK;
    }
    st = ql_train_date(o->output, &o->t, begun);
    if (*begun) {
        o->d.date = *begun;
    } else if (localtime_r(&clock, &local)) {
        strftime(now, 32, "%Y-%m-%d %H:%M:%S", &local);
        o->d.date = now;
    }
    return st;
}

static ql_status read_data(const train_options *o, const ql_tokenizer *tok,
                           ql_dataset **data, ql_dataset **eval)
{
    ql_status st = ql_dataset_open(data, o->data.items, o->data.n, tok, &o->d);

    if (st == QL_OK && o->eval_data.n > 0) {
        st = ql_dataset_open(eval, o->eval_data.items, o->eval_data.n, tok,
                             &o->d);
    } else if (st == QL_OK && o->eval_split > 0) {
        st = ql_dataset_split(*data, o->eval_split, eval);
    }
    return st;
}

/* Reads the data in the form that the adapter that the run goes on from was
 * trained in, unless the user names another. It is no setting of the run. */
static ql_status read_in_form(train_options *o, const ql_tokenizer *tok,
                              ql_dataset **data, ql_dataset **eval)
{
    const char *given = o->d.chat_template;
    char *form = NULL;
    ql_status st = QL_OK;

    if (o->adapter && !given) {
        st = ql_adapter_chat_template(&form, o->adapter, o->model);
        o->d.chat_template = form;
    }
    if (st == QL_OK) {
        st = read_data(o, tok, data, eval);
    }
    o->d.chat_template = given;
    ql_free(form);
    return st;
}

/* The date is a setting of the run only where a template told it. */
static ql_status open_data(train_options *o, const ql_tokenizer *tok,
                           ql_dataset **data, ql_dataset **eval)
{
    const char *given = o->d.date;
    const char *told = NULL;
    char *begun;
    char now[32];
    ql_status st = set_date(o, &begun, now);

    if (st == QL_OK) {
        st = read_in_form(o, tok, data, eval);
    }
    if (st == QL_OK) {
        told = ql_dataset_date(*data);
        told = told || !*eval ? told : ql_dataset_date(*eval);
    }
    o->d.date = given ? given : told;
    ql_free(begun);
    return st;
}

/* What becomes run.yaml. Owned: free; NULL without memory. */
static char *settings_text(const cli_args *args)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    if (f) {
        cli_args_write_settings(args, f);
        fclose(f);
    }
    return text;
}

/* What will be trained on what, and how. */
static ql_status show_start(const train_options *o, const ql_model *m,
                            const ql_dataset *data, const ql_dataset *eval)
{
    fputs(o->t.settings ? o->t.settings : "", stderr);
    train_screen_model(m);
    train_screen_data("data", data);
    if (eval) {
        train_screen_data("evaluation data", eval);
    }
    return train_screen_sample(o->t.tokenizer, data);
}

static ql_status run(train_options *o, const cli_common *common,
                     const cli_args *args)
{
    train_screen s = {.common = common};
    char *settings = NULL;
    ql_model_options mo;
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_dataset *data = NULL;
    ql_dataset *eval = NULL;
    ql_train_result result = {0};
    ql_status st;

    cli_term_init(&s.term, stderr, common->quiet);
    cli_signals_catch();
    ql_model_options_init(&mo);
    mo.quant = o->quant;
    mo.quantize = o->t.method == QL_METHOD_QLORA;
    st = ql_train_check(o->output, &o->t);
    if (st == QL_OK && !o->adapter) {
        st = ql_train_check_model(o->model, &o->t);
    }
    if (st == QL_OK) {
        st = ql_tokenizer_open(&tok, o->model);
    }
    if (st == QL_OK) {
        o->d.progress = data_progress;
        o->d.user = &s.term;
        st = open_data(o, tok, &data, &eval);
        cli_term_clear(&s.term);
    }
    if (st == QL_OK) {
        st = ql_train_check_loading(o->model, &mo, &o->t);
    }
    if (st == QL_OK) {
        st = ql_model_open(&m, o->model, &mo);
    }
    if (st == QL_OK) {
        o->t.tokenizer = tok;
        settings = settings_text(args);
        o->t.settings = settings;
        if (!common->quiet) {
            st = show_start(o, m, data, eval);
        }
    }
    if (st == QL_OK) {
        st = ql_train(m, data, eval, o->output, &o->t, train_screen_event, &s,
                      &result);
        cli_term_clear(&s.term);
    }
    if (st == QL_OK && o->t.dry_run) {
        train_screen_dry_run(common, &result);
    } else if (st == QL_OK) {
        train_screen_result(o, common, &result);
    } else {
        train_screen_refused(common, &result);
    }
    ql_dataset_close(&eval);
    ql_dataset_close(&data);
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
    free(settings);
    return st;
}

int main(int argc, char **argv)
{
    train_options *o = train_options_defaults();
    cli_common common;
    const cli_command cmd = {
        "qlora-train",
        "Trains a LoRA adapter on a 4-bit model, or all of a model.",
        "qlora-train --model DIR --data chat.jsonl --output adapter", o->table,
        cli_common_opts(&common)};
    cli_args args;
    int code;

    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    o->t.seed = common.seed;
    code = train_options_settle(&args, common.quiet);
    if (code == 0) {
        code = cli_finish(&args, run(o, &common, &args), NULL);
    } else {
        cli_args_free(&args);
    }
    train_options_close();
    return code;
}
