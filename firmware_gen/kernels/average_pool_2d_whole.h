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

#ifdef EDGEQ_FOR_SIZE
#define EDGEQ_AVERAGE_FEW INT32_MAX
#else
#define EDGEQ_AVERAGE_FEW 1024 /* bytes that are summed one at a time, by less code */
#endif

static inline __attribute__((always_inline))
int8_t edgeq_average_of(const struct edgeq_average_pool_2d_whole *op, int32_t total) {
    const int32_t y = edgeq_divide_rounding(total, op->pixels);
    return (int8_t)edgeq_clamp(y, op->activation_min, op->activation_max);
}

/* (H, W, C) -> (C,); x is aligned to words. */
static inline void edgeq_average_pool_2d_whole(const struct edgeq_average_pool_2d_whole *op,
                                               const int8_t *x, int8_t *out) {
    if (op->pixels * op->channels <= EDGEQ_AVERAGE_FEW) {
        for (int32_t c = 0; c < op->channels; ++c) {
            const int8_t *at = x + c;
            int32_t total = 0;
            for (int32_t p = 0; p < op->pixels; ++p) {
                total += *at;
                at += op->channels;
            }
            *out++ = edgeq_average_of(op, total);
        }
        return;
    }
    for (int32_t c = 0; c < op->channels; c += 4) {
        struct edgeq_pixel_sums sums = edgeq_pixel_sum(x + c, op->pixels, op->channels / 4);
        for (int32_t i = 0; i < 4; ++i) {
            *out++ = edgeq_average_of(op, edgeq_pixel_next(&sums, op->pixels));
        }
    }
}

#endif /* EDGEQ_AVERAGE_POOL_2D_WHOLE_H */
