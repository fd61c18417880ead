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

#include "edgeq_dsp_pack.h"
#include "edgeq_window.h"

/* The shift t that most layers have room for: a constant in the code. */
#define EDGEQ_DEPTHWISE_SHIFT 10
#define EDGEQ_DEPTHWISE_BLOCK 12 /* words of two columns: 3 of each of 4 channels */

/* One channel; filter[y][x] times 2**s as halves, low first. */
struct edgeq_depthwise_channel {
    uint32_t column0;  /* [0][0], [1][0] */
    uint32_t column1;  /* [0][1], [1][1] */
    uint32_t column2;  /* [0][2], [1][2] */
    uint32_t row2;     /* [2][0], [2][1] */
    uint32_t row2_end; /* [2][1], [2][2] */
    int32_t multiplier;
    int32_t addend;
    int32_t bias; /* times 2**s, less the input's zero point times the sum of the filter */
};

struct edgeq_depthwise_conv_2d_3x3 {
    struct edgeq_window window; /* stride_w 1 or 2 */
    uint32_t zero_points;       /* the input's, in each byte */
    int32_t shift;              /* t */
    struct edgeq_image input;   /* 4 channels at least */
    struct edgeq_image output;
};

/* Lays out two columns of three rows: four channels of each as they are in the image. */
static inline void edgeq_depthwise_put(uint32_t *restrict block, const uint32_t left[3],
                                       const uint32_t right[3]) {
    uint32_t low = edgeq_pack_low(left[0], left[1]);
    uint32_t high = edgeq_pack_high(left[0], left[1]);
    block[0] = edgeq_sxtb16(low);
    block[3] = edgeq_sxtb16_odd(low);
    block[6] = edgeq_sxtb16(high);
    block[9] = edgeq_sxtb16_odd(high);
    low = edgeq_pack_low(right[0], right[1]);
    high = edgeq_pack_high(right[0], right[1]);
    block[1] = edgeq_sxtb16(low);
    block[4] = edgeq_sxtb16_odd(low);
    block[7] = edgeq_sxtb16(high);
    block[10] = edgeq_sxtb16_odd(high);
    low = edgeq_pack_low(left[2], right[2]);
    high = edgeq_pack_high(left[2], right[2]);
    block[2] = edgeq_sxtb16(low);
    block[5] = edgeq_sxtb16_odd(low);
    block[8] = edgeq_sxtb16(high);
    block[11] = edgeq_sxtb16_odd(high);
}

/* Where three input rows start, and the bytes from pixel to pixel: 0 in the padding. */
struct edgeq_depthwise_rows {
    const int8_t *at[3];
    int32_t step[3];
};

/* Lays out columns -pad_left .. of four channels, two by two, until `end`. */
static inline void edgeq_depthwise_layout(const struct edgeq_depthwise_rows *rows,
                                          int32_t pad_left, int32_t width, uint32_t zero_points,
                                          uint32_t *restrict block, const uint32_t *end) {
    const int8_t *a = rows->at[0], *b = rows->at[1], *c = rows->at[2];
    const int32_t a_step = rows->step[0], b_step = rows->step[1], c_step = rows->step[2];
    for (int32_t x = -pad_left; block != end; x += 2) {
        uint32_t left[3] = {zero_points, zero_points, zero_points};
        uint32_t right[3] = {zero_points, zero_points, zero_points};
        if ((uint32_t)x < (uint32_t)width) {
            left[0] = edgeq_load4(a);
            left[1] = edgeq_load4(b);
            left[2] = edgeq_load4(c);
            a += a_step;
            b += b_step;
            c += c_step;
        }
        if ((uint32_t)(x + 1) < (uint32_t)width) {
            right[0] = edgeq_load4(a);
            right[1] = edgeq_load4(b);
            right[2] = edgeq_load4(c);
            a += a_step;
            b += b_step;
            c += c_step;
        }
        edgeq_depthwise_put(block, left, right);
        block += EDGEQ_DEPTHWISE_BLOCK;
    }
}

