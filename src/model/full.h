/* All weights of a model, trained: an adapter whose entries are one whole
 * tensor each, matrices first, then vectors, which weight decay leaves alone
 * (source: transformers Trainer, get_decay_parameter_names). What is trained
 * are copies, in f32, or matrices in bf16. */
#ifndef QL_MODEL_FULL_H
#define QL_MODEL_FULL_H

#include "src/model/adapter.h"

/* Lays it out for a model of this config, as half and measured of the options
 * say; all else of them is left alone. Errors: QL_ENOMEM. */
ql_status ql_full_init(ql_adapter *a, const ql_config *c,
                       const ql_adapter_options *how, bool trained);

/* Reads the parameters from a model's folder, by their names, and lets its
 * pages go. made: has the head of a classifier whose folder lacks it, and the
 * pooler; NULL: the folder has all. Errors: QL_ENOTFOUND, QL_EFORMAT (a shape),
 * QL_EUNSUPPORTED (a type), QL_ENOMEM. */
ql_status ql_full_read(ql_adapter *a, const ql_shards *s,
                       const ql_weights *made);

/* The same of tensor i of any adapter, which is trained whole. */
ql_status ql_full_read_one(ql_adapter *a, size_t i, const ql_shards *s);

/* The tensor of a model's folder that is tensor i; NULL if there is none.
 * Borrowed. */
const ql_tensor *ql_full_find(const ql_adapter *a, size_t i,
                              const ql_shards *s);

/* True if folders hold tensor i transposed. */
bool ql_full_turned(const ql_adapter *a, size_t i);

/* Before weights of the model give way to others: what ql_full_detach brings
 * back. */
void ql_full_keep(ql_weights *w);

/* What ql_adapter_attach does with it, and how that is undone. */
void ql_full_attach(const ql_adapter *a, ql_weights *w);
void ql_full_detach(ql_weights *w);

#endif
