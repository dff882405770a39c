/* A tokenizer small enough to be read by eye, made by the tests that use it.
 *
 * It is built like Llama's: spaces become ▁, one of which is put before each
 * stretch; BPE with bytes for unknown characters; BOS before the text. Tokens:
 * <unk> <s> </s> (0 to 2), the bytes <0x00> to <0xFF> (3 to 258), ▁ (259), the
 * characters ! to ~ (from 260), then ▁▁ ▁h ▁hi ab, each the result of a merge,
 * in this order of rank. */
#ifndef QL_TESTS_TOY_TEXT_H
#define QL_TESTS_TOY_TEXT_H

#include <jansson.h>

#include "qlora/dataset.h"

/* JSON with ' for ", which C strings make hard to read. Owned:
 * json_decref. */
json_t *toy_text_json(const char *text);

/* Writes a folder with this tokenizer and opens it. change: NULL, or a JSON
 * object that is laid over tokenizer.json: its objects are merged, all else
 * replaces. The folder holds no other file unless a test writes it there. */
ql_status toy_text_open(ql_tokenizer **out, const char *change);

/* The same for a tokenizer with a token for each byte (ids 0 to 255), and these
 * special tokens (from 256), which a NULL ends. It puts nothing around a
 * text. */
ql_status toy_text_open_bytes(ql_tokenizer **out, const char *const *specials);

/* Writes a file into that folder, or removes it (text NULL). */
void toy_text_file(const char *name, const char *text);

/* The text of a sample, with [[ ]] around what is trained. Borrowed: valid
 * until the next call. */
const char *toy_text_marked(const ql_tokenizer *tok, ql_sample s);

/* The tokens of a sample, with a space between them and [] around those that
 * are trained. Borrowed: valid until the next call. */
const char *toy_text_show(const ql_tokenizer *tok, ql_sample s);

#endif
