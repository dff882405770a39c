/* The tokenizer from inside: its parts in the order in which a text meets
 * them, and the encoding that says where each token begins. */
#ifndef QL_TEXT_TOKENIZER_HANDLE_H
#define QL_TEXT_TOKENIZER_HANDLE_H

#include "qlora/tokenizer.h"
#include "src/text/added.h"
#include "src/text/decoder.h"
#include "src/text/normalize.h"
#include "src/text/postprocess.h"
#include "src/text/pretokenize.h"
#include "src/text/subword.h"
#include "src/text/vocab.h"

struct ql_tokenizer {
    char *dir; /* the folder */
    ql_vocab vocab;
    ql_added added;
    ql_normalizer normalizer;
    ql_pretokenizer pretokenizer;
    ql_subword model;
    ql_postprocessor postprocessor;
    ql_decoder decoder;
    int32_t bos;
    int32_t eos;
};

/* Appends the ids of a text, without those of the post-processor. If
 * out->track, also where in the text each token begins: token i covers the
 * bytes from its start to the start of the token after it, or to len. A token
 * that stands for nothing in the text (a prefix that the normalizer puts in)
 * covers no bytes, one byte of a character that fell apart covers its byte.
 *
 * begins: the text is the beginning of a document, not a piece of one that
 * comes after a special token. Safe from several threads at once. Errors:
 * QL_EFORMAT for invalid UTF-8 or a text beyond 256 MiB; QL_ENOMEM. */
ql_status ql_tokenizer_append(const ql_tokenizer *tok, const char *text,
                              size_t len, bool begins, ql_encoding *out);

/* Reads dir/tokenizer.json into t, which is all zero. Errors: as those of
 * ql_tokenizer_open. */
ql_status ql_tokenizer_read(ql_tokenizer *t, const char *dir);

/* The tree of dir/tokenizer.json, where the vocabulary and the merges of the
 * model are null. Owned: json_decref. Errors: QL_ENOTFOUND, QL_EFORMAT,
 * QL_EIO, QL_ENOMEM. */
ql_status ql_tokenizer_tree(json_t **root, const char *dir);

/* Reads bos and eos from the files beside it. Errors:
 * QL_EFORMAT, QL_EUNSUPPORTED, QL_EIO, QL_ENOMEM. */
ql_status ql_tokenizer_read_config(ql_tokenizer *t, const char *dir);

#endif
