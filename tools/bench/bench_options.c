#include "tools/bench/bench_options.h"

static bench_options o;

static const cli_opt table[] = {
    {.name = "what",
     CLI_STRING(&o.what),
     .positional = true,
     .required = true,
     .value_name = "WHAT",
     .help = "kernels: the 4-bit products beside the machine's peaks and "
             "OpenBLAS"},

    {.name = "shapes",
     CLI_LIST(&o.shapes),
     .value_name = "NAME,...",
     .group = "kernels",
     .help = "models whose matrices are multiplied: tiny, 220m, "
             "qwen2.5-0.5b, tinyllama, llama-7b"},
    {.name = "tokens",
     CLI_LIST(&o.tokens),
     .value_name = "N,...",
     .group = "kernels",
     .help = "numbers of tokens that are multiplied at a time"},
    {.name = "repeat",
     CLI_SIZE(&o.repeat),
     .min = 1,
     .max = 9,
     .value_name = "N",
     .group = "kernels",
     .help = "least samples of each; there are more where they are short"},
    {.name = "quick",
     CLI_FLAG(&o.quick),
     .group = "kernels",
     .help = "one short sample of each, and at most 128 tokens"},
    {.name = "busy",
     CLI_FLAG(&o.busy),
     .group = "kernels",
     .help = "measure all threads once more beside a foreign busy process"},
    {0}};

bench_options *bench_options_defaults(void)
{
    static const char *shapes[] = {"qwen2.5-0.5b", "tinyllama", "llama-7b"};
    static const char *tokens[] = {"1", "4", "32", "128", "512", "2048"};

    o = (bench_options){
        .shapes = {shapes, sizeof(shapes) / sizeof(shapes[0])},
        .tokens = {tokens, sizeof(tokens) / sizeof(tokens[0])},
        .repeat = 2,
        .table = table,
    };
    return &o;
}
