/* The command line of qlora-train. */
#ifndef QL_TOOLS_TRAIN_OPTIONS_H
#define QL_TOOLS_TRAIN_OPTIONS_H

#include "qlora/qlora.h"
#include "tools/cli/opt.h"

enum {
    TRAIN_OPTIONS = 40
};

/* What it says, and the table that reads it. */
typedef struct train_options {
    const char *model, *output;
    cli_list data, eval_data, targets;
    size_t eval_split;
    ql_dataset_options d;
    ql_quant_options quant;
    ql_train_options t;
    cli_opt table[TRAIN_OPTIONS + 1];
} train_options;

/* Sets the defaults and fills the table. */
void train_options_init(train_options *o);

/* Turns --lora-target-modules into o->t.lora_target_modules. Errors:
 * QL_EINVAL, told to stderr. */
bool train_options_finish(train_options *o);

#endif
