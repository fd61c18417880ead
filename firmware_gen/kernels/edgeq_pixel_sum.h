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

/* Sums of four channels: of 0 and 2 in the halves of `even`, of 1 and 3 in those of `odd`. */
struct edgeq_pixel_sums {
    uint32_t even;
    uint32_t odd;
};

/* The sums over 1 .. 257 pixels that are `step` words apart of bytes + 128; a sum is at most
 * 257 * 255 = 65535 and fits a half. */
static inline struct edgeq_pixel_sums edgeq_pixel_sum(const int8_t *x, int32_t pixels,
                                                      int32_t step) {
    const edgeq_pixel_word *at = (const edgeq_pixel_word *)(const void *)x;
    uint32_t even = 0, odd = 0;
#ifdef EDGEQ_FOR_SPEED
    for (; pixels >= 2; pixels -= 2) {
        const uint32_t first = at[0] ^ 0x80808080u, second = at[step] ^ 0x80808080u;
        even = edgeq_uxtab16(edgeq_uxtab16(even, first), second);
        odd = edgeq_uxtab16_odd(edgeq_uxtab16_odd(odd, first), second);
        at += 2 * step;
    }
#endif
    for (; pixels > 0; --pixels) {
        const uint32_t bytes = *at ^ 0x80808080u;
        even = edgeq_uxtab16(even, bytes);
        odd = edgeq_uxtab16_odd(odd, bytes);
        at += step;
    }
    return (struct edgeq_pixel_sums){even, odd};
}

/* The sum of the next channel over so many pixels, of the bytes as they are. */
static inline int32_t edgeq_pixel_next(struct edgeq_pixel_sums *sums, int32_t pixels) {
    const int32_t total = (int32_t)(sums->even & 0xffffu) - 128 * pixels;
    const uint32_t after = sums->even >> 16;
    sums->even = sums->odd;
    sums->odd = after;
    return total;
}

#endif /* EDGEQ_PIXEL_SUM_H */
