/* The files of a model folder that another is made of: what may be replaced,
 * what goes with the weights. */
#ifndef QL_CONVERT_MODEL_FILES_H
#define QL_CONVERT_MODEL_FILES_H

#include "src/base/json.h"

/* Fails unless out_dir can be written: it is not there; or it may be replaced
 * (force), and holds a file called mark, which says that it is of the same
 * kind, or nothing, and is not the folder that is read or one that this lies
 * in. Errors: QL_EINVAL, QL_EIO, QL_ENOMEM. */
ql_status ql_model_files_check(const char *in_dir, const char *out_dir,
                               const char *mark, bool force);

/* Fails where writing out_dir would remove another folder that is read: that is
 * out_dir, or lies in it. Errors: QL_EINVAL. */
ql_status ql_model_files_keep(const char *in_dir, const char *out_dir);

/* The mark of a model folder. */
extern const char ql_model_mark[];

/* The same of a GGUF file: it is not there, or may be replaced and begins as
 * such a file does, which nothing does that is read here. Errors: QL_EINVAL,
 * QL_ENOMEM. */
ql_status ql_model_files_check_file(const char *path, bool force);

/* Copies the files that hold no weights and are not config.json, nor that of
 * an adapter: tokenizer, generation config, licence and the like. One that
 * cannot be read is passed over with a warning. Errors: QL_EIO, QL_ENOSPACE,
 * QL_ENOMEM. */
ql_status ql_model_files_carry(const char *in_dir, const char *out_dir);

/* Bytes of the disk that those files take. Errors: QL_EIO, QL_ENOMEM. */
ql_status ql_model_files_carried(uint64_t *bytes, const char *dir);

/* Copies one file; *copied is false for one that cannot be read. */
ql_status ql_model_files_carry_file(const char *from, const char *to,
                                    bool *copied);

/* config.json of a folder. Owned: json_decref. */
ql_status ql_model_files_config(json_t **out, const char *dir);
ql_status ql_model_files_put_config(const json_t *config, const char *dir);

/* The model has a classifier's head now, if it had none: its class, if any is
 * named, "BertModel", becomes "BertForSequenceClassification". Errors:
 * QL_ENOMEM. */
ql_status ql_model_files_classify(json_t *config);

#endif
