#include "tools/byte_progress.h"

bool byte_progress_show(uint64_t done, uint64_t total, void *user)
{
    byte_progress *p = user;
    char a[CLI_TEXT_BYTES];
    char b[CLI_TEXT_BYTES];
    char line[128];

    snprintf(line, sizeof(line), "%s: %s of %s (%.0f %%)", p->verb,
             cli_format_bytes(a, done), cli_format_bytes(b, total),
             total > 0 ? 100 * (double)done / (double)total : 100.0);
    cli_term_live(&p->term, line);
    return !cli_interrupted();
}
