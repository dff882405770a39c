/* Text to token ids and back, as tokenizer.json of a Hugging Face folder
 * says. Reference: the tokenizers library. */
#ifndef QLORA_TOKENIZER_H
#define QLORA_TOKENIZER_H

#include "qlora/status.h"

typedef struct ql_tokenizer ql_tokenizer;

/* Reads tokenizer.json, and tokenizer_config.json, special_tokens_map.json,
 * config.json and generation_config.json as far as they are there, from a
 * model folder.
 *
 * Errors: QL_ENOTFOUND (no tokenizer.json), QL_EFORMAT, QL_EUNSUPPORTED (a
 * component we do not know, named), QL_EIO, QL_ENOMEM. */
QL_API ql_status ql_tokenizer_open(ql_tokenizer **out, const char *model_dir);
QL_API void ql_tokenizer_close(ql_tokenizer **tok);

/* Ids of a text of len bytes of UTF-8. specials: also apply the
 * post-processor, which as a rule puts the BOS token before it. Invalid UTF-8
 * is QL_EFORMAT. Safe from several threads at once. Owned: ql_free(*ids). */
QL_API ql_status ql_tokenizer_encode(const ql_tokenizer *tok, const char *text,
                                     size_t len, bool specials, int32_t **ids,
                                     size_t *n);

/* Ids of two texts that belong together, as the post-processor joins them,
 * and of each the type of token that BERT counts the texts by. Otherwise as
 * above. Owned: ql_free(*ids), ql_free(*types). */
QL_API ql_status ql_tokenizer_encode_pair(const ql_tokenizer *tok,
                                          const char *const texts[2],
                                          const size_t lens[2], bool specials,
                                          int32_t **ids, uint8_t **types,
                                          size_t *n);

/* Text of n ids, NUL-terminated. skip_specials: leave special tokens out.
 * Errors: QL_EINVAL for an id outside the vocabulary, QL_ENOMEM. Owned:
 * ql_free(*text). */
QL_API ql_status ql_tokenizer_decode(const ql_tokenizer *tok,
                                     const int32_t *ids, size_t n,
                                     bool skip_specials, char **text,
                                     size_t *len);

/* Id of a token by its exact content, -1 if there is none. */
QL_API int32_t ql_tokenizer_id(const ql_tokenizer *tok, const char *content);

/* The special tokens that the folder names; -1 if it names none. */
QL_API int32_t ql_tokenizer_bos(const ql_tokenizer *tok);
QL_API int32_t ql_tokenizer_eos(const ql_tokenizer *tok);

/* Content of a token. NULL for an id outside the vocabulary. Borrowed. */
QL_API const char *ql_tokenizer_token(const ql_tokenizer *tok, int32_t id);

/* One more than the largest id. */
QL_API size_t ql_tokenizer_size(const ql_tokenizer *tok);

#endif
