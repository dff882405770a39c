/* Blocks that go to a file and come back: in any order, as they were put. */
#include <fcntl.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/base/spill.h"
#include "tests/check/check.h"

enum {
    BLOCKS = 9,
    BYTES = 1000
};

static unsigned char byte_of(size_t sweep, size_t i, size_t j)
{
    return (unsigned char)(17 * sweep + 31 * i + j);
}

static size_t length_of(size_t sweep, size_t i)
{
    return 1 + ql_rng_below(check_seed(), 100 * sweep + i, BYTES);
}

static void put_all(ql_spill *s, size_t sweep, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = length_of(sweep, i);
        unsigned char *p = ql_spill_put(s, i, bytes);

        for (size_t j = 0; j < bytes; j++) {
            p[j] = byte_of(sweep, i, j);
        }
        ql_spill_done(s, i);
    }
}

static void check_block(ql_spill *s, size_t sweep, size_t i)
{
    const unsigned char *p = ql_spill_get(s, i);

    for (size_t j = 0; j < length_of(sweep, i); j++) {
        assert_int_equal(p[j], byte_of(sweep, i, j));
    }
}

static void spill__gives_back_what_it_was_given(void **state)
{
    (void)state;
    for (size_t n = 1; n <= BLOCKS; n++) {
        const size_t before = ql_alloc_bytes(QL_TAG_ACTIV);
        ql_spill *s;

        check_ok(ql_spill_open(&s, QL_TAG_ACTIV, check_tmp(), n, BYTES));
        assert_int_equal(ql_alloc_bytes(QL_TAG_ACTIV) - before,
                         ql_spill_memory(BYTES));
        for (size_t sweep = 0; sweep < 20; sweep++) {
            const size_t low = ql_rng_below(check_seed(), sweep, n);

            put_all(s, sweep, n);
            for (size_t i = n; i-- > low;) { /* not all of them, perhaps */
                check_block(s, sweep, i);
            }
        }
        for (size_t i = 0; i < 50; i++) {
            check_block(s, 19, ql_rng_below(check_seed(), 1000 + i, n));
        }
        check_ok(ql_spill_check(s));
        ql_spill_close(&s);
    }
}

static void spill__leaves_no_file(void **state)
{
    const char *dir = check_tmp_path("spill");
    char **names;
    size_t n;
    ql_spill *s;

    (void)state;
    check_ok(ql_dir_make(dir));
    check_ok(ql_spill_open(&s, QL_TAG_ACTIV, dir, 4, BYTES));
    check_ok(ql_dir_list(dir, &names, &n));
    assert_int_equal(n, 0);
    ql_dir_list_free(names, n);
    ql_spill_close(&s);
    check_fails(ql_spill_open(&s, QL_TAG_ACTIV, dir, 1 << 20, 1 << 24),
                QL_ENOSPACE, "spill");
    check_fails(
        ql_spill_open(&s, QL_TAG_ACTIV, check_tmp_path("no/folder"), 4, BYTES),
        QL_ENOTFOUND, "no/folder");
    assert_null(s);
}

/* Neither is waited for in vain: what fails is told when asked. */
static void check_broken(int mode, const char *text)
{
    ql_spill *s;
    int fd;

    check_ok(ql_spill_open(&s, QL_TAG_ACTIV, check_tmp(), BLOCKS, BYTES));
    if (check_open_file("/.pages-") < 0) { /* no /proc */
        ql_spill_close(&s);
        skip();
    }
    fd = open("/dev/null", mode);
    assert_true(fd >= 0);
    if (mode == O_RDONLY) { /* before anything is written */
        dup2(fd, check_open_file("/.pages-"));
    }
    put_all(s, 0, BLOCKS);
    if (mode == O_WRONLY) {
        check_block(s, 0, BLOCKS - 1); /* all are written, or waited for */
        check_block(s, 0, 0);
        dup2(fd, check_open_file("/.pages-"));
    }
    close(fd);
    ql_spill_get(s, BLOCKS - 1);
    ql_spill_get(s, 4);
    ql_spill_get(s, 0);
    check_fails(ql_spill_check(s), QL_EIO, text);
    ql_spill_close(&s);
}

static void spill__that_cannot_be_read_or_written_says_so(void **state)
{
    (void)state;
    check_broken(O_RDONLY, "cannot write the page file of activations in ");
    check_broken(O_WRONLY, "cannot read the page file of activations in ");
}

static void spill__without_memory_is_not_opened(void **state)
{
    bool ok = false;
    ql_spill *s;

    (void)state;
    for (long n = 0; !ok; n++) {
        ok = check_lacking(
            n, ql_spill_open(&s, QL_TAG_ACTIV, check_tmp(), 4, BYTES));
        assert_true(ok || !s);
    }
    ql_spill_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spill__gives_back_what_it_was_given),
        cmocka_unit_test(spill__leaves_no_file),
        cmocka_unit_test(spill__that_cannot_be_read_or_written_says_so),
        cmocka_unit_test(spill__without_memory_is_not_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
