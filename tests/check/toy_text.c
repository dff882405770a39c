#include "tests/check/toy_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "tests/check/check.h"

enum {
    TOY_TEXT_BYTES = 1 << 16
};

static const char frame[] =
    "{'added_tokens': ["
    "{'id': 0, 'content': '<unk>', 'special': true, 'normalized': false},"
    "{'id': 1, 'content': '<s>', 'special': true, 'normalized': false},"
    "{'id': 2, 'content': '</s>', 'special': true, 'normalized': false}],"
    "'normalizer': {'type': 'Sequence', 'normalizers': ["
    "{'type': 'Prepend', 'prepend': '▁'},"
    "{'type': 'Replace', 'pattern': {'String': ' '}, 'content': '▁'}]},"
    "'pre_tokenizer': null,"
    "'post_processor': {'type': 'TemplateProcessing', 'single': ["
    "{'SpecialToken': {'id': '<s>', 'type_id': 0}},"
    "{'Sequence': {'id': 'A', 'type_id': 0}}], 'pair': [],"
    "'special_tokens': {'<s>': {'id': '<s>', 'ids': [1]}}},"
    "'decoder': {'type': 'Sequence', 'decoders': ["
    "{'type': 'Replace', 'pattern': {'String': '▁'}, 'content': ' '},"
    "{'type': 'ByteFallback'}, {'type': 'Fuse'},"
    "{'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]},"
    "'model': {'type': 'BPE', 'unk_token': '<unk>', 'fuse_unk': true,"
    "'byte_fallback': true, 'vocab': {}, 'merges': ['▁ ▁', '▁ h',"
    "['▁h', 'i'], 'a b']}}";

json_t *toy_text_json(const char *text)
{
    char *copy = ql_strdup(QL_TAG_MISC, text);
    json_error_t e;
    json_t *o;

    assert_non_null(copy);
    for (char *p = copy; *p; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    o = json_loads(copy, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
    if (!o) {
        fail_msg("%s in %s", e.text, copy);
    }
    ql_free(copy);
    return o;
}

static void add_tokens(json_t *root)
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    static const char *const last[] = {"▁▁", "▁h", "▁hi", "ab"};
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    char name[8];
    int id = 0;

    for (int i = 0; i < 3; i++) {
        json_object_set_new(vocab, first[i], json_integer(id++));
    }
    for (unsigned i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "<0x%02X>", i);
        json_object_set_new(vocab, name, json_integer(id++));
    }
    json_object_set_new(vocab, "▁", json_integer(id++));
    for (int c = '!'; c <= '~'; c++) {
        snprintf(name, sizeof(name), "%c", c);
        json_object_set_new(vocab, name, json_integer(id++));
    }
    for (int i = 0; i < 4; i++) {
        json_object_set_new(vocab, last[i], json_integer(id++));
    }
}

void toy_text_file(const char *name, const char *text)
{
    check_ok(ql_dir_make(check_tmp_path("toy")));
    if (text) {
        check_ok(ql_file_write(check_tmp_path(name), text, strlen(text)));
    } else {
        remove(check_tmp_path(name));
    }
}

static ql_status write_and_open(ql_tokenizer **out, json_t *root)
{
    char *text = json_dumps(root, JSON_ENCODE_ANY);

    assert_non_null(text);
    toy_text_file("toy/tokenizer.json", text);
    free(text);
    json_decref(root);
    return ql_tokenizer_open(out, check_tmp_path("toy"));
}

ql_status toy_text_open(ql_tokenizer **out, const char *change)
{
    json_t *root = toy_text_json(frame);

    add_tokens(root);
    if (change) {
        json_t *over = toy_text_json(change);

        json_object_update_recursive(root, over);
        json_decref(over);
    }
    return write_and_open(out, root);
}

/* GPT-2's letter for a byte: itself if it can be seen, else one from U+0100
 * on. */
static void name_byte(unsigned byte, unsigned *hidden, char name[3])
{
    const bool seen = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    const unsigned c = seen ? byte : 256 + (*hidden)++;

    if (c < 128) {
        snprintf(name, 3, "%c", (char)c);
    } else {
        snprintf(name, 3, "%c%c", (char)(0xc0 | (c >> 6)),
                 (char)(0x80 | (c & 63)));
    }
}

ql_status toy_text_open_bytes(ql_tokenizer **out, const char *const *specials)
{
    json_t *root = toy_text_json(
        "{'added_tokens': [], 'normalizer': null, 'post_processor': null,"
        "'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false,"
        "'use_regex': false}, 'decoder': {'type': 'ByteLevel'},"
        "'model': {'type': 'BPE', 'vocab': {}, 'merges': []}}");
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    json_t *added = json_object_get(root, "added_tokens");
    unsigned hidden = 0;
    char name[3];

    for (unsigned i = 0; i < 256; i++) {
        name_byte(i, &hidden, name);
        json_object_set_new(vocab, name, json_integer(i));
    }
    for (int i = 0; specials[i]; i++) {
        json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b}", "id",
                                               256 + i, "content", specials[i],
                                               "special", 1, "normalized", 0));
    }
    return write_and_open(out, root);
}

static void put_marked(const char *text, size_t len, bool trained, void *user)
{
    char *out = user;
    const size_t n = strlen(out);

    assert_true(n + len + 8 < TOY_TEXT_BYTES);
    snprintf(out + n, TOY_TEXT_BYTES - n, trained ? "[[%s]]" : "%s", text);
}

const char *toy_text_marked(const ql_tokenizer *tok, ql_sample s)
{
    static char text[TOY_TEXT_BYTES];

    text[0] = '\0';
    check_ok(ql_sample_show(tok, s, put_marked, text));
    return text;
}

const char *toy_text_show(const ql_tokenizer *tok, ql_sample s)
{
    static char text[4096];
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < s.n && n < sizeof(text); i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              s.train[i] ? "%s[%s]" : "%s%s", i > 0 ? " " : "",
                              ql_tokenizer_token(tok, s.ids[i]));
    }
    assert_true(n < sizeof(text));
    return text;
}
