/* CONV_2D on cores with the vector extension, three pixels at a time; twin of
 * edgeq/ops/conv_2d.py. The taps of a pixel are gathered into scratch, padding as the input's
 * zero point; those of a 1 x 1 filter with a horizontal stride of 1 stay where they are.
 * Filters OHWI as they are. */
#ifndef EDGEQ_CONV_2D_MVE_H
#define EDGEQ_CONV_2D_MVE_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_mve.h"
#include "edgeq_window.h"

struct edgeq_conv_2d_mve {
    struct edgeq_window window;
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    struct edgeq_image input;
    struct edgeq_image output;
    int32_t depth;       /* filter_h * filter_w * channels */
    int32_t taps_nbytes; /* of a pixel in scratch: the depth up to a multiple of 4 */
    int32_t is_in_place; /* 1: nothing is gathered */
    int32_t is_full;     /* as edgeq_mve_tile */
};

/* The taps of one pixel. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_mve_gather(const struct edgeq_conv_2d_mve *op, const int8_t *x, int32_t out_y,
                         int32_t out_x, int8_t *to) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t row_nbytes = op->input.width * channels;
    const int32_t taps_nbytes = window->filter_w * channels;
    const int32_t left = out_x * window->stride_w - window->pad_left;
    int32_t in_y = out_y * window->stride_h - window->pad_top;
    for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
        const int8_t *const row = x + in_y * row_nbytes;
        if (in_y < 0 || in_y >= op->input.height) {
            edgeq_mve_fill(to, op->input_zero_point, taps_nbytes);
            to += taps_nbytes;
        } else if (window->dilation_w == 1 && left >= 0 &&
                   left + window->filter_w <= op->input.width) {
            edgeq_mve_copy(to, row + left * channels, taps_nbytes);
            to += taps_nbytes;
        } else {
            int32_t in_x = left;
            for (int32_t filter_x = 0; filter_x < window->filter_w; ++filter_x) {
                if (in_x >= 0 && in_x < op->input.width) {
                    edgeq_mve_copy(to, row + in_x * channels, channels);
                } else {
                    edgeq_mve_fill(to, op->input_zero_point, channels);
                }
                to += channels;
                in_x += window->dilation_w;
            }
        }
        in_y += window->dilation_h;
    }
}

/* Three pixels, all channels; where their number is no multiple of 4, the last group begins as
 * much before the end and its first results are there already. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_mve_pixels(const struct edgeq_conv_2d_mve *op, struct edgeq_mve_tile *tile,
                         const int8_t *weights, const int32_t *params, int8_t *const out[3]) {
    const int32_t channels = op->output.channels;
    for (int32_t i = 0; i < 3; ++i) {
        tile->out[i] = out[i];
    }
    tile->params = params;
    tile->weights = weights;
    tile->groups = channels / 4;
    edgeq_mve_tile(tile, op->depth, op->is_full);
    if (channels % 4 != 0) {
        for (int32_t i = 0; i < 3; ++i) {
            tile->out[i] = out[i] + channels - 4;
        }
        tile->params = params + channels / 4 * EDGEQ_MVE_PARAMS;
        tile->weights = weights + (channels - 4) * op->depth;
        tile->groups = 1;
        edgeq_mve_tile(tile, op->depth, op->is_full);
    }
}

/* (H, W, I) -> (out_h, out_w, O), O at least 4; scratch: the taps of three pixels. Behind the
 * last pixel, of a row in place, it stands for those that are not there. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_mve(const struct edgeq_conv_2d_mve *op, const int8_t *x, const int8_t *weights,
                  const int32_t *params, int8_t *out, int8_t *scratch) {
    const int32_t channels = op->output.channels;
    const int32_t max = op->activation_max;
    struct edgeq_mve_tile tile = {.zero_point = op->output_zero_point,
                                  .depth = op->depth,
                                  .activation_min = op->activation_min,
                                  .activation_max = {max, max, max, max}};
    if (op->is_in_place != 0) {
        for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
            const int8_t *from = x + out_y * op->window.stride_h * op->input.width * op->depth;
            for (int32_t left = op->output.width; left > 0; left -= 3) {
                int8_t *to[3];
                for (int32_t i = 0; i < 3; ++i) {
                    const int32_t pixel = i < left ? i : left - 1;
                    tile.x[i] = from + pixel * op->depth;
                    to[i] = out + pixel * channels;
                }
                edgeq_conv_2d_mve_pixels(op, &tile, weights, params, to);
                from += 3 * op->depth;
                out += (left < 3 ? left : 3) * channels;
            }
        }
        return;
    }
    int32_t out_y = 0;
    int32_t out_x = 0;
    for (int32_t left = op->output.height * op->output.width; left > 0; left -= 3) {
        int8_t *to[3];
        for (int32_t i = 0; i < 3; ++i) {
            const int32_t pixel = i < left ? i : left - 1;
            int8_t *const taps = scratch + pixel * op->taps_nbytes;
            tile.x[i] = taps;
            to[i] = out + pixel * channels;
            if (i < left) {
                edgeq_conv_2d_mve_gather(op, x, out_y, out_x, taps);
                if (++out_x == op->output.width) {
                    out_x = 0;
                    ++out_y;
                }
            }
        }
        edgeq_conv_2d_mve_pixels(op, &tile, weights, params, to);
        out += 3 * channels;
    }
}

#endif /* EDGEQ_CONV_2D_MVE_H */
