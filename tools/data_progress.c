#include "tools/data_progress.h"

bool data_progress(const ql_dataset_progress *p, void *user)
{
    char records[CLI_TEXT_BYTES];
    char tokens[CLI_TEXT_BYTES];
    char done[CLI_TEXT_BYTES];
    char all[CLI_TEXT_BYTES];
    char line[192];

    snprintf(line, sizeof(line), "reading: %s records, %s tokens, %s%s%s",
             cli_format_count(records, p->records),
             cli_format_count(tokens, p->tokens),
             cli_format_bytes(done, p->bytes), p->total > 0 ? " of " : "",
             p->total > 0 ? cli_format_bytes(all, p->total) : "");
    cli_term_live(user, line);
    return !cli_interrupted();
}
