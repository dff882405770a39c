/* Source of the names and of what they stand for: llama.cpp,
 * src/llama-vocab.cpp. */
#include "src/convert/gguf_pre.h"

#include <string.h>

#include "src/base/fail.h"

#define WORDS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"

/* Rules of tokenizers on bytes: a pattern, or none; digits one by one; the
 * pattern of GPT-2 behind it. */
static const struct {
    const char *pattern;
    bool digits, gpt2, whole_words;
    const char *name;
} rules[] = {
    {NULL, false, true, false, "gpt-2"},
    {NULL, true, true, false, "smollm"},
    {WORDS "\\p{N}{1,3}" REST, false, false, true, "llama-bpe"},
    {WORDS "\\p{N}{1,3}" REST, false, false, false, "dbrx"},
    {WORDS "\\p{N}" REST, false, false, false, "qwen2"},
    {"[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+|"
     "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     false, false, true, "tekken"},
};

/* What a pre-tokenizer of a byte-level tokenizer does. */
typedef struct found {
    const char *pattern;
    bool digits, gpt2, bytes, other;
} found;

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static void look_at(found *f, const json_t *step)
{
    const char *type = text_of(step, "type");
    const json_t *use_regex = json_object_get(step, "use_regex");

    if (strcmp(type, "ByteLevel") == 0) {
        f->bytes = true;
        f->gpt2 |= !use_regex || json_is_true(use_regex);
        f->other |= json_is_true(json_object_get(step, "add_prefix_space"));
    } else if (strcmp(type, "Digits") == 0) {
        f->digits = true;
        f->other |= !json_is_true(json_object_get(step, "individual_digits"));
    } else if (strcmp(type, "Split") == 0 && !f->pattern &&
               strcmp(text_of(step, "behavior"), "Isolated") == 0 &&
               !json_is_true(json_object_get(step, "invert"))) {
        f->pattern = json_string_value(
            json_object_get(json_object_get(step, "pattern"), "Regex"));
        f->other |= !f->pattern;
    } else {
        f->other = true;
    }
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static ql_status find_bytes(ql_gguf_pre *p, const json_t *root,
                            const char *where)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    const json_t *list = json_object_get(pre, "pretokenizers");
    const bool whole_words = json_is_true(
        json_object_get(json_object_get(root, "model"), "ignore_merges"));
    found f = {0};

    for (size_t i = 0; i < json_array_size(list); i++) {
        look_at(&f, json_array_get(list, i));
    }
    if (!list) {
        look_at(&f, pre);
    }
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (f.bytes && !f.other && same_text(f.pattern, rules[i].pattern) &&
            f.digits == rules[i].digits && f.gpt2 == rules[i].gpt2 &&
            whole_words == rules[i].whole_words) {
            *p = (ql_gguf_pre){.model = "gpt2", .name = rules[i].name};
            return QL_OK;
        }
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "%s: llama.cpp has no rule for the pre-tokenizer%s%s that we know",
            where, f.pattern ? " with the pattern " : "",
            f.pattern ? f.pattern : "");
}

/* The normalizer puts a blank, as "\u2581", before the text. */
static bool prepends(const json_t *normalizer)
{
    const json_t *list = json_object_get(normalizer, "normalizers");

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (prepends(json_array_get(list, i))) {
            return true;
        }
    }
    return strcmp(text_of(normalizer, "type"), "Prepend") == 0;
}

/* Pieces as sentencepiece makes them: blanks are "\u2581", what is no piece
 * falls apart into bytes, nothing is cut before the merges. */
static ql_status find_pieces(ql_gguf_pre *p, const json_t *root,
                             const char *where)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    const char *type = text_of(pre, "type");
    const char *scheme = text_of(pre, "prepend_scheme");
    const bool metaspace = strcmp(type, "Metaspace") == 0;
    const json_t *split = json_object_get(pre, "split");
    /* of a text whose blanks are replaced there is none left to split at */
    const bool idle =
        strcmp(type, "Split") == 0 &&
        strcmp(text_of(json_object_get(pre, "pattern"), "String"), " ") == 0;

    if (pre && !json_is_null(pre) && !idle &&
        !(metaspace && json_is_false(split))) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: llama.cpp has no rule for a pre-tokenizer %s before "
                "merges with bytes",
                where, type);
    }
    *p = (ql_gguf_pre){.model = "llama",
                       .name = "default",
                       .space_prefix =
                           metaspace
                               ? strcmp(scheme, "never") != 0
                               : prepends(json_object_get(root, "normalizer"))};
    return QL_OK;
}

ql_status ql_gguf_pre_find(ql_gguf_pre *p, const json_t *root,
                           const char *where)
{
    const json_t *model = json_object_get(root, "model");
    const char *type = text_of(model, "type");

    if (strcmp(type, "BPE") != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: a tokenizer of type \"%s\" is not written to GGUF, only "
                "BPE",
                where, type);
    }
    return json_is_true(json_object_get(model, "byte_fallback"))
               ? find_pieces(p, root, where)
               : find_bytes(p, root, where);
}
