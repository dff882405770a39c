#include "quant/map8.h"

#include <math.h>
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
        const uint32_t first = (QL_MAP8_LEAST + i) << 16;
        const float low = i == 0 ? 0 : ql_f32_from_bits(first);
        const float high = ql_f32_from_bits(first | 0xffff);

        t->least[0][i] = ql_map8_nearest(map, low);
        t->least[1][i] = ql_map8_nearest(map, -high);
    }
}
