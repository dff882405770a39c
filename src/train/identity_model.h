/* A sum of a model, by which a run knows its base again. */
#ifndef QL_TRAIN_IDENTITY_MODEL_H
#define QL_TRAIN_IDENTITY_MODEL_H

#include "src/model/model_handle.h"

enum {
    QL_SUM_WHOLE = 1 << 16, /* bytes of an array that is summed whole */
    QL_SUM_PLACES = 16,     /* of a larger one: places, spread evenly, */
    QL_SUM_PIECE = 4096     /* and bytes at each of them */
};

/* Of all weights without an adapter, as they lie in memory, and so of how they
 * were quantized, and of what config.json says of the model. It costs little
 * for large models: large arrays are only looked into at some places, where two
 * that were trained apart differ. Errors: QL_ENOMEM. */
ql_status ql_identity_model(uint32_t *crc, const ql_model *m);

/* Of what crc is the sum of, followed by an array. A change of more than one
 * byte in QL_SUM_PLACES, side by side, changes it. */
uint32_t ql_identity_array(uint32_t crc, const void *data, size_t bytes);

#endif
