/* The weights of a Hugging Face folder: one model.safetensors, or shards with
 * model.safetensors.index.json, seen as one set of tensors. */
#ifndef QL_FORMAT_SHARDS_H
#define QL_FORMAT_SHARDS_H

#include "src/format/safetensors.h"

typedef struct ql_shards ql_shards;

enum {
    QL_SHARDS_PARTS = 3 /* of a tensor that is made of others, at most */
};

/* Opens all files: model.safetensors if there is one; else those of the
 * index; else a single other *.safetensors file, adapter_model.safetensors
 * excepted. With an index, each tensor it names must be in the file it names
 * for it, and all tensors of these files are taken; file names with a slash
 * and tensors in two files are refused. Errors: QL_ENOTFOUND (no weights; says
 * what was looked for), QL_EFORMAT, QL_EUNSUPPORTED (only pytorch_model.bin:
 * says how to convert), QL_EIO, QL_ENOMEM. */
ql_status ql_shards_open(ql_shards **out, const char *dir);
void ql_shards_close(ql_shards **s);

/* All tensors in order of name, which is the one without what torch.compile
 * ("_orig_mod.") and training on several devices ("module." before all names)
 * put into it, unless two would have the same then. Borrowed. */
size_t ql_shards_count(const ql_shards *s);
const ql_tensor *ql_shards_at(const ql_shards *s, size_t i);
const ql_tensor *ql_shards_find(const ql_shards *s, const char *name);

/* The name that the file has for a tensor; its own where it is in none.
 * Borrowed. */
const char *ql_shards_stored_name(const ql_shards *s, const ql_tensor *t);

/* As ql_safetensors_drop, for a tensor of any shard. */
void ql_shards_drop(const ql_shards *s, const ql_tensor *t);

/* Puts one tensor in place of n others, which are its rows: matrices of one
 * width and type. It has no data but by ql_shards_whole. What was said of the
 * order and of pointers to these n is void. Errors: QL_EFORMAT (sizes that
 * overflow), QL_ENOMEM. */
ql_status ql_shards_join(ql_shards *s, const char *name,
                         const ql_tensor *const *parts, size_t n);

/* The other way: n tensors in place of t, of so many of its rows each, which
 * are all that it has. Errors: QL_ENOMEM. */
ql_status ql_shards_split(ql_shards *s, const ql_tensor *t,
                          const char *const *names, const size_t *rows,
                          size_t n);

/* A tensor with its data. *data is Owned: ql_free; NULL where t has data of its
 * own. Errors: QL_ENOMEM. */
ql_status ql_shards_whole(ql_tensor *out, void **data, const ql_shards *s,
                          const ql_tensor *t);

/* Whether p lies in one of the mapped files. */
bool ql_shards_maps(const ql_shards *s, const void *p);

/* A plan to write tensors into shards: greedy in the order added, as
 * huggingface_hub does it. */
typedef struct ql_shard_plan ql_shard_plan;

ql_status ql_shard_plan_open(ql_shard_plan **out, uint64_t max_shard_bytes);
void ql_shard_plan_close(ql_shard_plan **p);

/* Adds a tensor: one larger than the limit gets a shard of its own; one that
 * would overfill the current shard starts the next. Shards are numbered in
 * the order in which they are complete. */
ql_status ql_shard_plan_add(ql_shard_plan *p, const char *name, uint64_t bytes);

/* Adds a tensor that stays with the last one added: its bytes count with
 * those. */
ql_status ql_shard_plan_also(ql_shard_plan *p, const char *name);

/* After all are added: number of shards, the shard of tensor i (in order of
 * adding), and a shard's file name ("model.safetensors" when there is one,
 * else "model-00001-of-00003.safetensors"). Borrowed: valid until the next
 * call. */
size_t ql_shard_plan_shards(const ql_shard_plan *p);
size_t ql_shard_plan_shard_of(const ql_shard_plan *p, size_t i);
const char *ql_shard_plan_file(ql_shard_plan *p, size_t shard);

/* Writes model.safetensors.index.json into dir, as transformers does; does
 * nothing when there is one shard. Errors: QL_EINVAL for a name added twice,
 * QL_EIO, QL_ENOSPACE, QL_ENOMEM. */
ql_status ql_shard_plan_write_index(ql_shard_plan *p, const char *dir);

#endif
