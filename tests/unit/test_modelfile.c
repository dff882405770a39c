/* Texts in a Modelfile, read again as Ollama reads them. */
#include <string.h>

#include "src/convert/modelfile.h"
#include "tests/check/check.h"

enum {
    MOST = 1 << 12
};

/* What quotes enclose; NULL while they are not closed. */
static const char *unquoted(const char *s, size_t n, size_t *len)
{
    if (n >= 3 && memcmp(s, "\"\"\"", 3) == 0) {
        if (n < 6 || memcmp(s + n - 3, "\"\"\"", 3) != 0) {
            return NULL;
        }
        *len = n - 6;
        return s + 3;
    }
    if (n >= 1 && s[0] == '"') {
        if (n < 2 || s[n - 1] != '"') {
            return NULL;
        }
        *len = n - 2;
        return s + 1;
    }
    *len = n;
    return n > 0 ? s : NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The value at the start of text, which ends with the first line at whose end
 * its quotes are closed. Into out[MOST]; what follows it. */
static const char *read_value(const char *text, char *out)
{
    for (const char *end = text;; end++) {
        if (*end == '\n' || *end == '\r' || *end == '\0') {
            const char *from = text;
            const char *to = end;
            const char *s;
            size_t len = 0;

            while (from < to && is_blank(*from)) {
                from++;
            }
            while (from < to && is_blank(to[-1])) {
                to--;
            }
            s = unquoted(from, (size_t)(to - from), &len);
            if (s) {
                assert_true(len < MOST);
                memcpy(out, s, len);
                out[len] = '\0';
                return end;
            }
        }
        if (*end == '\0') {
            out[0] = '\0';
            return NULL;
        }
    }
}

static void texts__come_back_as_they_were(void **state)
{
    static const char *const cases[] = {
        "</s>",
        "<|im_end|>",
        "a b",
        " a ",
        "\"",
        "\"\"",
        "\"\"\"",
        "x\"",
        "\"x",
        "\"\"x",
        "say \"x\"",
        "a\\n",
        "\\",
        "\\\"",
        "\n",
        "\n\n",
        "\r\n",
        "\nUser:",
        "User:\n",
        "\t",
        "a\n\"b\"",
        "\"\"\"\"\"",
        "\"\n",
        "\n\"",
        "a\"\"\nb",
        "#",
        "FROM x",
        "\nFROM y\n",
        "\xC3\xA9",
        "\xF0\x9F\x98\x80",
        "\xEF\xBD\x9Cstop",
        "\xE2\x96\x81",
        "e\xCC\x81",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char got[MOST];
        const char *rest;
        ql_buf b;

        print_message("%zu\n", i);
        assert_true(ql_modelfile_can(cases[i]));
        ql_buf_init(&b, QL_TAG_TEXT, MOST);
        check_ok(ql_modelfile_quote(&b, cases[i]));
        check_ok(ql_buf_puts(&b, "\nPARAMETER top_k 4\n"));
        rest = read_value(b.data, got);
        assert_string_equal(got, cases[i]);
        assert_string_equal(rest, "\nPARAMETER top_k 4\n");
        ql_buf_free(&b);
    }
}

static void texts__that_ollama_would_change_are_none(void **state)
{
    static const char *const cases[] = {
        "\x01",          /* a control character */
        "a\xC2\xA0z",    /* a blank that does not break */
        "a\xE2\x80\x8B", /* no width */
        "\xE2\x80\xA8",  /* a line separator */
        "\xEF\xBF\xBD",  /* what stands for bytes of no character */
        "\xFF",          /* no UTF-8 */
        "a\"\"\"\nb",    /* would end there */
        "a\"\"\" \t\nb", "\"\"\"\r",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("%zu\n", i);
        assert_false(ql_modelfile_can(cases[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts__come_back_as_they_were),
        cmocka_unit_test(texts__that_ollama_would_change_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
