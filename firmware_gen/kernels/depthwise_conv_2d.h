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

/* One tap of the filter at an output pixel: offsets in bytes of its pixel and its weights. */
struct edgeq_depthwise_tap {
    int32_t x;
    int32_t filter;
};

/* Lists the taps, those in the image from the first on, the others from the last back; returns
 * how many are in the image. Offsets in x are from the window's corner, which may be outside.
 */
static inline int32_t edgeq_depthwise_list(const struct edgeq_depthwise_conv_2d *op,
                                           int32_t top, int32_t left,
                                           struct edgeq_depthwise_tap *taps) {
    const struct edgeq_window *const window = &op->window;
    int32_t inside = 0, outside = window->filter_h * window->filter_w;
    int32_t filter = 0;
    for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
        const int32_t y = filter_y * window->dilation_h;
        for (int32_t filter_x = 0; filter_x < window->filter_w; ++filter_x) {
            const int32_t x = filter_x * window->dilation_w;
            const bool is_inside = top + y >= 0 && top + y < op->input.height &&
                                   left + x >= 0 && left + x < op->input.width;
            struct edgeq_depthwise_tap *const tap = taps + (is_inside ? inside++ : --outside);
            tap->x = (y * op->input.width + x) * op->input.channels;
            tap->filter = filter;
            filter += op->output.channels;
        }
    }
    return inside;
}

static inline int8_t edgeq_depthwise_result(const struct edgeq_depthwise_conv_2d *op,
                                            int32_t acc, int32_t channel) {
    const int32_t m = channel * op->multiplier_step;
    const int32_t y = edgeq_requantize(acc, op->multiplier[m], op->shift[m]);
    return (int8_t)edgeq_clamp(y + op->output_zero_point, op->activation_min,
                               op->activation_max);
}

/* One output channel of one pixel; acc is its bias. */
static inline int32_t edgeq_depthwise_one(const int8_t *x, int32_t corner, const int8_t *filter,
                                          int32_t acc, const struct edgeq_depthwise_tap *taps,
                                          int32_t inside, int32_t count, int32_t zero_point) {
    const struct edgeq_depthwise_tap *tap = taps;
    for (; tap != taps + inside; ++tap) {
        acc += x[corner + tap->x] * filter[tap->filter];
    }
    for (; tap != taps + count; ++tap) {
        acc += zero_point * filter[tap->filter];
    }
    return acc;
}

/* Four channels of one pixel, m = 1: acc is the bias, then the sums. */
static inline void edgeq_depthwise_four(const int8_t *x, int32_t corner, const int8_t *filter,
                                        int32_t acc[4], const struct edgeq_depthwise_tap *taps,
                                        int32_t inside, int32_t count, int32_t zero_point) {
    const struct edgeq_depthwise_tap *tap = taps;
    int32_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];
    for (; tap != taps + inside; ++tap) {
        const int8_t *const pixel = x + (corner + tap->x), *const weights =
                                                               filter + tap->filter;
        a += pixel[0] * weights[0];
        b += pixel[1] * weights[1];
        c += pixel[2] * weights[2];
        d += pixel[3] * weights[3];
    }
    for (; tap != taps + count; ++tap) {
        const int8_t *const weights = filter + tap->filter;
        a += zero_point * weights[0];
        b += zero_point * weights[1];
        c += zero_point * weights[2];
        d += zero_point * weights[3];
    }
    acc[0] = a;
    acc[1] = b;
    acc[2] = c;
    acc[3] = d;
}

/* All channels of one pixel, the window's corner at byte `corner` of x. */
static inline void edgeq_depthwise_pixel(const struct edgeq_depthwise_conv_2d *op,
                                         const int8_t *x, int32_t corner, const int8_t *filter,
                                         const int32_t *bias,
                                         const struct edgeq_depthwise_tap *taps, int32_t inside,
                                         int8_t *out) {
    const int32_t count = op->window.filter_h * op->window.filter_w;
    const int32_t channels = op->output.channels;
    int32_t c = 0;
    if (op->depth_multiplier == 1) {
        for (; c + 4 <= channels; c += 4) {
            int32_t acc[4] = {bias[c], bias[c + 1], bias[c + 2], bias[c + 3]};
            edgeq_depthwise_four(x, corner + c, filter + c, acc, taps, inside, count,
                                 op->input_zero_point);
            for (int32_t i = 0; i < 4; ++i) {
                out[c + i] = edgeq_depthwise_result(op, acc[i], c + i);
            }
        }
        corner += c;
    }
    int32_t m = 0;
    for (int32_t left = channels - c; left > 0; --left) {
        const int32_t acc = edgeq_depthwise_one(x, corner, filter + c, bias[c], taps, inside,
                                                count, op->input_zero_point);
        out[c] = edgeq_depthwise_result(op, acc, c);
        ++c;
        if (++m == op->depth_multiplier) {
            ++corner;
            m = 0;
        }
    }
}

/* (H, W, C) -> (out_h, out_w, C * m); taps is scratch, one for each of the filter. */
static inline void edgeq_depthwise_conv_2d(const struct edgeq_depthwise_conv_2d *op,
                                           const int8_t *x, const int8_t *filter,
                                           const int32_t *bias,
                                           struct edgeq_depthwise_tap *taps, int8_t *out) {
    const struct edgeq_window *const window = &op->window;
    const int32_t reach_h = (window->filter_h - 1) * window->dilation_h + 1;
    const int32_t reach_w = (window->filter_w - 1) * window->dilation_w + 1;
    const int32_t count = window->filter_h * window->filter_w;
    int32_t inside = 0;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        const int32_t top = out_y * window->stride_h - window->pad_top;
        for (int32_t out_x = 0; out_x < op->output.width; ++out_x) {
            const int32_t left = out_x * window->stride_w - window->pad_left;
            const bool is_inside = top >= 0 && top + reach_h <= op->input.height && left >= 0 &&
                                   left + reach_w <= op->input.width;
            if (!is_inside || inside != count) {
                inside = edgeq_depthwise_list(op, top, left, taps);
            }
            const int32_t corner = (top * op->input.width + left) * op->input.channels;
            edgeq_depthwise_pixel(op, x, corner, filter, bias, taps, inside, out);
            out += op->output.channels;
        }
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_H */
