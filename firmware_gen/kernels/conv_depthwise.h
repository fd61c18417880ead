/* CONV_DEPTHWISE; twin of edgeq/ops/conv_depthwise.py. Rows of the tensor in between are in
 * scratch, from the top one down: a low image, of which any kernel of DEPTHWISE_CONV_2D makes
 * some rows of the output. Those that the next ones need too are then moved up. */
#ifndef EDGEQ_CONV_DEPTHWISE_H
#define EDGEQ_CONV_DEPTHWISE_H

#include <stdint.h>

#include "edgeq_words.h"

/* Makes rows, at `out`, of what is at `x`. */
typedef void edgeq_make_rows(const int8_t *x, int8_t *out);

struct edgeq_conv_depthwise {
    edgeq_make_rows *expand;    /* one of a row of x */
    edgeq_make_rows *depthwise; /* some of the output, of `rows` in scratch */
    int32_t rows;
    int32_t step; /* from the first row in scratch to that of the next time */
    int32_t pad_top;
    int32_t fill; /* what stands in rows of padding */
    int32_t height;
    int32_t count; /* of calls of `depthwise` */
    int32_t x_row_nbytes;
    int32_t row_nbytes;    /* whole words */
    int32_t output_nbytes; /* of what `depthwise` makes */
};

/* (H, W, I) -> (out_h, out_w, E * m); scratch: `rows` rows of E channels. */
static __attribute__((noinline, cold, unused)) void
edgeq_conv_depthwise(const struct edgeq_conv_depthwise *op, const int8_t *x, int8_t *scratch,
                     int8_t *out) {
    const int32_t row_nbytes = op->row_nbytes;
    const int32_t kept = op->step < op->rows ? op->rows - op->step : 0;
    int32_t row = 0; /* in scratch, the first to be made */
    for (int32_t i = 0; i < op->count; ++i) {
        const int32_t top = i * op->step - op->pad_top; /* row 0 of the scratch */
        if (i > 0) {
            edgeq_copy_words(scratch + (op->rows - kept) * row_nbytes, scratch,
                             kept * row_nbytes >> 2);
            row = kept;
        }
        for (; row < op->rows; ++row) {
            int8_t *const to = scratch + row * row_nbytes;
            const int32_t y = top + row;
            if (y >= 0 && y < op->height) {
                op->expand(x + y * op->x_row_nbytes, to);
            } else {
                edgeq_fill_words((uint32_t)(op->fill & 0xff) * 0x01010101u, to,
                                 row_nbytes >> 2);
            }
        }
        op->depthwise(scratch, out);
        out += op->output_nbytes;
    }
}

#endif /* EDGEQ_CONV_DEPTHWISE_H */
