/* The language of templates, expression by expression. What is expected was
 * computed by jinja2 3.1 with the settings of transformers. */
#include <string.h>

#include "src/base/json.h"
#include "src/text/chat.h"
#include "tests/check/check.h"

typedef struct example {
    const char *template;
    const char *text;
} example;

static const char variables[] =
    "{\"n\": 5, \"f\": 2.5, \"none_val\": null, \"s\": \"  Hello World  \", "
    "\"u\": \"a,b,,c\", \"d\": {\"b\": 1, \"a\": [1, null, true, 1.5, "
    "\"é\"]}, \"mix\": [3, \"b\", null, \"A\"], \"rows\": [{\"k\": \"x\", "
    "\"v\": 2}, {\"k\": \"y\", \"v\": 1}, {\"k\": \"x\", \"v\": 0}], "
    "\"items_key\": {\"items\": 3}, \"emoji\": \"a😀é\"}";

/* Renders a template with the variables above. */
static ql_status render(const char *template, ql_buf *text)
{
    ql_chat_template *t = NULL;
    ql_chat_input in = {0};
    json_t *extra;
    ql_status st;

    check_ok(ql_json_parse(&extra, variables, strlen(variables), "variables"));
    in.extra = extra;
    ql_buf_init(text, QL_TAG_TEXT, 1 << 27);
    st = ql_chat_template_open(&t, template, strlen(template), "t");
    if (st == QL_OK) {
        st = ql_chat_render(t, &in, text, NULL);
    }
    ql_chat_template_close(&t);
    json_decref(extra);
    return st;
}

static void check_all(const example *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ql_buf text;

        if (render(e[i].template, &text) != QL_OK) {
            fail_msg("%s: %s", e[i].template, ql_last_error());
        }
        if (strcmp(text.data, e[i].text) != 0) {
            fail_msg("%s\ngives\n%s\ninstead of\n%s", e[i].template, text.data,
                     e[i].text);
        }
        ql_buf_free(&text);
    }
}

/* The template fails, and the sentence ends like this. */
static void fails_with(const char *template, ql_status status, const char *end)
{
    const size_t n = strlen(end);
    const char *got;
    ql_buf text;

    if (render(template, &text) != status) {
        fail_msg("%s: not %s", template, ql_status_name(status));
    }
    got = ql_last_error();
    if (strlen(got) < n || strcmp(got + strlen(got) - n, end) != 0) {
        fail_msg("%s: \"%s\" does not end in \"%s\"", template, got, end);
    }
    assert_int_equal(text.len, 0);
    ql_buf_free(&text);
}

static void fail_all(const example *e, size_t n, ql_status status)
{
    for (size_t i = 0; i < n; i++) {
        fails_with(e[i].template, status, e[i].text);
    }
}

static void jinja__numbers(void **state)
{
    static const example examples[] = {
        {"{{ 7 / 2, 7 // 2, -7 // 2, -7 % 3, 7 % -3, 7.5 % -2, -7.5 // 2 }}",
         "(3.5, 3, -4, 2, -2, -0.5, -4.0)"},
        {"{{ 2 ** 10, 2 ** -1, 2 ** 3 ** 2, -2 ** 2 }}", "(1024, 0.5, 64, 4)"},
        {"{{ 1.0, 1e16, 1e15, 1e-5, 0.0001, 0.1 + 0.2, -0.0, 1e22 }}",
         "(1.0, 1e+16, 1000000000000000.0, 1e-05, 0.0001, 0.30000000000000004, "
         "-0.0, 1e+22)"},
        {"{{ true + 1, 1_000, 0x1f, 0b101, 0o17, 1e3 }}",
         "(2, 1000, 31, 5, 15, 1000.0)"},
        {"{{ 9223372036854775807, -9223372036854775807 - 1 }}",
         "(9223372036854775807, -9223372036854775808)"},
        {"{{ 2.5|round, 3.5|round, 2.567|round(2), 2.567|round(2, 'ceil'), "
         "1250|round(-2) }}",
         "(2.0, 4.0, 2.57, 2.57, 1200)"},
        {"{{ '42'|int, ' 42 '|int, '3.9'|int, 'x'|int(7), 'ff'|int(base=16), "
         "none|int, '1_0'|int }}",
         "(42, 42, 3, 7, 255, 0, 10)"},
        {"{{ '2.5'|float, 'x'|float(1), 'inf'|float, -3|abs, -3.5|abs }}",
         "(2.5, 1, inf, 3, 3.5)"},
        {"{{ [1, 2.5]|sum, [[1], [2]]|sum(start=[]), rows|sum('v') }}",
         "(3.5, [1, 2], 3)"},
        {"{{ -1|abs, -'a'|length if false else 0 }}", "(1, 0)"},
    };

    (void)state;
    check_all(examples, sizeof(examples) / sizeof(*examples));
}

