/* qlora-export: a model and an adapter for other programs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "qlora/qlora.h"
#include "tools/byte_progress.h"
#include "tools/choices.h"
#include "tools/cli/common.h"
#include "tools/cli/exit.h"
#include "tools/cli/results.h"

/* What is made. */
typedef enum form {
    FORM_MERGE,
    FORM_GGUF,
    FORM_GGUF_ADAPTER,
    FORM_OLLAMA
} form;

static const cli_choice forms[] = {{"merge", FORM_MERGE},
                                   {"gguf", FORM_GGUF},
                                   {"gguf-adapter", FORM_GGUF_ADAPTER},
                                   {"ollama", FORM_OLLAMA},
                                   {0}};

static const cli_choice types[] = {
    {"auto", QL_EXPORT_TYPE_AUTO}, {"f32", QL_EXPORT_TYPE_F32},
    {"f16", QL_EXPORT_TYPE_F16},   {"bf16", QL_EXPORT_TYPE_BF16},
    {"q8_0", QL_EXPORT_TYPE_Q8_0}, {0}};

static const cli_choice bases[] = {{"auto", QL_EXPORT_BASE_AUTO},
                                   {"original", QL_EXPORT_BASE_ORIGINAL},
                                   {"dequantized", QL_EXPORT_BASE_DEQUANTIZED},
                                   {0}};

/* What the command line says. */
typedef struct options {
    form form;
    const char *model, *adapter, *output;
    ql_export_options e;
} options;

static void print_difference(const options *o, const ql_export_difference *d)
{
    if (o->form == FORM_MERGE && d->tokens == 0) {
        puts("not compared with model and adapter");
    } else if (d->tokens > 0) {
        printf("against model and adapter, %zu tokens: logits differ by at "
               "most %.2g (rounding explains %.2g; they span %.3g), KL "
               "divergence %.2g nats a token, same most likely token at "
               "%.0f %%\n",
               d->tokens, d->logit, d->explained, d->range, d->kl,
               100 * d->agree);
    }
}

static const char *base_of(const ql_export_report *r)
{
    return r->dequantized ? "dequantized" : "original";
}

static void print_text(const options *o, const ql_export_report *r)
{
    char bytes[CLI_TEXT_BYTES];

    if (o->form != FORM_GGUF_ADAPTER) {
        printf("base: %s weights\n", base_of(r));
    }
    if (r->untied) {
        puts("head: it was the embedding matrix, and is a matrix of its own "
             "now");
    }
    printf("tensors: %zu, of them changed by the adapter: %zu; %s in %zu %s\n",
           r->tensors, r->merged, cli_format_bytes(bytes, r->bytes), r->files,
           r->files == 1 ? "file" : "files");
    print_difference(o, &r->difference);
}

/* Logits that are not finite have no number in JSON. */
static void print_number(const char *key, double v)
{
    if (isfinite(v)) {
        printf(", \"%s\": %.9g", key, v);
    } else {
        printf(", \"%s\": null", key);
    }
}

static void print_json(const options *o, const ql_export_report *r)
{
    const ql_export_difference *d = &r->difference;

    fputs("{\"output\": ", stdout);
    cli_json_string(stdout, o->output);
    if (o->form != FORM_GGUF_ADAPTER) {
        printf(", \"base\": \"%s\"", base_of(r));
    }
    printf(", \"untied\": %s, \"tensors\": %zu, \"merged\": %zu, \"bytes\": "
           "%llu, \"files\": %zu",
           r->untied ? "true" : "false", r->tensors, r->merged,
           (unsigned long long)r->bytes, r->files);
    if (o->form == FORM_MERGE) {
        printf(", \"compared\": %s", d->tokens > 0 ? "true" : "false");
    }
    if (d->tokens > 0) {
        printf(", \"compared_tokens\": %zu", d->tokens);
        print_number("max_logit_difference", d->logit);
        print_number("explained_difference", d->explained);
        print_number("logit_range", d->range);
        print_number("kl", d->kl);
        print_number("agreement", d->agree);
    }
    puts("}");
}

static ql_status write_form(const options *o, ql_export_report *r)
{
    switch (o->form) {
    case FORM_GGUF:
        return ql_export_gguf(o->model, o->adapter, o->output, &o->e, r);
    case FORM_GGUF_ADAPTER:
        return ql_export_gguf_adapter(o->model, o->adapter, o->output, &o->e,
                                      r);
    case FORM_OLLAMA:
        return ql_export_ollama(o->model, o->adapter, o->output, &o->e, r);
    default:
        return ql_export_merge(o->model, o->adapter, o->output, &o->e, r);
    }
}

