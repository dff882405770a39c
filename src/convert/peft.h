/* An adapter as PEFT's folder: adapter_config.json and
 * adapter_model.safetensors, F32. Source: peft lora/config.py,
 * utils/save_and_load.py. */
#ifndef QL_CONVERT_PEFT_H
#define QL_CONVERT_PEFT_H

#include "qlora/model.h"
#include "src/convert/adapter_folder.h"
#include "src/model/adapter.h"

/* Writes the two files into an existing folder; of an adapter that has taken
 * something off its base, one for the base as it was, with twice the rank.
 * base: what base_model_name_or_path says. Errors: QL_EIO, QL_ENOSPACE,
 * QL_ENOMEM. */
ql_status ql_peft_save(const ql_adapter *a, const char *base, const char *dir);

/* Reads a folder of PEFT's or MLX's into an adapter for a model of config c,
 * without gradients. Errors: QL_ENOTFOUND, QL_EFORMAT; QL_EUNSUPPORTED for
 * what changes the meaning and cannot be held in memory, named; QL_EMISMATCH
 * when a tensor does not fit the model; QL_EIO, QL_ENOMEM. */
ql_status ql_peft_load(ql_adapter *a, const ql_config *c, const char *dir);

/* The same for a model that is open: what PEFT has saved of the base beside its
 * pairs must be the model's. */
ql_status ql_peft_load_onto(ql_adapter *a, const ql_model *model,
                            const char *dir);

/* Makes a folder one for a model of config c, whatever is to be made of it:
 * names that lack the first part of the model's, or have more, become those.
 * It must have a pair for each module that its settings ask for. Reading does
 * it, too. Errors: QL_EMISMATCH, QL_ENOMEM. */
ql_status ql_peft_fit(ql_adapter_folder *f, const ql_config *c);

/* A number as Python has it: the integer 16, not 16.0, where it is whole.
 * Owned: json_decref; NULL without memory. */
json_t *ql_peft_number(double x);

#endif