static void jinja__strings(void **state)
{
    static const example examples[] = {
        {"{{ 'abcdef'[1:3], 'abcdef'[::-1], 'abcdef'[-3:], 'abcdef'[4:1:-2], "
         "'abc'[9], 'abc'[-1] }}",
         "('bc', 'fedcba', 'def', 'ec', Undefined, 'c')"},
        {"{{ emoji|length, emoji[1], emoji[::-1], emoji[1:], emoji.find('é'), "
         "emoji|upper }}",
         "(3, '😀', 'é😀a', '😀é', 2, 'A😀É')"},
        {"{{ 'a' 'b' \"c\" ~ 1 ~ none ~ 2.0, 'ab' * 3, 'a' + 'b' }}",
         "('abc1None2.0', 'ababab', 'ab')"},
        {"{{ '\\x41\\u00e9\\101\\q\\t|\\\\|\\'', \"it's\", [\"it's\", 'a\\nb', "
         "'\\x00é\\u200b'] }}",
         "(\"AéA\\\\q\\t|\\\\|'\", \"it's\", [\"it's\", 'a\\nb', "
         "'\\x00é\\u200b'])"},
        {"{{ s.strip(), s.lstrip(), s.rstrip(), 'xyax'.strip('xy'), s|trim }}",
         "('Hello World', 'Hello World  ', '  Hello World', 'a', 'Hello "
         "World')"},
        {"{{ u.split(','), u.split(',', 1), ' a  b '.split(), ' a b c "
         "'.split(none, 1), 'a.b.c'.rsplit('.', 1), ''.split(), ''.split(',') "
         "}}",
         "(['a', 'b', '', 'c'], ['a', 'b,,c'], ['a', 'b'], ['a', 'b c '], "
         "['a.b', 'c'], [], [''])"},
        {"{{ 'a\\nb\\r\\nc'.splitlines(), 'a-b-c'.partition('-'), "
         "'a-b-c'.rpartition('-'), 'abc'.partition('-') }}",
         "(['a', 'b', 'c'], ('a', '-', 'b-c'), ('a-b', '-', 'c'), ('abc', '', "
         "''))"},
        {"{{ 'abcabc'.find('c', 3), 'abcabc'.rfind('c'), 'aaa'.count('aa'), "
         "'aaa'.count(''), 'abc'.find('', 9) }}",
         "(5, 5, 1, 4, -1)"},
        {"{{ 'abc'.startswith(('x', 'a')), 'abc'.endswith('bc'), "
         "'abc'.startswith('b', 1), 'abc'.removeprefix('a'), "
         "'abc'.removesuffix('c') }}",
         "(True, True, True, 'bc', 'ab')"},
        {"{{ 'abc'.replace('', '-'), 'aXbX'|replace('X', '-', 1), "
         "'aXa'.replace('a', 'b', 1), '-'.join(['a', 'b']) }}",
         "('-a-b-c-', 'a-bX', 'bXa', 'a-b')"},
        {"{{ 'ab'.center(5, '*'), 'ab'.ljust(4, '.'), 'ab'.rjust(4, '.'), "
         "'-42'.zfill(5) }}",
         "('**ab*', 'ab..', '..ab', '-0042')"},
        {"{{ 'hello wORLD-foo'|title, \"o'neil x\".title(), 'hello "
         "wORLD'|capitalize, 'aBc'.swapcase() }}",
         "('Hello World-Foo', \"O'Neil X\", 'Hello world', 'AbC')"},
        {"{{ 'ß'|upper, 'ﬃ'.title(), 'ΑΣ ΑΣΑ'|lower, 'İ'|lower, 'ǆ'|capitalize "
         "}}",
         "('SS', 'Ffi', 'ας ασα', 'i̇', 'ǅ')"},
        {"{{ '12'.isdigit(), ''.isdigit(), 'aé'.isalpha(), ' \\t'.isspace(), "
         "'ABC'.isupper(), 'Abc Def'.istitle() }}",
         "(True, False, True, True, True, True)"},
        {"{{ 'a\\nb\\n\\nc'|indent(2), 'a\\nb'|indent('>>', true), "
         "'a\\n\\nb'|indent(2, blank=true) }}",
         "('a\\n  b\\n\\n  c', '>>a\\n>>b', 'a\\n  \\n  b')"},
        {"{{ 'hello world foo'|truncate(10), 'hello'|center(9), 'a b, "
         "c'|wordcount }}",
         "('hello world foo', '  hello  ', 3)"},
        {"{{ '<b>&\"'|e, '<b>'|safe, '<i>' + '<b>'|safe, ('<b>'|safe) ~ '<i>', "
         "('%s'|safe) % '<' }}",
         "(Markup('&lt;b&gt;&amp;&#34;'), Markup('<b>'), "
         "Markup('&lt;i&gt;<b>'), '<b><i>', Markup('&lt;'))"},
        {"{{ '%s %d %5.1f|%-4s|%05d|%x' % ('a', 3.9, 2.25, 'b', 42, 255), "
         "'%(k)s%%' % {'k': 1}, '%r'|format('a') }}",
         "('a 3   2.2|b   |00042|ff', '1%', \"'a'\")"},
        {"{{ '{} {1} {a} {b.k} {0[0]}'|replace('{1}', '{}')|replace(' {0[0]}', "
         "''), '{0}{1}{0}'.format(1, 2), '{:>5}|{:<5}|{:^5}|{:*^7}'.format(1, "
         "2, 3, 'ab') }}",
         "('{} {} {a} {b.k}', '121', '    1|2    |  3  |**ab***')"},
        {"{{ '{:.2f} {:05d} {:,} {:x} {!r} {a.k} {b[0]}'.format(3.14159, 42, "
         "1234567, 255, 'q', a={'k': 1}, b=[7]) }}",
         "3.14 00042 1,234,567 ff 'q' 1 7"},
        {"{{ s|string|length, [1, 'a']|string, none|string, 5|upper }}",
         "(15, \"[1, 'a']\", 'None', '5')"},
    };

    (void)state;
    check_all(examples, sizeof(examples) / sizeof(*examples));
}

