/* CONV_2D on cores with the DSP extension: the taps of two pixels at a time are widened into
 * scratch, padding as the input's zero point, and serve all channels. Twin of
 * edgeq/ops/conv_2d.py; weights as edgeq_tile.h has them, in the order of OHWI. */
#ifndef EDGEQ_CONV_2D_DSP_H
#define EDGEQ_CONV_2D_DSP_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_tile.h"
#include "edgeq_window.h"

struct edgeq_conv_2d_dsp {
    struct edgeq_window window;
    int32_t input_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    struct edgeq_image input;
    struct edgeq_image output;
    int32_t is_inside;   /* 1: no tap of any pixel is in the padding */
    int32_t taps_nbytes; /* filter_h * filter_w * channels, up to a multiple of 4 */
    struct edgeq_tile tile;
};

/* The taps of one pixel as bytes, for channels that are not a multiple of 4. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_gather(const struct edgeq_conv_2d_dsp *op, const int8_t *x, int32_t out_y,
                     int32_t out_x, int8_t *bytes) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t row_nbytes = op->input.width * channels;
    int32_t in_y = out_y * window->stride_h - window->pad_top;
    int8_t *const end = bytes + op->taps_nbytes;
    for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
        int32_t in_x = out_x * window->stride_w - window->pad_left;
        const int32_t is_row = in_y >= 0 && in_y < op->input.height;
        if (is_row && window->dilation_w == 1 && in_x >= 0 &&
            in_x + window->filter_w <= op->input.width) {
            const int32_t nbytes = window->filter_w * channels;
            __builtin_memcpy(bytes, x + in_y * row_nbytes + in_x * channels, (size_t)nbytes);
            bytes += nbytes;
        } else {
            for (int32_t filter_x = 0; filter_x < window->filter_w; ++filter_x) {
                const int32_t is_inside = is_row && in_x >= 0 && in_x < op->input.width;
                const int32_t at = is_inside ? in_y * row_nbytes + in_x * channels : 0;
                for (int32_t i = 0; i < channels; ++i) {
                    *bytes++ = (int8_t)(is_inside ? x[at + i] : op->input_zero_point);
                }
                in_x += window->dilation_w;
            }
        }
        in_y += window->dilation_h;
    }
    while (bytes < end) {
        *bytes++ = 0;
    }
}

/* The taps of one pixel, widened; channels a multiple of 4. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_widen(const struct edgeq_conv_2d_dsp *op, const int8_t *x, int32_t out_y,
                    int32_t out_x, uint32_t *to) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t row_nbytes = op->input.width * channels;
    const int32_t left = out_x * window->stride_w - window->pad_left;
    int32_t in_y = out_y * window->stride_h - window->pad_top;
    if (window->filter_h == 1 && window->filter_w == 1 && op->is_inside != 0) {
        edgeq_widen(to, x + in_y * row_nbytes + left * channels, channels);
        return;
    }
    for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
        const int8_t *const row = x + in_y * row_nbytes;
        if (in_y < 0 || in_y >= op->input.height) {
            to = edgeq_widen_value(to, op->input_zero_point, window->filter_w * channels);
        } else if (window->dilation_w == 1) {
            const int32_t first = edgeq_clamp(-left, 0, window->filter_w);
            const int32_t last = edgeq_clamp(op->input.width - left, first, window->filter_w);
            to = edgeq_widen_value(to, op->input_zero_point, first * channels);
            to = edgeq_widen(to, row + (left + first) * channels, (last - first) * channels);
            to = edgeq_widen_value(to, op->input_zero_point,
                                   (window->filter_w - last) * channels);
        } else {
            int32_t in_x = left;
            for (int32_t filter_x = 0; filter_x < window->filter_w; ++filter_x) {
                if (in_x >= 0 && in_x < op->input.width) {
                    to = edgeq_widen(to, row + in_x * channels, channels);
                } else {
                    to = edgeq_widen_value(to, op->input_zero_point, channels);
                }
                in_x += window->dilation_w;
            }
        }
        in_y += window->dilation_h;
    }
}

/* (H, W, I) -> (out_h, out_w, O); scratch: the widened taps of two pixels, and where channels
 * are not a multiple of 4 the bytes of one. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_dsp(const struct edgeq_conv_2d_dsp *op, const int8_t *x, const int32_t *weights,
                  int8_t *out, uint32_t *scratch) {
    const int32_t count = op->output.height * op->output.width;
    const int32_t channels = op->output.channels;
    int8_t *const bytes = (int8_t *)(scratch + op->taps_nbytes);
    int32_t out_y = 0;
    int32_t out_x = 0;
    for (int32_t pixel = 0; pixel < count; pixel += 2) {
        for (int32_t i = 0; i < 2; ++i) {
            if (op->input.channels % 4 == 0) {
                edgeq_conv_2d_widen(op, x, out_y, out_x, scratch + i);
            } else {
                edgeq_conv_2d_gather(op, x, out_y, out_x, bytes);
                edgeq_widen(scratch + i, bytes, op->taps_nbytes);
            }
            /* An odd last pixel is its own second. */
            if (pixel + i + 1 < count && ++out_x == op->output.width) {
                out_x = 0;
                ++out_y;
            }
        }
        edgeq_tile_pair(&op->tile, channels, op->activation_min, op->activation_max, scratch,
                        weights, out, pixel + 1 < count ? out + channels : out);
        out += 2 * channels;
    }
}

#endif /* EDGEQ_CONV_2D_DSP_H */
