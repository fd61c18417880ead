/* CONV_2D on cores with the DSP extension: the taps of two pixels at a time are widened into
 * scratch, padding as the input's zero point, and serve all channels. Twin of
 * edgeq/ops/conv_2d.py; weights as edgeq_tile.h has them.
 *
 * A filter row's taps are contiguous bytes of the image. The taps in order: of each row as many
 * as make whole words; then what is left of each row; zeros up to a word.
 *
 * What is defined some layer needs: EDGEQ_CONV_2D_EDGES padding or distant taps,
 * EDGEQ_CONV_2D_NINES and EDGEQ_CONV_2D_PARTS rows of taps that are not whole words (three of
 * nine taps; any others), EDGEQ_CONV_2D_REST output channels that are not a multiple of 4,
 * EDGEQ_CONV_2D_CLAMPED a clamp that is not int8's range. */
#ifndef EDGEQ_CONV_2D_DSP_H
#define EDGEQ_CONV_2D_DSP_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_tile.h"
#include "edgeq_widen.h"

struct edgeq_conv_2d_dsp {
    int32_t count; /* of output pixels */
    int32_t row_step; /* bytes from a filter row's taps to the next row's */
    int16_t input_height;
    int16_t input_width;
    int16_t channels;
    int16_t output_width;
    int16_t output_channels;
    int16_t stride_h;
    int16_t stride_w;
    int16_t top; /* of the first pixel's taps */
    int16_t left;
    int16_t last_top; /* of pixels of which all taps are inside; -1: none is */
    int16_t last_left;
    int16_t filter_h;
    int16_t filter_w;
    int16_t dilation_h;
    int16_t dilation_w;
    int16_t row_taps; /* filter_w * channels */
    int8_t is_nines;  /* three rows of nine taps */
    int8_t input_zero_point;
    int8_t activation_min;
    int8_t activation_max;
    struct edgeq_tile tile;
};

/* The taps of one pixel from rows that are inside. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_rows(const struct edgeq_conv_2d_dsp *op, const int8_t *from, int32_t step,
                   uint32_t *to) {
    const int32_t whole = op->row_taps & ~3;
#ifdef EDGEQ_CONV_2D_NINES
    if (op->is_nines != 0) {
        edgeq_widen_nines(to, from, step);
        return;
    }
#endif
    if (whole > 0) {
        to = edgeq_widen_rows(to, from, whole, step - whole, op->filter_h);
    }
#ifdef EDGEQ_CONV_2D_PARTS
    const int32_t rest = op->row_taps & 3;
    if (rest > 0) {
        uint32_t word = 0;
        uint32_t shift = 0;
        from += whole;
        for (int32_t i = op->filter_h; i > 0; --i) {
            for (int32_t j = 0; j < rest; ++j) {
                word |= ((uint32_t)from[j] & 0xffu) << shift;
                shift += 8;
                if (shift == 32) {
                    to = edgeq_widen_word(to, word);
                    word = 0;
                    shift = 0;
                }
            }
            from += step;
        }
        if (shift > 0) {
            edgeq_widen_word(to, word);
        }
    }
#endif
}

/* The taps of one pixel of which some are in the padding; or rows are not contiguous. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_edge(const struct edgeq_conv_2d_dsp *op, const int8_t *x, int32_t top,
                   int32_t left, uint32_t *to, int8_t *bytes) {
    const int32_t channels = op->channels;
    int8_t *at = bytes;
    for (int32_t filter_y = 0; filter_y < op->filter_h; ++filter_y) {
        int32_t in_x = left;
        const int32_t is_row = top >= 0 && top < op->input_height;
        for (int32_t filter_x = 0; filter_x < op->filter_w; ++filter_x) {
            const int32_t is_inside = is_row && in_x >= 0 && in_x < op->input_width;
            const int8_t *const from = x + (top * op->input_width + in_x) * channels;
            if (channels % 4 == 0) {
                if (is_inside) {
                    to = edgeq_widen_rows(to, from, channels, 0, 1);
                } else {
                    const uint32_t word = ((uint32_t)op->input_zero_point & 0xffu) * 0x01010101u;
                    for (int32_t i = 0; i < channels; i += 4) {
                        to = edgeq_widen_word(to, word);
                    }
                }
            } else {
                for (int32_t i = 0; i < channels; ++i) {
                    *at++ = is_inside ? from[i] : op->input_zero_point;
                }
            }
            in_x += op->dilation_w;
        }
        top += op->dilation_h;
    }
    if (channels % 4 != 0) {
        edgeq_conv_2d_rows(op, bytes, op->row_taps, to);
    }
}

/* Two pixels with all channels. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_pair(const struct edgeq_conv_2d_dsp *op, const uint32_t *x,
                   const int32_t *weights, const int32_t *weights_end, int8_t *out0,
                   int8_t *out1) {
    if (weights != weights_end) {
        edgeq_tile(x, weights, out0, out1, &op->tile, weights_end);
    }
#ifdef EDGEQ_CONV_2D_REST
    const int32_t rest = op->output_channels & 3;
    if (rest > 0) {
        int8_t out[8];
        const int32_t last = op->output_channels - rest;
        edgeq_tile(x, weights_end, out, out + 4, &op->tile,
                   weights_end + op->tile.group_nbytes / 4);
        for (int32_t i = 0; i < rest; ++i) {
            out0[last + i] = out[i];
            out1[last + i] = out[4 + i];
        }
    }
#endif
#ifdef EDGEQ_CONV_2D_CLAMPED
    if (op->activation_min > -128 || op->activation_max < 127) {
        for (int32_t i = 0; i < op->output_channels; ++i) {
            out0[i] = (int8_t)edgeq_clamp(out0[i], op->activation_min, op->activation_max);
            out1[i] = (int8_t)edgeq_clamp(out1[i], op->activation_min, op->activation_max);
        }
    }
#endif
}

/* (H, W, I) -> (out_h, out_w, O); scratch: the widened taps of two pixels, and where channels
 * are not a multiple of 4 and there is padding the bytes of one. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_dsp(const struct edgeq_conv_2d_dsp *op, const int8_t *x, const int32_t *weights,
                  int8_t *out, uint32_t *scratch) {
    const int32_t *const weights_end = weights + op->tile.groups * (op->tile.group_nbytes / 4);
    int32_t top = op->top;
    int32_t left = op->left;
    int32_t column = op->output_width;
    for (int32_t count = op->count; count > 0; count -= 2) {
        for (int32_t i = 0; i < 2; ++i) {
#ifdef EDGEQ_CONV_2D_EDGES
            if (top < 0 || top > op->last_top || left < 0 || left > op->last_left) {
                edgeq_conv_2d_edge(op, x, top, left, scratch + i,
                                   (int8_t *)(scratch + op->tile.nbytes / 4));
            } else
#endif
            {
                edgeq_conv_2d_rows(op, x + (top * op->input_width + left) * op->channels,
                                   op->row_step, scratch + i);
            }
            /* An odd last pixel is its own second. */
            if (count > 1) {
                left += op->stride_w;
                if (--column == 0) {
                    column = op->output_width;
                    left = op->left;
                    top += op->stride_h;
                }
            }
        }
        int8_t *const next = count > 1 ? out + op->output_channels : out;
        edgeq_conv_2d_pair(op, scratch, weights, weights_end, out, next);
        out = next + op->output_channels;
    }
}

#endif /* EDGEQ_CONV_2D_DSP_H */
