/* qlora-data: what qlora-train will see of data, and what is wrong with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qlora/qlora.h"
#include "tools/cli/common.h"
#include "tools/cli/exit.h"
#include "tools/cli/results.h"
#include "tools/cli/term.h"
#include "tools/data_options.h"
#include "tools/data_progress.h"
#include "tools/data_report.h"
#include "tools/sample_view.h"

/* What the command line says. */
typedef struct options {
    const char *model, *text;
    cli_list data, eval_data;
    ql_dataset_options d;
    size_t show;
    bool ids, from_stdin;
    bool refused; /* out: training would refuse the data */
} options;

/* The tokens of a text, one a line; with --json all in one. */
static ql_status show_tokens(const ql_tokenizer *tok, const char *text,
                             size_t len, bool json)
{
    int32_t *ids = NULL;
    size_t n = 0;
    const ql_status st = ql_tokenizer_encode(tok, text, len, true, &ids, &n);

    if (json && st == QL_OK) {
        fputs("{\"ids\": [", stdout);
        for (size_t i = 0; i < n; i++) {
            printf(i > 0 ? ", %d" : "%d", (int)ids[i]);
        }
        fputs("], \"tokens\": [", stdout);
    }
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        const char *token = ql_tokenizer_token(tok, ids[i]);

        if (json) {
            fputs(i > 0 ? ", " : "", stdout);
        } else {
            printf("%8d  ", (int)ids[i]);
        }
        cli_json_string(stdout, token ? token : "");
        fputs(json ? "" : "\n", stdout);
    }
    if (json && st == QL_OK) {
        puts("]}");
    }
    ql_free(ids);
    return st;
}

/* Each line of standard input by itself. */
static ql_status tokenize_stdin(const ql_tokenizer *tok, bool json)
{
    ql_status st = QL_OK;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    while (st == QL_OK && (n = getline(&line, &room, stdin)) >= 0) {
        n -= n > 0 && line[n - 1] == '\n';
        st = show_tokens(tok, line, (size_t)n, json);
        fflush(stdout);
    }
    free(line);
    return st;
}

/* One line a sample: where it is from, ids, and as labels those that are
 * trained, -100 elsewhere. */
static void write_ids(const ql_dataset *ds)
{
    for (size_t i = 0; i < ql_dataset_size(ds); i++) {
        const ql_origin origin = ql_dataset_origin(ds, i);
        const ql_sample s = ql_dataset_sample(ds, i);

        fputs("{\"file\": ", stdout);
        cli_json_string(stdout, origin.path);
        printf(", \"line\": %zu, \"input_ids\": [", origin.line);
        for (size_t t = 0; t < s.n; t++) {
            printf(t > 0 ? ", %d" : "%d", (int)s.ids[t]);
        }
        fputs("], \"labels\": [", stdout);
        for (size_t t = 0; t < s.n; t++) {
            printf(t > 0 ? ", %d" : "%d", s.train[t] ? (int)s.ids[t] : -100);
        }
        puts("]}");
    }
}

static ql_status show_samples(const ql_dataset *ds, const ql_tokenizer *tok,
                              size_t n)
{
    const bool coloured = sample_view_coloured(stdout);
    ql_status st = QL_OK;

    for (size_t i = 0; st == QL_OK && i < n && i < ql_dataset_size(ds); i++) {
        const ql_origin origin = ql_dataset_origin(ds, i);
        const ql_sample s = ql_dataset_sample(ds, i);

        printf("--- %s:%zu, %zu tokens; trained: %s\n", origin.path,
               origin.line, s.n, sample_view_mark(coloured, s));
        st = sample_view_print(stdout, coloured, tok, ds, s);
    }
    return st;
}

static ql_status open_data(const options *o, const cli_list *files,
                           const ql_tokenizer *tok, ql_train_on train_on,
                           ql_dataset **ds)
{
    ql_dataset_options d = o->d;

    d.train_on = train_on;
    return ql_dataset_open(ds, files->items, files->n, tok, &d);
}

