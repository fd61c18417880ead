/* DEPTHWISE_CONV_2D; twin of edgeq/ops/depthwise_conv_2d.py. Filters HWC. The bias holds
 * -input_zero_point * sum(filter) already, so taps in the padding add what cancels it. */
#ifndef EDGEQ_DEPTHWISE_CONV_2D_H
#define EDGEQ_DEPTHWISE_CONV_2D_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_window.h"

struct edgeq_depthwise_conv_2d {
    struct edgeq_window window;
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    const int32_t *multiplier; /* (C * m,), or (1,) if one serves all channels */
    const int8_t *shift;       /* as multiplier */
    int32_t multiplier_step;   /* 1, or 0 if one serves all channels */
    int32_t depth_multiplier;  /* m */
    struct edgeq_image input;
    struct edgeq_image output;
};

/* Adds one tap of every channel to the accumulators. */
static inline void edgeq_depthwise_conv_2d_tap(const int8_t *restrict pixel,
                                               const int8_t *restrict taps,
                                               int32_t *restrict acc, int32_t channels,
                                               int32_t depth_multiplier) {
    if (depth_multiplier == 1) {
        for (int32_t c = 0; c < channels; ++c) {
            acc[c] += pixel[c] * taps[c];
        }
        return;
    }
    for (int32_t c = 0; c < channels; ++c) {
        for (int32_t m = 0; m < depth_multiplier; ++m) {
            *acc++ += pixel[c] * *taps++;
        }
    }
}

/* (H, W, C) -> (out_h, out_w, C * m); acc is scratch of C * m. */
static inline void edgeq_depthwise_conv_2d(const struct edgeq_depthwise_conv_2d *op,
                                           const int8_t *x,
                                           const int8_t *restrict filter,
                                           const int32_t *restrict bias, int32_t *restrict acc,
                                           int8_t *out) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t out_channels = op->output.channels;
    const int32_t zero_point = op->input_zero_point;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        const int32_t top = out_y * window->stride_h - window->pad_top;
        for (int32_t out_x = 0; out_x < op->output.width; ++out_x) {
            const int32_t left = out_x * window->stride_w - window->pad_left;
            const int8_t *taps = filter;
            for (int32_t c = 0; c < out_channels; ++c) {
                acc[c] = bias[c];
            }
            int32_t in_y = top;
            for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
                const bool row_is_inside = in_y >= 0 && in_y < op->input.height;
                int32_t in_x = left;
                for (int32_t filter_x = 0; filter_x < window->filter_w; ++filter_x) {
                    if (row_is_inside && in_x >= 0 && in_x < op->input.width) {
                        edgeq_depthwise_conv_2d_tap(x + (in_y * op->input.width + in_x) *
                                                            channels,
                                                    taps, acc, channels, op->depth_multiplier);
                    } else if (zero_point != 0) {
                        for (int32_t c = 0; c < out_channels; ++c) {
                            acc[c] += zero_point * taps[c];
                        }
                    }
                    in_x += window->dilation_w;
                    taps += out_channels;
                }
                in_y += window->dilation_h;
            }
            for (int32_t c = 0; c < out_channels; ++c) {
                const int32_t m = c * op->multiplier_step;
                const int32_t y = edgeq_requantize(acc[c], op->multiplier[m], op->shift[m]);
                *out++ = (int8_t)edgeq_clamp(y + op->output_zero_point, op->activation_min,
                                             op->activation_max);
            }
        }
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_H */
