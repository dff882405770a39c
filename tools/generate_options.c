#include "tools/generate_options.h"

#include "tools/cli/exit.h"
#include "tools/trained_base.h"

static generate_options o;

static const cli_opt table[] = {
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
     .help = "LoRA folder of PEFT or MLX to put on it"},
    {.name = "quantize",
     CLI_FLAG(&o.load.quantize),
     .group = "Model",
     .help = "quantize a model that is not in 4 bits while loading; with an "
             "adapter of qlora-train, what that was trained on is the default"},
    {.name = "prompt",
     CLI_STRING(&o.prompt),
     .value_name = "TEXT",
     .group = "What is asked (one of these)",
     .help = "text to continue"},
    {.name = "text-pair",
     CLI_STRING(&o.pair),
     .value_name = "TEXT",
     .group = "What is asked (one of these)",
     .default_text = "none",
     .help = "with a classifier of pairs, the text behind that of --prompt"},
    {.name = "messages",
     CLI_STRING(&o.messages),
     .value_name = "FILE",
     .group = "What is asked (one of these)",
     .help = "conversations to answer, as JSON or JSON lines; - for stdin"},
    {.name = "chat",
     CLI_FLAG(&o.chat),
     .group = "What is asked (one of these)",
     .help = "talk on the terminal; /help there tells more"},
    {.name = "system",
     CLI_STRING(&o.system),
     .aliases = "system-prompt",
     .value_name = "TEXT",
     .group = "Conversations",
     .help = "what the model is told first, with --chat"},
    {.name = "chat-template",
     CLI_STRING(&o.chat_template),
     .value_name = "TEMPLATE",
     .group = "Conversations",
     .help = "a Jinja template, its file, or the name of one of the model's",
     .default_text = "the adapter's, else the model's, else a plain form"},
    {.name = "date",
     CLI_STRING(&o.g.date),
     .value_name = "YYYY-MM-DD",
     .group = "Conversations",
     .help = "date that the chat template tells, where it tells one",
     .default_text = "today's"},
    {.name = "max-new-tokens",
     CLI_SIZE(&o.g.max_new_tokens),
     .min = 1,
     .max = CLI_NO_LIMIT,
     .value_name = "N",
     .group = "Text",
     .help = "most tokens to write; to an answer, with --chat"},
    {.name = "max-context",
     CLI_SIZE(&o.g.max_context),
     .aliases = "ctx-size num-ctx",
     .value_name = "N",
     .group = "Text",
     .help = "most tokens to keep in mind: of prompt and text",
     .default_text = "as many as the model was made for"},
    {.name = "stop",
     CLI_FILES(&o.stop),
     .value_name = "TEXT",
     .group = "Text",
     .help = "end before this text; may be given several times"},
    {.name = "temperature",
     CLI_REAL(&o.g.temperature),
     .value_name = "X",
     .min = 0,
     .max = 100,
     .group = "Sampling",
     .help = "0: always the most likely token"},
    {.name = "top-k",
     CLI_SIZE(&o.g.top_k),
     .value_name = "N",
     .group = "Sampling",
     .help = "draw from this many most likely tokens; 0: all"},
    {.name = "top-p",
     CLI_REAL(&o.g.top_p),
     .value_name = "X",
     .max = 1,
     .group = "Sampling",
     .help = "draw from the most likely tokens that make up this share"},
    {.name = "min-p",
     CLI_REAL(&o.g.min_p),
     .value_name = "X",
     .max = 1,
     .group = "Sampling",
     .help = "draw from tokens at least so likely, beside the most likely"},
    {.name = "repetition-penalty",
     CLI_REAL(&o.g.repetition_penalty),
     .aliases = "repeat-penalty",
     .value_name = "X",
     .max = 100,
     .group = "Sampling",
     .help = "above 1: tokens that are there already are less likely"},
    {0}};

generate_options *generate_options_defaults(void)
{
    o = (generate_options){.table = table};
    ql_model_options_init(&o.load);
    ql_generate_options_init(&o.g);
    return &o;
}

/* What the adapter was trained with: the weights, and, for conversations, the
 * form. */
static ql_status settle_adapter(const cli_args *args, bool quiet)
{
    const ql_status st = trained_base_take(&o.load, o.adapter, args, quiet);

    if (st != QL_OK || o.chat_template || o.prompt) {
        return st;
    }
    return ql_adapter_chat_template(&o.template, o.adapter, o.model);
}

int generate_options_settle(const cli_args *args, const cli_common *common)
{
    const char *name = args->command->name;
    const int asked = (o.prompt != NULL) + (o.messages != NULL) + o.chat;
    const char *wrong = NULL;
    ql_status st = QL_OK;

    if (asked != 1) {
        wrong = "give one of --prompt, --messages and --chat";
    } else if (o.chat && common->json) {
        wrong = "--json and --chat exclude each other; give --messages";
    } else if (o.system && !o.chat) {
        wrong = "--system goes with --chat; elsewhere the system is a message";
    } else if (o.pair && !o.prompt) {
        wrong = "--text-pair goes with --prompt";
    } else if ((o.chat_template || o.g.date) && o.prompt) {
        wrong = "--chat-template and --date are for conversations, and not for "
                "--prompt";
    } else if (!(o.g.repetition_penalty > 0)) {
        wrong = "--repetition-penalty: give a number above 0; 1 is none";
    }
    if (wrong) {
        return cli_fail(name, QL_EINVAL, wrong, NULL);
    }
    o.g.seed = common->seed;
    o.g.stop = o.stop.items;
    o.g.n_stop = o.stop.n;
    if (o.adapter) {
        st = settle_adapter(args, common->quiet);
    }
    o.g.chat_template = o.template ? o.template : o.chat_template;
    return st == QL_OK ? 0 : cli_fail(name, st, ql_last_error(), NULL);
}

void generate_options_close(void)
{
    ql_free(o.template);
}
