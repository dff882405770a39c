#include "src/text/byte_level.h"

#include "src/base/fail.h"

enum {
    FIRST = 0x100 /* of the characters for bytes that are not printable */
};

/* Bytes that stand for themselves, from 0 to 255 in stretches. */
static const struct {
    uint8_t from;
    uint8_t to;
    uint8_t hidden; /* bytes before it that do not */
} shown[] = {{33, 126, 33}, {161, 172, 67}, {174, 255, 68}};

/* The character of a byte. */
static int32_t put(uint8_t byte)
{
    for (int i = 0; byte > shown[i].to || byte < shown[i].from; i++) {
        if (byte < shown[i].from) {
            return FIRST + shown[i].hidden - (shown[i].from - byte);
        }
    }
    return byte;
}

int ql_byte_level_get(int32_t c)
{
    const int hidden = c - FIRST;

    if (c < 0 || hidden >= shown[2].hidden) {
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        if (c >= shown[i].from && c <= shown[i].to) {
            return c;
        }
        if (hidden >= 0 && hidden < shown[i].hidden) {
            return shown[i].from - shown[i].hidden + hidden;
        }
    }
    return -1;
}

ql_status ql_byte_level_run(ql_view v, ql_draft *out)
{
    for (size_t i = 0; i < v.n; i++) {
        QL_TRY(ql_draft_put_point(out, put((uint8_t)v.s[i]), ql_view_at(v, i)));
    }
    return QL_OK;
}
