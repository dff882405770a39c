/* What qlora-generate writes of a classifier. */
#ifndef QL_TOOLS_GENERATE_CLASSES_H
#define QL_TOOLS_GENERATE_CLASSES_H

#include "tools/generate_options.h"

/* All classes with how likely they are for the prompt, and the likeliest; for
 * programs in one line. Errors: QL_EINVAL without a prompt, those of
 * ql_classify. */
ql_status generate_classes(ql_model *m, const ql_tokenizer *tok,
                           const generate_options *o, bool json);

#endif
