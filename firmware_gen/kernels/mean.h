/* MEAN over height and width; twin of edgeq/ops/mean.py. */
#ifndef EDGEQ_MEAN_H
#define EDGEQ_MEAN_H

#include <stdint.h>

#include "edgeq_arith.h"

struct edgeq_mean {
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t multiplier; /* with 1 / pixels in it */
    int32_t shift;
    int32_t pixels;
    int32_t channels;
};

/* (H, W, C) -> (C,); total is scratch of C. */
static inline void edgeq_mean(const struct edgeq_mean *op, const int8_t *restrict x,
                              int32_t *restrict total, int8_t *restrict out) {
    const int32_t channels = op->channels;
    for (int32_t c = 0; c < channels; ++c) {
        total[c] = -op->pixels * op->input_zero_point;
    }
    for (int32_t p = 0; p < op->pixels; ++p) {
        for (int32_t c = 0; c < channels; ++c) {
            total[c] += x[c];
        }
        x += channels;
    }
    for (int32_t c = 0; c < channels; ++c) {
        const int32_t y = edgeq_requantize(total[c], op->multiplier, op->shift);
        out[c] = (int8_t)edgeq_clamp(y + op->output_zero_point, INT8_MIN, INT8_MAX);
    }
}

#endif /* EDGEQ_MEAN_H */