static inline int8_t edgeq_depthwise_value(int32_t acc, int32_t multiplier, int32_t addend,
                                           int32_t shift) {
    const int32_t y = edgeq_smmla(acc, multiplier, addend);
    int32_t result;
    if (shift == EDGEQ_DEPTHWISE_SHIFT) {
        EDGEQ_SATURATE8_SHIFTED(result, y, EDGEQ_DEPTHWISE_SHIFT);
        return (int8_t)result;
    }
    return (int8_t)edgeq_saturate8(y >> shift);
}

/* A row of one channel's output, `step` bytes from pixel to pixel, with stride 1: while two
 * columns are in registers, they end two outputs (a, b) and begin two (c, d). */
static inline void edgeq_depthwise_row_1(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int32_t shift, int32_t width, int32_t step,
                                         int8_t *out) {
    const uint32_t w0 = channel->column0, w1 = channel->column1, w2 = channel->column2;
    const uint32_t row2 = channel->row2, row2_end = channel->row2_end;
    const int32_t multiplier = channel->multiplier, addend = channel->addend;
    const int32_t bias = channel->bias;
    int32_t a = edgeq_smlad(block[1], w1, edgeq_smlad(block[0], w0, bias));
    int32_t b = edgeq_smlad(block[1], w0, bias);
    a = edgeq_smlad(block[2], row2, a);
    b = edgeq_mla_high_low(block[2], row2, b);
    const int8_t *const last = out + (width - 1) * step;
    while (out < last) {
        block += EDGEQ_DEPTHWISE_BLOCK;
        const uint32_t left = block[0], right = block[1], below = block[2];
        a = edgeq_smlad(left, w2, a);
        b = edgeq_smlad(left, w1, b);
        b = edgeq_smlad(right, w2, b);
        a = edgeq_mla_low_high(below, row2_end, a);
        b = edgeq_smlad(below, row2_end, b);
        int32_t c = edgeq_smlad(right, w1, edgeq_smlad(left, w0, bias));
        int32_t d = edgeq_smlad(right, w0, bias);
        c = edgeq_smlad(below, row2, c);
        d = edgeq_mla_high_low(below, row2, d);
        out[0] = edgeq_depthwise_value(a, multiplier, addend, shift);
        out[step] = edgeq_depthwise_value(b, multiplier, addend, shift);
        out += 2 * step;
        a = c;
        b = d;
    }
    if (out == last) {
        block += EDGEQ_DEPTHWISE_BLOCK;
        a = edgeq_smlad(block[0], w2, a);
        a = edgeq_mla_low_high(block[2], row2_end, a);
        *out = edgeq_depthwise_value(a, multiplier, addend, shift);
    }
}

/* The same with stride 2: each output has two columns, and the left one of the next two. */
static inline void edgeq_depthwise_row_2(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int32_t shift, int32_t width, int32_t step,
                                         int8_t *out) {
    const uint32_t w0 = channel->column0, w1 = channel->column1, w2 = channel->column2;
    const uint32_t row2 = channel->row2, row2_end = channel->row2_end;
    const int32_t multiplier = channel->multiplier, addend = channel->addend;
    const int32_t bias = channel->bias;
    const uint32_t *const last = block + EDGEQ_DEPTHWISE_BLOCK * width;
    uint32_t left = block[0], right = block[1], below = block[2];
    while (block != last) {
        block += EDGEQ_DEPTHWISE_BLOCK;
        int32_t a = edgeq_smlad(right, w1, edgeq_smlad(left, w0, bias));
        a = edgeq_smlad(below, row2, a);
        left = block[0];
        right = block[1];
        below = block[2];
        a = edgeq_smlad(left, w2, a);
        a = edgeq_mla_low_high(below, row2_end, a);
        *out = edgeq_depthwise_value(a, multiplier, addend, shift);
        out += step;
    }
}

