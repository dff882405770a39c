/* The decoders one by one: what becomes of a list of tokens. */
#include <string.h>

#include "src/text/decoder.h"
#include "tests/check/check.h"
#include "tests/check/toy_text.h"

/* tokens: with | between them. */
static void gives(const char *json, const char *tokens, const char *want)
{
    json_t *o = toy_text_json(json);
    ql_strings list;
    ql_decoder d;
    ql_buf out;

    ql_strings_init(&list);
    ql_buf_init(&out, QL_TAG_TEXT, 1000);
    for (const char *p = tokens; *tokens && p;) {
        const size_t n = strcspn(p, "|");

        check_ok(ql_strings_push(&list, p, n));
        p = p[n] ? p + n + 1 : NULL;
    }
    check_ok(ql_decoder_init(&d, o, "f"));
    check_ok(ql_decoder_run(&d, &list, &out));
    check_ok(ql_buf_puts(&out, ""));
    assert_string_equal(out.data, want);
    ql_decoder_free(&d);
    ql_strings_free(&list);
    ql_buf_free(&out);
    json_decref(o);
}

static void refuses(const char *json, ql_status status, const char *sentence)
{
    json_t *o = toy_text_json(json);
    ql_decoder d;

    check_fails(ql_decoder_init(&d, o, "f"), status, sentence);
    assert_non_null(strstr(ql_last_error(), "f: decoder: "));
    ql_decoder_free(&d);
    json_decref(o);
}

static void decoder__byte_level(void **state)
{
    const char *json = "{'type': 'ByteLevel'}";

    (void)state;
    gives(json, "", "");
    gives(json, "h\u00c3\u00a9|\u0120a\u010a", "h\u00e9 a\n");
    gives(json, "\u00c3|\u00a9", "\u00e9");
    /* a token with any other character stands for itself */
    gives(json, "\u0120a\u4e2d|\u0120", "\u0120a\u4e2d ");
    /* one replacement for each beginning of a character */
    gives(json, "\u00e2\u0124x", "\ufffdx");
    gives(json, "\u00f0\u0141\u0133", "\ufffd");
    gives(json, "\u00a9\u00a9", "\ufffd\ufffd");
    gives(json, "\u00ed\u0142\u0122", "\ufffd\ufffd\ufffd");
    gives(json, "\u00c0\u0122", "\ufffd\ufffd");
}

static void decoder__byte_fallback(void **state)
{
    const char *json = "{'type': 'ByteFallback'}";

    (void)state;
    gives(json, "a|<0xC3>|<0xa9>|b", "a\u00e9b");
    gives(json, "<0xC3>|x|<0xA9>|<0xA9>", "\ufffdx\ufffd\ufffd");
    gives(json, "<0xG0>|<0x4>", "<0xG0><0x4>");
}

static void decoder__words(void **state)
{
    (void)state;
    gives("{'type': 'WordPiece', 'prefix': '##', 'cleanup': true}",
          "##do|not|go|##ing|.|it|'s|!", "##do not going. it's!");
    gives("{'type': 'WordPiece', 'prefix': '##', 'cleanup': false}",
          "do|##g|.|##", "dog .");
    gives("{'type': 'BPEDecoder', 'suffix': '</w>'}", "ab</w>|c|d</w>",
          "ab cd");
    gives("{'type': 'CTC', 'pad_token': '_', 'word_delimiter_token': '/',"
          "'cleanup': true}",
          "h|h|_|h|i|/|/|a", "hhi a");
    gives("{'type': 'CTC', 'pad_token': '_', 'word_delimiter_token': '/',"
          "'cleanup': false}",
          "a|/|b", "a/b");
    gives("{'type': 'Metaspace'}", "\u2581a\u2581|\u2581z", "a z");
    gives("{'type': 'Metaspace', 'prepend_scheme': 'never'}", "\u2581a|z",
          " az");
}

static void decoder__strings(void **state)
{
    (void)state;
    gives("null", "a|b", "a b");
    gives("{'type': 'Fuse'}", "a|b", "ab");
    gives("{'type': 'Replace', 'pattern': {'String': 'ab'}, 'content': ''}",
          "xabab|b", "xb");
    gives("{'type': 'Replace', 'pattern': {'Regex': 'a+'}, 'content': '-'}",
          "baab|a", "b-b-");
    gives("{'type': 'Strip', 'content': '\u2581', 'start': 1, 'stop': 2}",
          "\u2581\u2581x\u2581|y\u2581\u2581\u2581", "\u2581xy\u2581");
    gives("{'type': 'Sequence', 'decoders': [{'type': 'ByteFallback'},"
          "{'type': 'Fuse'}, {'type': 'Strip', 'content': ' ', 'start': 1,"
          "'stop': 0}]}",
          " a| b|<0x21>", "a b!");
}

static void decoder__refuses_what_is_wrong(void **state)
{
    (void)state;
    refuses("{'type': 'Fancy'}", QL_EUNSUPPORTED, "Fancy");
    refuses("{'type': 'BPEDecoder', 'suffix': ''}", QL_EFORMAT, "suffix");
    refuses("{'type': 'WordPiece'}", QL_EFORMAT, "\"prefix\"");
    refuses("{'type': 'CTC', 'pad_token': 'x'}", QL_EFORMAT,
            "\"word_delimiter_token\"");
    refuses("{'type': 'Strip', 'content': ''}", QL_EFORMAT, "a character");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder__byte_level),
        cmocka_unit_test(decoder__byte_fallback),
        cmocka_unit_test(decoder__words),
        cmocka_unit_test(decoder__strings),
        cmocka_unit_test(decoder__refuses_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
