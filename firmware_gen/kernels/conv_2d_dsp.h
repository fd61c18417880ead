/* CONV_2D on cores with the DSP extension: the taps of two pixels at a time are widened into
 * scratch, padding as the input's zero point, and serve all channels. Twin of
 * edgeq/ops/conv_2d.py; weights as edgeq_tile.h has them.
 *
 * A filter row's taps are contiguous bytes of the image. The taps in order: of each row as many
 * as make whole words; then what is left of each row; zeros up to a word. Pixels beside each
 * other that have no tap in the padding are left to edgeq_tile in one run.
 *
 * What is defined some layer needs: EDGEQ_CONV_2D_NINE_EDGES padding where taps are three rows
 * of nine, EDGEQ_CONV_2D_PAIRS pixels that are in no run, and of these EDGEQ_CONV_2D_WORD_ROWS
 * rows of taps that are one word, with padding, EDGEQ_CONV_2D_ROWS others, EDGEQ_CONV_2D_EDGES
 * padding elsewhere or distant taps, EDGEQ_CONV_2D_PARTS rows of taps that are not whole words,
 * EDGEQ_CONV_2D_REST output channels that are not a multiple of 4, EDGEQ_CONV_2D_CLAMPED a
 * clamp that is not int8's range. */
#ifndef EDGEQ_CONV_2D_DSP_H
#define EDGEQ_CONV_2D_DSP_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_tile.h"
#include "edgeq_widen.h"

struct edgeq_conv_2d_dsp {
    int16_t input_height;
    int16_t input_width;
    int16_t channels;
    int16_t output_height;
    int16_t output_width;
    int16_t output_channels;
    int16_t first_inside; /* the columns of pixels of which all taps are inside: from this */
    int16_t end_inside;   /* to before this */
    uint8_t filter_h;
    uint8_t filter_w;
    uint8_t stride_h;
    uint8_t stride_w;
    uint8_t dilation_h;
    uint8_t dilation_w;
    uint8_t pad_top;
    uint8_t pad_left;
    int8_t input_zero_point;
    int8_t output_zero_point;
    int8_t activation_min;
    int8_t activation_max;
    uint8_t t;              /* of edgeq_tile */
    uint8_t has_word_rows;  /* of taps, one word with image in it; the image has as much */
    uint8_t has_runs;       /* output channels in fours, taps in words or three rows of nine */
    uint8_t has_nine_edges; /* runs of three rows of nine, of which some are in the padding */
};

/* Taps of a filter row. */
static inline int32_t edgeq_conv_2d_row_taps(const struct edgeq_conv_2d_dsp *op) {
    return op->filter_w * op->channels;
}

/* The taps of one pixel from rows that are inside. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_rows(const struct edgeq_conv_2d_dsp *op, const int8_t *from, int32_t step,
                   uint32_t *to) {
    const int32_t row_taps = edgeq_conv_2d_row_taps(op);
    const int32_t whole = row_taps & ~3;
    if (whole > 0) {
        to = edgeq_widen_rows(to, from, whole, step - whole, op->filter_h);
    }
#ifdef EDGEQ_CONV_2D_PARTS
    const int32_t rest = row_taps & 3;
    uint32_t word = 0;
    uint32_t shift = 0;
    from += whole;
    for (int32_t i = rest > 0 ? op->filter_h : 0; i > 0; --i) {
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
#endif
}

#ifdef EDGEQ_CONV_2D_NINE_EDGES

#define EDGEQ_CONV_2D_PATCH_ROW 20 /* bytes */

/* The three rows of taps of one pixel or of two, `columns` pixels of the image, of which some
 * may be in the padding. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_nines(const struct edgeq_conv_2d_dsp *op, const int8_t *x, int32_t top,
                    int32_t left, int32_t columns, int8_t *patch) {
    const int32_t channels = op->channels;
    const int32_t first = edgeq_clamp(-left, 0, columns) * channels;
    const int32_t n = edgeq_clamp(op->input_width - left, 0, columns) * channels - first;
    const uint32_t zeros = ((uint32_t)op->input_zero_point & 0xffu) * 0x01010101u;
    for (int32_t row = 0; row < 3; ++row) {
        for (int32_t i = 0; i < EDGEQ_CONV_2D_PATCH_ROW; i += 4) {
            __builtin_memcpy(patch + i, &zeros, sizeof zeros);
        }
        if (top >= 0 && top < op->input_height) {
            const int8_t *const from = x + (top * op->input_width + left) * channels + first;
            int32_t i = 0;
            for (; i + 4 <= n; i += 4) {
                const uint32_t word = edgeq_load4(from + i);
                __builtin_memcpy(patch + first + i, &word, sizeof word);
            }
            if ((n & 2) != 0) {
                __builtin_memcpy(patch + first + i, from + i, 2);
                i += 2;
            }
            if ((n & 1) != 0) {
                patch[first + i] = from[i];
            }
        }
        top += op->dilation_h;
        patch += EDGEQ_CONV_2D_PATCH_ROW;
    }
}

/* One pixel from `column` on, or two if they are beside each other and not too far: how many.
 */
