/* DEPTHWISE_CONV_2D with 3 x 3 filters on cores without the DSP extension, twin of
 * edgeq/ops/depthwise_conv_2d.py: the three rows of eight channels at a time go into scratch,
 * padding as the input's zero point, so that every tap of a pixel is at a constant distance
 * from its first and a weight serves four pixels.
 *
 * A channel in flash: nine bytes, then (of all channels, behind each other) words of bias * 256
 * + n - 2 and multiplier, with the input's zero point folded into the bias. */
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

/* Columns of padding in one row of the scratch. */
static __attribute__((noinline, unused)) void edgeq_block_pad(int8_t *to, int32_t columns,
                                                              int32_t padding) {
    const uint32_t word = ((uint32_t)padding & 0xffu) * 0x01010101u;
    const uint32_t words[2] = {word, word};
    for (; columns > 0; --columns) {
        __builtin_memcpy(__builtin_assume_aligned(to, 4), words, EDGEQ_BLOCK);
        to += EDGEQ_BLOCK_COLUMN;
    }
}

/* n channels of `columns` pixels of the image in one row of the scratch. */
static __attribute__((noinline, unused)) void
edgeq_block_fill(int8_t *to, int32_t columns, const int8_t *row, int32_t channels, int32_t n) {
    if (n == EDGEQ_BLOCK && channels % 4 == 0) {
        for (; columns > 0; --columns) {
            __builtin_memcpy(__builtin_assume_aligned(to, 4), __builtin_assume_aligned(row, 4),
                             EDGEQ_BLOCK);
            to += EDGEQ_BLOCK_COLUMN;
            row += channels;
        }
    } else {
        for (; columns > 0; --columns) {
            for (int32_t c = 0; c < n; ++c) {
                to[c] = row[c];
            }
            to += EDGEQ_BLOCK_COLUMN;
            row += channels;
        }
    }
}

/* One tap of four pixels of a channel, `stride` columns apart. */
static inline __attribute__((always_inline)) void
edgeq_block_tap(const int8_t *x, int32_t w, int32_t stride, int32_t acc[4]) {
    acc[0] += w * x[0];
    acc[1] += w * x[stride * EDGEQ_BLOCK_COLUMN];
    acc[2] += w * x[2 * stride * EDGEQ_BLOCK_COLUMN];
    acc[3] += w * x[3 * stride * EDGEQ_BLOCK_COLUMN];
}

/* One row of the filter. */
static inline __attribute__((always_inline)) void
edgeq_block_row(const int8_t *x, const int8_t *w, int32_t stride, int32_t acc[4]) {
    edgeq_block_tap(x, w[0], stride, acc);
    edgeq_block_tap(x + EDGEQ_BLOCK_COLUMN, w[1], stride, acc);
    edgeq_block_tap(x + 2 * EDGEQ_BLOCK_COLUMN, w[2], stride, acc);
}

static inline __attribute__((always_inline)) int32_t edgeq_block_row_of_one(const int8_t *x,
                                                                            const int8_t *w) {
    return w[0] * x[0] + w[1] * x[EDGEQ_BLOCK_COLUMN] + w[2] * x[2 * EDGEQ_BLOCK_COLUMN];
}