static void jinja__lists(void **state)
{
    static const example examples[] = {
        {"{{ [3, 1, 2]|sort, ['b', 'A', 'c']|sort, ['b', "
         "'A']|sort(case_sensitive=true), [1, 2]|sort(reverse=true) }}",
         "([1, 2, 3], ['A', 'b', 'c'], ['A', 'b'], [2, 1])"},
        {"{{ rows|sort(attribute='k,v')|map(attribute='v')|list, "
         "rows|sort(attribute='v', reverse=true)|map(attribute='v')|join('-') "
         "}}",
         "([0, 2, 1], '2-1-0')"},
        {"{{ rows|groupby('k')|map('first')|list, "
         "rows|groupby('k')|map(attribute='list')|map('length')|list, "
         "(rows|groupby('k'))[0].grouper }}",
         "(['x', 'y'], [2, 1], 'x')"},
        {"{{ rows|selectattr('k', 'eq', 'x')|list|length, "
         "rows|rejectattr('v')|map(attribute='k')|list, rows|selectattr('z', "
         "'defined')|list }}",
         "(2, ['x'], [])"},
        {"{{ mix|select('string')|list, mix|reject('none')|list, "
         "mix|map('string')|join(','), mix|select|list, mix|map('default', "
         "'z', true)|list }}",
         "(['b', 'A'], [3, 'b', 'A'], '3,b,None,A', [3, 'b', 'A'], [3, 'b', "
         "'z', 'A'])"},
        {"{{ [1, 1, 2, 1.0]|unique|list, ['a', 'A']|unique|list, [1, 2, "
         "3]|reverse|list, 'abc'|reverse }}",
         "([1, 2], ['a'], [3, 2, 1], 'cba')"},
        {"{{ [1, 2, 3, 4, 5]|batch(2, 0)|list, [1, 2, 3, 4, 5]|slice(3, "
         "0)|list }}",
         "([[1, 2], [3, 4], [5, 0]], [[1, 2], [3, 4], [5, 0]])"},
        {"{{ [1, 5, 3]|max, ['b', 'A']|min, rows|max(attribute='v'), []|first "
         "is defined, [1, 2]|last }}",
         "(5, 'A', {'k': 'x', 'v': 2}, False, 2)"},
        {"{{ [1, none, true, 'x']|join('|'), rows|join('', attribute='k'), "
         "'abc'|join('-'), 'abc'|list }}",
         "('1|None|True|x', 'xyx', 'a-b-c', ['a', 'b', 'c'])"},
        {"{{ [1, 2, 3][1:], [1, 2, 3][::-1], [1, 2, 3][5:], (1, 2, 3)[-2:], "
         "range(10)[2:8:2], range(5)[-1] }}",
         "([2, 3], [3, 2, 1], [], (2, 3), range(2, 8, 2), 4)"},
        {"{{ range(3)|list, range(5, 0, -2)|list, range(3), [1] + [2], [1] * "
         "2, (1,) + (2,), (1,), () }}",
         "([0, 1, 2], [5, 3, 1], range(0, 3), [1, 2], [1, 1], (1, 2), (1,), "
         "())"},
        {"{{ [1, 2, 1].index(2), [1, 2, 1].count(1), 1 in [1.0], 2 in "
         "range(5), [1] in [[1]] }}",
         "(1, 2, True, True, True)"},
    };

    (void)state;
    check_all(examples, sizeof(examples) / sizeof(*examples));
}

