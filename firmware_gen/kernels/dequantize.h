/* DEQUANTIZE; twin of edgeq/ops/dequantize.py. The floats come from a table, as bits: no
 * floating point. */
#ifndef EDGEQ_DEQUANTIZE_H
#define EDGEQ_DEQUANTIZE_H

#include <stdint.h>

/* Words that may lie over floats (C11 6.5, paragraph 7). */
typedef uint32_t __attribute__((may_alias)) edgeq_float_word;

/* The table stands for scale and zero point. */
struct edgeq_dequantize {
    const uint32_t *table; /* (256,) float32 bits, by the input's byte */
    int32_t count;
};

static inline void edgeq_dequantize(const struct edgeq_dequantize *op, const uint8_t *x,
                                    edgeq_float_word *out) {
    for (int32_t i = 0; i < op->count; ++i) {
        out[i] = op->table[x[i]];
    }
}

#endif /* EDGEQ_DEQUANTIZE_H */