static inline int32_t edgeq_conv_2d_edge_nines(const struct edgeq_conv_2d_dsp *op,
                                               const int8_t *x, int32_t top, int32_t column,
                                               uint32_t *scratch, struct edgeq_tile_run *run) {
    const int32_t columns = op->filter_w + op->stride_w;
    const bool is_two =
        column + 1 < op->output_width && columns * op->channels <= EDGEQ_CONV_2D_PATCH_ROW;
    int8_t *const patch = (int8_t *)(scratch + run->nbytes / 4);
    edgeq_conv_2d_nines(op, x, top, column * op->stride_w - op->pad_left,
                        is_two ? columns : op->filter_w, patch);
    run->from = patch;
    run->from_step = is_two ? op->stride_w * op->channels : 0;
    run->gap = EDGEQ_CONV_2D_PATCH_ROW;
    run->rows = EDGEQ_TILE_NINE_ROWS;
    run->pairs = 1;
    if (!is_two) {
        run->out1 = run->out0;
    }
    edgeq_tile(run);
    return is_two ? 2 : 1;
}

#endif

#ifdef EDGEQ_CONV_2D_WORD_ROWS

/* The taps of one pixel, in rows of one word of which less than all is at the left of the image
 * or at the right. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_word_rows(const struct edgeq_conv_2d_dsp *op, const int8_t *x, int32_t top,
                        int32_t left, uint32_t *to) {
    const int32_t row_nbytes = op->input_width * op->channels;
    const int32_t at = left * op->channels;
    const int32_t from = edgeq_clamp(at, 0, row_nbytes - 4);
    const int32_t before = from > at ? 8 * (from - at) : 0; /* bits */
    const int32_t after = at > from ? 8 * (at - from) : 0;
    const uint32_t zeros = ((uint32_t)op->input_zero_point & 0xffu) * 0x01010101u;
    const uint32_t edge = zeros & ~(0xffffffffu << before >> after);
    for (int32_t i = op->filter_h; i > 0; --i) {
        uint32_t word = zeros;
        if (top >= 0 && top < op->input_height) {
            word = edgeq_load4(x + top * row_nbytes + from);
            word = (word << before >> after) | edge;
        }
        to = edgeq_widen_word(to, word);
        top += op->dilation_h;
    }
}

#endif

#ifdef EDGEQ_CONV_2D_EDGES

/* A row of n taps, of which first .. end - 1 are inside, to words. */
static inline uint32_t *edgeq_conv_2d_words(uint32_t *to, const int8_t *from, int32_t first,
                                            int32_t end, int32_t n, uint32_t zeros) {
    for (int32_t i = 0; i < first; i += 4) {
        to = edgeq_widen_word(to, zeros);
    }
    if (first < end) {
        to = edgeq_widen_rows(to, from + first, end - first, 0, 1);
    }
    for (int32_t i = end; i < n; i += 4) {
        to = edgeq_widen_word(to, zeros);
    }
    return to;
}

/* The taps of one pixel of which some are in the padding, or not contiguous; by way of bytes if
 * channels are not a multiple of 4. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_edge(const struct edgeq_conv_2d_dsp *op, const int8_t *x, int32_t top,
                   int32_t left, uint32_t *to, int8_t *bytes) {
    const int32_t channels = op->channels;
    const bool is_row = op->dilation_w == 1; /* its taps are contiguous */
    const int32_t columns = is_row ? op->filter_w : 1;
    const int32_t n = columns * channels;
    const uint32_t zeros = ((uint32_t)op->input_zero_point & 0xffu) * 0x01010101u;
    int32_t in_x = left;
    int32_t filter_x = 0;
    int8_t *at = bytes;
    for (int32_t i = op->filter_h * (is_row ? 1 : op->filter_w); i > 0; --i) {
        const bool is_inside = top >= 0 && top < op->input_height;
        const int32_t first = is_inside ? edgeq_clamp(-in_x, 0, columns) * channels : n;
        const int32_t end =
            is_inside ? edgeq_clamp(op->input_width - in_x, 0, columns) * channels : n;
        const int8_t *const from = x + (top * op->input_width + in_x) * channels;
#ifdef EDGEQ_CONV_2D_PARTS
        if (channels % 4 != 0) {
            for (int32_t j = 0; j < n; ++j) {
                at[j] = j >= first && j < end ? from[j] : op->input_zero_point;
            }
            at += n;
        } else
#endif
        {
            to = edgeq_conv_2d_words(to, from, first, end, n, zeros);
        }
        in_x += op->dilation_w;
        filter_x += columns;
        if (filter_x == op->filter_w) {
            filter_x = 0;
            in_x = left;
            top += op->dilation_h;
        }
    }
#ifdef EDGEQ_CONV_2D_PARTS
    if (channels % 4 != 0) {
        edgeq_conv_2d_rows(op, bytes, edgeq_conv_2d_row_taps(op), to);
    }
#endif
    (void)at;
}

#endif

