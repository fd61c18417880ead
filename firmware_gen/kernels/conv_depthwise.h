/* CONV_DEPTHWISE; twin of edgeq/ops/conv_depthwise.py. The rows that the filter reaches are in
 * a ring: an image of filter_h rows that begins anywhere. So does the filter, whose rows lie
 * twice in flash but for the last: from row filter_h - slot on they meet a ring that begins at
 * `slot`. The sum of an output does not depend on the order of its taps. */
#ifndef EDGEQ_CONV_DEPTHWISE_H
#define EDGEQ_CONV_DEPTHWISE_H

#include <stdint.h>

#include "depthwise_conv_2d.h"
#include "edgeq_ring.h"

struct edgeq_conv_depthwise {
    struct edgeq_ring ring;
    int32_t pad_top;
    int32_t stride_h;
    int32_t output_height;
    int32_t filter_row_nbytes;
    int32_t output_row_nbytes;
    struct edgeq_depthwise_conv_2d depthwise; /* of the ring, to one row */
};

/* (H, W, I) -> (out_h, out_w, E * m); `expand` makes a row of E channels. taps as
 * depthwise_conv_2d.h wants them. */
static inline __attribute__((always_inline)) void
edgeq_conv_depthwise(const struct edgeq_conv_depthwise *op, const int8_t *x,
                     edgeq_make_row *expand, const int8_t *filter, const int32_t *bias,
                     int8_t *rows, struct edgeq_depthwise_tap *taps, int8_t *out) {
    const int32_t filter_h = op->ring.rows;
    int32_t top = -op->pad_top;
    int32_t next = top;
    int32_t slot = 0;
    for (int32_t out_y = 0; out_y < op->output_height; ++out_y) {
        slot = edgeq_ring_make(&op->ring, expand, x, next > top ? next : top, top + filter_h,
                               slot, rows);
        next = top + filter_h;
        const int32_t first = slot > 0 ? filter_h - slot : 0;
        edgeq_depthwise_conv_2d(&op->depthwise, rows, filter + first * op->filter_row_nbytes,
                                bias, taps, out);
        out += op->output_row_nbytes;
        top += op->stride_h;
    }
}

#endif /* EDGEQ_CONV_DEPTHWISE_H */
