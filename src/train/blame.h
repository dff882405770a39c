/* Where numbers that are not finite come from: which records, which layer. It
 * is asked after a failure only, so it may take a while. */
#ifndef QL_TRAIN_BLAME_H
#define QL_TRAIN_BLAME_H

#include "src/data/batches.h"
#include "src/model/run.h"

enum {
    QL_BLAME_BYTES = 512 /* room for a text */
};

/* The records of a batch whose loss is not finite when each is run alone, or
 * with train the gradients of a, which are overwritten; else all of them:
 * "data.jsonl:7, data.jsonl:12", or "sample 3" where it comes from no file. At
 * most eight are named. train and a may be NULL. */
void ql_blame_records(char text[QL_BLAME_BYTES], ql_run *run,
                      const ql_batch *batch, const ql_dataset *ds,
                      const ql_run_train *train, ql_adapter *a);

/* After ql_run_loss with train gave a loss that is not finite: where it arises,
 * "layer 3", "the embedding" or "the output head". */
void ql_blame_layer(char text[QL_BLAME_BYTES], ql_run *run,
                    const ql_batch *batch);

/* The adapter's pair whose gradient was the first not to be finite on the way
 * down: "base_model...layers.3.mlp.down_proj.lora_A.weight". False if all
 * gradients are finite. */
bool ql_blame_gradient(char text[QL_BLAME_BYTES], const ql_adapter *a);

#endif
