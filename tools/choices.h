/* Values of options that several commands have: what is trained, and how
 * weights and moments are kept. */
#ifndef QL_TOOLS_CHOICES_H
#define QL_TOOLS_CHOICES_H

#include "tools/cli/opt.h"

/* ql_method, ql_weight_type, ql_optim and ql_quant_type. */
extern const cli_choice method_choices[], dtype_choices[], optim_choices[],
    quant_choices[];

#endif
