/* DEPTHWISE_CONV_2D with 3 x 3 filters on cores without the DSP extension, twin of
 * edgeq/ops/depthwise_conv_2d.py: the three rows of eight channels at a time go into scratch,
 * padding as the input's zero point, so that every tap of a pixel is at a constant distance
 * from its first and a weight serves four pixels.
 *
 * A channel in flash: nine bytes, then (of all channels, behind each other) words of bias * 256
 * + n - 1 and multiplier, with the input's zero point folded into the bias. */
#ifndef EDGEQ_DEPTHWISE_CONV_2D_BLOCK_H
#define EDGEQ_DEPTHWISE_CONV_2D_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_narrow.h"
#include "edgeq_window.h"

#define EDGEQ_BLOCK        8  /* channels */
#define EDGEQ_BLOCK_COLUMN 24 /* bytes of a column of the scratch: three rows of a block */

struct edgeq_depthwise_conv_2d_block {
    struct edgeq_window window;
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    struct edgeq_image input;
    struct edgeq_image output;
};

/* One row of n channels of the image to every column; `row` is null outside the image. */
static inline void edgeq_block_fill(const struct edgeq_depthwise_conv_2d_block *op,
                                    const int8_t *row, int32_t n, int32_t columns, int8_t *to) {
    const int8_t padding = (int8_t)op->input_zero_point;
    const int32_t channels = op->input.channels;
    const int32_t is_whole = n == EDGEQ_BLOCK && channels % 4 == 0;
    int32_t in_x = -op->window.pad_left;
    for (int32_t i = 0; i < columns; ++i) {
        if (row == NULL || in_x < 0 || in_x >= op->input.width) {
            for (int32_t c = 0; c < n; ++c) {
                to[c] = padding;
            }
        } else {
            const int8_t *const from = row + in_x * channels;
            if (is_whole) {
                __builtin_memcpy(__builtin_assume_aligned(to, 4),
                                 __builtin_assume_aligned(from, 4), EDGEQ_BLOCK);
            } else {
                for (int32_t c = 0; c < n; ++c) {
                    to[c] = from[c];
                }
            }
        }
        ++in_x;
        to += EDGEQ_BLOCK_COLUMN;
    }
}

/* The sums of four pixels of a channel, `stride` columns apart. */
static inline __attribute__((always_inline)) void
edgeq_block_four(const int8_t *x, const int8_t *w, int32_t stride, int32_t acc[4]) {
    int32_t a = acc[0], b = a, c = a, d = a;
    for (int32_t row = 0; row < 3; ++row) {
        for (int32_t column = 0; column < 3; ++column) {
            const int8_t *const at = x + row * EDGEQ_BLOCK + column * EDGEQ_BLOCK_COLUMN;
            const int32_t weight = w[3 * row + column];
            a += weight * at[0];
            b += weight * at[stride * EDGEQ_BLOCK_COLUMN];
            c += weight * at[2 * stride * EDGEQ_BLOCK_COLUMN];
            d += weight * at[3 * stride * EDGEQ_BLOCK_COLUMN];
        }
    }
    acc[0] = a;
    acc[1] = b;
    acc[2] = c;
    acc[3] = d;
}

/* A row of one channel. */
static inline __attribute__((always_inline)) void
edgeq_block_channel(const struct edgeq_depthwise_conv_2d_block *op, const int8_t *x,
                    const int8_t *w, const int32_t *words, int32_t stride, int8_t *out) {
    const int32_t step = op->output.channels;
    const int32_t bias = words[0] >> 8;
    const int32_t n1 = words[0] & 31;
    const int32_t m = words[1];
    const int32_t c = (2 * op->output_zero_point + 1) * (1 << n1);
    int32_t left = op->output.width;
    for (; left >= 4; left -= 4) {
        int32_t acc[4] = {bias};
        edgeq_block_four(x, w, stride, acc);
        out[0] = edgeq_narrow(acc[0], m, c, n1);
        out[step] = edgeq_narrow(acc[1], m, c, n1);
        out[2 * step] = edgeq_narrow(acc[2], m, c, n1);
        out[3 * step] = edgeq_narrow(acc[3], m, c, n1);
        out += 4 * step;
        x += 4 * stride * EDGEQ_BLOCK_COLUMN;
    }
    for (; left > 0; --left) {
        int32_t acc = bias;
        for (int32_t row = 0; row < 3; ++row) {
            for (int32_t column = 0; column < 3; ++column) {
                acc += w[3 * row + column] * x[row * EDGEQ_BLOCK + column * EDGEQ_BLOCK_COLUMN];
            }
        }
        *out = edgeq_narrow(acc, m, c, n1);
        out += step;
        x += stride * EDGEQ_BLOCK_COLUMN;
    }
}

/* The layers of a model share these, one a stride. */
static __attribute__((noinline, unused)) void
edgeq_block_channel_1(const struct edgeq_depthwise_conv_2d_block *op, const int8_t *x,
                      const int8_t *w, const int32_t *words, int8_t *out) {
    edgeq_block_channel(op, x, w, words, 1, out);
}

static __attribute__((noinline, unused)) void
edgeq_block_channel_2(const struct edgeq_depthwise_conv_2d_block *op, const int8_t *x,
                      const int8_t *w, const int32_t *words, int8_t *out) {
    edgeq_block_channel(op, x, w, words, 2, out);
}

static __attribute__((noinline, unused)) void
edgeq_depthwise_conv_2d_block_any(const struct edgeq_depthwise_conv_2d_block *op,
                                  const int8_t *x, const int8_t *filter, const int32_t *words,
                                  int8_t *out, int8_t *scratch) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t row_nbytes = op->input.width * channels;
    const int32_t columns = (op->output.width - 1) * window->stride_w + 3;
    int32_t top = -window->pad_top;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        for (int32_t first = 0; first < channels; first += EDGEQ_BLOCK) {
            const int32_t n = edgeq_clamp(channels - first, 0, EDGEQ_BLOCK);
            for (int32_t i = 0; i < 3; ++i) {
                const int32_t y = top + i;
                const int8_t *const row =
                    y >= 0 && y < op->input.height ? x + y * row_nbytes + first : NULL;
                edgeq_block_fill(op, row, n, columns, scratch + i * EDGEQ_BLOCK);
            }
            for (int32_t i = 0; i < n; ++i) {
                const int32_t c = first + i;
                if (window->stride_w == 1) {
                    edgeq_block_channel_1(op, scratch + i, filter + 9 * c, words + 2 * c,
                                          out + c);
                } else {
                    edgeq_block_channel_2(op, scratch + i, filter + 9 * c, words + 2 * c,
                                          out + c);
                }
            }
        }
        edgeq_narrow_clamp(out, op->output.width * channels, op->activation_min,
                           op->activation_max);
        out += op->output.width * channels;
        top += window->stride_h;
    }
}

/* (H, W, C) -> (out_h, out_w, C); scratch: 24 bytes a column that a row of the output reads. */
static inline void edgeq_depthwise_conv_2d_block(const struct edgeq_depthwise_conv_2d_block *op,
                                                 const int8_t *x, const int8_t *filter,
                                                 const int32_t *words, int8_t *out,
                                                 int8_t *scratch) {
    edgeq_depthwise_conv_2d_block_any(op, x, filter, words, out, scratch);
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_BLOCK_H */
