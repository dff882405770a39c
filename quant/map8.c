#include "quant/map8.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static float border(const float *map, size_t i)
{
    return (map[i] + map[i + 1]) / 2;
}

uint8_t ql_map8_nearest(const float map[256], float y)
{
    size_t low = 0;
    size_t high = 255; /* the answer lies in [low, high] */

    while (low < high) {
        const size_t mid = (low + high) / 2;

        if (y > border(map, mid)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return (uint8_t)low;
}

void ql_map8_init(ql_map8 *t, const float map[256])
{
    memcpy(t->value, map, sizeof(t->value));
    for (size_t i = 0; i < 255; i++) {
        t->border[i] = border(map, i);
    }
    t->border[255] = INFINITY;
    for (uint32_t i = 0; i < QL_MAP8_CLASSES; i++) {
        const bool negative = i >= 0x8000;
        const float y = ql_f32_from_bits(i << 16 | (negative ? 0xffff : 0));

        t->least[i] = ql_map8_nearest(map, y);
    }
}
