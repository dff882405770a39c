#include "tools/trained_base.h"

#include <stdio.h>

static void tell(const ql_model_options *load, const cli_args *args)
{
    fprintf(stderr, "%s: as the adapter was trained (run.yaml), ",
            args->command->name);
    if (!load->quantize) {
        fputs("a model that is not in 4 bits is not quantized\n", stderr);
    } else {
        fprintf(stderr,
                "a model that is not in 4 bits is quantized to %s, %s double "
                "quantization\n",
                load->quant.type == QL_QUANT_FP4 ? "fp4" : "nf4",
                load->quant.double_quant ? "with" : "without");
    }
}

static bool differ(const ql_model_options *a, const ql_model_options *b)
{
    return a->quantize != b->quantize ||
           (a->quantize && (a->quant.type != b->quant.type ||
                            a->quant.double_quant != b->quant.double_quant));
}

ql_status trained_base_take(ql_model_options *load, const char *adapter,
                            const cli_args *args, bool quiet)
{
    const ql_model_options given = *load;
    const ql_status st = ql_model_options_adapter(load, adapter);

    if (st != QL_OK) {
        return st;
    }
    if (cli_args_given(args, "quantize") || cli_args_given(args, "method")) {
        load->quantize = given.quantize;
    }
    if (cli_args_given(args, "quant-type")) {
        load->quant.type = given.quant.type;
    }
    if (cli_args_given(args, "double-quant")) {
        load->quant.double_quant = given.quant.double_quant;
    }
    if (!quiet && differ(load, &given)) {
        tell(load, args);
    }
    return QL_OK;
}
