/* DEPTHWISE_CONV_2D with a filter of 3 x 3 for cores with the DSP extension; twin of
 * edgeq/ops/depthwise_conv_2d.py. Its output's zero point is -128, and the clamp int8's range.
 *
 * For each output row, four channels at a time, the three input rows are first laid out by
 * channel: for two columns three words of halves,
 *     (row 0, row 1) of the one, (row 0, row 1) of the other, (the one, the other) of row 2,
 * four channels beside each other, columns in the padding as the zero point. Then each channel
 * runs along its words, the filter in five registers.
 *
 * The rounding, for acc >= 0 (below, -128 comes out either way): with n = -shift, the two
 * roundings of edgeq_requantize are one, floor of a floor:
 *     (acc * M + 2**30 + 2**(n - 1) * 2**31) / 2**(31 + n), rounded down.
 * The weights and the bias are stored times 2**s with n + s - 1 = t, one t for the layer, so
 *     y = ((acc * 2**s * M) >> 32) + 2**(s - 2) + 2**(t - 1) - 128 * 2**t) >> t. */
#ifndef EDGEQ_DEPTHWISE_CONV_2D_3X3_H
#define EDGEQ_DEPTHWISE_CONV_2D_3X3_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_depthwise.h"
#include "edgeq_dsp_pack.h"
#include "edgeq_window.h"

struct edgeq_depthwise_conv_2d_3x3 {
    struct edgeq_window window; /* stride_w 1 or 2 */
    uint32_t zero_points;       /* the input's, in each byte */
    int32_t shift;              /* t */
    struct edgeq_image input;   /* 4 channels at least */
    struct edgeq_image output;
};

/* Lays out a column of rows a, b (of a pair, the first if block is the pair's): four channels
 * of each as they are in the image. */
static inline void edgeq_depthwise_put_column(uint32_t *block, uint32_t a, uint32_t b) {
    const uint32_t low = edgeq_pack_low(a, b), high = edgeq_pack_high(a, b);
    block[0] = edgeq_sxtb16(low);
    block[3] = edgeq_sxtb16_odd(low);
    block[6] = edgeq_sxtb16(high);
    block[9] = edgeq_sxtb16_odd(high);
}

/* Lays out row c of two columns. */
static inline void edgeq_depthwise_put_below(uint32_t *block, uint32_t c0, uint32_t c1) {
    edgeq_depthwise_put_column(block + 2, c0, c1);
}

/* Where three input rows start, the bytes from pixel to pixel, and what of a channel's number
 * is added: a row in the padding is one pixel of zero points, the last two are 0 for it. */
struct edgeq_depthwise_rows {
    const int8_t *at[3];
    int32_t step[3];
    int32_t mask[3];
};

/* Lays out the columns in the image of channels `channel` .. `channel + 3`; the blocks hold
 * the zero point where they are in the padding. */
static __attribute__((noinline, unused)) void
edgeq_depthwise_layout(const struct edgeq_depthwise_rows *rows,
                       const struct edgeq_depthwise_conv_2d_3x3 *op, int32_t channel,
                       uint32_t *block) {
    const int8_t *a = rows->at[0] + (channel & rows->mask[0]);
    const int8_t *b = rows->at[1] + (channel & rows->mask[1]);
    const int8_t *c = rows->at[2] + (channel & rows->mask[2]);
    const int32_t a_step = rows->step[0], b_step = rows->step[1], c_step = rows->step[2];
    int32_t width = op->input.width;
    block += EDGEQ_DEPTHWISE_BLOCK * (op->window.pad_left / 2);
    if ((op->window.pad_left & 1) != 0) {
        edgeq_depthwise_put_column(block + 1, edgeq_load4(a), edgeq_load4(b));
        edgeq_depthwise_put_below(block, op->zero_points, edgeq_load4(c));
        a += a_step;
        b += b_step;
        c += c_step;
        block += EDGEQ_DEPTHWISE_BLOCK;
        --width;
    }
    const uint32_t *const end = block + EDGEQ_DEPTHWISE_BLOCK * (width / 2);
    while (block != end) {
        edgeq_depthwise_put_column(block, edgeq_load4(a), edgeq_load4(b));
        edgeq_depthwise_put_column(block + 1, edgeq_load4(a + a_step), edgeq_load4(b + b_step));
        edgeq_depthwise_put_below(block, edgeq_load4(c), edgeq_load4(c + c_step));
        a += 2 * a_step;
        b += 2 * b_step;
        c += 2 * c_step;
        block += EDGEQ_DEPTHWISE_BLOCK;
    }
    if ((width & 1) != 0) {
        edgeq_depthwise_put_column(block, edgeq_load4(a), edgeq_load4(b));
        edgeq_depthwise_put_below(block, edgeq_load4(c), op->zero_points);
    }
}

