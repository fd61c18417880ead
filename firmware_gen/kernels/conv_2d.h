/* CONV_2D; twin of edgeq/ops/conv_2d.py. Filters OHWI. The bias holds
 * -input_zero_point * sum(filter) already, so taps in the padding add what cancels it. */
#ifndef EDGEQ_CONV_2D_H
#define EDGEQ_CONV_2D_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_window.h"

struct edgeq_conv_2d {
    struct edgeq_window window;
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    const int32_t *multiplier; /* (O,), or (1,) if one serves all channels */
    const int8_t *shift;       /* as multiplier */
    int32_t multiplier_step;   /* 1, or 0 if one serves all channels */
    struct edgeq_image input;
    struct edgeq_image output;
};

/* One row of taps, dilation_w 1: the taps first .. last - 1 are inside the image, side by side
 * from `inside` on. */
static inline int32_t edgeq_conv_2d_row(const int8_t *inside, const int8_t *taps, int32_t first,
                                        int32_t last, int32_t filter_w, int32_t channels,
                                        int32_t zero_point) {
    int32_t acc = edgeq_dot(inside, taps + first * channels, (last - first) * channels);
    if (last - first < filter_w && zero_point != 0) {
        acc += zero_point * edgeq_sum(taps, first * channels);
        acc += zero_point * edgeq_sum(taps + last * channels, (filter_w - last) * channels);
    }
    return acc;
}

/* One row of taps, any dilation_w; in_x is the column of the first. */
static inline int32_t edgeq_conv_2d_taps(const int8_t *row, const int8_t *taps, int32_t in_x,
                                         const struct edgeq_conv_2d *op) {
    const int32_t channels = op->input.channels;
    int32_t acc = 0;
    for (int32_t filter_x = 0; filter_x < op->window.filter_w; ++filter_x) {
        if (in_x >= 0 && in_x < op->input.width) {
            acc += edgeq_dot(row + in_x * channels, taps, channels);
        } else {
            acc += op->input_zero_point * edgeq_sum(taps, channels);
        }
        in_x += op->window.dilation_w;
        taps += channels;
    }
    return acc;
}

/* (H, W, I) -> (out_h, out_w, O). */
static inline void edgeq_conv_2d(const struct edgeq_conv_2d *op, const int8_t *x,
                                 const int8_t *restrict filter, const int32_t *restrict bias,
                                 int8_t *out) {
    const struct edgeq_window *const window = &op->window;
    const int32_t filter_w = window->filter_w;
    const int32_t channels = op->input.channels;
    const int32_t row_nbytes = op->input.width * channels;
    const int32_t taps_nbytes = filter_w * channels;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        const int32_t top = out_y * window->stride_h - window->pad_top;
        for (int32_t out_x = 0; out_x < op->output.width; ++out_x) {
            const int32_t left = out_x * window->stride_w - window->pad_left;
            const int32_t first = edgeq_clamp(-left, 0, filter_w);
            const int32_t last = edgeq_clamp(op->input.width - left, 0, filter_w);
            const int32_t start = first < last ? (left + first) * channels : 0;
            const int8_t *taps = filter;
            for (int32_t o = 0; o < op->output.channels; ++o) {
                int32_t acc = bias[o];
                int32_t in_y = top;
                for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
                    if (in_y < 0 || in_y >= op->input.height) {
                        acc += op->input_zero_point * edgeq_sum(taps, taps_nbytes);
                    } else if (window->dilation_w == 1) {
                        acc +=
                            edgeq_conv_2d_row(x + in_y * row_nbytes + start, taps, first, last,
                                              filter_w, channels, op->input_zero_point);
                    } else {
                        acc += edgeq_conv_2d_taps(x + in_y * row_nbytes, taps, left, op);
                    }
                    in_y += window->dilation_h;
                    taps += taps_nbytes;
                }
                const int32_t m = o * op->multiplier_step;
                const int32_t y = edgeq_requantize(acc, op->multiplier[m], op->shift[m]);
                *out++ = (int8_t)edgeq_clamp(y + op->output_zero_point, op->activation_min,
                                             op->activation_max);
            }
        }
    }
}

#endif /* EDGEQ_CONV_2D_H */
