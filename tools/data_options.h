/* Options on data that several commands have: the same names, the same words
 * of help. */
#ifndef QL_TOOLS_DATA_OPTIONS_H
#define QL_TOOLS_DATA_OPTIONS_H

#include "qlora/dataset.h"
#include "tools/cli/opt.h"

extern const cli_choice data_formats[], data_truncations[], data_trained[];

/* Rows of a table that fill in *d, a ql_dataset_options. */
#define DATA_OPTS(d)                                                           \
    {.name = "format",                                                         \
     CLI_CHOICE(&(d)->format, data_formats),                                   \
     .group = "Data",                                                          \
     .help = "form of the records; auto: by the keys of the first ones"},      \
        {.name = "max-length",                                                 \
         CLI_SIZE(&(d)->max_length),                                           \
         .aliases = "max-seq-length cutoff-len",                               \
         .min = 2,                                                             \
         .max = 1 << 20,                                                       \
         .value_name = "N",                                                    \
         .group = "Data",                                                      \
         .help = "most tokens of a record, and of a sequence of packed ones"}, \
        {.name = "truncation",                                                 \
         CLI_CHOICE(&(d)->truncation, data_truncations),                       \
         .group = "Data",                                                      \
         .help = "what is done with longer records"},                          \
        {.name = "train-on",                                                   \
         CLI_CHOICE(&(d)->train_on, data_trained),                             \
         .aliases = "mask-prompt=completions",                                 \
         .group = "Data",                                                      \
         .help = "which tokens are learnt"},                                   \
        {.name = "chat-template",                                              \
         CLI_STRING(&(d)->chat_template),                                      \
         .value_name = "FILE",                                                 \
         .group = "Data",                                                      \
         .default_text = "the model's",                                        \
         .help = "chat template in place of the model's: a file, or the name " \
                 "of one of the model's"},                                     \
    {                                                                          \
        .name = "date", CLI_STRING(&(d)->date), .value_name = "YYYY-MM-DD",    \
        .group = "Data", .default_text = "today's",                            \
        .help = "date that the chat template tells, where it tells one; a "    \
                "run that goes on keeps the one it began with"                 \
    }

#endif
