/* Sums of each of four channels over pixels, a word of channels at a time, on any core. */
#ifndef EDGEQ_PIXEL_SUM_H
#define EDGEQ_PIXEL_SUM_H

#include <stdint.h>

#include "edgeq_dsp.h"

/* Words that may lie over bytes (C11 6.5, paragraph 7). */
typedef uint32_t __attribute__((may_alias)) edgeq_pixel_word;

/* Halves of x, plus bytes 0 and 2 of y. */
static inline uint32_t edgeq_uxtab16(uint32_t x, uint32_t y) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("uxtab16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
#else
    return x + (y & 0x00ff00ffu);
#endif
}

/* Halves of x, plus bytes 1 and 3 of y. */
static inline uint32_t edgeq_uxtab16_odd(uint32_t x, uint32_t y) {
#ifdef EDGEQ_HAS_DSP
    uint32_t result;
    __asm__("uxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(x), "r"(y));
    return result;
#else
    return x + ((y >> 8) & 0x00ff00ffu);
#endif
}

/* The sums over 1 .. 257 pixels that are `step` words apart: of bytes + 128, a sum of which is
 * at most 257 * 255 = 65535 and fits a half, less 128 a pixel. */
static inline void edgeq_pixel_sum(const int8_t *x, int32_t pixels, int32_t step,
                                   int32_t total[4]) {
    const edgeq_pixel_word *at = (const edgeq_pixel_word *)(const void *)x;
    uint32_t even = 0, odd = 0;
    for (int32_t pairs = pixels / 2; pairs > 0; --pairs) {
        const uint32_t first = at[0] ^ 0x80808080u, second = at[step] ^ 0x80808080u;
        even = edgeq_uxtab16(edgeq_uxtab16(even, first), second);
        odd = edgeq_uxtab16_odd(edgeq_uxtab16_odd(odd, first), second);
        at += 2 * step;
    }
    if (pixels % 2 != 0) {
        const uint32_t last = at[0] ^ 0x80808080u;
        even = edgeq_uxtab16(even, last);
        odd = edgeq_uxtab16_odd(odd, last);
    }
    total[0] = (int32_t)(even & 0xffffu) - 128 * pixels;
    total[1] = (int32_t)(odd & 0xffffu) - 128 * pixels;
    total[2] = (int32_t)(even >> 16) - 128 * pixels;
    total[3] = (int32_t)(odd >> 16) - 128 * pixels;
}

#endif /* EDGEQ_PIXEL_SUM_H */
