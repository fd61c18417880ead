/* MAX_POOL_2D; twin of edgeq/ops/max_pool_2d.py. */
#ifndef EDGEQ_MAX_POOL_2D_H
#define EDGEQ_MAX_POOL_2D_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_window.h"

struct edgeq_max_pool_2d {
    struct edgeq_window window;
    int32_t activation_min;
    int32_t activation_max;
    struct edgeq_image input;
    struct edgeq_image output;
};

/* (H, W, C) -> (out_h, out_w, C); the maximum grows in the output itself, from the least value
 * that may come out. */
static inline void edgeq_max_pool_2d(const struct edgeq_max_pool_2d *op, const int8_t *x,
                                     int8_t *out) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        const int32_t top = out_y * window->stride_h - window->pad_top;
        for (int32_t out_x = 0; out_x < op->output.width; ++out_x) {
            const int32_t left = out_x * window->stride_w - window->pad_left;
            for (int32_t c = 0; c < channels; ++c) {
                out[c] = (int8_t)op->activation_min;
            }
            int32_t in_y = top;
            for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
                int32_t in_x = left;
                for (int32_t filter_x = 0; filter_x < window->filter_w; ++filter_x) {
                    if (in_y >= 0 && in_y < op->input.height && in_x >= 0 &&
                        in_x < op->input.width) {
                        const int8_t *pixel = x + (in_y * op->input.width + in_x) * channels;
                        for (int32_t c = 0; c < channels; ++c) {
                            out[c] = pixel[c] > out[c] ? pixel[c] : out[c];
                        }
                    }
                    in_x += window->dilation_w;
                }
                in_y += window->dilation_h;
            }
            if (op->activation_max < INT8_MAX) {
                for (int32_t c = 0; c < channels; ++c) {
                    out[c] =
                        (int8_t)(out[c] > op->activation_max ? op->activation_max : out[c]);
                }
            }
            out += channels;
        }
    }
}

#endif /* EDGEQ_MAX_POOL_2D_H */