static void jinja__mappings(void **state)
{
    static const example examples[] = {
        {"{{ d, d.b, d['b'], d.zz is defined, d.get('zz'), d.get('zz', 1), "
         "d|length, 'b' in d, d|list }}",
         "({'b': 1, 'a': [1, None, True, 1.5, 'é']}, 1, 1, False, None, 1, 2, "
         "True, ['b', 'a'])"},
        {"{{ d.items()|list, d.keys(), d.values()|list, d|items|list, {'b': 1, "
         "'A': 2}|dictsort, {'b': 2, 'A': 1}|dictsort(by='value') }}",
         "([('b', 1), ('a', [1, None, True, 1.5, 'é'])], dict_keys(['b', "
         "'a']), [1, [1, None, True, 1.5, 'é']], [('b', 1), ('a', [1, None, "
         "True, 1.5, 'é'])], [('A', 2), ('b', 1)], [('A', 1), ('b', 2)])"},
        {"{{ items_key['items'], items_key.items()|list, {1: 2}[1.0], {1: 2, "
         "true: 3}, {'a': 1, 'a': 2}, {(1, 2): 3}[(1, 2)], {none: 1}[none] }}",
         "(3, [('items', 3)], 2, {1: 3}, {'a': 2}, 3, 1)"},
        {"{{ dict(a=1, b=2), dict([('a', 1)], c=3), namespace(a=1).a, {'a': 1} "
         "== {'a': 1.0} }}",
         "({'a': 1, 'b': 2}, {'a': 1, 'c': 3}, 1, True)"},
        {"{{ d|tojson, d|tojson(indent=1), d|tojson(separators=(',', ':')), "
         "d|tojson(ensure_ascii=true), d|tojson(sort_keys=true) }}",
         "('{\"b\": 1, \"a\": [1, null, true, 1.5, \"é\"]}', '{\\n \"b\": "
         "1,\\n \"a\": [\\n  1,\\n  null,\\n  true,\\n  1.5,\\n  \"é\"\\n "
         "]\\n}', '{\"b\":1,\"a\":[1,null,true,1.5,\"é\"]}', '{\"b\": 1, "
         "\"a\": [1, null, true, 1.5, \"\\\\u00e9\"]}', '{\"a\": [1, null, "
         "true, 1.5, \"é\"], \"b\": 1}')"},
        {"{{ {1: none, none: true, 1.5: []}|tojson, "
         "'\\x1f\\x7f\"\\\\/\\u2028'|tojson, [1e16, 0.1, 1.0]|tojson, (1, "
         "{})|tojson(indent=0) }}",
         "('{\"1\": null, \"null\": true, \"1.5\": []}', "
         "'\"\\\\u001f\\x7f\\\\\"\\\\\\\\/\\u2028\"', '[1e+16, 0.1, 1.0]', "
         "'[\\n1,\\n{}\\n]')"},
    };

    (void)state;
    check_all(examples, sizeof(examples) / sizeof(*examples));
}

static void jinja__logic(void **state)
{
    static const example examples[] = {
        {"{{ 1 == 1.0, true == 1, '1' == 1, none == none, [1, [2]] == [1, "
         "[2]], (1,) == [1], x == y }}",
         "(True, True, False, True, True, False, True)"},
        {"{{ 1 < 2 < 3, 1 < 3 < 2, 'a' < 'b', [1, 2] < [1, 3], 'é' > 'z', 1 < "
         "2 == true }}",
         "(True, False, True, True, True, False)"},
        {"{{ '' or 'x', 0 and 1, 1 and 2, none or 0, not '', not 1 == 2, 1 if "
         "0, (1 if 0 else 2), 1 if 0 else 2 if 0 else 3 }}",
         "('x', 0, 2, 0, True, True, Undefined, 2, 3)"},
        {"{{ 1 in [1], 'a' not in 'abc', '' in 'abc', not (1 in [1]), 2 is "
         "in([1, 2]) }}",
         "(True, False, True, False, True)"},
        {"{{ x is defined, x is undefined, x|length, x|list, x|default('D'), "
         "''|default('D'), ''|default('D', true), none|d('D') }}",
         "(False, True, 0, [], 'D', '', 'D', None)"},
        {"{{ none is none, 1 is number, true is number, true is integer, 1.0 "
         "is float, 1 is boolean, 'a' is string }}",
         "(True, True, True, False, True, False, True)"},
        {"{{ d is mapping, d is sequence, 'a' is sequence, 5 is iterable, "
         "d.keys() is sequence, x is sequence, range is callable }}",
         "(True, True, True, False, False, True, True)"},
        {"{{ 5 is odd, 4 is even, 6 is divisibleby 3, 'a' is lower, 'A' is "
         "upper, 1 is sameas true, 3 is gt 2, 3 is le 2, 'upper' is filter }}",
         "(True, True, True, True, True, False, True, False, True)"},
        {"{{ 2 * 3 ~ 4, 1 ~ 2, (1 + 2) ~ 3, none_val is "
         "none and n > 3 }}",
         "('64', '12', '33', True)"},
    };

    (void)state;
    check_all(examples, sizeof(examples) / sizeof(*examples));
}

