/* Folders that have projections in one matrix where their architecture has them
 * apart, or apart where it has them in one; or a head for an embedding. */
#ifndef QL_MODEL_FUSION_H
#define QL_MODEL_FUSION_H

#include <stdbool.h>

#include "src/format/shards.h"
#include "src/model/config.h"

/* Opens the weights of dir with each projection where the architecture has it:
 * rows of one matrix are seen as tensors of their own, and matrices that are
 * rows of one as that (ql_shards_whole); a head that is the embedding, as that
 * where the folder has no other. 4-bit weights stay as they are.
 * Errors: those of ql_shards_open; QL_EFORMAT for rows that do not fit
 * config.json. */
ql_status ql_fusion_open(ql_shards **out, const char *dir, const ql_config *c);

/* The same of shards that are open. */
ql_status ql_fusion_apply(ql_shards *s, const ql_config *c);

/* Whether a part of a block, "mlp.up_proj.weight", is of such a projection. */
bool ql_fusion_has(const char *part);

#endif
