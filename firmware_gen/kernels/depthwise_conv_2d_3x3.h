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

/* Lays out two columns of rows a, b, c: four channels of each as they are in the image. */
static inline void edgeq_depthwise_put(uint32_t *block, uint32_t a0, uint32_t b0, uint32_t c0,
                                       uint32_t a1, uint32_t b1, uint32_t c1) {
    const uint32_t low0 = edgeq_pack_low(a0, b0), high0 = edgeq_pack_high(a0, b0);
    block[0] = edgeq_sxtb16(low0);
    block[3] = edgeq_sxtb16_odd(low0);
    block[6] = edgeq_sxtb16(high0);
    block[9] = edgeq_sxtb16_odd(high0);
    const uint32_t low1 = edgeq_pack_low(a1, b1), high1 = edgeq_pack_high(a1, b1);
    block[1] = edgeq_sxtb16(low1);
    block[4] = edgeq_sxtb16_odd(low1);
    block[7] = edgeq_sxtb16(high1);
    block[10] = edgeq_sxtb16_odd(high1);
    const uint32_t low2 = edgeq_pack_low(c0, c1), high2 = edgeq_pack_high(c0, c1);
    block[2] = edgeq_sxtb16(low2);
    block[5] = edgeq_sxtb16_odd(low2);
    block[8] = edgeq_sxtb16(high2);
    block[11] = edgeq_sxtb16_odd(high2);
}

/* Where three input rows start, and the bytes from pixel to pixel: 0 in the padding. */
struct edgeq_depthwise_rows {
    const int8_t *at[3];
    int32_t step[3];
};

/* Lays out columns -pad_left .. of four channels, two by two, until `end`. */
static __attribute__((noinline, unused)) void
edgeq_depthwise_layout(const struct edgeq_depthwise_rows *rows,
                       const struct edgeq_depthwise_conv_2d_3x3 *op, uint32_t *restrict block,
                       const uint32_t *end) {
    const int32_t width = op->input.width;
    const uint32_t zero_points = op->zero_points;
    const int8_t *a = rows->at[0], *b = rows->at[1], *c = rows->at[2];
    const int32_t a_step = rows->step[0], b_step = rows->step[1], c_step = rows->step[2];
    for (int32_t x = -op->window.pad_left; block != end; x += 2) {
        if ((uint32_t)x < (uint32_t)(width - 1)) {
            const uint32_t *const last = block + EDGEQ_DEPTHWISE_BLOCK * ((width - x) / 2 - 1);
            for (;; block += EDGEQ_DEPTHWISE_BLOCK) {
                edgeq_depthwise_put(block, edgeq_load4(a), edgeq_load4(b), edgeq_load4(c),
                                    edgeq_load4(a + a_step), edgeq_load4(b + b_step),
                                    edgeq_load4(c + c_step));
                a += 2 * a_step;
                b += 2 * b_step;
                c += 2 * c_step;
                if (block == last) {
                    break;
                }
            }
            x += (width - x) / 2 * 2 - 2;
        } else if (x + 1 == 0) {
            edgeq_depthwise_put(block, zero_points, zero_points, zero_points, edgeq_load4(a),
                                edgeq_load4(b), edgeq_load4(c));
            a += a_step;
            b += b_step;
            c += c_step;
        } else if (x == width - 1) {
            edgeq_depthwise_put(block, edgeq_load4(a), edgeq_load4(b), edgeq_load4(c),
                                zero_points, zero_points, zero_points);
        } else {
            edgeq_depthwise_put(block, zero_points, zero_points, zero_points, zero_points,
                                zero_points, zero_points);
        }
        block += EDGEQ_DEPTHWISE_BLOCK;
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

/* An output row, four channels at a time; the last four may overlap those before. */
static inline void edgeq_depthwise_row(const struct edgeq_depthwise_conv_2d_3x3 *op,
                                       struct edgeq_depthwise_rows rows,
                                       const struct edgeq_depthwise_channel *channels,
                                       uint32_t *block, int8_t *out) {
    const int32_t width = op->output.width, stride = op->window.stride_w;
    const uint32_t *const end =
        block + EDGEQ_DEPTHWISE_BLOCK * (((width - 1) * stride + 4) / 2);
    struct edgeq_depthwise_run run = {
        .nbytes = 4 * EDGEQ_DEPTHWISE_BLOCK * (stride == 1 ? width / 2 + 1 : width + 1),
        .step = op->output.channels,
        .is_odd = width & 1,
        .count = 4,
    };
    for (int32_t left = op->output.channels; left > 0; left -= run.count) {
        const int32_t first = left < 4 ? 4 - left : 0;
        for (int32_t i = 0; i < 3; ++i) {
            rows.at[i] -= rows.step[i] != 0 ? first : 0;
        }
        edgeq_depthwise_layout(&rows, op, block, end);
        run.count = 4 - first;
        if (op->shift != EDGEQ_DEPTHWISE_SHIFT) {
            edgeq_depthwise_any(op, channels - first, first, block, out - first);
        } else if (stride == 1) {
            edgeq_depthwise_run_1(block + 3 * first, channels, out, &run);
        } else {
            edgeq_depthwise_run_2(block + 3 * first, channels, out, &run);
        }
        for (int32_t i = 0; i < 3; ++i) {
            rows.at[i] += rows.step[i] != 0 ? 4 : 0;
        }
        channels += run.count;
        out += run.count;
    }
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
        edgeq_depthwise_row(op, rows, channels, block, out);
        out += op->output.width * op->output.channels;
        top += op->window.stride_h;
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_3X3_H */
