/* Fixed-point primitives; twin of edgeq/arith.py, which says what each means. Two's complement
 * and arithmetic right shifts, as GCC and Clang define them. No floating point, and on cores
 * without a 64-bit product or a division no call of the compiler's own library. */
#ifndef EDGEQ_ARITH_H
#define EDGEQ_ARITH_H

#include <stdint.h>

/* Armv6-M and the Armv8-M baseline have neither SMULL nor UDIV that the portable form may use
 * (Arm DDI0419E section A5.2.2). EDGEQ_NO_LONG_MULTIPLY chooses their form anywhere. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define EDGEQ_NO_LONG_MULTIPLY 1
#endif

/* A parameter that only assembly reads. */
#define EDGEQ_UNUSED __attribute__((unused))

/* The value of [low, high] nearest to x. */
static inline int32_t edgeq_clamp(int32_t x, int32_t low, int32_t high) {
    return x < low ? low : (x > high ? high : x);
}

/* (a * b + addend) / 2**31, rounded down; a and b not both INT32_MIN, addend < 2**31. */
static inline int32_t edgeq_doubled_product(int32_t a, int32_t b, uint32_t addend) {
#ifdef EDGEQ_NO_LONG_MULTIPLY
    /* a * b = high * 2**32 + low from four 16-bit products; no partial sum leaves int32. */
    const int32_t a_high = a >> 16;
    const int32_t b_high = b >> 16;
    const int32_t a_low = (int32_t)((uint32_t)a & 0xffffu);
    const int32_t b_low = (int32_t)((uint32_t)b & 0xffffu);
    const uint32_t low_low = (uint32_t)a_low * (uint32_t)b_low;
    const int32_t middle1 = a_high * b_low + (int32_t)(low_low >> 16);
    const int32_t middle2 = a_low * b_high + (int32_t)((uint32_t)middle1 & 0xffffu);
    const int32_t high = a_high * b_high + (middle1 >> 16) + (middle2 >> 16);
    const uint32_t low = ((uint32_t)middle2 << 16) | (low_low & 0xffffu);
    const uint32_t rounded = low + addend;
    const uint32_t carry = rounded < low ? 1u : 0u;
    return (int32_t)((((uint32_t)high + carry) << 1) | (rounded >> 31));
#else
    return (int32_t)(((int64_t)a * b + (int64_t)addend) >> 31);
#endif
}

/* a * b / 2**31, rounded to nearest, ties upward; not both INT32_MIN. */
static inline int32_t edgeq_doubling_high_mul(int32_t a, int32_t b) {
    return edgeq_doubled_product(a, b, 1u << 30);
}

/* x / 2**n, rounded to nearest, ties away from zero; 0 <= n <= 31. */
static inline int32_t edgeq_rounding_shift_right(int32_t x, int32_t n) {
    const int32_t mask = (int32_t)((1u << n) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> n) + ((x & mask) > threshold ? 1 : 0);
}

/* The three profiles of rounding (docs/numerics.md of edgeq): acc * M, |shift| <= 31.
 *
 * `tflm`: M = multiplier * 2**(shift - 31), rounded twice; acc * 2**max(shift, 0) fits in
 * int32. */
static inline int32_t edgeq_requantize_tflm(int32_t acc, int32_t multiplier, int32_t shift) {
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift < 0 ? -shift : 0;
    const int32_t shifted = (int32_t)((uint32_t)acc << left);
    return edgeq_rounding_shift_right(edgeq_doubling_high_mul(shifted, multiplier), right);
}

/* `single`: M and acc as above, rounded once, ties upward. With n = -shift > 0, half a step is
 * a multiple of 2**31, so that (high + 2**(n - 1)) >> n of high = product >> 31 is the result;
 * shifting by n - 1 first keeps the sum in int32. */
static inline int32_t edgeq_requantize_single(int32_t acc, int32_t multiplier, int32_t shift) {
    if (shift >= 0) {
        return edgeq_doubling_high_mul((int32_t)((uint32_t)acc << shift), multiplier);
    }
    return ((edgeq_doubled_product(acc, multiplier, 0u) >> (-shift - 1)) + 1) >> 1;
}

/* `shift`: M = multiplier * 2**shift, shift <= 0, rounded once, ties upward; the product and
 * half a step fit in int32. */
static inline int32_t edgeq_requantize_shift(int32_t acc, int32_t multiplier, int32_t shift) {
    const int32_t half = (int32_t)((1u << -shift) >> 1);
    return (acc * multiplier + half) >> -shift;
}

/* The profile of the model: model.c defines EDGEQ_ROUNDING where it is not `tflm`. */
#define EDGEQ_ROUNDING_TFLM   0
#define EDGEQ_ROUNDING_SINGLE 1
#define EDGEQ_ROUNDING_SHIFT  2
#ifndef EDGEQ_ROUNDING
#define EDGEQ_ROUNDING EDGEQ_ROUNDING_TFLM
#endif

static inline int32_t edgeq_requantize(int32_t acc, int32_t multiplier, int32_t shift) {
#if EDGEQ_ROUNDING == EDGEQ_ROUNDING_TFLM
    return edgeq_requantize_tflm(acc, multiplier, shift);
#elif EDGEQ_ROUNDING == EDGEQ_ROUNDING_SINGLE
    return edgeq_requantize_single(acc, multiplier, shift);
#else
    return edgeq_requantize_shift(acc, multiplier, shift);
#endif
}

/* n / d, rounded down, for a quotient below 256; 1 <= d < 2**24. */
static inline uint32_t edgeq_divide_small(uint32_t n, uint32_t d) {
#ifdef EDGEQ_NO_LONG_MULTIPLY
    uint32_t quotient = 0;
    for (uint32_t bit = 128; bit > 0; bit >>= 1) {
        if (n >= d * bit) {
            n -= d * bit;
            quotient += bit;
        }
    }
    return quotient;
#else
    return n / d;
#endif
}

/* numerator / denominator, ties away from zero, for a quotient within +-255. */
static inline int32_t edgeq_divide_rounding(int32_t numerator, int32_t denominator) {
    const uint32_t d = (uint32_t)denominator;
    const uint32_t n = numerator < 0 ? 0u - (uint32_t)numerator : (uint32_t)numerator;
    const int32_t magnitude = (int32_t)edgeq_divide_small(n + d / 2, d);
    return numerator < 0 ? -magnitude : magnitude;
}

/* sum(x[i] * w[i]) over n bytes. */
static inline int32_t edgeq_dot(const int8_t *restrict x, const int8_t *restrict w, int32_t n) {
    int32_t acc = 0;
    for (int32_t i = 0; i < n; ++i) {
        acc += x[i] * w[i];
    }
    return acc;
}

/* sum(w[i]) over n bytes. */
static inline int32_t edgeq_sum(const int8_t *w, int32_t n) {
    int32_t acc = 0;
    for (int32_t i = 0; i < n; ++i) {
        acc += w[i];
    }
    return acc;
}

#endif /* EDGEQ_ARITH_H */
