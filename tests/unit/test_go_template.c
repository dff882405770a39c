/* Chat templates in Ollama's language: the text of known forms, and what has
 * none. */
#include <stdio.h>
#include <string.h>

#include "src/convert/go_template.h"
#include "tests/check/check.h"

#define BEGIN                                                                  \
    "{{- $first := true }}{{- range $i, $_ := .Messages }}"                    \
    "{{- if eq .Role \"user\" }}{{- if $first }}{{- $first = false }}"
#define END                                                                    \
    "{{ else if eq .Role \"assistant\" }}{{ .Content }}{{ end }}{{- end }}"

static void make(ql_go_template *g, char *text, const char *bos)
{
    static char where[] = "test";
    const ql_chat_source source = {text, strlen(text), where};
    json_t *tokens =
        json_pack("{ss ss}", "bos_token", "<s>", "eos_token", "</s>");

    check_ok(ql_go_template_init(g, &source, tokens, bos));
    json_decref(tokens);
}

static char chatml[] =
    "{% if messages[0].role != 'system' %}<|im_start|>system\n"
    "Be kind.<|im_end|>\n{% endif %}{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% endif %}";

static void chatml__keeps_its_own_system_message(void **state)
{
    ql_go_template g;

    (void)state;
    make(&g, chatml, NULL);
    assert_string_equal(
        g.text,
        BEGIN "{{- if $.System }}<|im_start|>system\n{{ $.System }}<|im_end|>\n"
              "<|im_start|>user\n{{ else }}<|im_start|>system\nBe "
              "kind.<|im_end|>\n<|im_start|>user\n{{ end }}{{ else }}"
              "<|im_end|>\n<|im_start|>user\n{{ end }}{{ .Content }}<|im_end|>"
              "\n<|im_start|>assistant\n" END);
    assert_false(g.folds_system);
    assert_false(g.shows_tools);
    ql_go_template_free(&g);
}

/* The system message stands inside the first question, each turn begins with
 * BOS; the first one is Ollama's. */
static char llama2[] =
    "{% set s = '' %}{% set rest = messages %}{% if messages[0].role == "
    "'system' %}{% set s = '<<SYS>>\\n' + messages[0].content + "
    "'\\n<</SYS>>\\n\\n' %}{% set rest = messages[1:] %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + "
    "(s if loop.index0 == 0 else '') + m.content + ' [/INST]' }}{% else %}"
    "{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}";

static void first_bos__is_left_to_ollama(void **state)
{
    ql_go_template g;

    (void)state;
    make(&g, llama2, "<s>");
    assert_string_equal(
        g.text,
        BEGIN "{{- if $.System }}[INST] <<SYS>>\n{{ $.System }}\n<</SYS>>\n\n"
              "{{ else }}[INST] {{ end }}{{ else }} </s><s>[INST] {{ end }}"
              "{{ .Content }}{{ if eq (len (slice $.Messages $i)) 1 }} [/INST]"
              "{{ else }} [/INST] {{ end }}" END);
    ql_go_template_free(&g);
    make(&g, llama2, NULL);
    assert_non_null(strstr(g.text, "{{- if $.System }}<s>[INST] <<SYS>>"));
    ql_go_template_free(&g);
}

/* By what stands around a thought, Ollama finds the end of that which the
 * prompt opens. */
static void thoughts__have_their_tags(void **state)
{
    static char text[] =
        "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}"
        "{% endfor %}{% if add_generation_prompt %}<assistant><think>\n"
        "{% endif %}";
    ql_go_template g;

    (void)state;
    make(&g, text, NULL);
    assert_non_null(g.text);
    assert_non_null(strstr(
        g.text, "{{ .Content }}{{ if eq (len (slice $.Messages $i)) 1 }}"
                "<assistant><think>\n{{ else }}<assistant>{{ end }}"
                "{{ else if eq .Role \"assistant\" }}{{ if and .Thinking "
                "(eq (len (slice $.Messages $i)) 1) }}<think>\n"
                "{{ .Thinking }}\n</think>\n\n{{ end }}{{ .Content }}"
                "{{ end }}{{- end }}"));
    ql_go_template_free(&g);
}

