#include "src/format/names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int ql_name_order(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            char *end_a;
            char *end_b;
            const unsigned long long x = strtoull(a, &end_a, 10);
            const unsigned long long y = strtoull(b, &end_b, 10);

            if (x != y) {
                return x < y ? -1 : 1;
            }
            a = end_a;
            b = end_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return (*a != '\0') - (*b != '\0');
}

const char *ql_name_after(const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);

    return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

bool ql_name_ends(const char *name, const char *suffix)
{
    const size_t n = strlen(name);
    const size_t m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

bool ql_name_ends_path(const char *path, const char *end)
{
    const size_t n = strlen(path);
    const size_t m = strlen(end);

    return ql_name_ends(path, end) && (n == m || path[n - m - 1] == '.');
}

bool ql_name_same(const char *a, const char *b)
{
    return ql_name_ends_path(a, b) || ql_name_ends_path(b, a);
}