static void jinja__statements(void **state)
{
    static const example examples[] = {
        {"{% for i in [1,2,3] %}{{ loop.index }}{{ loop.index0 }}{{ "
         "loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% "
         "endfor %}",
         "103TrueFalse3 212FalseFalse3 321FalseTrue3 "},
        {"{% for i in [1,2,3] %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem "
         "}} {% endfor %}",
         "<1>2 1<2>3 2<3> "},
        {"{% for i in [1,1,2] %}{{ loop.changed(i) }}{{ "
         "loop.cycle(\"x\",\"y\") }} {% endfor %}",
         "Truex Falsey Truex "},
        {"{% for i in [1,2,3] if i is odd %}{{ loop.index }}/{{ loop.length "
         "}}:{{ i }} {% endfor %}",
         "1/2:1 2/2:3 "},
        {"{% set ns = namespace(s=0) %}{% for a in [1,2,3,4] if ns.s < 3 %}{% "
         "set ns.s = ns.s + a %}{{ a }}{% endfor %}",
         "12"},
        {"{% for i in x %}a{% else %}none{% endfor %}", "none"},
        {"{% for k, (a, b) in [[1, [2, 3]]] %}{{ k }}{{ a }}{{ b }}{% endfor "
         "%}",
         "123"},
        {"{% for a in [{\"c\":[{\"c\":[]}]},{\"c\":[]}] recursive %}[{{ "
         "loop.depth }}{{ loop(a.c) }}]{% endfor %}",
         "[1[2]][1]"},
        {"{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if "
         "i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
         "013"},
        {"{% for i in [1,2] %}{% for j in [1,2] %}{% break %}{% endfor %}{{ i "
         "}}{{ loop.index }}{% endfor %}",
         "1122"},
        {"{% set x = 1 %}{% for i in range(3) %}{% set x = x + i %}{{ x }}{% "
         "endfor %}{{ x }}",
         "1231"},
        {"{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% if x == 1 %}a{% "
         "elif x == 2 %}b{% else %}c{% endif %}",
         "2b"},
        {"{% set a, b = [1, 2] %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}",
         "12(1, 2)"},
        {"{% set x %}a{{ n }}{% set y = 1 %}{% endset %}{{ x }}{{ y }}{% set x "
         "| upper %}abc{% endset %}{{ x }}",
         "a5ABC"},
        {"{% set ns = namespace(a=[1]) %}{% set ns.a = ns.a + [2] %}{{ ns.a }}",
         "[1, 2]"},
        {"{% macro m(a, b=a) %}[{{ a }}{{ b }}{{ varargs }}{{ kwargs }}]{% "
         "endmacro %}{{ m() }}{{ m(1) }}{{ m(1, 2, 3, c=4) }}{{ m(b=1) }}",
         "[(){}][11(){}][12(3,){'c': 4}][1(){}]"},
        {"{% macro m(i) %}{{ i }}{% if i %}{{ m(i - 1) }}{% endif %}{% "
         "endmacro %}{{ m(3) }}",
         "3210"},
        {"{% macro m() %}({{ caller(1) }}){% endmacro %}{% call(x, y=2) m() "
         "%}{{ x }}{{ y }}{{ n }}{% endcall %}",
         "(125)"},
        {"{% macro m() %}{{ q }}{% endmacro %}{% set q = 1 %}{{ m() }}{% set q "
         "= 2 %}{{ m() }}",
         "12"},
        {"{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% "
         "endfor %}",
         "12"},
        {"{% filter upper | replace(\"A\", \"b\") %}a{{ n }}{% endfilter %}",
         "b5"},
        {"{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
         "15False"},
        {"{% generation %}a{% set q = 1 %}{% endgeneration %}{{ q }}", "a"},
        {"{% set g = [1, 2]|map(\"string\") %}{{ g|list }}{{ g|list }}{{ 1 if "
         "g else 2 }}",
         "['1', '2'][]1"},
        {"{% set c = cycler(\"a\", \"b\") %}{{ c.next() }}{{ c.next() }}{{ "
         "c.current }}{% set j = joiner(\"|\") %}{{ j() }}{{ j() }}",
         "aba|"},
        {"{% if false %}{{ \"a\"|nosuch }}{% endif %}{{ 1 if true else "
         "2|nosuch }}",
         "1"},
        {"{% print n, 2 %}{{ 1, 2 }}", "52(1, 2)"},
    };

    (void)state;
    check_all(examples, sizeof(examples) / sizeof(*examples));
}

