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

/* Fills `lines` lines from `line` on with the zero point. */
static __attribute__((noinline, unused)) void
edgeq_strips_put_zeros(uint32_t zero_points, int32_t blocks, uint32_t *line, int32_t lines) {
    const uint32_t word = edgeq_sxtb16(zero_points);
    for (; lines > 0; --lines) {
        uint32_t *to = line;
        for (int32_t i = blocks; i > 0; --i) {
            to[0] = word;
            to[1] = word;
            to[2] = word;
            to[3] = word;
            to += EDGEQ_STRIPS_BLOCK;
        }
        line += EDGEQ_STRIPS_APART;
    }
}

/* (H, W, C) -> (out_h, out_w, C); scratch: four struct edgeq_lines_channel, and
 * EDGEQ_STRIPS_BLOCK words for each two pixels of a line. */
static inline void
edgeq_depthwise_conv_2d_strips(const struct edgeq_depthwise_conv_2d_strips *op, const int8_t *x,
                               const struct edgeq_plane_channel *channels, uint32_t *scratch,
                               int8_t *out) {
    const int32_t stride = op->run.stride;
    struct edgeq_lines_channel *const table = (struct edgeq_lines_channel *)scratch;
    uint32_t *const blocks = (uint32_t *)(table + EDGEQ_PLANE_GROUP);
    /* Output lines at a time. */
    const int32_t most = (EDGEQ_STRIPS_LINES - 3) / (stride == 1 ? 1 : 2) + 1;
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
    if (pad > 1 || pad + (inside + 1) / 2 != count) { /* some blocks lie in the padding */
        edgeq_strips_put_zeros(op->zero_points, count, blocks, EDGEQ_STRIPS_LINES);
    }
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
                for (int32_t k = 0; k < count; ++k) {
                    uint32_t *const to = blocks + k * EDGEQ_STRIPS_BLOCK;
                    const uint32_t *const kept = to + 6 * EDGEQ_STRIPS_APART;
                    if (stride == 1) {
                        __builtin_memcpy(to, kept, 2 * 4 * EDGEQ_STRIPS_APART);
                    } else {
                        __builtin_memcpy(to, kept, 4 * EDGEQ_STRIPS_APART);
                    }
                }
            }
            if (top + from < 0) {
                edgeq_strips_put_zeros(op->zero_points, count,
                                       blocks + from * EDGEQ_STRIPS_APART, -top - from);
                from = -top;
            }
            if (top + end > line.input) {
                const int32_t last = line.input - top > from ? line.input - top : from;
                edgeq_strips_put_zeros(op->zero_points, count,
                                       blocks + last * EDGEQ_STRIPS_APART, end - last);
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

#endif /* EDGEQ_DEPTHWISE_CONV_2D_STRIPS_H */
