/* CONV_2D on cores without the DSP extension: the taps of four pixels at a time go into
 * scratch, two pixels in a word, padding as the input's zero point, and serve all channels.
 * Twin of edgeq/ops/conv_2d.py; weights as edgeq_lanes.h has them, in the order of OHWI. */
#ifndef EDGEQ_CONV_2D_LANES_H
#define EDGEQ_CONV_2D_LANES_H

#include <stdint.h>

#include "edgeq_lanes.h"
#include "edgeq_window.h"

struct edgeq_conv_2d_lanes {
    struct edgeq_window window;
    int32_t input_zero_point;
    struct edgeq_image input;
    struct edgeq_image output;
    struct edgeq_lanes lanes;
};

/* A pixel of the output by the corner of its window in the input. */
struct edgeq_lanes_corner {
    int32_t y;
    int32_t x;
};

/* n taps of two pixels, side by side in the input, to every second word. */
static inline uint32_t *edgeq_lanes_run(uint32_t *to, const int8_t *a, const int8_t *b,
                                        int32_t n) {
    for (; n >= 4; n -= 4) {
        to[0] = (uint32_t)(int32_t)a[0] + ((uint32_t)(int32_t)b[0] << 16);
        to[2] = (uint32_t)(int32_t)a[1] + ((uint32_t)(int32_t)b[1] << 16);
        to[4] = (uint32_t)(int32_t)a[2] + ((uint32_t)(int32_t)b[2] << 16);
        to[6] = (uint32_t)(int32_t)a[3] + ((uint32_t)(int32_t)b[3] << 16);
        a += 4;
        b += 4;
        to += 8;
    }
    for (; n > 0; --n) {
        *to = (uint32_t)(int32_t)*a++ + ((uint32_t)(int32_t)*b++ << 16);
        to += 2;
    }
    return to;
}

/* A row of taps of two pixels of which one may reach into the padding; rows are null where they
 * are outside the image. */
static inline uint32_t *edgeq_lanes_edge(const struct edgeq_conv_2d_lanes *op, uint32_t *to,
                                         const int8_t *row_a, int32_t x_a, const int8_t *row_b,
                                         int32_t x_b) {
    const int32_t channels = op->input.channels;
    const int8_t padding = (int8_t)op->input_zero_point;
    for (int32_t filter_x = 0; filter_x < op->window.filter_w; ++filter_x) {
        const int32_t in_a = row_a != NULL && x_a >= 0 && x_a < op->input.width;
        const int32_t in_b = row_b != NULL && x_b >= 0 && x_b < op->input.width;
        const int8_t *a = in_a != 0 ? row_a + x_a * channels : &padding;
        const int8_t *b = in_b != 0 ? row_b + x_b * channels : &padding;
        for (int32_t i = 0; i < channels; ++i) {
            *to = (uint32_t)(int32_t)*a + ((uint32_t)(int32_t)*b << 16);
            a += in_a;
            b += in_b;
            to += 2;
        }
        x_a += op->window.dilation_w;
        x_b += op->window.dilation_w;
    }
    return to;
}

/* The taps of two pixels to every second word, zeros up to a multiple of four. */
static inline void edgeq_lanes_gather(const struct edgeq_conv_2d_lanes *op, const int8_t *x,
                                      struct edgeq_lanes_corner a, struct edgeq_lanes_corner b,
                                      uint32_t *to) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t row_nbytes = op->input.width * channels;
    const int32_t last = op->input.width - window->filter_w;
    const int32_t is_run =
        window->dilation_w == 1 && a.x >= 0 && a.x <= last && b.x >= 0 && b.x <= last;
    const uint32_t *const end = to + op->lanes.nbytes / 4;
    for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
        const int8_t *const row_a =
            a.y >= 0 && a.y < op->input.height ? x + a.y * row_nbytes : NULL;
        const int8_t *const row_b =
            b.y >= 0 && b.y < op->input.height ? x + b.y * row_nbytes : NULL;
        if (is_run && row_a != NULL && row_b != NULL) {
            to = edgeq_lanes_run(to, row_a + a.x * channels, row_b + b.x * channels,
                                 window->filter_w * channels);
        } else {
            to = edgeq_lanes_edge(op, to, row_a, a.x, row_b, b.x);
        }
        a.y += window->dilation_h;
        b.y += window->dilation_h;
    }
    for (; to < end; to += 2) {
        *to = 0;
    }
}

/* The layers of a model share this. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_lanes_any(const struct edgeq_conv_2d_lanes *op, const int8_t *x,
                        const int8_t *weights, const int32_t *words, const uint32_t *list,
                        int8_t *out, uint32_t *scratch) {
    const struct edgeq_window *const window = &op->window;
    int32_t left = op->output.height * op->output.width;
    int32_t out_x = 0;
    struct edgeq_lanes_corner corner = {-window->pad_top, -window->pad_left};
    while (left > 0) {
        const int32_t count = left < 4 ? left : 4;
        for (int32_t pair = 0; pair < 2; ++pair) {
            struct edgeq_lanes_corner both[2];
            for (int32_t i = 0; i < 2; ++i) {
                both[i] = corner;
                /* What is behind the last pixel is the last pixel. */
                if (--left > 0) {
                    corner.x += window->stride_w;
                    if (++out_x == op->output.width) {
                        out_x = 0;
                        corner.x = -window->pad_left;
                        corner.y += window->stride_h;
                    }
                }
            }
            edgeq_lanes_gather(op, x, both[0], both[1], scratch + pair);
        }
        edgeq_lanes_four(&op->lanes, scratch, weights, words, list, out, count);
        out += count * op->output.channels;
    }
}

/* (H, W, I) -> (out_h, out_w, O); scratch: two words a tap. */
static inline void edgeq_conv_2d_lanes(const struct edgeq_conv_2d_lanes *op, const int8_t *x,
                                       const int8_t *weights, const int32_t *words,
                                       const uint32_t *list, int8_t *out, uint32_t *scratch) {
    edgeq_conv_2d_lanes_any(op, x, weights, words, list, out, scratch);
}

#endif /* EDGEQ_CONV_2D_LANES_H */