/* Channels `first` .. 3 of four from laid out columns, with the shift of the layer. */
static inline void edgeq_depthwise_any(const struct edgeq_depthwise_conv_2d_3x3 *op,
                                       const struct edgeq_depthwise_channel *channels,
                                       int32_t first, const uint32_t *block, int8_t *out) {
    for (int32_t i = first; i < 4; ++i) {
        if (op->window.stride_w == 1) {
            edgeq_depthwise_row_1(block + 3 * i, channels + i, op->shift, op->output.width,
                                  op->output.channels, out + i);
        } else {
            edgeq_depthwise_row_2(block + 3 * i, channels + i, op->shift, op->output.width,
                                  op->output.channels, out + i);
        }
    }
}

/* An output row, four channels at a time; the last four may overlap those before. `any`: with
 * any shift and width. */
static inline void edgeq_depthwise_row(const struct edgeq_depthwise_conv_2d_3x3 *op,
                                       const struct edgeq_depthwise_rows *rows,
                                       const struct edgeq_depthwise_channel *channels, bool any,
                                       uint32_t *block, int8_t *out) {
    const int32_t count = op->output.channels, width = op->output.width;
    const int32_t stride = op->window.stride_w;
    struct edgeq_depthwise_run run = edgeq_depthwise_run_of(stride, width, count);
    for (int32_t c = 0; c < count; c += 4) {
        const int32_t first = c + 4 > count ? c + 4 - count : 0;
        edgeq_depthwise_layout(rows, op, c - first, block);
        run.channels = (4 - first) * (int32_t)sizeof *channels;
        if (any) {
            edgeq_depthwise_any(op, channels + c - first, first, block, out + c - first);
        } else if (stride == 1) {
            edgeq_depthwise_run_1(block + 3 * first, channels + c, out + c, &run);
        } else {
            edgeq_depthwise_run_2(block + 3 * first, channels + c, out + c, &run);
        }
    }
}

/* The layers of a model share these, and only those that one uses are linked. */
static __attribute__((noinline, unused)) void edgeq_depthwise_row_any(
    const struct edgeq_depthwise_conv_2d_3x3 *op, const struct edgeq_depthwise_rows *rows,
    const struct edgeq_depthwise_channel *channels, uint32_t *block, int8_t *out) {
    edgeq_depthwise_row(op, rows, channels, true, block, out);
}

static __attribute__((noinline, unused)) void edgeq_depthwise_row_fixed(
    const struct edgeq_depthwise_conv_2d_3x3 *op, const struct edgeq_depthwise_rows *rows,
    const struct edgeq_depthwise_channel *channels, uint32_t *block, int8_t *out) {
    edgeq_depthwise_row(op, rows, channels, false, block, out);
}

/* (H, W, C) -> (out_h, out_w, C); block is scratch of 12 words for each two columns. */
static inline void edgeq_depthwise_conv_2d_3x3(const struct edgeq_depthwise_conv_2d_3x3 *op,
                                               const int8_t *x,
                                               const struct edgeq_depthwise_channel *channels,
                                               uint32_t *block, int8_t *out) {
    const int32_t pixel_nbytes = op->input.channels;
    const int32_t row_nbytes = op->input.width * pixel_nbytes;
    const int32_t columns = (op->output.width - 1) * op->window.stride_w + 3;
    for (int32_t i = 0; i < EDGEQ_DEPTHWISE_BLOCK * ((columns + 1) / 2); ++i) {
        block[i] = edgeq_sxtb16(op->zero_points);
    }
    int32_t top = -op->window.pad_top;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        struct edgeq_depthwise_rows rows;
        for (int32_t i = 0; i < 3; ++i) {
            const int32_t in_y = top + i;
            const bool is_inside = in_y >= 0 && in_y < op->input.height;
            rows.at[i] = is_inside ? x + in_y * row_nbytes : (const int8_t *)&op->zero_points;
            rows.step[i] = is_inside ? pixel_nbytes : 0;
            rows.mask[i] = is_inside ? -1 : 0;
        }
        if (op->shift == EDGEQ_DEPTHWISE_SHIFT && op->output.width > 1) {
            edgeq_depthwise_row_fixed(op, &rows, channels, block, out);
        } else {
            edgeq_depthwise_row_any(op, &rows, channels, block, out);
        }
        out += op->output.width * op->output.channels;
        top += op->window.stride_h;
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_3X3_H */
