/* CONV_DEPTHWISE; twin of edgeq/ops/conv_depthwise.py. The rows that the filter reaches are in
 * scratch, from the top one down: an image of filter_h rows, of which any kernel of
 * DEPTHWISE_CONV_2D makes one row. Those that the next row needs too are then moved up. */
#ifndef EDGEQ_CONV_DEPTHWISE_H
#define EDGEQ_CONV_DEPTHWISE_H

#include <stddef.h>
#include <stdint.h>

#include "move.h"

/* Makes a row, or the first of several, at `out`, of what is at `x`. */
typedef void edgeq_make_row(const int8_t *x, int8_t *out);

struct edgeq_conv_depthwise {
    edgeq_make_row *expand;    /* a row of a row of x */
    edgeq_make_row *depthwise; /* a row of the output, of filter_h rows */
    int32_t filter_h;
    int32_t stride_h;
    int32_t pad_top;
    int32_t fill; /* what stands in rows of padding */
    int32_t height;
    int32_t output_height;
    int32_t x_row_nbytes;
    int32_t row_nbytes; /* whole words */
    int32_t output_row_nbytes;
};

/* (H, W, I) -> (out_h, out_w, E * m); rows: filter_h rows of E channels. */
static inline __attribute__((always_inline)) void
edgeq_conv_depthwise(const struct edgeq_conv_depthwise *op, const int8_t *x, int8_t *rows,
                     int8_t *out) {
    const int32_t row_nbytes = op->row_nbytes;
    const int32_t kept = op->stride_h < op->filter_h ? op->filter_h - op->stride_h : 0;
    const struct edgeq_move up = {.words = kept * row_nbytes / 4, .bytes = 0};
    int32_t y = -op->pad_top; /* of the image, of the row that is made next */
    for (int32_t out_y = 0; out_y < op->output_height; ++out_y) {
        int32_t row = 0;
        if (out_y > 0) {
            edgeq_move(&up, rows + (op->filter_h - kept) * row_nbytes, rows);
            row = kept;
            y += op->stride_h - (op->filter_h - kept);
        }
        for (; row < op->filter_h; ++row) {
            int8_t *const to = rows + row * row_nbytes;
            if (y >= 0 && y < op->height) {
                op->expand(x + y * op->x_row_nbytes, to);
            } else {
                __builtin_memset(to, op->fill, (size_t)row_nbytes);
            }
            ++y;
        }
        op->depthwise(rows, out);
        out += op->output_row_nbytes;
    }
}

#endif /* EDGEQ_CONV_DEPTHWISE_H */
