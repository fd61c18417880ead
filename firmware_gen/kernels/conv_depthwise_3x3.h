/* CONV_DEPTHWISE with a depthwise filter of 3 x 3 on cores with the DSP extension; twin of
 * edgeq/ops/conv_depthwise.py. */
#ifndef EDGEQ_CONV_DEPTHWISE_3X3_H
#define EDGEQ_CONV_DEPTHWISE_3X3_H

#include <stdint.h>

#include "depthwise_conv_2d_3x3.h"
#include "edgeq_ring.h"

struct edgeq_conv_depthwise_3x3 {
    struct edgeq_ring ring;
    struct edgeq_depthwise_conv_2d_3x3 depthwise;
};

/* (H, W, I) -> (out_h, out_w, E); `expand` makes a row of E channels. block as
 * depthwise_conv_2d_3x3.h wants it. */
static inline __attribute__((always_inline)) void
edgeq_conv_depthwise_3x3(const struct edgeq_conv_depthwise_3x3 *op, const int8_t *x,
                         edgeq_make_row *expand, const struct edgeq_depthwise_channel *channels,
                         int8_t *ring, uint32_t *block, int8_t *out) {
    const struct edgeq_depthwise_conv_2d_3x3 *const depthwise = &op->depthwise;
    const int32_t columns = (depthwise->output.width - 1) * depthwise->window.stride_w + 3;
    for (int32_t i = 0; i < EDGEQ_DEPTHWISE_BLOCK * ((columns + 1) / 2); ++i) {
        block[i] = edgeq_sxtb16(depthwise->zero_points);
    }
    int32_t top = -depthwise->window.pad_top;
    int32_t next = top;
    int32_t slot = 0;
    for (int32_t out_y = 0; out_y < depthwise->output.height; ++out_y) {
        slot =
            edgeq_ring_make(&op->ring, expand, x, next > top ? next : top, top + 3, slot, ring);
        next = top + 3;
        struct edgeq_depthwise_rows rows;
        int32_t at = slot;
        for (int32_t i = 0; i < 3; ++i) {
            rows.at[i] = ring + at * op->ring.row_nbytes;
            rows.step[i] = depthwise->input.channels;
            rows.mask[i] = -1;
            at = at < 2 ? at + 1 : 0;
        }
        if (depthwise->shift == EDGEQ_DEPTHWISE_SHIFT && depthwise->output.width > 1) {
            edgeq_depthwise_row_fixed(depthwise, &rows, channels, block, out);
        } else {
            edgeq_depthwise_row_any(depthwise, &rows, channels, block, out);
        }
        out += depthwise->output.width * depthwise->output.channels;
        top += depthwise->window.stride_h;
    }
}

#endif /* EDGEQ_CONV_DEPTHWISE_3X3_H */