static void jinja__blanks_around_tags(void **state)
{
    static const example examples[] = {
        {"a\n", "a"},
        {"a\n\n", "a\n"},
        {"a\r\nb\rc", "a\nb\nc"},
        {"  {% if 1 %}\n  x\n  {% endif %}\ny", "  x\ny"},
        {"a  {% if 1 %}b{% endif %}", "a  b"},
        {"  {%+ if 1 +%}\nx{% endif %}", "  \nx"},
        {"a {{- \" b \" -}} c", "a b c"},
        {"\n  \n  {%- if 1 -%}\n  x {% endif %}", "x "},
        {"{{ 1 }}\n{{ 2 }}\n", "1\n2"},
        {"  {# c #}\n  d", "  d"},
        {"a {#- c -#} b", "ab"},
        {"  {% raw %}\n {{ x }}\n  {% endraw %}\n y", "\n {{ x }}\n y"},
        {"{% raw -%} {% x %} {%- endraw %}b", "{% x %}b"},
        {"\302\240{%- if 1 %}a{% endif %}", "a"},
        {"{{ {\"a\": {\"b\": 1}} }}{{ \"}}\" }}{% set q = \"%}\" %}{{ q }}",
         "{'a': {'b': 1}}}}%}"},
        {"{{-1}}|{{ -1 -}}  x", "1|-1x"},
    };

    (void)state;
    check_all(examples, sizeof(examples) / sizeof(*examples));
}

/* Errors that jinja2 raises, with its sentences. */
static void jinja__errors_of_operators(void **state)
{
    static const example examples[] = {
        {"{{ x.y }}", "UndefinedError: 'x' is undefined"},
        {"{{ d.zz.y }}", "UndefinedError: 'dict object' has no attribute 'zz'"},
        {"{{ d['zz'].y }}",
         "UndefinedError: 'dict object' has no attribute 'zz'"},
        {"{{ n.x.y }}", "UndefinedError: 'int object' has no attribute 'x'"},
        {"{{ none_val.x.y }}", "UndefinedError: 'None' has no attribute 'x'"},
        {"{{ rows[9].k }}", "UndefinedError: list object has no element 9"},
        {"{{ x() }}", "UndefinedError: 'x' is undefined"},
        {"{{ n() }}", "TypeError: 'int' object is not callable"},
        {"{{ x + 1 }}", "UndefinedError: 'x' is undefined"},
        {"{{ 'a' + x }}", "UndefinedError: 'x' is undefined"},
        {"{{ 'a' + 1 }}",
         "TypeError: can only concatenate str (not \"int\") to str"},
        {"{{ 1 + 'a' }}",
         "TypeError: unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ [1] + (2,) }}",
         "TypeError: can only concatenate list (not \"tuple\") to list"},
        {"{{ none_val + 1 }}",
         "TypeError: unsupported operand type(s) for +: 'NoneType' and 'int'"},
        {"{{ 'a' * 'b' }}",
         "TypeError: can't multiply sequence by non-int of type 'str'"},
        {"{{ 'a' - 'b' }}",
         "TypeError: unsupported operand type(s) for -: 'str' and 'str'"},
        {"{{ -'a' }}", "TypeError: bad operand type for unary -: 'str'"},
        {"{{ 1 < 'a' }}",
         "TypeError: '<' not supported between instances of 'int' and 'str'"},
        {"{{ none_val < 1 }}", "TypeError: '<' not supported between instances "
                               "of 'NoneType' and 'int'"},
        {"{{ 1 in 'abc' }}",
         "TypeError: 'in <string>' requires string as left operand, not int"},
        {"{{ 1 in 5 }}", "TypeError: argument of type 'int' is not iterable"},
        {"{{ n / 0 }}", "ZeroDivisionError: division by zero"},
        {"{{ n // 0 }}",
         "ZeroDivisionError: integer division or modulo by zero"},
        {"{{ n % 0 }}", "ZeroDivisionError: integer modulo by zero"},
        {"{{ f % 0 }}", "ZeroDivisionError: float modulo"},
        {"{{ none_val[1:] }}",
         "TypeError: 'NoneType' object is not subscriptable"},
        {"{{ s['a':] }}", "TypeError: slice indices must be integers or None "
                          "or have an __index__ method"},
        {"{{ s[::0] }}", "ValueError: slice step cannot be zero"},
        {"{{ {[1]: 2} }}", "TypeError: unhashable type: 'list'"},
    };

    (void)state;
    fail_all(examples, sizeof(examples) / sizeof(*examples), QL_EFORMAT);
}

static void jinja__errors_of_targets(void **state)
{
    static const example examples[] = {
        {"{% for i in none_val %}{% endfor %}",
         "TypeError: 'NoneType' object is not iterable"},
        {"{% for i in n %}{% endfor %}",
         "TypeError: 'int' object is not iterable"},
        {"{% for a, b in [1] %}{% endfor %}",
         "TypeError: cannot unpack non-iterable int object"},
        {"{% for a, b in [[1]] %}{% endfor %}",
         "ValueError: not enough values to unpack (expected 2, got 1)"},
        {"{% set a, b = [1, 2, 3] %}",
         "ValueError: too many values to unpack (expected 2)"},
        {"{% set d.x = 1 %}", "TemplateRuntimeError: cannot assign attribute "
                              "on non-namespace object"},
    };

    (void)state;
    fail_all(examples, sizeof(examples) / sizeof(*examples), QL_EFORMAT);
}

