/* qlora-generate: text from a model, with or without an adapter. */
#include <stdio.h>

#include "qlora/qlora.h"
#include "tools/cli/common.h"
#include "tools/cli/results.h"
#include "tools/cli/term.h"

/* What the command line says. */
typedef struct options {
    const char *model, *adapter, *prompt;
    bool quantize;
    size_t max_new_tokens, top_k;
    double temperature, top_p;
} options;

/* Writes the prompt, once: then it is NULL. */
static void show_prompt(const char **prompt)
{
    if (*prompt) {
        fputs(*prompt, stdout);
    }
    *prompt = NULL;
}

/* Text appears as it is made; Ctrl-C stops. */
static bool show(const char *piece, size_t len, void *user)
{
    show_prompt(user);
    fwrite(piece, 1, len, stdout);
    return fflush(stdout) == 0 && !cli_interrupted();
}

/* The prompt and its continuation, as they come. */
static ql_status stream(ql_model *m, const ql_tokenizer *tok, const options *o,
                        const ql_generate_options *g)
{
    const char *prompt = o->prompt;
    const ql_status st = ql_generate(m, tok, o->prompt, g, show, &prompt, NULL);

    if (st == QL_OK || !prompt) {
        show_prompt(&prompt);
        putchar('\n');
    }
    return st;
}

static bool wait(const char *piece, size_t len, void *user)
{
    (void)piece;
    (void)len;
    (void)user;
    return !cli_interrupted();
}

/* One line for programs. */
static ql_status write_json(ql_model *m, const ql_tokenizer *tok,
                            const options *o, const ql_generate_options *g)
{
    char *text = NULL;
    const ql_status st = ql_generate(m, tok, o->prompt, g, wait, NULL, &text);

    if (st == QL_OK) {
        fputs("{\"prompt\": ", stdout);
        cli_json_string(stdout, o->prompt);
        fputs(", \"text\": ", stdout);
        cli_json_string(stdout, text);
        puts("}");
    }
    ql_free(text);
    return st;
}

static ql_status run(const options *o, const cli_common *common)
{
    const ql_generate_options g = {.max_new_tokens = o->max_new_tokens,
                                   .temperature = o->temperature,
                                   .top_p = o->top_p,
                                   .top_k = o->top_k,
                                   .seed = common->seed};
    ql_model_options load;
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_status st;

    cli_signals_catch();
    ql_model_options_init(&load);
    load.quantize = o->quantize;
    st = ql_tokenizer_open(&tok, o->model);
    if (st == QL_OK) {
        st = ql_model_open(&m, o->model, &load);
    }
    if (st == QL_OK && o->adapter) {
        st = ql_model_load_adapter(m, o->adapter);
    }
    if (st == QL_OK) {
        st = common->json ? write_json(m, tok, o, &g) : stream(m, tok, o, &g);
    }
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
    return st;
}

int main(int argc, char **argv)
{
    ql_generate_options g;
    options o = {.quantize = true};
    cli_common common;
    const cli_opt opts[] = {
        {.name = "model",
         CLI_STRING(&o.model),
         .required = true,
         .aliases = "model-name-or-path",
         .value_name = "DIR",
         .group = "Model",
         .help = "Hugging Face folder, 4-bit or not"},
        {.name = "adapter",
         CLI_STRING(&o.adapter),
         .aliases = "adapter-path",
         .value_name = "DIR",
         .group = "Model",
         .help = "PEFT LoRA folder to put on it"},
        {.name = "quantize",
         CLI_FLAG(&o.quantize),
         .group = "Model",
         .help = "quantize a model that is not in 4 bits while loading"},
        {.name = "prompt",
         CLI_STRING(&o.prompt),
         .required = true,
         .value_name = "TEXT",
         .group = "Text",
         .help = "text to continue"},
        {.name = "max-new-tokens",
         CLI_SIZE(&o.max_new_tokens),
         .min = 1,
         .max = CLI_NO_LIMIT,
         .value_name = "N",
         .group = "Text",
         .help = "most tokens to write"},
        {.name = "temperature",
         CLI_REAL(&o.temperature),
         .value_name = "X",
         .min = 0,
         .max = 100,
         .group = "Sampling",
         .help = "0: always the most likely token"},
        {.name = "top-p",
         CLI_REAL(&o.top_p),
         .value_name = "X",
         .max = 1,
         .group = "Sampling",
         .help = "draw from the most likely tokens that make up this share"},
        {.name = "top-k",
         CLI_SIZE(&o.top_k),
         .value_name = "N",
         .group = "Sampling",
         .help = "draw from this many most likely tokens; 0: all"},
        {0}};
    const cli_command cmd = {
        "qlora-generate", "Continues a text with a model and an adapter.",
        "qlora-generate --model DIR --adapter DIR --prompt \"Once upon\"", opts,
        cli_common_opts(&common)};
    cli_args args;
    int code;

    ql_generate_options_init(&g);
    o.max_new_tokens = g.max_new_tokens;
    o.temperature = g.temperature;
    o.top_p = g.top_p;
    o.top_k = g.top_k;
    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    return cli_finish(&args, run(&o, &common), NULL);
}
