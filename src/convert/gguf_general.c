#include "src/convert/gguf_general.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "src/base/fail.h"

void ql_gguf_title(const char *dir, char title[QL_GGUF_TITLE_BYTES])
{
    size_t end = strlen(dir);
    size_t start;
    size_t n = 0;
    bool inside = false; /* a word */

    while (end > 0 && dir[end - 1] == '/') {
        end--;
    }
    start = end;
    while (start > 0 && dir[start - 1] != '/') {
        start--;
    }
    for (size_t i = start; i < end && n < QL_GGUF_TITLE_BYTES - 1; i++) {
        const unsigned char c = (unsigned char)dir[i];

        title[n++] = (char)(c == '-' ? ' ' : inside ? tolower(c) : toupper(c));
        inside = isalpha(c) || c >= 0x80;
    }
    title[n] = '\0';
    if (strcmp(title, ".") == 0 || strcmp(title, "..") == 0) {
        title[0] = '\0';
    }
}

void ql_gguf_size_label(uint64_t parameters, char label[32])
{
    static const struct {
        double above, unit;
        char letter;
    } units[] = {{1e12, 1e12, 'T'}, {1e9, 1e9, 'B'}, {1e6, 1e6, 'M'}};
    double x = (double)parameters / 1e3;
    char letter = 'K';
    char whole[24];

    for (size_t i = 3; i-- > 0;) {
        if ((double)parameters > units[i].above) {
            x = (double)parameters / units[i].unit;
            letter = units[i].letter;
        }
    }
    snprintf(whole, sizeof(whole), "%.0f", x);
    snprintf(label, 32, "%.*f%c", strlen(whole) < 2 ? 1 : 0, x, letter);
}

ql_status ql_gguf_type_of(ql_export_type type, ql_gguf_type automatic,
                          ql_gguf_type *out)
{
    static const ql_gguf_type types[] = {
        [QL_EXPORT_TYPE_F32] = QL_GGUF_F32,
        [QL_EXPORT_TYPE_F16] = QL_GGUF_F16,
        [QL_EXPORT_TYPE_BF16] = QL_GGUF_BF16,
        [QL_EXPORT_TYPE_Q8_0] = QL_GGUF_Q8_0,
    };

    if ((size_t)type >= sizeof(types) / sizeof(types[0])) {
        QL_FAIL(QL_EINVAL, "type %d: choose F32, F16, BF16 or Q8_0", (int)type);
    }
    *out = type == QL_EXPORT_TYPE_AUTO ? automatic : types[type];
    return QL_OK;
}