static void jinja__errors_of_calls(void **state)
{
    static const example examples[] = {
        {"{{ n|length }}", "TypeError: object of type 'int' has no len()"},
        {"{{ none_val|list }}", "TypeError: 'NoneType' object is not iterable"},
        {"{{ [3, 'a']|sort }}",
         "TypeError: '<' not supported between instances of 'str' and 'int'"},
        {"{{ ['a']|sum }}",
         "TypeError: unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ x|int }}", "UndefinedError: 'x' is undefined"},
        {"{{ x|dictsort }}", "UndefinedError: 'x' is undefined"},
        {"{{ rows.items() }}",
         "UndefinedError: 'list object' has no attribute 'items'"},
        {"{{ [1].append(2) }}", "SecurityError: access to attribute 'append' "
                                "of 'list' object is unsafe."},
        {"{{ d.update({}) }}", "SecurityError: access to attribute 'update' of "
                               "'dict' object is unsafe."},
        {"{{ d.pop('b') }}", "SecurityError: access to attribute 'pop' of "
                             "'dict' object is unsafe."},
        {"{{ range(1000000) }}",
         "OverflowError: Range too big. The sandbox blocks ranges larger than "
         "MAX_RANGE (100000)."},
        {"{{ range(1, 2, 0) }}", "ValueError: range() arg 3 must not be zero"},
        {"{{ mix|map('string')|tojson }}",
         "TypeError: Object of type generator is not JSON serializable"},
        {"{{ x|tojson }}",
         "TypeError: Object of type Undefined is not JSON serializable"},
        {"{{ {(1, 2): 3}|tojson }}",
         "TypeError: keys must be str, int, float, bool or None, not tuple"},
        {"{{ '%d' % 'a' }}",
         "TypeError: %d format: a real number is required, not str"},
        {"{{ '%s %s' % (1,) }}",
         "TypeError: not enough arguments for format string"},
        {"{{ '%s' % (1, 2) }}",
         "TypeError: not all arguments converted during string formatting"},
        {"{{ '%(q)s' % {'a': 1} }}", "KeyError: 'q'"},
        {"{{ 'abc'.index('z') }}", "ValueError: substring not found"},
        {"{{ '-'.join([1]) }}",
         "TypeError: sequence item 0: expected str instance, int found"},
        {"{{ 'a'.split('') }}", "ValueError: empty separator"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
         "TypeError: macro 'm' takes not more than 1 argument(s)"},
        {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}",
         "TypeError: macro 'm' takes no keyword argument 'b'"},
        {"{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}",
         "UndefinedError: parameter 'a' was not provided"},
        {"{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
         "UndefinedError: No caller defined"},
        {"{% for i in [1] %}{{ loop(i) }}{% endfor %}",
         "TypeError: The loop must have the 'recursive' marker to be called "
         "recursively."},
        {"{{ ('a' if false).x }}",
         "UndefinedError: the inline if-expression on line 1 evaluated to "
         "false and no else section was defined."},
        {"{{ raise_exception('no ' ~ n) }}", "no 5"},
        {"{{ ''.__class__.x }}", "SecurityError: access to attribute "
                                 "'__class__' of 'str' object is unsafe."},
        {"{{ 'inf'|float|int }}",
         "OverflowError: cannot convert float infinity to integer"},
    };

    (void)state;
    fail_all(examples, sizeof(examples) / sizeof(*examples), QL_EFORMAT);
}

