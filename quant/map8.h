/* Numbers in [-1, 1] as one byte: the nearest entry of an ascending map of 256
 * values, the lower one on a tie. */
#ifndef QL_QUANT_MAP8_H
#define QL_QUANT_MAP8_H

#include <stdint.h>

#include "quant/half.h"

/* The nearest entry's index, by bisection. */
uint8_t ql_map8_nearest(const float map[256], float y);

/* The same by two look-ups. The upper 16 bits of a number's magnitude name its
 * class: a power of two, cut into 128. A class of the dynamic maps has at most
 * one border between entries in it, so that the code of its least number, or
 * the one behind, is the answer. */
enum {
    QL_MAP8_LEAST = 0x3400, /* the class from 2^-23 on; nothing below has a
                               border */
    QL_MAP8_CLASSES = 0x3f80 - QL_MAP8_LEAST + 1 /* up to that of 1 */
};

typedef struct ql_map8 {
    float value[256];                  /* the map */
    float border[256];                 /* above entry i; infinity at the end */
    uint8_t least[2][QL_MAP8_CLASSES]; /* codes; [1] of negative numbers */
} ql_map8;

/* map is one of the dynamic maps of codebook.h. */
void ql_map8_init(ql_map8 *t, const float map[256]);

/* Any y but NaN. */
static inline uint8_t ql_map8_code(const ql_map8 *t, float y)
{
    const uint32_t u = ql_f32_bits(y);
    const uint32_t size = (u & 0x7fffffff) >> 16;
    const uint32_t held = size < QL_MAP8_LEAST ? QL_MAP8_LEAST : size;
    const uint32_t at = held - QL_MAP8_LEAST;
    const uint8_t code =
        t->least[u >> 31][at < QL_MAP8_CLASSES ? at : QL_MAP8_CLASSES - 1];

    return (uint8_t)(code + (y > t->border[code]));
}

#endif
