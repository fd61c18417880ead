/* MEAN over height and width, four channels at a time; twin of edgeq/ops/mean.py. */
#ifndef EDGEQ_MEAN_WORDS_H
#define EDGEQ_MEAN_WORDS_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_pixel_sum.h"

struct edgeq_mean_words {
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t multiplier; /* with 1 / pixels in it */
    int32_t shift;
    int32_t pixels;   /* 1 .. 257 */
    int32_t channels; /* a multiple of 4 */
};

/* (H, W, C) -> (C,); x is aligned to words. */
static inline void edgeq_mean_words(const struct edgeq_mean_words *op, const int8_t *x,
                                    int8_t *out) {
    for (int32_t c = 0; c < op->channels; c += 4) {
        struct edgeq_pixel_sums sums = edgeq_pixel_sum(x + c, op->pixels, op->channels / 4);
        for (int32_t i = 0; i < 4; ++i) {
            const int32_t total = edgeq_pixel_next(&sums, op->pixels);
            const int32_t acc = total - op->pixels * op->input_zero_point;
            const int32_t y = edgeq_requantize(acc, op->multiplier, op->shift);
            *out++ = (int8_t)edgeq_clamp(y + op->output_zero_point, INT8_MIN, INT8_MAX);
        }
    }
}

#endif /* EDGEQ_MEAN_WORDS_H */
