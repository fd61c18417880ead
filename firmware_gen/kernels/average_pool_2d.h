/* AVERAGE_POOL_2D; twin of edgeq/ops/average_pool_2d.py. */
#ifndef EDGEQ_AVERAGE_POOL_2D_H
#define EDGEQ_AVERAGE_POOL_2D_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_patch.h"

struct edgeq_average_pool_2d {
    struct edgeq_window window;
    int32_t activation_min;
    int32_t activation_max;
    struct edgeq_image input;
    struct edgeq_image output;
};

static inline int8_t edgeq_average_value(const struct edgeq_average_pool_2d *op, int32_t total,
                                         int32_t taps) {
    const int32_t y = edgeq_divide_rounding(total, taps);
    return (int8_t)edgeq_clamp(y, op->activation_min, op->activation_max);
}

/* Four channels of one output pixel, from x, the first tap's. */
static inline void edgeq_average_four(const struct edgeq_average_pool_2d *op,
                                      const struct edgeq_patch *patch, const int8_t *x,
                                      int8_t *out) {
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (int32_t row = 0; row < patch->rows; ++row) {
        const int8_t *tap = x + row * patch->row_step;
        for (int32_t column = 0; column < patch->columns; ++column) {
            a += tap[0];
            b += tap[1];
            c += tap[2];
            d += tap[3];
            tap += patch->column_step;
        }
    }
    const int32_t taps = patch->rows * patch->columns;
    out[0] = edgeq_average_value(op, a, taps);
    out[1] = edgeq_average_value(op, b, taps);
    out[2] = edgeq_average_value(op, c, taps);
    out[3] = edgeq_average_value(op, d, taps);
}

static inline void edgeq_average_one(const struct edgeq_average_pool_2d *op,
                                     const struct edgeq_patch *patch, const int8_t *x,
                                     int8_t *out) {
    int32_t total = 0;
    for (int32_t row = 0; row < patch->rows; ++row) {
        const int8_t *tap = x + row * patch->row_step;
        for (int32_t column = 0; column < patch->columns; ++column) {
            total += *tap;
            tap += patch->column_step;
        }
    }
    *out = edgeq_average_value(op, total, patch->rows * patch->columns);
}

/* (H, W, C) -> (out_h, out_w, C). */
static inline void edgeq_average_pool_2d(const struct edgeq_average_pool_2d *op,
                                         const int8_t *x, int8_t *out) {
    const int32_t channels = op->input.channels;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        for (int32_t out_x = 0; out_x < op->output.width; ++out_x) {
            const struct edgeq_patch patch =
                edgeq_patch_of(&op->window, &op->input, out_y, out_x);
            const int8_t *first = x + patch.start;
            int32_t left = channels;
            for (; left >= 4; left -= 4) {
                edgeq_average_four(op, &patch, first, out);
                first += 4;
                out += 4;
            }
            for (; left > 0; --left) {
                edgeq_average_one(op, &patch, first++, out++);
            }
        }
    }
}

#endif /* EDGEQ_AVERAGE_POOL_2D_H */
