/* Accumulators to bytes, where the generator has proven |acc| < 2**23: edgeq_requantize for
 * shift = -n, 2 <= n <= 23, and 0 < m < 2**31, with the zero point, saturated. Its two
 * roundings are (edgeq_tile.h)
 *     out = (floor((acc * m + 2**30) / 2**31) + (2 * zero_point + 1) * 2**(n - 1) - (acc < 0))
 * >> n and as a floor of a floor is a floor, with k = n - 2, c = (2 * zero_point + 1) * 2**k
 *     out = (floor((acc * m + (acc < 0 ? -2**30 : 2**30)) / 2**32) + c) >> k >> 1 */
#ifndef EDGEQ_NARROW_H
#define EDGEQ_NARROW_H

#include <stdint.h>

#include "edgeq_arith.h"

/* c + the floor above. */
static inline int32_t edgeq_narrow_high(int32_t acc, int32_t m, int32_t c) {
    const int32_t sign = acc >> 31;
#ifdef EDGEQ_NO_LONG_MULTIPLY
    /* With acc = 2**8 * a + b and m = 2**16 * g + h, floors within floors:
     *     acc * m = 2**8 * (2**16 * a * g + 2**8 * b * g + q) + less than 2**8
     *     q = a * h + (b * h >> 8)
     * and every term fits: |a| <= 2**15, b < 2**8, g < 2**15, h < 2**16. */
    const int32_t a = acc >> 8;
    const int32_t b = (int32_t)((uint32_t)acc & 0xffu);
    const int32_t g = m >> 16;
    const int32_t h = (int32_t)((uint32_t)m & 0xffffu);
    const int32_t q = (a * h + ((b * h) >> 8)) >> 8;
    const int32_t half = (1 << 14) - (sign & (1 << 15));
    return c + ((a * g + ((b * g + q + half) >> 8)) >> 8);
#else
    const uint32_t high = (uint32_t)c + (uint32_t)sign;
    const uint32_t low = (1u << 30) | ((uint32_t)acc & (1u << 31));
    return (int32_t)(((int64_t)((uint64_t)high << 32 | low) + (int64_t)acc * m) >> 32);
#endif
}

/* y >> 1 within int8. */
static inline int8_t edgeq_narrow_half(int32_t y) {
#ifdef __ARM_FEATURE_SAT
    int32_t result;
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(result) : "r"(y));
    return (int8_t)result;
#else
    return (int8_t)edgeq_clamp(y >> 1, -128, 127);
#endif
}

/* The largest accumulator that may be taken for 0: 0 where no result below the zero point is
 * wanted, so that all below it give the zero point, else none. */
static inline int32_t edgeq_narrow_zero(int32_t zero_point, int32_t activation_min) {
    return activation_min >= zero_point ? 0 : INT32_MIN;
}

/* One accumulator; zero as edgeq_narrow_zero gives it. */
static inline int8_t edgeq_narrow(int32_t acc, int32_t m, int32_t c, int32_t k, int32_t zero) {
#ifdef EDGEQ_NO_LONG_MULTIPLY
    if (acc <= zero) {
        return (int8_t)(c >> k >> 1);
    }
#else
    (void)zero;
#endif
    return edgeq_narrow_half(edgeq_narrow_high(acc, m, c) >> k);
}

/* The bytes of a layer whose activation is within [low, high], clamped where that is less than
 * what a byte holds. */
static inline void edgeq_narrow_clamp(int8_t *out, int32_t n, int32_t low, int32_t high) {
    if (low > -128 || high < 127) {
        for (int32_t i = 0; i < n; ++i) {
            out[i] = (int8_t)edgeq_clamp(out[i], low, high);
        }
    }
}

#endif /* EDGEQ_NARROW_H */
