/* As much of cmocka as the tests of quant/ use, for a machine that there is no
 * cmocka to link with for. This folder stands first among those that are
 * searched for headers. Unlike with cmocka, the first failure ends the
 * program. */
#ifndef QL_TESTS_CROSS_CMOCKA_H
#define QL_TESTS_CROSS_CMOCKA_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

__attribute__((noreturn, format(printf, 3, 4))) static inline void
cross_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("%s:%d: ", file, line);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    exit(1);
}

static inline int cross_run(const char *group, const struct CMUnitTest *tests,
                            size_t n)
{
    for (size_t i = 0; i < n; i++) {
        void *state = NULL;

        printf("%s: %s\n", group, tests[i].name);
        fflush(stdout);
        tests[i].run(&state);
    }
    return 0;
}

#define cmocka_unit_test(function) ((struct CMUnitTest){#function, function})
#define cmocka_run_group_tests_name(group, tests, setup, teardown)             \
    cross_run(group, tests, sizeof(tests) / sizeof((tests)[0]))

#define fail_msg(...) cross_fail(__FILE__, __LINE__, __VA_ARGS__)
#define assert_true(x)                                                         \
    do {                                                                       \
        if (!(x)) {                                                            \
            fail_msg("%s does not hold", #x);                                  \
        }                                                                      \
    } while (0)
#define assert_false(x) assert_true(!(x))
#define assert_non_null(x) assert_true((x) != NULL)
#define assert_ptr_equal(a, b) assert_true((a) == (b))
#define assert_int_equal(a, b) assert_true((uintmax_t)(a) == (uintmax_t)(b))
#define assert_memory_equal(a, b, n) assert_true(memcmp(a, b, n) == 0)

#endif
