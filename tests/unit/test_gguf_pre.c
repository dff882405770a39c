/* How llama.cpp calls what a tokenizer does before its merges: rules by name,
 * what is told of them, what is refused. */
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/note.h"
#include "src/convert/gguf_pre.h"
#include "tests/check/check.h"

enum {
    TEXT_BYTES = 4096
};

/* Patterns as tokenizer.json of a model has them. */
static const char llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char nemo[] =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}"
    "\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
    "+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s"
    "*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char o200k[] =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}"
    "\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{"
    "Lu}"
    "\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'"
    "ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";

static char notes[TEXT_BYTES];

static void take_note(ql_note_kind kind, const char *text, void *user)
{
    (void)kind;
    (void)user;
    snprintf(notes + strlen(notes), sizeof(notes) - strlen(notes), "%s\n",
             text);
}

/* The tree of a tokenizer whose words are cut by a pattern. */
static json_t *tree(const char *pattern, const char *behavior, bool invert,
                    bool whole_words)
{
    json_t *root = json_pack(
        "{s{sssb} s{sss[{ss s{ss} ss sb} {ss sb sb}]}}", "model", "type", "BPE",
        "ignore_merges", whole_words, "pre_tokenizer", "type", "Sequence",
        "pretokenizers", "type", "Split", "pattern", "Regex", pattern,
        "behavior", behavior, "invert", invert, "type", "ByteLevel",
        "add_prefix_space", 0, "use_regex", 0);

    assert_non_null(root);
    return root;
}

static void check_name(json_t *root, const char *model, const char *name)
{
    ql_gguf_pre p;

    notes[0] = '\0';
    check_ok(ql_gguf_pre_find(&p, root, "test"));
    assert_string_equal(p.model, model);
    assert_string_equal(p.name, name);
    json_decref(root);
}

static void check_refused(json_t *root, const char *say)
{
    ql_gguf_pre p;

    check_fails(ql_gguf_pre_find(&p, root, "test"), QL_EUNSUPPORTED, say);
    assert_non_null(strstr(ql_last_error(), "; qlora-export merge writes"));
    json_decref(root);
}

static void patterns__have_names(void **state)
{
    static const struct {
        const char *pattern;
        bool whole_words;
        const char *name;
    } cases[] = {
        {llama3, true, "llama-bpe"}, {llama3, false, "dbrx"},
        {qwen2, false, "qwen2"},     {nemo, true, "tekken"},
        {o200k, false, "gpt-4o"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int invert = 0; invert < 2; invert++) {
            check_name(tree(cases[i].pattern, invert ? "Removed" : "Isolated",
                            invert, cases[i].whole_words),
                       "gpt2", cases[i].name);
            assert_string_equal(notes, "");
        }
    }
}

/* llama.cpp knows only one form of these. */
static void whole_words__that_differ_are_told(void **state)
{
    (void)state;
    check_name(tree(qwen2, "Isolated", false, true), "gpt2", "qwen2");
    assert_non_null(strstr(notes, "llama.cpp does not take words whole"));
    check_name(tree(nemo, "Isolated", false, false), "gpt2", "tekken");
    assert_non_null(strstr(notes, "llama.cpp takes words whole"));
}

static void patterns__that_are_unknown_are_refused(void **state)
{
    char close[TEXT_BYTES];

    (void)state;
    check_refused(tree("x+", "Isolated", false, false), "the pattern x+ that");
    check_refused(tree(llama3, "MergedWithNext", false, true), "has no rule");
    check_refused(tree(llama3, "Isolated", true, true), "has no rule");
    check_refused(tree(llama3, "Removed", false, true), "has no rule");
    snprintf(close, sizeof(close), "%s ", qwen2);
    check_refused(tree(close, "Isolated", false, false), "with the pattern");
}

/* The tree of a text in which ' stands for ". */
static json_t *parse(const char *text)
{
    char copy[TEXT_BYTES];
    const size_t len = (size_t)snprintf(copy, sizeof(copy), "%s", text);
    json_t *root;

    for (size_t i = 0; i < len; i++) {
        copy[i] = copy[i] == '\'' ? '"' : copy[i];
    }
    check_ok(ql_json_parse(&root, copy, len, "test"));
    return root;
}

#define BYTES "{'type': 'ByteLevel', 'add_prefix_space': false, 'use_regex': "
#define BPE "{'model': {'type': 'BPE'}, 'pre_tokenizer': "
#define PIECES "{'model': {'type': 'BPE', 'byte_fallback': true}, "

static void rules__are_found_by_what_they_do(void **state)
{
    (void)state;
    check_name(parse(BPE BYTES "true}}"), "gpt2", "gpt-2");
    check_name(parse(BPE "{'type': 'Sequence', 'pretokenizers': [{'type': "
                         "'Digits', 'individual_digits': true}, " BYTES
                         "true}]}}"),
               "gpt2", "smollm");
    check_name(parse(PIECES "'pre_tokenizer': null}"), "llama", "default");
    check_refused(parse(BPE "{'type': 'Sequence', 'pretokenizers': [{'type': "
                            "'Digits', 'individual_digits': false}, " BYTES
                            "true}]}}"),
                  "has no rule");
    check_refused(parse(BPE "{'type': 'Whitespace'}}"), "has no rule");
    check_refused(parse(PIECES "'pre_tokenizer': {'type': 'Digits'}}"),
                  "Digits before merges");
    check_refused(parse("{'model': {'type': 'Unigram'}}"), "type \"Unigram\"");
}

#define MARK "'\xE2\x96\x81'"
#define BLANKS                                                                 \
    "{'type': 'Sequence', 'normalizers': [{'type': 'Prepend', "                \
    "'prepend': " MARK                                                         \
    "}, {'type': 'Replace', 'pattern': {'String': ' '}, 'content': " MARK      \
    "}]}"

static void normalizers__that_are_lost_are_told(void **state)
{
    (void)state;
    check_name(parse(PIECES "'normalizer': " BLANKS "}"), "llama", "default");
    assert_string_equal(notes, "");
    check_name(parse(BPE BYTES "true}, 'normalizer': {'type': 'NFC'}}"), "gpt2",
               "gpt-2");
    assert_non_null(strstr(notes, "normalizer NFC"));
    check_refused(parse(BPE BYTES "true}, 'normalizer': " BLANKS "}"),
                  "nothing like the normalizer Prepend");
    check_refused(parse(BPE BYTES "true}, 'normalizer': {'type': "
                                  "'Lowercase'}}"),
                  "nothing like the normalizer Lowercase");
    check_refused(parse(PIECES "'normalizer': {'type': 'Replace', 'pattern': "
                               "{'String': 'a'}, 'content': 'b'}}"),
                  "nothing like the normalizer Replace");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns__have_names),
        cmocka_unit_test(whole_words__that_differ_are_told),
        cmocka_unit_test(patterns__that_are_unknown_are_refused),
        cmocka_unit_test(rules__are_found_by_what_they_do),
        cmocka_unit_test(normalizers__that_are_lost_are_told),
    };

    ql_note_set(take_note, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
