/* Instructions of the DSP extension as functions (Arm DDI0403E, sections A4.4.3 and A7.7), with
 * the same meaning in plain C where the compiler does not target it. */
#ifndef EDGEQ_DSP_H
#define EDGEQ_DSP_H

#include <stdint.h>

#ifdef __ARM_FEATURE_DSP
#define EDGEQ_HAS_DSP 1
#endif

/* Four bytes from any address, the first lowest. */
static inline uint32_t edgeq_load4(const int8_t *at) {
    uint32_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return word;
}

/* Bytes 0 and 2 as two int16. */
static inline uint32_t edgeq_sxtb16(uint32_t x) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(x));
    return result;
#else
    const uint32_t low = (uint32_t)(int32_t)(int8_t)(x & 0xffu) & 0xffffu;
    return low | (uint32_t)(int32_t)(int8_t)((x >> 16) & 0xffu) << 16;
#endif
}

/* Bytes 1 and 3 as two int16. */
static inline uint32_t edgeq_sxtb16_odd(uint32_t x) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
    return result;
#else
    return edgeq_sxtb16(x >> 8);
#endif
}

/* Bytes 0 and 2 as two int16, added to those of `acc`. */
static inline uint32_t edgeq_sxtab16(uint32_t acc, uint32_t x) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("sxtab16 %0, %1, %2" : "=r"(result) : "r"(acc), "r"(x));
    return result;
#else
    const uint32_t bytes = edgeq_sxtb16(x);
    return ((acc + bytes) & 0xffffu) | ((acc & 0xffff0000u) + (bytes & 0xffff0000u));
#endif
}

/* Bytes 1 and 3 as two int16, added to those of `acc`. */
static inline uint32_t edgeq_sxtab16_odd(uint32_t acc, uint32_t x) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(acc), "r"(x));
    return result;
#else
    return edgeq_sxtab16(acc, x >> 8);
#endif
}

/* acc + the products of the two int16 in x with those in y, modulo 2**32. */
static inline int32_t edgeq_smlad(uint32_t x, uint32_t y, int32_t acc) {
#ifdef EDGEQ_HAS_DSP
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
#else
    const int32_t low = (int16_t)(x & 0xffffu) * (int16_t)(y & 0xffffu);
    const int32_t high = (int16_t)(x >> 16) * (int16_t)(y >> 16);
    return (int32_t)((uint32_t)acc + (uint32_t)low + (uint32_t)high);
#endif
}

/* acc + a * b / 2**32, rounded to nearest, ties upward; the sum fits in int32. */
static inline int32_t edgeq_smmlar(int32_t a, int32_t b, int32_t acc) {
#ifdef EDGEQ_HAS_DSP
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
#else
    return acc + (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
#endif
}

#endif /* EDGEQ_DSP_H */