/* Channels channel .. channel + 3 of an output row, those before `first` left out. */
static inline void edgeq_depthwise_four(const struct edgeq_depthwise_conv_2d_3x3 *op,
                                        const struct edgeq_depthwise_rows *rows,
                                        const struct edgeq_depthwise_channel *channels,
                                        int32_t shift, int32_t first, uint32_t *block,
                                        int8_t *out) {
    const int32_t width = op->output.width, step = op->output.channels;
    const int32_t stride = op->window.stride_w;
    const int32_t blocks = ((width - 1) * stride + 4) / 2;
    edgeq_depthwise_layout(rows, op->window.pad_left, op->input.width, op->zero_points, block,
                           block + EDGEQ_DEPTHWISE_BLOCK * blocks);
    for (int32_t i = first; i < 4; ++i) {
        if (stride == 1) {
            edgeq_depthwise_row_1(block + 3 * i, channels + i, shift, width, step, out + i);
        } else {
            edgeq_depthwise_row_2(block + 3 * i, channels + i, shift, width, step, out + i);
        }
    }
}

/* An output row with one shift in the code: what a layer and another of that shift share. */
static inline void edgeq_depthwise_row(const struct edgeq_depthwise_conv_2d_3x3 *op,
                                       const struct edgeq_depthwise_rows *rows,
                                       const struct edgeq_depthwise_channel *channels,
                                       int32_t shift, uint32_t *block, int8_t *out) {
    struct edgeq_depthwise_rows at = *rows;
    const int32_t count = op->output.channels;
    for (int32_t c = 0; c < count;) {
        /* The last four may overlap the four before. */
        const int32_t first = c + 4 <= count ? 0 : c + 4 - count;
        for (int32_t i = 0; i < 3; ++i) {
            at.at[i] = rows->step[i] != 0 ? rows->at[i] + c - first : rows->at[i];
        }
        edgeq_depthwise_four(op, &at, channels + c - first, shift, first, block,
                             out + c - first);
        c += 4 - first;
    }
}

static __attribute__((noinline, unused)) void edgeq_depthwise_row_fixed(
    const struct edgeq_depthwise_conv_2d_3x3 *op, const struct edgeq_depthwise_rows *rows,
    const struct edgeq_depthwise_channel *channels, uint32_t *block, int8_t *out) {
    edgeq_depthwise_row(op, rows, channels, EDGEQ_DEPTHWISE_SHIFT, block, out);
}

static __attribute__((noinline, unused)) void edgeq_depthwise_row_any(
    const struct edgeq_depthwise_conv_2d_3x3 *op, const struct edgeq_depthwise_rows *rows,
    const struct edgeq_depthwise_channel *channels, uint32_t *block, int8_t *out) {
    edgeq_depthwise_row(op, rows, channels, op->shift, block, out);
}

/* (H, W, C) -> (out_h, out_w, C); block is scratch of 12 words for each two columns. */
static inline void edgeq_depthwise_conv_2d_3x3(const struct edgeq_depthwise_conv_2d_3x3 *op,
                                               const int8_t *x,
                                               const struct edgeq_depthwise_channel *channels,
                                               uint32_t *block, int8_t *out) {
    const int32_t pixel_nbytes = op->input.channels;
    const int32_t row_nbytes = op->input.width * pixel_nbytes;
    int32_t top = -op->window.pad_top;
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        struct edgeq_depthwise_rows rows;
        for (int32_t i = 0; i < 3; ++i) {
            const int32_t in_y = top + i;
            const bool is_inside = in_y >= 0 && in_y < op->input.height;
            rows.at[i] = is_inside ? x + in_y * row_nbytes : (const int8_t *)&op->zero_points;
            rows.step[i] = is_inside ? pixel_nbytes : 0;
        }
        if (op->shift == EDGEQ_DEPTHWISE_SHIFT) {
            edgeq_depthwise_row_fixed(op, &rows, channels, block, out);
        } else {
            edgeq_depthwise_row_any(op, &rows, channels, block, out);
        }
        out += op->output.width * op->output.channels;
        top += op->window.stride_h;
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_3X3_H */