/* Two pixels that are widened, with all channels. */
static inline __attribute__((always_inline)) void
edgeq_conv_2d_pair(const struct edgeq_conv_2d_dsp *op, struct edgeq_tile_run *run) {
    run->rows = 0;
    run->pairs = 1;
    if (op->output_channels >= 4) {
        edgeq_tile(run);
    }
#ifdef EDGEQ_CONV_2D_REST
    const int32_t rest = op->output_channels & 3;
    if (rest > 0) {
        struct edgeq_tile_run last = *run;
        int8_t out[8];
        last.out0 = out;
        last.out1 = out + 4;
        last.weights = run->weights_end;
        last.weights_end = run->weights_end + edgeq_tile_group(run);
        edgeq_tile(&last);
        for (int32_t i = 0; i < rest; ++i) {
            run->out0[op->output_channels - rest + i] = out[i];
            run->out1[op->output_channels - rest + i] = out[4 + i];
        }
    }
#endif
}

/* (H, W, I) -> (out_h, out_w, O); scratch: the widened taps of two pixels, and where rows of
 * taps are not whole words and there is padding the bytes of one, or those of two in three
 * rows. */
static __attribute__((noinline, unused)) void
edgeq_conv_2d_dsp(const struct edgeq_conv_2d_dsp *op, const int8_t *x, const int32_t *weights,
                  int8_t *out, uint32_t *scratch) {
    const int32_t row_taps = edgeq_conv_2d_row_taps(op);
    const int32_t step = op->stride_w * op->channels;
    const int32_t row_nbytes = op->input_width * op->channels;
    const int32_t row_step = op->dilation_h * row_nbytes;
    const int32_t last_top = op->input_height - 1 - (op->filter_h - 1) * op->dilation_h;
    int32_t top = -op->pad_top;
    int32_t column = 0;
    int32_t count = op->output_height * op->output_width;
    struct edgeq_tile_run run;
    run.out_step = op->output_channels;
    run.row_nbytes = row_taps % 4 == 0 ? row_taps : 0;
    edgeq_tile_layer(&run, scratch, weights, op->output_channels, op->filter_h * row_taps,
                     op->output_zero_point, op->t);
    while (count > 0) {
        const bool is_row = top >= 0 && top <= last_top && column >= op->first_inside;
        const int32_t inside = is_row ? op->end_inside - column : 0;
        const int32_t next = count > 1 ? 1 : 0; /* an odd last pixel is its own second */
        int32_t pixels = 2;
        run.out0 = out;
        run.out1 = out + next * op->output_channels;
        if (op->has_runs && inside > next) {
            pixels = next != 0 ? inside & ~1 : 1;
            run.from = x + top * row_nbytes - op->pad_left * op->channels + column * step;
            run.from_step = next * step;
            run.gap = row_step - run.row_nbytes;
            run.rows = run.row_nbytes == 0 ? EDGEQ_TILE_NINE_ROWS : op->filter_h;
            run.pairs = (pixels + 1) >> 1;
            edgeq_tile(&run);
            column += pixels;
        }
#ifdef EDGEQ_CONV_2D_NINE_EDGES
        else if (op->has_nine_edges) {
            pixels = edgeq_conv_2d_edge_nines(op, x, top, column, scratch, &run);
            column += pixels;
        }
#endif
#ifdef EDGEQ_CONV_2D_PAIRS
        else {
            for (int32_t i = 0; i < 2; ++i) {
                const int32_t left = column * op->stride_w - op->pad_left;
#ifdef EDGEQ_CONV_2D_WORD_ROWS
                if (op->has_word_rows) {
                    edgeq_conv_2d_word_rows(op, x, top, left, scratch + i);
                } else
#endif
#ifdef EDGEQ_CONV_2D_EDGES
                    if (top < 0 || top > last_top || column < op->first_inside ||
                        column >= op->end_inside) {
                    edgeq_conv_2d_edge(op, x, top, left, scratch + i,
                                       (int8_t *)(scratch + run.nbytes / 4));
                } else
#endif
                {
#ifdef EDGEQ_CONV_2D_ROWS
                    edgeq_conv_2d_rows(op, x + top * row_nbytes + left * op->channels, row_step,
                                       scratch + i);
#endif
                }
                column += next;
                if (column == op->output_width) {
                    column = 0;
                    top += op->stride_h;
                }
            }
            edgeq_conv_2d_pair(op, &run);
        }
#endif
#ifdef EDGEQ_CONV_2D_CLAMPED
        if (op->activation_min > -128 || op->activation_max < 127) {
            const int32_t n = (pixels < count ? pixels : count) * op->output_channels;
            for (int32_t i = 0; i < n; ++i) {
                out[i] = (int8_t)edgeq_clamp(out[i], op->activation_min, op->activation_max);
            }
        }
#endif
        out += pixels * op->output_channels;
        count -= pixels;
        if (column == op->output_width) {
            column = 0;
            top += op->stride_h;
        }
    }
}

#endif /* EDGEQ_CONV_2D_DSP_H */