static char no_system[] =
    "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}"
    "{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/* As in training, where the first question begins with it. */
static void system_message__that_is_not_shown_is_in_the_question(void **state)
{
    static char silent[] =
        "{% for m in messages %}{% if m.role != 'system' %}<{{ m.role }}>"
        "{{ m.content }}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}";
    char *const cases[] = {no_system, silent};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ql_go_template g;

        make(&g, cases[i], NULL);
        assert_true(g.folds_system);
        assert_non_null(g.text);
        assert_non_null(strstr(g.text, BEGIN
                               "{{- if $.System }}<user>{{ $.System }}\n\n"
                               "{{ else }}<user>{{ end }}{{ else }}\n<user>"
                               "{{ end }}{{ .Content }}\n<assistant>"));
        ql_go_template_free(&g);
    }
}

static void tools__that_are_shown_are_told(void **state)
{
    static char text[] =
        "{% if tools %}{{ tools[0].function.name }}: {% endif %}"
        "{% for m in messages %}{{ m.content }} {% endfor %}";
    ql_go_template g;

    (void)state;
    make(&g, text, NULL);
    assert_non_null(g.text);
    assert_true(g.shows_tools);
    ql_go_template_free(&g);
}

static void braces__are_text(void **state)
{
    static char text[] = "{% for m in messages %}{{ '{{' + m.content + '}}' }}"
                         "{% endfor %}";
    ql_go_template g;

    (void)state;
    make(&g, text, NULL);
    assert_non_null(strstr(g.text, "{{ else }}{{ \"{{\" }}{{ end }}{{ else }}}}"
                                   "{{ \"{{\" }}{{ end }}{{ .Content }}"));
    ql_go_template_free(&g);
}

static void templates__without_such_a_form_have_none(void **state)
{
    static char cases[][200] = {
        "one text for all",
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
        "{% for m in messages %}{{ loop.index }}:{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ loop.length }}{% endfor %}",
        "{{ raise_exception('never') }}",
        "{% for m in messages %}\"\"\"{{ m.content }}{% endfor %}",
        "{{ messages[-1].content }}",
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }} "
        "{% endif %}{% endfor %}{% if messages[0].role == 'system' %}"
        "{{ messages[0].content }}{% endif %}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ql_go_template g;

        make(&g, cases[i], NULL);
        if (g.text) {
            fail_msg("%s: %s", cases[i], g.text);
        }
        ql_go_template_free(&g);
    }
}

static void template__that_is_none_is_told(void **state)
{
    static char where[] = "x.jinja";
    static char text[] = "{% for %}";
    const ql_chat_source source = {text, sizeof(text) - 1, where};
    ql_go_template g;

    (void)state;
    check_fails(ql_go_template_init(&g, &source, NULL, NULL), QL_EFORMAT,
                "x.jinja");
    assert_null(g.text);
}

static void memory__that_is_lacking_ends_it_cleanly(void **state)
{
    static char where[] = "test";
    const ql_chat_source source = {chatml, sizeof(chatml) - 1, where};
    bool ok = false;
    ql_go_template g;

    (void)state;
    for (long n = 0; !ok; n += 1 + n / 16) {
        ok = check_lacking(n, ql_go_template_init(&g, &source, NULL, NULL));
        assert_true(ok || !g.text);
    }
    assert_non_null(g.text);
    ql_go_template_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chatml__keeps_its_own_system_message),
        cmocka_unit_test(first_bos__is_left_to_ollama),
        cmocka_unit_test(thoughts__have_their_tags),
        cmocka_unit_test(system_message__that_is_not_shown_is_in_the_question),
        cmocka_unit_test(tools__that_are_shown_are_told),
        cmocka_unit_test(braces__are_text),
        cmocka_unit_test(templates__without_such_a_form_have_none),
        cmocka_unit_test(template__that_is_none_is_told),
        cmocka_unit_test(memory__that_is_lacking_ends_it_cleanly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