static void jinja__syntax_errors(void **state)
{
    static const example examples[] = {
        {"{{ 1", "TemplateSyntaxError: unexpected end of template, expected "
                 "'end of print statement'."},
        {"{{ }}", "TemplateSyntaxError: Expected an expression, got 'end of "
                  "print statement'"},
        {"{{ (1 }}", "TemplateSyntaxError: unexpected '}', expected ')'"},
        {"{{ 1) }}", "TemplateSyntaxError: unexpected ')'"},
        {"{{ [1) }}", "TemplateSyntaxError: unexpected ')', expected ']'"},
        {"{{ a b }}", "TemplateSyntaxError: expected token 'end of print "
                      "statement', got 'b'"},
        {"{{ a. }}", "TemplateSyntaxError: expected name or number"},
        {"{{ 1 is }}", "TemplateSyntaxError: expected token 'name', got 'end "
                       "of print statement'"},
        {"{{ f(a=1, 2) }}",
         "TemplateSyntaxError: invalid syntax for function call expression"},
        {"{{ f(**d, *e) }}",
         "TemplateSyntaxError: invalid syntax for function call expression"},
        {"{{ 1 is odd is even }}",
         "TemplateSyntaxError: You cannot chain multiple tests with is"},
        {"{% if %}{% endif %}", "TemplateSyntaxError: Expected an expression, "
                                "got 'end of statement block'"},
        {"{% if 1 %}",
         "TemplateSyntaxError: Unexpected end of template. Jinja was looking "
         "for the following tags: 'elif' or 'else' or 'endif'. The innermost "
         "block that needs to be closed is 'if'."},
        {"{% for i in [1] %}{% endif %}",
         "TemplateSyntaxError: Encountered unknown tag 'endif'. Jinja was "
         "looking for the following tags: 'endfor' or 'else'. The innermost "
         "block that needs to be closed is 'for'."},
        {"{% endfor %}",
         "TemplateSyntaxError: Encountered unknown tag 'endfor'."},
        {"{% foo %}", "TemplateSyntaxError: Encountered unknown tag 'foo'."},
        {"{% 1 %}", "TemplateSyntaxError: tag name expected"},
        {"{% set 1 = 2 %}", "TemplateSyntaxError: can't assign to 'const'"},
        {"{% set [a] = 2 %}", "TemplateSyntaxError: can't assign to 'list'"},
        {"{% macro m(a=1, b) %}{% endmacro %}",
         "TemplateSyntaxError: non-default argument follows default argument"},
        {"{% call n %}{% endcall %}", "TemplateSyntaxError: expected call"},
        {"{# a", "TemplateSyntaxError: Missing end of comment tag"},
        {"{% raw %}a", "TemplateSyntaxError: Missing end of raw directive"},
        {"{{ '\\x4' }}", "TemplateSyntaxError: truncated \\xXX escape"},
    };

    (void)state;
    fail_all(examples, sizeof(examples) / sizeof(*examples), QL_EFORMAT);
}

/* What jinja2 has, and we do not, is named. */
static void jinja__unsupported(void **state)
{
    static const example examples[] = {
        {"{% include 'x' %}", "t:1: the tag 'include' is not supported"},
        {"\n\n{% block x %}{% endblock %}",
         "t:3: the tag 'block' is not supported"},
        {"{{ 'a'|urlize }}", "t:1: No filter named 'urlize'."},
        {"{{ 'a' is nosuch }}", "t:1: No test named 'nosuch'."},
        {"{% if n %}\n{{ 'a'|nosuch }}{% endif %}",
         "t:2: No filter named 'nosuch' found."},
        {"{{ mix|map('nosuch')|list }}", "t:1: No filter named 'nosuch'."},
        {"{{ 'a'.encode('utf8') }}",
         "t:1: the method str.encode() is not supported"},
        {"{{ lipsum() }}", "t:1: lipsum() is not supported"},
        {"{{ (-8) ** 0.5 }}", "t:1: complex numbers are not supported"},
        {"{{ 99999999999999999999 }}",
         "t:1: the number 99999999999999999999 is beyond 64 bits"},
        {"{{ '\\N{BULLET}' }}",
         "t:1: characters by name (\\N) are not supported"},
    };

    (void)state;
    fail_all(examples, sizeof(examples) / sizeof(*examples), QL_EUNSUPPORTED);
    fails_with("{{ 2 ** 63 }}", QL_EFORMAT,
               "OverflowError: a whole number is beyond 64 bits");
}

static void jinja__errors_name_the_line(void **state)
{
    (void)state;
    fails_with("a\n\n{{ x.y }}", QL_EFORMAT,
               "t:3: UndefinedError: 'x' is undefined");
    fails_with("{% if n %}\n{% for i in [1] %}\n{{ i }}\n{{ raise_exception("
               "'stop') }}\n{% endfor %}\n{% endif %}",
               QL_EFORMAT, "t:4: stop");
    fails_with("\n{% macro m() %}\n{{ n.x.y }}{% endmacro %}\n{{ m() }}",
               QL_EFORMAT,
               "t:3: UndefinedError: 'int object' has no attribute 'x'");
    fails_with("{{ 1 +\n\n }}", QL_EFORMAT,
               "t:3: TemplateSyntaxError: unexpected 'end of print "
               "statement'");
    fails_with("a\n{{ '\xff' }}", QL_EFORMAT, "t: the template is not UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jinja__numbers),
        cmocka_unit_test(jinja__strings),
        cmocka_unit_test(jinja__lists),
        cmocka_unit_test(jinja__mappings),
        cmocka_unit_test(jinja__logic),
        cmocka_unit_test(jinja__statements),
        cmocka_unit_test(jinja__blanks_around_tags),
        cmocka_unit_test(jinja__errors_of_operators),
        cmocka_unit_test(jinja__errors_of_targets),
        cmocka_unit_test(jinja__errors_of_calls),
        cmocka_unit_test(jinja__syntax_errors),
        cmocka_unit_test(jinja__unsupported),
        cmocka_unit_test(jinja__errors_name_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
