/* ADD of two inputs of the output's shape, on cores with a 64-bit product; twin of
 * edgeq/ops/add.py. With |q - z| <= 255 nothing below leaves int32, so the doubling of
 * edgeq_doubling_high_mul goes before the product, and the second rounding is the sum of
 * 2**(n - 1), less 1 below 0 (ties away from zero), shifted right by n. */
#ifndef EDGEQ_ADD_FLAT_H
#define EDGEQ_ADD_FLAT_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_dsp_pack.h"

/* An input on the common scale: 2**20 times its value times multiplier * 2**(-right - 31). */
struct edgeq_add_input {
    int32_t zero_point;
    int32_t multiplier; /* 2**30 and more, or 0 */
    int32_t right;
};

struct edgeq_add_flat {
    struct edgeq_add_input input1;
    struct edgeq_add_input input2;
    int32_t multiplier;
    int32_t right; /* 1 .. 22 */
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    int32_t nbytes;
};

static inline int32_t edgeq_add_rescaled(const struct edgeq_add_input *input, int32_t q) {
    const int32_t x = q - input->zero_point;
    if (input->multiplier == 1 << 30 && input->right == 0) {
        return x * (1 << 19);
    }
    const int32_t doubled = q * (1 << 21) - input->zero_point * (1 << 21);
    if (input->right == 0) {
        return edgeq_smmlar(doubled, input->multiplier, 0);
    }
    const int32_t half = (int32_t)(1u << (input->right - 1));
    return (edgeq_smmlar(doubled, input->multiplier, half) + (doubled >> 31)) >> input->right;
}

static inline int8_t edgeq_add_flat_value(const struct edgeq_add_flat *op, int32_t q1,
                                          int32_t q2) {
    const int32_t total =
        edgeq_add_rescaled(&op->input1, q1) + edgeq_add_rescaled(&op->input2, q2);
    int32_t addend = (1 << (op->right - 1)) + op->output_zero_point * (1 << op->right);
    if (op->activation_min < op->output_zero_point) {
        addend += total >> 31; /* else all below the zero point becomes activation_min */
    }
    const int32_t y = edgeq_smmlar(total * 2, op->multiplier, addend) >> op->right;
    if (op->activation_min == INT8_MIN && op->activation_max == INT8_MAX) {
        return (int8_t)edgeq_saturate8(y);
    }
    return (int8_t)edgeq_clamp(y, op->activation_min, op->activation_max);
}

/* out may be an input. */
static inline void edgeq_add_flat(const struct edgeq_add_flat *op, const int8_t *input1,
                                  const int8_t *input2, int8_t *out) {
    const int8_t *const end = out + op->nbytes;
    const int8_t *const end_of_words = out + (op->nbytes & ~3);
    while (out != end_of_words) {
        const uint32_t a = edgeq_load4(input1), b = edgeq_load4(input2);
        out[0] = edgeq_add_flat_value(op, (int8_t)(a & 0xffu), (int8_t)(b & 0xffu));
        out[1] = edgeq_add_flat_value(op, (int8_t)(a >> 8 & 0xffu), (int8_t)(b >> 8 & 0xffu));
        out[2] = edgeq_add_flat_value(op, (int8_t)(a >> 16 & 0xffu), (int8_t)(b >> 16 & 0xffu));
        out[3] = edgeq_add_flat_value(op, (int8_t)(a >> 24), (int8_t)(b >> 24));
        input1 += 4;
        input2 += 4;
        out += 4;
    }
    while (out != end) {
        *out++ = edgeq_add_flat_value(op, *input1++, *input2++);
    }
}

#endif /* EDGEQ_ADD_FLAT_H */
