/* qlora-generate: text from a model, with or without an adapter. */
#include "tools/generate_chat.h"
#include "tools/generate_classes.h"
#include "tools/generate_messages.h"
#include "tools/generate_options.h"
#include "tools/generate_show.h"

#include "tools/cli/exit.h"
#include "tools/cli/results.h"
#include "tools/cli/term.h"

/* The prompt and its continuation, as they come; or one line for programs. */
static ql_status continue_prompt(ql_generator *g, const generate_options *o,
                                 const cli_common *common)
{
    generate_show show = {.plan = common->quiet ? NULL : g,
                          .before = o->prompt,
                          .silent = common->json};
    ql_generated r;
    const ql_status st =
        ql_generator_continue(g, o->prompt, generate_show_piece, &show, &r);

    if (st == QL_OK && common->json) {
        fputs("{\"prompt\": ", stdout);
        cli_json_string(stdout, o->prompt);
        fputs(", \"text\": ", stdout);
        cli_json_string(stdout, r.text);
        generate_show_json(&r);
    } else if (st == QL_OK || !show.before) {
        fputs(st == QL_OK && show.before ? show.before : "", stdout);
        putchar('\n');
        fflush(stdout);
    }
    if (st == QL_OK && !common->quiet) {
        generate_show_speed(&r);
    }
    ql_free(r.text);
    return st;
}

/* Says in what form conversations are written, where that is not the model's
 * own. */
static ql_status open_chat(ql_generator *g, const cli_common *common)
{
    bool has;
    const ql_status st = ql_generator_open_chat(g, &has);

    if (st == QL_OK && !has && !common->quiet) {
        fputs("qlora-generate: the model has no chat template; conversations "
              "are written in the default form\n",
              stderr);
    }
    return st;
}

static ql_status write_all(ql_generator *g, const generate_options *o,
                           const cli_common *common, size_t *unanswered)
{
    ql_status st = o->prompt ? QL_OK : open_chat(g, common);

    if (st != QL_OK) {
        return st;
    }
    if (o->chat) {
        return generate_chat(g, o, common->quiet);
    }
    return o->prompt ? continue_prompt(g, o, common)
                     : generate_messages(g, o, common, unanswered);
}

static ql_status write_text(ql_model *m, const ql_tokenizer *tok,
                            const generate_options *o, const cli_common *common,
                            size_t *unanswered)
{
    ql_generator *g = NULL;
    ql_status st = ql_generator_open(&g, m, tok, &o->g);

    if (st == QL_OK) {
        st = write_all(g, o, common, unanswered);
    }
    ql_generator_close(&g);
    return st;
}

/* *unanswered: conversations that could not be answered. */
static ql_status run(const generate_options *o, const cli_common *common,
                     size_t *unanswered)
{
    ql_model *m = NULL;
    ql_tokenizer *tok = NULL;
    ql_model_info info;
    ql_status st;

    cli_signals_catch();
    st = ql_tokenizer_open(&tok, o->model);
    if (st == QL_OK) {
        st = ql_model_open(&m, o->model, &o->load);
    }
    if (st == QL_OK && o->adapter) {
        st = ql_model_load_adapter(m, o->adapter);
    }
    if (st == QL_OK && o->adapter && !common->quiet) {
        generate_show_adapter(m);
    }
    if (st == QL_OK) {
        ql_model_info_read(m, &info);
        st = o->prompt && (info.classes > 0 || o->pair)
                 ? generate_classes(m, tok, o, common->json)
                 : write_text(m, tok, o, common, unanswered);
    }
    ql_tokenizer_close(&tok);
    ql_model_close(&m);
    return st;
}

int main(int argc, char **argv)
{
    generate_options *o = generate_options_defaults();
    cli_common common;
    const cli_command cmd = {
        "qlora-generate",
        "Continues a text, or a conversation, with a model and an adapter.",
        "qlora-generate --model DIR --adapter DIR --prompt \"Once upon\"",
        o->table, cli_common_opts(&common)};
    size_t unanswered = 0;
    cli_args args;
    int code;

    cli_common_exact(&common);
    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    code = generate_options_settle(&args, &common);
    if (code == 0) {
        code = cli_finish(&args, run(o, &common, &unanswered), NULL);
    } else {
        cli_args_free(&args);
    }
    generate_options_close();
    return code == CLI_EXIT_OK && unanswered > 0 ? CLI_EXIT_INPUT : code;
}
