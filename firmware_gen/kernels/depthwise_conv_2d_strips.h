/* DEPTHWISE_CONV_2D as depthwise_conv_2d_plane.h does it, several lines at a time: for lines of
 * images that are not long, where turning the ring of three and beginning a channel anew cost
 * as much as the line. Eight lines of the four channels are laid out at once, line beside line
 * for each two pixels. All outputs that they give are written, by channel and line; then the
 * lines that the next outputs need too are moved to the front, and those after them laid out.
 * Of the input, nothing before the last line that is laid out is read again: the output may lie
 * exactly over it, as there. */
#ifndef EDGEQ_DEPTHWISE_CONV_2D_STRIPS_H
#define EDGEQ_DEPTHWISE_CONV_2D_STRIPS_H

#include <stdbool.h>
#include <stdint.h>

#include "depthwise_conv_2d_plane.h"
#include "edgeq_depthwise_strips.h"

struct edgeq_depthwise_conv_2d_strips {
    struct edgeq_plane_image image; /* two outputs at least along a line */
};

struct edgeq_strips_words {
    uint32_t words[2 * EDGEQ_STRIPS_APART];
};

/* (H, W, C) -> (out_h, out_w, C); scratch: four struct edgeq_lines_channel, and
 * EDGEQ_STRIPS_BLOCK words for each two pixels of a line. */
static __attribute__((noinline, cold, unused)) void
edgeq_depthwise_conv_2d_strips(const struct edgeq_depthwise_conv_2d_strips *op, const int8_t *x,
                               const uint8_t *channels, uint32_t *scratch, int8_t *out) {
    const struct edgeq_plane_image *const image = &op->image;
    struct edgeq_lines_channel *const table = (struct edgeq_lines_channel *)scratch;
    uint32_t *const blocks = (uint32_t *)(table + EDGEQ_PLANE_GROUP);
    const int32_t channel_count = image->channels;
    const int32_t stride = image->stride, group = EDGEQ_PLANE_GROUP;
    /* Output lines at a time. */
    const int32_t most = (EDGEQ_STRIPS_LINES - 2) >> (stride - 1);
    const int32_t width = image->output[0], pad = image->run_pad;
    const struct edgeq_plane_steps steps =
        edgeq_plane_steps(image, image->input[image->is_upright]);
    const struct edgeq_plane_steps to_steps =
        edgeq_plane_steps(image, (x == out ? image->input : image->output)[image->is_upright]);
    struct edgeq_strips_run run;
    edgeq_strips_run_of(&run, stride, width, to_steps.run, to_steps.line);
    const int32_t count = ((width - 1) * stride + 4) >> 1;
    const int32_t inside = image->input[0] + (pad & 1);
    struct edgeq_strips_put put;
    put.step = steps.run;
    put.shape = inside * 2 + (pad & 1);
    put.line_step = steps.line;
    put.height = image->input[1];
    put.zero_points = edgeq_plane_zero_points(image);
    const int32_t filled = pad > 1 ? 0 : (inside + 1) >> 1;
    if (filled < count) { /* some blocks lie in the padding */
        edgeq_fill_words(edgeq_sxtb16(put.zero_points),
                         (int8_t *)(blocks + filled * EDGEQ_STRIPS_BLOCK),
                         (count - filled) * EDGEQ_STRIPS_BLOCK);
    }
    for (int32_t c = 0; c < channel_count; c += group) {
        /* The last group may begin before; the channels done are laid out, but not run. */
        const int32_t beyond = c + group - channel_count;
        const int32_t first = beyond > 0 ? beyond : 0;
        run.channels = (group - first) * (int32_t)sizeof *table;
        channels = edgeq_channels_unpack(channels, group - first, table);
        int8_t *to = out + c;
        uint32_t *const start = blocks + EDGEQ_STRIPS_BLOCK * (pad >> 1), *from = start;
        put.row = -image->line_pad;
        put.lines = 3 - stride;
        for (int32_t left = image->output[1];;) {
            run.lines = left < most ? left : most;
            put.lines += run.lines * stride;
            edgeq_strips_put(x + c - first, from, &put);
            if (stride == 1) {
                edgeq_strips_run_1(blocks + first, table, to, &run);
            } else {
                edgeq_strips_run_2(blocks + first, table, to, &run);
            }
            left -= most;
            if (left <= 0) {
                break;
            }
            /* The last two lines; of them, only one is needed with stride 2. */
            struct edgeq_strips_words *kept = (struct edgeq_strips_words *)blocks;
            for (int32_t i = count; i > 0; --i) {
                kept[0] = kept[3];
                kept += 4;
            }
            from = start + (3 - stride) * EDGEQ_STRIPS_APART;
            put.row += put.lines;
            put.lines = 0;
            to += most * to_steps.line;
        }
    }
    if (x == out) {
        edgeq_plane_close_up(image, out);
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_STRIPS_H */
