#include "tools/data_options.h"

const cli_choice data_formats[] = {
    {"auto", QL_FORMAT_AUTO},
    {"messages", QL_FORMAT_MESSAGES},
    {"prompt_completion", QL_FORMAT_PROMPT_COMPLETION},
    {"alpaca", QL_FORMAT_ALPACA},
    {"sharegpt", QL_FORMAT_SHAREGPT},
    {"text", QL_FORMAT_TEXT},
    {0}};
const cli_choice data_truncations[] = {{"right", QL_TRUNCATION_RIGHT},
                                       {"drop", QL_TRUNCATION_DROP},
                                       {"error", QL_TRUNCATION_ERROR},
                                       {0}};
const cli_choice data_trained[] = {{"completions", QL_TRAIN_ON_COMPLETIONS},
                                   {"all", QL_TRAIN_ON_ALL},
                                   {"last_turn", QL_TRAIN_ON_LAST_TURN},
                                   {0}};