/* A row of n channels. */
static inline __attribute__((always_inline)) void
edgeq_block_channels(const struct edgeq_depthwise_conv_2d_block *op, const int8_t *columns,
                     const int8_t *w, const int32_t *words, int32_t stride, int32_t n,
                     int8_t *out) {
    const int32_t step = op->output.channels;
    const int32_t two_zero_plus = 2 * op->output_zero_point + 1;
    const int32_t zero = edgeq_narrow_zero(op->output_zero_point, op->activation_min);
    for (; n > 0; --n) {
        const int8_t *x = columns++;
        int8_t *to = out++;
        const int32_t bias = words[0] >> 8;
        const int32_t k = words[0] & 31;
        const int32_t m = words[1];
        const int32_t c = two_zero_plus * (1 << k);
        int32_t left = op->output.width;
        for (; left >= 4; left -= 4) {
            int32_t acc[4] = {bias, bias, bias, bias};
            /* The compiler would compute where these end from what the loop counts, after it.
             */
            __asm__("" : "+r"(x), "+r"(to));
            edgeq_block_row(x, w, stride, acc);
            edgeq_block_row(x + EDGEQ_BLOCK, w + 3, stride, acc);
            edgeq_block_row(x + 2 * EDGEQ_BLOCK, w + 6, stride, acc);
            x += 4 * stride * EDGEQ_BLOCK_COLUMN;
            to[0] = edgeq_narrow(acc[0], m, c, k, zero);
            to[step] = edgeq_narrow(acc[1], m, c, k, zero);
            to += 2 * step;
            to[0] = edgeq_narrow(acc[2], m, c, k, zero);
            to[step] = edgeq_narrow(acc[3], m, c, k, zero);
            to += 2 * step;
        }
        for (; left > 0; --left) {
            const int32_t acc = bias + edgeq_block_row_of_one(x, w) +
                                edgeq_block_row_of_one(x + EDGEQ_BLOCK, w + 3) +
                                edgeq_block_row_of_one(x + 2 * EDGEQ_BLOCK, w + 6);
            *to = edgeq_narrow(acc, m, c, k, zero);
            to += step;
            x += stride * EDGEQ_BLOCK_COLUMN;
        }
        w += 9;
        words += 2;
    }
}

/* The layers of a model share these, one a stride. */
static __attribute__((noinline, unused)) void
edgeq_block_channels_1(const struct edgeq_depthwise_conv_2d_block *op, const int8_t *columns,
                       const int8_t *w, const int32_t *words, int32_t n, int8_t *out) {
    edgeq_block_channels(op, columns, w, words, 1, n, out);
}

static __attribute__((noinline, unused)) void
edgeq_block_channels_2(const struct edgeq_depthwise_conv_2d_block *op, const int8_t *columns,
                       const int8_t *w, const int32_t *words, int32_t n, int8_t *out) {
    edgeq_block_channels(op, columns, w, words, 2, n, out);
}

static __attribute__((noinline, unused)) void
edgeq_depthwise_conv_2d_block_any(const struct edgeq_depthwise_conv_2d_block *op,
                                  const int8_t *x, const int8_t *filter, const int32_t *words,
                                  int8_t *out, int8_t *scratch) {
    const struct edgeq_window *const window = &op->window;
    const int32_t channels = op->input.channels;
    const int32_t row_nbytes = op->input.width * channels;
    const int32_t columns = (op->output.width - 1) * window->stride_w + 3;
    const int32_t left = edgeq_clamp(window->pad_left, 0, columns);
    const int32_t inside = edgeq_clamp(op->input.width, 0, columns - left);
    for (int32_t i = 0; i < 3; ++i) {
        edgeq_block_pad(scratch + i * EDGEQ_BLOCK, columns, op->input_zero_point);
    }
    int32_t top = -window->pad_top;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        for (int32_t first = 0; first < channels; first += EDGEQ_BLOCK) {
            const int32_t n = edgeq_clamp(channels - first, 0, EDGEQ_BLOCK);
            for (int32_t i = 0; i < 3; ++i) {
                const int32_t y = top + i;
                int8_t *const to = scratch + left * EDGEQ_BLOCK_COLUMN + i * EDGEQ_BLOCK;
                if (y >= 0 && y < op->input.height) {
                    edgeq_block_fill(to, inside, x + y * row_nbytes + first, channels, n);
                } else {
                    edgeq_block_pad(to, inside, op->input_zero_point);
                }
            }
            const int8_t *const w = filter + 9 * first;
            if (window->stride_w == 1) {
                edgeq_block_channels_1(op, scratch, w, words + 2 * first, n, out + first);
            } else {
                edgeq_block_channels_2(op, scratch, w, words + 2 * first, n, out + first);
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
