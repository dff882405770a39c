/* Runs a fuzz target without a fuzzer: over all files of the folders given,
 * and over changes of each that are the same in every run: cut short, bits
 * and bytes flipped, numbers replaced, a piece removed or doubled. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "tests/fuzz/fuzz.h"

enum {
    SMALL = 4096, /* bytes; files up to here are cut at every length */
    CUTS = 256,   /* of larger files */
    CHANGES = 400,
    MAX_FILE = 1 << 24
};

static const char *const numbers[] = {
    "0",
    "1",
    "-1",
    "00",
    "1.5",
    "1e9",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
};

enum {
    NUMBERS = sizeof(numbers) / sizeof(numbers[0])
};

static size_t runs;

/* Runs the target on a block of exactly n bytes, so that a memory checker
 * sees a read past the end. */
static void run(const char *data, size_t n)
{
    uint8_t *block = malloc(n ? n : 1);

    FUZZ_CHECK(block);
    memcpy(block, data, n);
    FUZZ_CHECK(LLVMFuzzerTestOneInput(block, n) == 0);
    free(block);
    runs++;
}

/* Runs head + middle + tail. */
static void run_joined(const char *data, size_t head, const char *middle,
                       size_t middle_len, const char *tail, size_t tail_len)
{
    const size_t n = head + middle_len + tail_len;
    char *text = malloc(n ? n : 1);

    FUZZ_CHECK(text);
    memcpy(text, data, head);
    memcpy(text + head, middle, middle_len);
    memcpy(text + head + middle_len, tail, tail_len);
    run(text, n);
    free(text);
}

static void cut(const char *data, size_t n)
{
    const size_t step = n <= SMALL ? 1 : n / CUTS;

    for (size_t len = 0; len < n; len += step) {
        run(data, len);
    }
}

static void flip(char *data, size_t n, uint64_t key)
{
    for (size_t i = 0; i < CHANGES && n > 0; i++) {
        const size_t at = ql_rng_below(key, 2 * i, n);
        const size_t kind = ql_rng_below(key, 2 * i + 1, 9);
        const char old = data[at];

        data[at] = kind < 8 ? (char)(old ^ (1 << kind)) : '\xff';
        run(data, n);
        data[at] = old;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void replace_numbers(const char *data, size_t n)
{
    size_t i = 0;

    while (i < n) {
        size_t end = i;

        while (end < n && is_digit(data[end])) {
            end++;
        }
        for (size_t k = 0; k < NUMBERS && end > i; k++) {
            run_joined(data, i, numbers[k], strlen(numbers[k]), data + end,
                       n - end);
        }
        i = end + 1;
    }
}

/* Takes a piece out, or says it twice. */
static void cut_and_paste(const char *data, size_t n, uint64_t key)
{
    for (size_t i = 0; i < CHANGES && n > 0; i++) {
        const size_t from = ql_rng_below(key, 3 * i, n);
        const size_t len = ql_rng_below(key, 3 * i + 1, n - from) + 1;
        const size_t twice = ql_rng_below(key, 3 * i + 2, 2) ? len : 0;

        run_joined(data, from + twice, data + from, twice, data + from + len,
                   n - from - len);
    }
}

static int replay_file(const char *path)
{
    char *data = NULL;
    size_t n = 0;
    uint64_t key = 0;

    if (ql_file_read(path, MAX_FILE, &data, &n) != QL_OK) {
        fprintf(stderr, "%s\n", ql_last_error());
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        key = ql_rng_split(key, (uint8_t)data[i]);
    }
    run(data, n);
    cut(data, n);
    flip(data, n, key);
    replace_numbers(data, n);
    cut_and_paste(data, n, ql_rng_split(key, 1));
    ql_free(data);
    return 0;
}

static int replay_folder(const char *dir)
{
    char **names = NULL;
    size_t n = 0;
    int failed = 0;

    if (ql_dir_list(dir, &names, &n) != QL_OK) {
        fprintf(stderr, "%s\n", ql_last_error());
        return 1;
    }
    for (size_t i = 0; i < n && !failed; i++) {
        char *path = ql_path_join(dir, names[i]);

        failed = !path || replay_file(path);
        ql_free(path);
    }
    printf("%s: %zu files\n", dir, n);
    ql_dir_list_free(names, n);
    return failed || n == 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;

    for (int i = 1; i < argc && !failed; i++) {
        failed = replay_folder(argv[i]);
    }
    printf("%zu inputs\n", runs);
    return failed;
}
