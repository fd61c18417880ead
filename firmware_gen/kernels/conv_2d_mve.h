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

/* The taps of one pixel: those in the image, and around them the zero point. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_mve_gather(const struct edgeq_conv_2d_mve *op, const int8_t *x, int32_t out_y,
                         int32_t out_x, int8_t *to) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t last_y = (window->filter_h - 1) * window->dilation_h;
    const int32_t last_x = (window->filter_w - 1) * window->dilation_w;
    const int32_t step = window->filter_w * channels;
    const int32_t row_step = window->dilation_h * op->input.width * channels;
    int32_t top = out_y * window->stride_h - window->pad_top;
    int32_t left = out_x * window->stride_w - window->pad_left;
    int32_t rows = window->filter_h;
    int32_t columns = window->filter_w;
    if (top < 0 || left < 0 || top + last_y >= op->input.height ||
        left + last_x >= op->input.width) {
        edgeq_mve_fill(to, op->input_zero_point, op->depth);
        for (; top < 0; top += window->dilation_h) {
            to += step;
            --rows;
        }
        for (; left < 0; left += window->dilation_w) {
            to += channels;
            --columns;
        }
        while (top + (rows - 1) * window->dilation_h >= op->input.height) {
            --rows;
        }
        while (left + (columns - 1) * window->dilation_w >= op->input.width) {
            --columns;
        }
        if (rows <= 0 || columns <= 0) {
            return;
        }
    }
    x += (top * op->input.width + left) * channels;
    if (window->dilation_w == 1) {
        edgeq_mve_copy_rows(to, step, x, row_step, columns * channels, rows);
    } else {
        for (int32_t column = 0; column < columns; ++column) {
            edgeq_mve_copy_rows(to, step, x, row_step, channels, rows);
            to += channels;
            x += window->dilation_w * channels;
        }
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
