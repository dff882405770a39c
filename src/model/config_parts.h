/* The parts of reading config.json. Each reads some keys of object o, named
 * path in errors, into c; arch and sizes are there before the others. */
#ifndef QL_MODEL_CONFIG_PARTS_H
#define QL_MODEL_CONFIG_PARTS_H

#include "src/base/json.h"
#include "src/model/config.h"

/* The architecture, and what o means by keys that it lacks, which are put in.
 * Refuses what makes a model of another kind. */
ql_status ql_config_read_arch(ql_config *c, json_t *o, const char *path);

/* Both ropes. */
ql_status ql_config_read_ropes(ql_config *c, const json_t *o, const char *path);

/* Windows and ropes of the layers. */
ql_status ql_config_read_layers(ql_config *c, const json_t *o,
                                const char *path);

#endif
