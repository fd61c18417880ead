/* More instructions of the DSP extension as functions, as edgeq_dsp.h: halves taken from two
 * words, products of single halves, saturation. */
#ifndef EDGEQ_DSP_PACK_H
#define EDGEQ_DSP_PACK_H

#include <stdint.h>

#include "edgeq_dsp.h"

/* The low int16 of x, and that of y above it. */
static inline uint32_t edgeq_pack_low(uint32_t x, uint32_t y) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(x), "r"(y));
    return result;
#else
    return (x & 0xffffu) | (y << 16);
#endif
}

/* The high int16 of x, and that of y above it. */
static inline uint32_t edgeq_pack_high(uint32_t x, uint32_t y) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(y), "r"(x));
    return result;
#else
    return (x >> 16) | (y & 0xffff0000u);
#endif
}

/* acc + the low int16 of x times the high one of y. */
static inline int32_t edgeq_mla_low_high(uint32_t x, uint32_t y, int32_t acc) {
#ifdef EDGEQ_HAS_DSP
    int32_t result;
    __asm__("smlabt %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
#else
    return acc + (int16_t)(x & 0xffffu) * (int16_t)(y >> 16);
#endif
}

/* acc + the product of the low int16 of x and that of y. */
static inline int32_t edgeq_mla_low_low(uint32_t x, uint32_t y, int32_t acc) {
#ifdef EDGEQ_HAS_DSP
    int32_t result;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
#else
    return acc + (int16_t)(x & 0xffffu) * (int16_t)(y & 0xffffu);
#endif
}

/* acc + the high int16 of x times the low one of y. */
static inline int32_t edgeq_mla_high_low(uint32_t x, uint32_t y, int32_t acc) {
    return edgeq_mla_low_high(y, x, acc);
}

/* acc + a * b / 2**32, rounded down; the sum fits in int32. */
static inline int32_t edgeq_smmla(int32_t a, int32_t b, int32_t acc) {
#ifdef EDGEQ_HAS_DSP
    int32_t result;
    __asm__("smmla %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
#else
    return acc + (int32_t)(((int64_t)a * b) >> 32);
#endif
}

/* The value of int8's range nearest to x. */
static inline int32_t edgeq_saturate8(int32_t x) {
#ifdef EDGEQ_HAS_DSP
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
    return result;
#else
    return x < INT8_MIN ? INT8_MIN : (x > INT8_MAX ? INT8_MAX : x);
#endif
}

/* edgeq_saturate8(x >> n) in one instruction; n is a constant expression, 1 .. 31. */
#ifdef EDGEQ_HAS_DSP
#define EDGEQ_SATURATE8_SHIFTED(result, x, n)                                                  \
    __asm__("ssat %0, #8, %1, asr %2" : "=r"(result) : "r"(x), "I"(n))
#else
#define EDGEQ_SATURATE8_SHIFTED(result, x, n) ((result) = edgeq_saturate8((x) >> (n)))
#endif

#endif /* EDGEQ_DSP_PACK_H */
