/* SOFTMAX over the last axis; twin of edgeq/ops/softmax.py and edgeq/fixed_point.py. */
#ifndef EDGEQ_SOFTMAX_H
#define EDGEQ_SOFTMAX_H

#include <stdint.h>

#include "edgeq_arith.h"

#define EDGEQ_SOFTMAX_SUM_BITS 12 /* integer bits of the sum of exponentials: Q12.19 */

struct edgeq_softmax {
    const int32_t *exp_table; /* Q0.31: exp of 1 - entries .. 0 steps of the input's scale */
    int32_t entries;          /* of fewer steps it counts neither in a sum nor in a result */
    int32_t rows;
    int32_t classes;
};

/* x * 2**n, saturated. */
static inline int32_t edgeq_saturating_shift_left(int32_t x, int32_t n) {
    if (x > (INT32_MAX >> n)) {
        return INT32_MAX;
    }
    return x < (INT32_MIN >> n) ? INT32_MIN : (int32_t)((uint32_t)x << n);
}

/* 1 / (1 + x) in Q0.31 for the half of 1 + x in Q0.31: three Newton-Raphson steps. */
static inline int32_t edgeq_reciprocal(int32_t half_denominator) {
    const int32_t forty_eight_over_17 = 1515870810;       /* Q2.29 */
    const int32_t minus_thirty_two_over_17 = -1010580540; /* Q2.29 */
    int32_t estimate = forty_eight_over_17 +
                       edgeq_doubling_high_mul(half_denominator, minus_thirty_two_over_17);
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t error = (1 << 29) - edgeq_doubling_high_mul(half_denominator, estimate);
        estimate += edgeq_saturating_shift_left(edgeq_doubling_high_mul(estimate, error), 2);
    }
    return edgeq_saturating_shift_left(estimate, 1);
}

/* exp of the difference of q to the row's maximum, in Q0.31. */
static inline int32_t edgeq_softmax_exp(const struct edgeq_softmax *op, int32_t q,
                                        int32_t highest) {
    const int32_t index = op->entries - 1 + q - highest;
    return index < 0 ? 0 : op->exp_table[index];
}

/* (R, C) -> (R, C); out may be x. */
static inline void edgeq_softmax(const struct edgeq_softmax *op, const int8_t *x, int8_t *out) {
    for (int32_t r = 0; r < op->rows; ++r) {
        int32_t highest = INT8_MIN;
        for (int32_t c = 0; c < op->classes; ++c) {
            highest = x[c] > highest ? x[c] : highest;
        }
        uint32_t total = 0;
        for (int32_t c = 0; c < op->classes; ++c) {
            total += (uint32_t)edgeq_rounding_shift_right(edgeq_softmax_exp(op, x[c], highest),
                                                          EDGEQ_SOFTMAX_SUM_BITS);
        }
        int32_t headroom = 0;
        while ((total & 0x80000000u) == 0u) {
            total <<= 1;
            ++headroom;
        }
        const int32_t reciprocal = edgeq_reciprocal((int32_t)(total >> 1));
        const int32_t wanted = EDGEQ_SOFTMAX_SUM_BITS - headroom + 31 - 8;
        const int32_t shift = wanted < 31 ? wanted : 31;
        for (int32_t c = 0; c < op->classes; ++c) {
            const int32_t product =
                edgeq_doubling_high_mul(reciprocal, edgeq_softmax_exp(op, x[c], highest));
            const int32_t y = edgeq_rounding_shift_right(product, shift) - 128;
            out[c] = (int8_t)edgeq_clamp(y, INT8_MIN, INT8_MAX);
        }
        x += op->classes;
        out += op->classes;
    }
}

#endif /* EDGEQ_SOFTMAX_H */
