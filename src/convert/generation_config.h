/* generation_config.json, which tells transformers where texts end. */
#ifndef QL_CONVERT_GENERATION_CONFIG_H
#define QL_CONVERT_GENERATION_CONFIG_H

#include "qlora/status.h"

/* Adds to the end tokens of a model folder that by which its chat template
 * ends an answer, and writes the file, if it lacks one. Where there is no
 * template, or no tokenizer that we can read, nothing is done. Errors:
 * QL_EFORMAT, QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_generation_config_end(const char *dir);

#endif
