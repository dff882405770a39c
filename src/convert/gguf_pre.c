/* Source of the names and of what they stand for: llama.cpp,
 * src/llama-vocab.cpp. */
#include "src/convert/gguf_pre.h"

#include <string.h>

#include "src/base/fail.h"
#include "src/base/note.h"

/* What to do with a model whose tokenizer llama.cpp cannot be told of. */
#define ELSEWHERE                                                              \
    "; qlora-export merge writes a folder for programs that read "             \
    "tokenizer.json"

#define WORDS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"

#define SHORT "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define MARKS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Words that begin with capitals or have none, each with an end. */
#define CASED(end)                                                             \
    "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+" end                       \
    "|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*" end

/* Rules of tokenizers on bytes: a pattern, or none; digits one by one; the
 * pattern of GPT-2 behind it; whether a word that is a token is taken whole,
 * without merges. */
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
    {CASED("") "|\\p{N}" MARKS, false, false, true, "tekken"},
    {CASED(SHORT) "|\\p{N}{1,3}" MARKS, false, false, false, "gpt-4o"},
};

/* What a pre-tokenizer of a byte-level tokenizer does. */
typedef struct found {
    const char *pattern;
    bool digits, gpt2, bytes, other;
} found;

enum {
    RULES = sizeof(rules) / sizeof(rules[0])
};

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

/* Each match is a piece. What matches nothing is one, too, or is left out: of
 * patterns that match everything there is nothing. */
static bool splits(const json_t *step)
{
    const bool invert = json_is_true(json_object_get(step, "invert"));

    return strcmp(text_of(step, "behavior"), invert ? "Removed" : "Isolated") ==
           0;
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
    } else if (strcmp(type, "Split") == 0 && !f->pattern && splits(step)) {
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

/* The rule that cuts a text so, RULES for none. Two differ only in what they
 * take whole: then, *exact tells whether that fits, too. */
static size_t find_rule(const found *f, bool whole_words, bool *exact)
{
    size_t at = RULES;

    *exact = false;
    for (size_t i = 0; i < RULES && !*exact; i++) {
        if (f->bytes && !f->other && same_text(f->pattern, rules[i].pattern) &&
            f->digits == rules[i].digits && f->gpt2 == rules[i].gpt2) {
            at = i;
            *exact = whole_words == rules[i].whole_words;
        }
    }
    return at;
}

static ql_status find_bytes(ql_gguf_pre *p, const json_t *root,
                            const char *where)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    const json_t *list = json_object_get(pre, "pretokenizers");
    const bool whole_words = json_is_true(
        json_object_get(json_object_get(root, "model"), "ignore_merges"));
    found f = {0};
    bool exact;
    size_t at;

    for (size_t i = 0; i < json_array_size(list); i++) {
        look_at(&f, json_array_get(list, i));
    }
    if (!list) {
        look_at(&f, pre);
    }
    at = find_rule(&f, whole_words, &exact);
    if (at == RULES) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: llama.cpp has no rule for the pre-tokenizer%s%s that we "
                "know" ELSEWHERE,
                where, f.pattern ? " with the pattern " : "",
                f.pattern ? f.pattern : "");
    }
    if (!exact) {
        ql_warn("llama.cpp %s words whole that are tokens no merges lead to "
                "(its rule %s), the model's tokenizer %s: texts with such "
                "words will differ",
                whole_words ? "does not take" : "takes", rules[at].name,
                whole_words ? "does" : "does not");
    }
    *p = (ql_gguf_pre){.model = "gpt2", .name = rules[at].name};
    return QL_OK;
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
                "merges with bytes" ELSEWHERE,
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

/* A step that makes "\u2581" of blanks, or puts one before the text. */
static bool marks_blanks(const json_t *step)
{
    static const char mark[] = "\xE2\x96\x81";
    const json_t *pattern = json_object_get(step, "pattern");

    if (strcmp(text_of(step, "type"), "Prepend") == 0) {
        return strcmp(text_of(step, "prepend"), mark) == 0;
    }
    return strcmp(text_of(step, "type"), "Replace") == 0 &&
           strcmp(text_of(pattern, "String"), " ") == 0 &&
           strcmp(text_of(step, "content"), mark) == 0;
}

/* Of normalizers, llama.cpp has what marks blanks of pieces. */
static ql_status check_normalizer(const json_t *n, bool pieces,
                                  const char *where)
{
    const json_t *list = json_object_get(n, "normalizers");
    const char *type = text_of(n, "type");

    for (size_t i = 0; i < json_array_size(list); i++) {
        QL_TRY(check_normalizer(json_array_get(list, i), pieces, where));
    }
    if (list || !n || json_is_null(n) || (pieces && marks_blanks(n))) {
        return QL_OK;
    }
    if (strcmp(type, "NFC") == 0) {
        ql_warn("llama.cpp does not put characters together (the tokenizer's "
                "normalizer NFC): texts with letters and accents apart will "
                "differ");
        return QL_OK;
    }
    QL_FAIL(QL_EUNSUPPORTED,
            "%s: llama.cpp has nothing like the normalizer %s" ELSEWHERE, where,
            type);
}

ql_status ql_gguf_pre_find(ql_gguf_pre *p, const json_t *root,
                           const char *where)
{
    const json_t *model = json_object_get(root, "model");
    const bool pieces = json_is_true(json_object_get(model, "byte_fallback"));
    const char *type = text_of(model, "type");

    if (strcmp(type, "BPE") != 0) {
        QL_FAIL(QL_EUNSUPPORTED,
                "%s: a tokenizer of type \"%s\" is not written to GGUF, only "
                "BPE" ELSEWHERE,
                where, type);
    }
    QL_TRY((pieces ? find_pieces : find_bytes)(p, root, where));
    return check_normalizer(json_object_get(root, "normalizer"), pieces, where);
}
