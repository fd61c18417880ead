/* DEPTHWISE_CONV_2D as depthwise_conv_2d_plane.h does it, several lines at a time: for short
 * lines of images, where turning the ring of three and beginning a channel anew cost as much as
 * the line. Eight lines of the four channels are laid out at once, line beside line for each
 * two pixels. All outputs that they give are written, by channel and line; then the lines that
 * the next outputs need too are moved to the front, and those after them laid out. Of the
 * input, nothing before the last line that is laid out is read again: the output may lie
 * exactly over it, as there. */
#ifndef EDGEQ_DEPTHWISE_CONV_2D_STRIPS_H
#define EDGEQ_DEPTHWISE_CONV_2D_STRIPS_H

#include <stdbool.h>
#include <stdint.h>

#include "depthwise_conv_2d_plane.h"
#include "edgeq_depthwise_strips.h"

struct edgeq_depthwise_conv_2d_strips {
    uint32_t zero_points; /* the input's, in each byte */
    int32_t channels;     /* 4 at least */
    struct edgeq_plane_axis line;
    struct edgeq_plane_axis run; /* two outputs at least */
};

/* Fills lines first .. end - 1 with the zero point. */
static __attribute__((noinline, unused)) void edgeq_strips_put_zeros(uint32_t zero_points,
                                                                     int32_t blocks,
                                                                     int32_t first, int32_t end,
                                                                     uint32_t *block) {
    const uint32_t word = edgeq_sxtb16(zero_points);
    for (; blocks > 0; --blocks) {
        for (int32_t i = first * EDGEQ_STRIPS_APART; i < end * EDGEQ_STRIPS_APART; ++i) {
            block[i] = word;
        }
        block += EDGEQ_STRIPS_BLOCK;
    }
}

/* Moves lines that are laid out to the front, from line `from` on. */
static inline __attribute__((always_inline)) void
edgeq_strips_move(uint32_t *block, int32_t blocks, int32_t from, int32_t lines) {
    for (; blocks > 0; --blocks) {
        for (int32_t i = 0; i < lines * EDGEQ_STRIPS_APART; ++i) {
            block[i] = block[from * EDGEQ_STRIPS_APART + i];
        }
        block += EDGEQ_STRIPS_BLOCK;
    }
}

static inline __attribute__((always_inline)) void
edgeq_strips(const struct edgeq_depthwise_conv_2d_strips *op, int32_t stride, const int8_t *x,
             const struct edgeq_plane_channel *channels, uint32_t *scratch, int8_t *out) {
    struct edgeq_lines_channel *const table = (struct edgeq_lines_channel *)scratch;
    uint32_t *const blocks = (uint32_t *)(table + EDGEQ_PLANE_GROUP);
    const int32_t most = (EDGEQ_STRIPS_LINES - 3) / stride + 1; /* output lines at a time */
    const int32_t width = op->run.output, pad = op->run.pad;
    const struct edgeq_plane_axis line = op->line;
    const struct edgeq_plane_axis *const rows =
        line.input_step >= op->run.input_step ? &op->line : &op->run;
    const bool is_over = x == out && rows->input_step != rows->output_step;
    const int32_t step = is_over ? op->run.input_step : op->run.output_step;
    const int32_t line_step = is_over ? line.input_step : line.output_step;
    struct edgeq_strips_run run = edgeq_strips_run_of(stride, width, step, line_step);
    const int32_t count = ((width - 1) * stride + 4) / 2;
    const int32_t inside = op->run.input - (pad & 1);
    struct edgeq_strips_put put = {
        .step = op->run.input_step,
        .line_step = line.input_step,
        .pairs = (inside >> 1) * 4 + (inside & 1) * 2 + (pad & 1),
        .zero_points = op->zero_points,
    };
    edgeq_strips_put_zeros(op->zero_points, count, 0, EDGEQ_STRIPS_LINES, blocks);
    for (int32_t c = 0; c < op->channels; c += EDGEQ_PLANE_GROUP) {
        /* The last group may begin before; the channels done are laid out, but not run. */
        const int32_t beyond = c + EDGEQ_PLANE_GROUP - op->channels;
        const int32_t first = beyond > 0 ? beyond : 0;
        run.channels = (EDGEQ_PLANE_GROUP - first) * (int32_t)sizeof *table;
        edgeq_plane_unpack(channels + c, EDGEQ_PLANE_GROUP - first, table);
        for (int32_t i = 0; i < line.output; i += most) {
            const int32_t top = i * stride - line.pad;
            run.lines = line.output - i < most ? line.output - i : most;
            int32_t from = 0, end = (run.lines - 1) * stride + 3;
            if (i > 0) {
                from = 3 - stride;
                edgeq_strips_move(blocks, count, most * stride, 3 - stride);
            }
            if (top + from < 0) {
                edgeq_strips_put_zeros(op->zero_points, count, from, -top, blocks);
                from = -top;
            }
            if (top + end > line.input) {
                const int32_t last = line.input - top > from ? line.input - top : from;
                edgeq_strips_put_zeros(op->zero_points, count, last, end, blocks);
                end = last;
            }
            put.lines = end - from;
            if (put.lines > 0) {
                edgeq_strips_put(
                    x + (top + from) * line.input_step + c - first,
                    blocks + from * EDGEQ_STRIPS_APART + EDGEQ_STRIPS_BLOCK * (pad >> 1), &put);
            }
            if (stride == 1) {
                edgeq_strips_run_1(blocks + first, table, out + i * line_step + c, &run);
            } else {
                edgeq_strips_run_2(blocks + first, table, out + i * line_step + c, &run);
            }
        }
    }
    if (is_over) {
        edgeq_plane_close_up(out, rows->output, rows->input_step, rows->output_step);
    }
}

/* The layers of a model share these, and only those that one uses are linked. */
static __attribute__((noinline, unused)) void
edgeq_strips_1(const struct edgeq_depthwise_conv_2d_strips *op, const int8_t *x,
               const struct edgeq_plane_channel *channels, uint32_t *scratch, int8_t *out) {
    edgeq_strips(op, 1, x, channels, scratch, out);
}

static __attribute__((noinline, unused)) void
edgeq_strips_2(const struct edgeq_depthwise_conv_2d_strips *op, const int8_t *x,
               const struct edgeq_plane_channel *channels, uint32_t *scratch, int8_t *out) {
    edgeq_strips(op, 2, x, channels, scratch, out);
}

/* (H, W, C) -> (out_h, out_w, C); scratch: four struct edgeq_lines_channel, and
 * EDGEQ_STRIPS_BLOCK words for each two pixels of a line. */
static inline void
edgeq_depthwise_conv_2d_strips(const struct edgeq_depthwise_conv_2d_strips *op, const int8_t *x,
                               const struct edgeq_plane_channel *channels, uint32_t *scratch,
                               int8_t *out) {
    if (op->run.stride == 1) {
        edgeq_strips_1(op, x, channels, scratch, out);
    } else {
        edgeq_strips_2(op, x, channels, scratch, out);
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_STRIPS_H */
