/* Text inside JSON results. */
#ifndef QL_CLI_RESULTS_H
#define QL_CLI_RESULTS_H

#include <stdio.h>

/* Writes text, UTF-8, as a JSON string with its quotes. */
void cli_json_string(FILE *out, const char *text);

#endif
