/* ADD; twin of edgeq/ops/add.py. */
#ifndef EDGEQ_ADD_H
#define EDGEQ_ADD_H

#include <stdint.h>

#include "edgeq_arith.h"

/* Fraction bits of the common scale; none where the multipliers are short. */
#define EDGEQ_ADD_SCALE (EDGEQ_ROUNDING == EDGEQ_ROUNDING_SHIFT ? 1 : 1 << 20)

struct edgeq_add {
    int32_t input1_zero_point;
    int32_t input2_zero_point;
    int32_t output_zero_point;
    int32_t input1_multiplier;
    int32_t input1_shift;
    int32_t input2_multiplier;
    int32_t input2_shift;
    int32_t output_multiplier;
    int32_t output_shift;
    int32_t activation_min;
    int32_t activation_max;
    int32_t output_shape[4];   /* missing leading extents are 1 */
    int32_t input1_strides[4]; /* bytes for a step along each output axis; 0 repeats */
    int32_t input2_strides[4];
};

static inline int8_t edgeq_add_value(const struct edgeq_add *op, int32_t q1, int32_t q2) {
    const int32_t x1 = (q1 - op->input1_zero_point) * EDGEQ_ADD_SCALE;
    const int32_t x2 = (q2 - op->input2_zero_point) * EDGEQ_ADD_SCALE;
    const int32_t total = edgeq_requantize(x1, op->input1_multiplier, op->input1_shift) +
                          edgeq_requantize(x2, op->input2_multiplier, op->input2_shift);
    const int32_t y = edgeq_requantize(total, op->output_multiplier, op->output_shift);
    return (int8_t)edgeq_clamp(y + op->output_zero_point, op->activation_min,
                               op->activation_max);
}

/* out may be an input that has the output's shape. */
static inline void edgeq_add(const struct edgeq_add *op, const int8_t *input1,
                             const int8_t *input2, int8_t *out) {
    const int32_t *const shape = op->output_shape;
    const int32_t *const step1 = op->input1_strides;
    const int32_t *const step2 = op->input2_strides;
    for (int32_t n = 0; n < shape[0]; ++n) {
        for (int32_t h = 0; h < shape[1]; ++h) {
            const int8_t *a = input1 + n * step1[0] + h * step1[1];
            const int8_t *b = input2 + n * step2[0] + h * step2[1];
            for (int32_t w = 0; w < shape[2]; ++w) {
                for (int32_t c = 0; c < shape[3]; ++c) {
                    *out++ = edgeq_add_value(op, a[c * step1[3]], b[c * step2[3]]);
                }
                a += step1[2];
                b += step2[2];
            }
        }
    }
}

#endif /* EDGEQ_ADD_H */
