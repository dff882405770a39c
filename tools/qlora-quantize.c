/* qlora-quantize: a Hugging Face folder into bitsandbytes' 4-bit form. */
#include <stdio.h>
#include <stdlib.h>

#include "qlora/qlora.h"
#include "tools/byte_progress.h"
#include "tools/choices.h"
#include "tools/cli/common.h"

/* What the command line says. */
typedef struct options {
    const char *in, *out;
    cli_list skip;
    ql_quantize_options q;
} options;

static double bits(const ql_quantize_group *g)
{
    return g->elements > 0 ? 8 * (double)g->bytes_after / (double)g->elements
                           : 0;
}

static void print_text(const ql_quantize_report *r)
{
    char a[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];

    printf("%-25s %7s %11s %11s %6s %9s %9s\n", "group", "tensors", "before",
           "after", "bits", "rms err", "max err");
    for (size_t i = 0; i < r->n_groups; i++) {
        const ql_quantize_group *g = &r->groups[i];

        if (g->tensors > 0) {
            printf("%-25s %7zu %11s %11s %6.2f %9.5f %9.5f\n", g->name,
                   g->tensors, cli_format_bytes(a, g->bytes_before),
                   cli_format_bytes(b, g->bytes_after), bits(g), g->rms_error,
                   g->max_error);
        }
    }
    printf("%-25s %7s %11s %11s\n", "all", "",
           cli_format_bytes(a, r->bytes_before),
           cli_format_bytes(b, r->bytes_after));
    if (r->verified > 0) {
        printf("verified: %llu tensors read back equal\n",
               (unsigned long long)r->verified);
    }
}

static void print_json(const ql_quantize_report *r)
{
    for (size_t i = 0; i < r->n_groups; i++) {
        const ql_quantize_group *g = &r->groups[i];

        if (!g->name[0]) {
            continue;
        }
        printf("{\"group\": \"%s\", \"tensors\": %zu, \"elements\": %llu, "
               "\"bytes_before\": %llu, \"bytes_after\": %llu, "
               "\"bits_per_weight\": %.4f, \"rms_error\": %.9g, "
               "\"max_error\": %.9g}\n",
               g->name, g->tensors, (unsigned long long)g->elements,
               (unsigned long long)g->bytes_before,
               (unsigned long long)g->bytes_after, bits(g), g->rms_error,
               g->max_error);
    }
    printf("{\"group\": \"all\", \"bytes_before\": %llu, \"bytes_after\": "
           "%llu, \"shards\": %zu, \"verified\": %llu}\n",
           (unsigned long long)r->bytes_before,
           (unsigned long long)r->bytes_after, r->shards,
           (unsigned long long)r->verified);
}

static ql_status run(options *o, const cli_common *common)
{
    ql_quantize_report report;
    ql_memory_use mem;
    char peak[CLI_TEXT_BYTES];
    byte_progress progress = {.verb = "quantizing"};
    ql_status st;

    cli_term_init(&progress.term, stderr, common->quiet);
    cli_signals_catch();
    o->q.skip_modules = o->skip.items;
    o->q.n_skip_modules = o->skip.n;
    o->q.progress = byte_progress_show;
    o->q.user = &progress;
    st = ql_quantize_model(o->in, o->out, &o->q, &report);
    cli_term_clear(&progress.term);
    if (st != QL_OK) {
        return st;
    }
    (common->json ? print_json : print_text)(&report);
    ql_quantize_report_free(&report);
    ql_memory_read(&mem);
    if (!common->quiet) {
        fprintf(stderr, "%s%s; peak memory %s\n",
                o->q.dry_run ? "dry run: nothing written to " : "written: ",
                o->out, cli_format_bytes(peak, mem.peak));
    }
    return QL_OK;
}

int main(int argc, char **argv)
{
    options o = {0};
    cli_common common;
    const cli_opt opts[] = {
        {.name = "MODEL",
         CLI_STRING(&o.in),
         .positional = true,
         .required = true,
         .transient = true,
         .help = "Hugging Face folder: config.json and *.safetensors in F32, "
                 "BF16 or F16"},
        {.name = "OUT",
         CLI_STRING(&o.out),
         .positional = true,
         .required = true,
         .transient = true,
         .help = "new folder to write"},
        {.name = "quant-type",
         CLI_CHOICE(&o.q.quant.type, quant_choices),
         .group = "Quantization",
         .help = "4-bit data type"},
        {.name = "double-quant",
         CLI_FLAG(&o.q.quant.double_quant),
         .group = "Quantization",
         .help = "quantize the scales to 8 bits too"},
        {.name = "block-size",
         CLI_SIZE(&o.q.quant.block_size),
         .value_name = "N",
         .group = "Quantization",
         .help = "weights per scale: 32, 64, 128 ... 4096"},
        {.name = "skip-modules",
         CLI_LIST(&o.skip),
         .value_name = "A,B",
         .group = "Quantization",
         .default_text = "the head",
         .help = "modules to keep as they are, by the rule of transformers"},
        {.name = "max-shard-size",
         CLI_BYTES(&o.q.max_shard_bytes),
         .value_name = "BYTES",
         .min = 1,
         .max = CLI_NO_LIMIT,
         .group = "Output",
         .help = "largest file: 5GB is 5e9 bytes"},
        {.name = "dry-run",
         CLI_FLAG(&o.q.dry_run),
         .group = "Output",
         .help = "print the sizes, write nothing"},
        {.name = "verify",
         CLI_FLAG(&o.q.verify),
         .group = "Output",
         .help = "read the output back and compare every tensor"},
        {.name = "force",
         CLI_FLAG(&o.q.force),
         .group = "Output",
         .help = "replace OUT if it exists"},
        {0}};
    const cli_command cmd = {
        "qlora-quantize",
        "Quantizes a model to 4 bits, in the form that transformers loads.",
        "qlora-quantize ./Llama-3.2-1B ./Llama-3.2-1B-nf4", opts,
        cli_common_opts(&common)};
    cli_args args;
    int code;

    ql_quantize_options_init(&o.q);
    if (!cli_start(&args, &cmd, &common, argc, argv, &code)) {
        return code;
    }
    return cli_finish(&args, run(&o, &common), NULL);
}