static ql_status run(options *o, const cli_common *common)
{
    ql_export_report report;
    ql_memory_use mem;
    char peak[CLI_TEXT_BYTES];
    byte_progress progress = {.verb = "writing"};
    ql_status st;

    cli_term_init(&progress.term, stderr, common->quiet);
    cli_signals_catch();
    o->e.progress = byte_progress_show;
    o->e.user = &progress;
    st = write_form(o, &report);
    cli_term_clear(&progress.term);
    if (st != QL_OK && st != QL_ENUMERIC) {
        return st;
    }
    if (common->json) {
        print_json(o, &report);
    } else {
        print_text(o, &report);
    }
    ql_memory_read(&mem);
    if (!common->quiet) {
        fprintf(stderr, "written: %s; peak memory %s\n", o->output,
                cli_format_bytes(peak, mem.peak));
        if (o->form == FORM_OLLAMA) {
            fprintf(stderr, "next: ollama create NAME -f %s/Modelfile\n",
                    o->output);
        }
    }
    return st;
}

static options o;

static const cli_opt table[] = {
    {.name = "FORM",
     CLI_CHOICE(&o.form, forms),
     .positional = true,
     .required = true,
     .transient = true,
     .default_text = "",
     .help = "what to make"},
    {.name = "model",
     CLI_STRING(&o.model),
     .required = true,
     .aliases = "model-name-or-path",
     .value_name = "DIR",
     .group = "Input",
     .help = "Hugging Face folder, 4-bit or not"},
    {.name = "adapter",
     CLI_STRING(&o.adapter),
     .aliases = "adapter-path",
     .value_name = "DIR",
     .group = "Input",
     .default_text = "none",
     .help = "LoRA folder of PEFT's or MLX's form; only gguf can do without"},
    {.name = "base",
     CLI_CHOICE(&o.e.base, bases),
     .group = "Input",
     .help = "weights that the adapter is merged into"},
    {.name = "quant-type",
     CLI_CHOICE(&o.e.quant.type, quant_choices),
     .group = "Input",
     .help = "4-bit data type of a dequantized base that is not in 4 bits"},
    {.name = "double-quant",
     CLI_FLAG(&o.e.quant.double_quant),
     .group = "Input",
     .help = "its scales are quantized too"},
    {.name = "output",
     CLI_STRING(&o.output),
     .required = true,
     .value_name = "PATH",
     .group = "Output",
     .help = "new folder to write; of the gguf forms, a file"},
    {.name = "type",
     CLI_CHOICE(&o.e.type, types),
     .aliases = "dtype outtype",
     .group = "Output",
     .help = "type of the weights"},
    {.name = "max-shard-size",
     CLI_BYTES(&o.e.max_shard_bytes),
     .value_name = "BYTES",
     .min = 1,
     .max = CLI_NO_LIMIT,
     .group = "Output",
     .help = "largest file: 5GB is 5e9 bytes"},
    {.name = "compare",
     CLI_FLAG(&o.e.compare),
     .group = "Output",
     .help = "run model and adapter, and the result, on a sample"},
    {.name = "force",
     CLI_FLAG(&o.e.force),
     .group = "Output",
     .help = "replace the output if it exists"},
    {0}};

/* Options that not all forms have. */
static const struct {
    const char *name;
    unsigned forms; /* a bit for each */
    const char *say;
} some_forms[] = {
    {"base", ~(1U << FORM_GGUF_ADAPTER), "gguf-adapter writes no weights"},
    {"quant-type", ~(1U << FORM_GGUF_ADAPTER),
     "gguf-adapter writes no weights"},
    {"double-quant", ~(1U << FORM_GGUF_ADAPTER),
     "gguf-adapter writes no weights"},
    {"max-shard-size", 1U << FORM_MERGE, "only merge writes several files"},
    {"compare", 1U << FORM_MERGE, "only merge runs its result"},
};

/* What is missing for a form, and what it has not; else 0. */
static int check_form(const cli_args *args)
{
    const char *name = args->command->name;
    char text[160];

    if (!o.output[0]) {
        return cli_fail(name, QL_EINVAL, "--output is empty", NULL);
    }
    if (!o.adapter && o.form != FORM_GGUF) {
        return cli_fail(name, QL_EINVAL, "--adapter is missing", NULL);
    }
    for (size_t i = 0; i < sizeof(some_forms) / sizeof(some_forms[0]); i++) {
        if (!(some_forms[i].forms >> o.form & 1) &&
            cli_args_given(args, some_forms[i].name)) {
            snprintf(text, sizeof(text), "--%s has no meaning here: %s",
                     some_forms[i].name, some_forms[i].say);
            return cli_fail(name, QL_EINVAL, text, NULL);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    cli_common common;
    const cli_command cmd = {
        "qlora-export", "Writes a model and an adapter for other programs.",
        "qlora-export merge --model DIR --adapter DIR --output DIR", table,
        cli_common_opts(&common)};
    cli_args args;
    int code;

    ql_export_options_init(&o.e);
    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    code = check_form(&args);
    if (code != 0) {
        cli_args_free(&args);
        return code;
    }
    return cli_finish(&args, run(&o, &common), NULL);
}
