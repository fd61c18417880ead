/* SOFTMAX over the last axis; twin of edgeq/ops/softmax.py and edgeq/fixed_point.py. */
#ifndef EDGEQ_SOFTMAX_H
#define EDGEQ_SOFTMAX_H

#include <stdint.h>

#include "edgeq_arith.h"

#define EDGEQ_SOFTMAX_SUM_BITS 12 /* integer bits of the sum of exponentials: Q12.19 */

struct edgeq_softmax {
    /* The exponential of -d steps of the input's scale in Q0.31 is first * ratio**d, rounded
     * down after each product, plus correction d. */
    int32_t first;
    int32_t ratio;           /* Q0.31 */
    const void *corrections; /* int8_t, int16_t or int32_t */
    int32_t width;           /* bytes of a correction */
    int32_t entries;         /* of more steps it counts neither in a sum nor in a result */
    int32_t rows;
    int32_t classes;
    int32_t is_kept; /* the exponentials are, in scratch */
};

/* Not inline: four calls take fewer bytes than four products. */
static __attribute__((noinline, unused)) int32_t edgeq_softmax_multiply(int32_t a, int32_t b) {
    return edgeq_doubling_high_mul(a, b);
}

/* 1 / (1 + x) in Q0.31 for the half of 1 + x in Q0.31: three Newton-Raphson steps. The first
 * estimate is within 1/17 of the reciprocal, so no error leaves Q2.29 when taken times 4. */
static inline int32_t edgeq_reciprocal(int32_t half_denominator) {
    const int32_t forty_eight_over_17 = 1515870810;       /* Q2.29 */
    const int32_t minus_thirty_two_over_17 = -1010580540; /* Q2.29 */
    int32_t estimate = forty_eight_over_17 +
                       edgeq_softmax_multiply(half_denominator, minus_thirty_two_over_17);
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t error = (1 << 29) - edgeq_softmax_multiply(half_denominator, estimate);
        estimate += edgeq_softmax_multiply(estimate, error) * 4;
    }
    return estimate < 1 << 30 ? estimate * 2 : INT32_MAX;
}

static inline int32_t edgeq_softmax_correction(const struct edgeq_softmax *op, int32_t d) {
    return op->width == 1   ? ((const int8_t *)op->corrections)[d]
           : op->width == 2 ? ((const int16_t *)op->corrections)[d]
                            : ((const int32_t *)op->corrections)[d];
}

/* All exponentials, for rows that want many. */
static inline void edgeq_softmax_exps(const struct edgeq_softmax *op, int32_t *exps) {
    int32_t power = op->first;
    for (int32_t d = 0; d < op->entries; ++d) {
        exps[d] = power + edgeq_softmax_correction(op, d);
        power = edgeq_doubled_product(power, op->ratio, 0u);
    }
}

/* The exponential of -d steps; exps is NULL where none are kept. */
static inline int32_t edgeq_softmax_exp(const struct edgeq_softmax *op, const int32_t *exps,
                                        int32_t d) {
    if (d >= op->entries) {
        return 0;
    }
    if (op->is_kept) {
        return exps[d];
    }
    int32_t power = op->first;
    for (int32_t i = d; i > 0; --i) {
        power = edgeq_doubled_product(power, op->ratio, 0u);
    }
    return power + edgeq_softmax_correction(op, d);
}

/* x / 2**n, rounded to nearest, ties upward; 0 < n < 32, 0 <= x. */
static inline int32_t edgeq_softmax_round(int32_t x, int32_t n) {
    return (int32_t)(((uint32_t)x + (1u << (n - 1))) >> n);
}

/* (R, C) -> (R, C); out may be x, exps is scratch of `entries` or NULL. */
static inline void edgeq_softmax(const struct edgeq_softmax *op, const int8_t *x, int32_t *exps,
                                 int8_t *out) {
    if (op->is_kept) {
        edgeq_softmax_exps(op, exps);
    }
    for (int32_t r = 0; r < op->rows; ++r) {
        int32_t highest = INT8_MIN;
        for (int32_t c = 0; c < op->classes; ++c) {
            highest = x[c] > highest ? x[c] : highest;
        }
        uint32_t total = 0;
        for (int32_t c = 0; c < op->classes; ++c) {
            const int32_t e = edgeq_softmax_exp(op, exps, highest - x[c]);
            total += (uint32_t)edgeq_softmax_round(e, EDGEQ_SOFTMAX_SUM_BITS);
        }
        int32_t headroom = 0;
        while ((total & 0x80000000u) == 0u) {
            total <<= 1;
            ++headroom;
        }
        const int32_t reciprocal = edgeq_reciprocal((int32_t)(total >> 1));
        /* A term of the sum is at most 2**19: of fewer than 512 it is below 2**28. */
        const int32_t wanted = EDGEQ_SOFTMAX_SUM_BITS - headroom + 31 - 8;
        const int32_t shift = op->classes < 512 || wanted < 31 ? wanted : 31;
        for (int32_t c = 0; c < op->classes; ++c) {
            const int32_t e = edgeq_softmax_exp(op, exps, highest - x[c]);
            const int32_t y = edgeq_softmax_round(edgeq_softmax_multiply(reciprocal, e), shift);
            out[c] = (int8_t)edgeq_clamp(y - 128, INT8_MIN, INT8_MAX);
        }
        x += op->classes;
        out += op->classes;
    }
}

#endif /* EDGEQ_SOFTMAX_H */
