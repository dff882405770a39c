/* Lines of progress: what fits, bars, little columns. */
#include <string.h>

#include "tests/check/check.h"
#include "tools/cli/fit.h"

static const cli_part parts[] = {
    {"step 3/9", 0},     {"", 5}, {"loss 2.5", 1}, {"lr 1e-4", 3},
    {"\u2501\u2501", 2},
};

static void check_fit(size_t width, const char *want)
{
    char line[CLI_LINE_BYTES];

    assert_string_equal(cli_fit(line, parts, 5, width), want);
}

static void parts__are_left_out_by_rank(void **state)
{
    (void)state;
    check_fit(100, "step 3/9  loss 2.5  lr 1e-4  \u2501\u2501");
    check_fit(31, "step 3/9  loss 2.5  lr 1e-4  \u2501\u2501");
    check_fit(30, "step 3/9  loss 2.5  \u2501\u2501");
    check_fit(22, "step 3/9  loss 2.5  \u2501\u2501");
    check_fit(21, "step 3/9  loss 2.5");
    check_fit(17, "step 3/9");
    check_fit(0, "step 3/9");
}

static void columns__are_characters(void **state)
{
    (void)state;
    assert_int_equal(cli_columns(""), 0);
    assert_int_equal(cli_columns("ab"), 2);
    assert_int_equal(cli_columns("\u2501a\u00e9\U0001F600"), 4);
}

static void bar__is_filled_to_its_share(void **state)
{
    cli_part p;

    (void)state;
    cli_bar(&p, 4, 0, false);
    assert_string_equal(p.text, "....");
    cli_bar(&p, 4, 0.5, false);
    assert_string_equal(p.text, "##..");
    cli_bar(&p, 4, 1, false);
    assert_string_equal(p.text, "####");
    cli_bar(&p, 3, 0.3, true);
    assert_string_equal(p.text, "\u2501\u2500\u2500");
    cli_bar(&p, 0, 0.3, true);
    assert_string_equal(p.text, "");
    cli_bar(&p, 1000, 0.3, true);
    assert_int_equal(cli_columns(p.text), 40);
}

static void spark__goes_from_least_to_largest(void **state)
{
    static const double x[] = {3, 1, 2, 3};
    static const double flat[] = {5, 5};
    cli_part p;

    (void)state;
    cli_spark(&p, x, 4, true);
    assert_string_equal(p.text, "\u2587\u2581\u2584\u2587");
    cli_spark(&p, flat, 2, true);
    assert_string_equal(p.text, "\u2584\u2584");
    cli_spark(&p, x, 1, true);
    assert_string_equal(p.text, "");
    cli_spark(&p, x, 4, false);
    assert_string_equal(p.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bar__is_filled_to_its_share),
        cmocka_unit_test(columns__are_characters),
        cmocka_unit_test(parts__are_left_out_by_rank),
        cmocka_unit_test(spark__goes_from_least_to_largest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
