/* AVERAGE_POOL_2D of a whole image to one pixel; twin of edgeq/ops/average_pool_2d.py. */
#ifndef EDGEQ_AVERAGE_POOL_2D_WHOLE_H
#define EDGEQ_AVERAGE_POOL_2D_WHOLE_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_pixel_sum.h"

struct edgeq_average_pool_2d_whole {
    int32_t pixels;   /* 1 .. 257 */
    int32_t channels; /* a multiple of 4 */
    int32_t activation_min;
    int32_t activation_max;
};

/* (H, W, C) -> (C,); x is aligned to words. */
static inline void edgeq_average_pool_2d_whole(const struct edgeq_average_pool_2d_whole *op,
                                               const int8_t *x, int8_t *out) {
    for (int32_t c = 0; c < op->channels; c += 4) {
        struct edgeq_pixel_sums sums = edgeq_pixel_sum(x + c, op->pixels, op->channels / 4);
        for (int32_t i = 0; i < 4; ++i) {
            const int32_t total = edgeq_pixel_next(&sums, op->pixels);
            const int32_t y = edgeq_divide_rounding(total, op->pixels);
            *out++ = (int8_t)edgeq_clamp(y, op->activation_min, op->activation_max);
        }
    }
}

#endif /* EDGEQ_AVERAGE_POOL_2D_WHOLE_H */
