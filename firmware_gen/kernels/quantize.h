/* QUANTIZE; twin of edgeq/ops/quantize.py. Floats are compared as integers: no floating point.
 */
#ifndef EDGEQ_QUANTIZE_H
#define EDGEQ_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_arith.h"

/* Words that may lie over floats (C11 6.5, paragraph 7). */
typedef int32_t __attribute__((may_alias)) edgeq_float_bits;

/* QuantizeFloat: the thresholds stand for scale and zero point. */
struct edgeq_quantize_float {
    const int32_t *thresholds; /* (255,) keys: the smallest floats that give -127 .. 127 */
    int32_t count;
};

struct edgeq_quantize_integer {
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t multiplier;
    int32_t shift;
    bool input_is_unsigned;
    bool output_is_unsigned;
    int32_t count;
};

/* The bits of a float32 as an int32 that orders like the float; the least if it is a NaN. */
static inline int32_t edgeq_float_key(int32_t bits) {
    if ((bits & INT32_MAX) > 0x7f800000) {
        return INT32_MIN;
    }
    return bits >= 0 ? bits : bits ^ INT32_MAX;
}

static inline void edgeq_quantize_float(const struct edgeq_quantize_float *op,
                                        const edgeq_float_bits *x, int8_t *out) {
    for (int32_t i = 0; i < op->count; ++i) {
        const int32_t key = edgeq_float_key(x[i]);
        int32_t reached = 0; /* thresholds at or below the key */
        for (int32_t step = 128; step > 0; step >>= 1) {
            if (op->thresholds[reached + step - 1] <= key) {
                reached += step;
            }
        }
        out[i] = (int8_t)(reached - 128);
    }
}

/* out may be x. */
static inline void edgeq_quantize_integer(const struct edgeq_quantize_integer *op,
                                          const uint8_t *x, uint8_t *out) {
    const int32_t low = op->output_is_unsigned ? 0 : INT8_MIN;
    for (int32_t i = 0; i < op->count; ++i) {
        const int32_t q = op->input_is_unsigned ? (int32_t)x[i] : (int32_t)(int8_t)x[i];
        const int32_t y = edgeq_requantize(q - op->input_zero_point, op->multiplier, op->shift);
        out[i] = (uint8_t)edgeq_clamp(y + op->output_zero_point, low, low + 255);
    }
}

#endif /* EDGEQ_QUANTIZE_H */
