/* Tensors that tell that a folder holds another model than its config.json
 * says: one of a form that is not supported. */
#ifndef QL_MODEL_STRANGE_H
#define QL_MODEL_STRANGE_H

#include <stdbool.h>

#include "src/format/shards.h"
#include "src/model/config.h"

/* Refuses such a folder. Weights that nothing reads must not change what the
 * model computes: in a block there is none that the architecture does not
 * have; elsewhere there may be, which a note says, but for those that are told
 * by their names. base: what names begin with. Errors: QL_EUNSUPPORTED, naming
 * the tensor. */
ql_status ql_strange_check(const ql_shards *s, const ql_config *c,
                           const char *base);

/* What old checkpoints keep beside their weights, and nothing reads:
 * frequencies, masks. name: of a tensor, or of a part of a block. */
bool ql_is_buffer(const char *name);

#endif
