/* The memory of a training, worked out before it is taken. */
#ifndef QLORA_PLAN_H
#define QLORA_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "qlora/status.h"

/* What memory is for. All but the last two parts are private to the process. */
typedef enum ql_plan_part {
    QL_PLAN_WEIGHTS, /* that are not mapped: norms, and weights that were
                        quantized while loading */
    QL_PLAN_ADAPTER, /* what is trained: an adapter, or all weights */
    QL_PLAN_GRADIENTS,
    QL_PLAN_OPTIMIZER,
    QL_PLAN_ACTIVATIONS, /* kept from the forward for the backward */
    QL_PLAN_WORK,        /* scratch */
    QL_PLAN_DATA,        /* tokenized records */
    QL_PLAN_TEXT,        /* vocabulary, names */
    QL_PLAN_LOG,         /* and other small things */
    QL_PLAN_PROGRAM,     /* what the program and its libraries take */
    QL_PLAN_MAPPED,      /* weights in mapped files */
    QL_PLAN_FILES,       /* the program's own files */
    QL_PLAN_PARTS
} ql_plan_part;

typedef struct ql_plan {
    uint64_t bytes[QL_PLAN_PARTS];
    uint64_t anonymous, total;  /* sums: private memory; all */
    uint64_t peak;              /* of the process: total, or what it took before
                                   the plan, while a model was quantized */
    uint64_t budget;            /* what total must not exceed */
    size_t layers, keep_layers; /* of the layers, those that keep their
                                   activations; others repeat their forward */
    size_t keep_outputs;        /* of these others, those that keep what goes
                                   into the norm behind their feed-forward
                                   layer, and do not repeat that product */
    uint64_t optimizer_memory;  /* bytes that a paged optimizer may keep in
                                   memory; 0: all */
    uint64_t page_file;         /* bytes of its file */
    size_t spill_layers;        /* the inputs of so many are in a file between
                                   forward and backward */
    uint64_t activation_file;   /* bytes of that */
    uint64_t weight_memory;     /* bytes of mapped weights that stay in memory,
                                   while others are read when their turn comes;
                                   0: all stay */
} ql_plan;

/* What a part is called: "gradients". Borrowed, constant. */
QL_API const char *ql_plan_part_name(ql_plan_part part);

#endif
