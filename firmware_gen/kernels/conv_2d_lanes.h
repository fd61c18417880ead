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
    int32_t padding_nbytes; /* channels of the input, 0 if there is no padding */
    struct edgeq_image input;
    struct edgeq_image output;
    struct edgeq_lanes lanes;
};

/* A pixel of the output by the corner of its window in the input. */
struct edgeq_lanes_corner {
    int32_t y;
    int32_t x;
};

/* A tap of two pixels. */
static inline uint32_t edgeq_lanes_pair(int32_t x0, int32_t x1) {
    return (uint32_t)x0 + ((uint32_t)x1 << 16);
}

#if defined(__ARM_ARCH_7M__)

/* clang-format off */
/* One tap of four pixels to two words. */
#define EDGEQ_LANES_PAIRS(first, second)                                                       \
    "ldrsb " first ", [r0], #1\n"                                                              \
    "ldrsb r8, [r1], #1\n"                                                                     \
    "ldrsb " second ", [r2], #1\n"                                                             \
    "ldrsb r9, [r3], #1\n"                                                                     \
    "add " first ", " first ", r8, lsl #16\n"                                                  \
    "add " second ", " second ", r9, lsl #16\n"

/* n taps of four pixels, side by side in the input, to two words each; returns their end. */
static __attribute__((naked, noinline, unused)) uint32_t *
edgeq_lanes_run(const int8_t *a EDGEQ_UNUSED, const int8_t *b EDGEQ_UNUSED,
                const int8_t *c EDGEQ_UNUSED, const int8_t *d EDGEQ_UNUSED,
                uint32_t *to EDGEQ_UNUSED, int32_t n EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r9, lr}\n"
        "ldrd r12, lr, [sp, #28]\n"
        "subs lr, lr, #2\n"
        "blt 2f\n"
        "1:\n"
        EDGEQ_LANES_PAIRS("r4", "r5")
        EDGEQ_LANES_PAIRS("r6", "r7")
        "stm r12!, {r4-r7}\n"
        "subs lr, lr, #2\n"
        "bge 1b\n"
        "2:\n"
        "adds lr, lr, #1\n"
        "bne 3f\n"
        EDGEQ_LANES_PAIRS("r4", "r5")
        "stm r12!, {r4, r5}\n"
        "3:\n"
        "mov r0, r12\n"
        "pop {r4-r9, pc}\n");
}
/* clang-format on */

#else

static __attribute__((noinline, unused))
uint32_t *edgeq_lanes_run(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d,
                          uint32_t *to, int32_t n) {
    const int8_t *const end = a + n;
    while (a != end) {
        to[0] = edgeq_lanes_pair(*a++, *b++);
        to[1] = edgeq_lanes_pair(*c++, *d++);
        to += 2;
    }
    return to;
}

#endif

/* The first byte of a tap in a row of the image, or the padding. */
static inline const int8_t *edgeq_lanes_tap(const int8_t *row, int32_t column, int32_t width,
                                            int32_t channels, const int8_t *padding) {
    return (uint32_t)column < (uint32_t)width ? row + column * channels : padding;
}

/* The taps of four pixels, zeros up to a multiple of four; `padding`: a pixel of zero points.
 */
static inline void edgeq_lanes_gather(const struct edgeq_conv_2d_lanes *op, const int8_t *x,
                                      const struct edgeq_lanes_corner corners[4],
                                      const int8_t *padding, uint32_t *to) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t width = op->input.width;
    const int32_t last = width - window->filter_w;
    uint32_t *const end = to + op->lanes.nbytes / 4;
    int32_t is_row = window->dilation_w == 1;
    for (int32_t i = 0; i < 4; ++i) {
        is_row &= corners[i].x >= 0 && corners[i].x <= last;
    }
    for (int32_t filter_y = 0; filter_y < window->filter_h; ++filter_y) {
        const int32_t down = filter_y * window->dilation_h;
        int32_t row[4];    /* byte of column 0 */
        int32_t column[4]; /* of the first tap, beyond the image if the row is */
        int32_t is_inside = is_row;
        for (int32_t i = 0; i < 4; ++i) {
            const int32_t y = corners[i].y + down;
            row[i] = y * width * channels;
            column[i] = corners[i].x;
            if (y < 0 || y >= op->input.height) {
                column[i] = width;
                is_inside = 0;
            }
        }
        if (is_inside != 0) {
            to = edgeq_lanes_run(
                x + row[0] + column[0] * channels, x + row[1] + column[1] * channels,
                x + row[2] + column[2] * channels, x + row[3] + column[3] * channels, to,
                window->filter_w * channels);
            continue;
        }
        int32_t right = 0;
        for (int32_t filter_x = 0; filter_x < window->filter_w; ++filter_x) {
            const int8_t *const a =
                edgeq_lanes_tap(x + row[0], column[0] + right, width, channels, padding);
            const int8_t *const b =
                edgeq_lanes_tap(x + row[1], column[1] + right, width, channels, padding);
            const int8_t *const c =
                edgeq_lanes_tap(x + row[2], column[2] + right, width, channels, padding);
            const int8_t *const d =
                edgeq_lanes_tap(x + row[3], column[3] + right, width, channels, padding);
            if (channels == 1) {
                to[0] = edgeq_lanes_pair(*a, *b);
                to[1] = edgeq_lanes_pair(*c, *d);
                to += 2;
            } else {
                to = edgeq_lanes_run(a, b, c, d, to, channels);
            }
            right += window->dilation_w;
        }
    }
    while (to != end) {
        *to++ = 0;
    }
}

/* The layers of a model share this. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_lanes_any(const struct edgeq_conv_2d_lanes *op, const int8_t *x,
                        const int8_t *weights, const int32_t *words, const uint32_t *list,
                        int8_t *out, uint32_t *scratch) {
    const struct edgeq_window *const window = &op->window;
    int8_t *const padding = (int8_t *)(scratch + op->lanes.nbytes / 4);
    int32_t left = op->output.height * op->output.width;
    int32_t out_x = 0;
    struct edgeq_lanes_corner corner = {-window->pad_top, -window->pad_left};
    for (int32_t i = 0; i < op->padding_nbytes; ++i) {
        padding[i] = (int8_t)op->input_zero_point;
    }
    while (left > 0) {
        const int32_t count = left < 4 ? left : 4;
        struct edgeq_lanes_corner corners[4];
        for (int32_t i = 0; i < 4; ++i) {
            corners[i] = corner;
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
        edgeq_lanes_gather(op, x, corners, padding, scratch);
        edgeq_lanes_four(&op->lanes, scratch, weights, words, list, out, count);
        out += count * op->output.channels;
    }
}

/* (H, W, I) -> (out_h, out_w, O); scratch: two words a tap, and a pixel of zero points if one
 * is needed. */
static inline void edgeq_conv_2d_lanes(const struct edgeq_conv_2d_lanes *op, const int8_t *x,
                                       const int8_t *weights, const int32_t *words,
                                       const uint32_t *list, int8_t *out, uint32_t *scratch) {
    edgeq_conv_2d_lanes_any(op, x, weights, words, list, out, scratch);
}

#endif /* EDGEQ_CONV_2D_LANES_H */