/* The report; notes whether training would refuse the data. */
static ql_status report(options *o, const ql_dataset *ds,
                        const ql_dataset *eval, const ql_tokenizer *tok,
                        bool json)
{
    ql_findings_case c = {.data = ds, .eval = eval, .tok = tok};
    ql_dataset *whole = NULL;
    ql_finding *findings = NULL;
    size_t n = 0;
    ql_status st = QL_OK;

    for (size_t i = 0; i < ql_dataset_files(ds); i++) {
        data_report_file(ql_dataset_file_report(ds, i), json);
    }
    if (ql_dataset_files(ds) > 1) {
        data_report_file(ql_dataset_report_of(ds), json);
    }
    st = data_report_lengths(ds, json);
    if (st == QL_OK && o->d.train_on == QL_TRAIN_ON_LAST_TURN) {
        st = open_data(o, &o->data, tok, QL_TRAIN_ON_COMPLETIONS, &whole);
        c.whole = whole;
    }
    if (st == QL_OK) {
        st = ql_findings_of(&c, &findings, &n);
    }
    if (st == QL_OK && ql_dataset_report_of(ds)->records == 0 && !json) {
        puts("\nnothing to train on: there are no records");
    } else if (st == QL_OK) {
        data_report_findings(findings, n, json);
    }
    for (size_t i = 0; st == QL_OK && i < n; i++) {
        o->refused = o->refused || findings[i].stops;
    }
    o->refused = o->refused || ql_dataset_size(ds) == 0;
    ql_free(findings);
    ql_dataset_close(&whole);
    return st;
}

static ql_status look_at_data(options *o, const ql_tokenizer *tok, bool json)
{
    ql_dataset *ds = NULL;
    ql_dataset *eval = NULL;
    ql_status st = open_data(o, &o->data, tok, o->d.train_on, &ds);

    if (st == QL_OK && o->eval_data.n > 0) {
        st = open_data(o, &o->eval_data, tok, o->d.train_on, &eval);
    }
    cli_term_clear(o->d.user);
    if (st == QL_OK && o->ids) {
        write_ids(ds);
    } else if (st == QL_OK) {
        st = json ? QL_OK : show_samples(ds, tok, o->show);
        st = st == QL_OK ? report(o, ds, eval, tok, json) : st;
    }
    ql_dataset_close(&eval);
    ql_dataset_close(&ds);
    return st;
}

static ql_status run(options *o, const cli_common *common)
{
    ql_tokenizer *tok = NULL;
    cli_term term;
    ql_status st;

    cli_term_init(&term, stderr, common->quiet);
    cli_signals_catch();
    o->d.keep_going = true;
    o->d.progress = data_progress;
    o->d.user = &term;
    st = ql_tokenizer_open(&tok, o->model);
    if (st == QL_OK && o->text) {
        st = show_tokens(tok, o->text, strlen(o->text), common->json);
    }
    if (st == QL_OK && o->from_stdin) {
        st = tokenize_stdin(tok, common->json);
    }
    if (st == QL_OK && o->data.n > 0) {
        st = look_at_data(o, tok, common->json);
    }
    ql_tokenizer_close(&tok);
    return st;
}

int main(int argc, char **argv)
{
    options o = {.show = 1};
    cli_common common;
    const cli_opt opts[] = {
        {.name = "model",
         CLI_STRING(&o.model),
         .required = true,
         .aliases = "model-name-or-path",
         .value_name = "DIR",
         .group = "Files",
         .help = "Hugging Face folder, of which the tokenizer and the chat "
                 "template are read"},
        {.name = "data",
         CLI_FILES(&o.data),
         .aliases = "dataset",
         .value_name = "FILE...",
         .group = "Files",
         .default_text = "none",
         .help = "JSON lines, a JSON list, or plain text (.txt), "
                 "gzip-compressed or not"},
        {.name = "eval-data",
         CLI_FILES(&o.eval_data),
         .value_name = "FILE...",
         .group = "Files",
         .default_text = "none",
         .help = "evaluation data: are they in the training data too?"},

        DATA_OPTS(&o.d),

        {.name = "show",
         CLI_SIZE(&o.show),
         .value_name = "N",
         .group = "Output",
         .help = "show the text of the first N samples, with the trained part "
                 "marked"},
        {.name = "ids",
         CLI_FLAG(&o.ids),
         .group = "Output",
         .help = "write ids and labels of all samples as JSON lines instead "
                 "of the report"},
        {.name = "text",
         CLI_STRING(&o.text),
         .value_name = "STRING",
         .group = "Output",
         .default_text = "none",
         .help = "show the tokens of a text"},
        {.name = "stdin",
         CLI_FLAG(&o.from_stdin),
         .group = "Output",
         .help = "show the tokens of each line of standard input"},
        {0}};
    const cli_command cmd = {
        "qlora-data", "Shows what qlora-train will see of data.",
        "qlora-data --model ./Llama-3.2-1B --data chat.jsonl --show 3", opts,
        cli_common_opts(&common)};
    cli_args args;
    ql_status st;
    int code;

    ql_dataset_options_init(&o.d);
    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    if (o.data.n == 0 && !o.text && !o.from_stdin) {
        code =
            cli_fail(cmd.name, QL_EINVAL,
                     "nothing to show: give --data, --text or --stdin", NULL);
        cli_args_free(&args);
        return code;
    }
    st = run(&o, &common);
    code = cli_finish(&args, st, NULL);
    return st == QL_OK && o.refused && code == 0 ? CLI_EXIT_INPUT : code;
}
