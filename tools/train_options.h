/* The command line of qlora-train. */
#ifndef QL_TOOLS_TRAIN_OPTIONS_H
#define QL_TOOLS_TRAIN_OPTIONS_H

#include "qlora/qlora.h"
#include "tools/cli/opt.h"

/* What it says, and the table that reads it. */
typedef struct train_options {
    const char *model, *output, *adapter;
    cli_list data, eval_data;
    cli_list targets, saves, layers, ranks, alphas; /* of the adapter */
    size_t eval_split;
    ql_dataset_options d;
    ql_quant_options quant;
    ql_train_options t;
    const cli_opt *table;
    ql_adapter_texts *texts; /* that lists in t point to, with --adapter */
} train_options;

/* The options of this process, set to their defaults. Borrowed. */
train_options *train_options_defaults(void);

/* Completes what was read: with --adapter, the settings of the adapter are
 * those of its folder, and what it was trained on is what it is trained on
 * further, unless the user says otherwise. Returns 0; or, after telling what is
 * wrong, an exit code: options exclude each other, the user gave other settings
 * than the folder has, or it cannot be read. */
int train_options_settle(cli_args *args, bool quiet);

/* Gives back what settling took; the options are done with. */
void train_options_close(void);

#endif
