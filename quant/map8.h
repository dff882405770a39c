/* Numbers in [-1, 1] as one byte: the nearest entry of an ascending map of 256
 * values, the lower one on a tie. */
#ifndef QL_QUANT_MAP8_H
#define QL_QUANT_MAP8_H

#include <stdint.h>

#include "quant/half.h"

/* The nearest entry's index, by bisection. */
uint8_t ql_map8_nearest(const float map[256], float y);

/* The same by two look-ups. The upper 16 bits of a number name its class: the
 * sign, a power of two, and which of 128 parts of that. A class of the dynamic
 * maps has at most one border between entries in it, so that the code of its
 * least number, or the one behind, is the answer. */
enum {
    QL_MAP8_CLASSES = 0xbf80 + 1 /* up to that of -1 */
};

typedef struct ql_map8 {
    float value[256];               /* the map */
    float border[256];              /* above entry i; infinity at the end */
    uint8_t least[QL_MAP8_CLASSES]; /* code of the least number of a class */
} ql_map8;

/* map is one of the dynamic maps of codebook.h. */
void ql_map8_init(ql_map8 *t, const float map[256]);

/* y must not lie beyond -1 or 1, nor be NaN. */
static inline uint8_t ql_map8_code(const ql_map8 *t, float y)
{
    const uint8_t code = t->least[ql_f32_bits(y) >> 16];

    return (uint8_t)(code + (y > t->border[code]));
}

#endif
