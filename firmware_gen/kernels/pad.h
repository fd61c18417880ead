/* PAD; twin of edgeq/ops/pad.py. */
#ifndef EDGEQ_PAD_H
#define EDGEQ_PAD_H

#include <stdint.h>

struct edgeq_pad {
    int32_t pads[4][2]; /* (before, after); missing leading axes are (0, 0) */
    int32_t fill;
    int32_t input_shape[4]; /* missing leading extents are 1 */
};

/* count bytes of the fill; returns the byte behind them. */
static inline int8_t *edgeq_pad_fill(int8_t *out, int32_t count, int32_t fill) {
    for (int32_t i = 0; i < count; ++i) {
        *out++ = (int8_t)fill;
    }
    return out;
}

/* An image between its borders of the last two axes, and the borders before and after it. */
static inline void edgeq_pad(const struct edgeq_pad *op, const int8_t *x, int8_t *out) {
    const int32_t *const shape = op->input_shape;
    const int32_t (*const pads)[2] = op->pads;
    const int32_t pixel_nbytes = pads[3][0] + shape[3] + pads[3][1];
    const int32_t row_nbytes = pixel_nbytes * (pads[2][0] + shape[2] + pads[2][1]);
    const int32_t image_nbytes = row_nbytes * (pads[1][0] + shape[1] + pads[1][1]);
    out = edgeq_pad_fill(out, pads[0][0] * image_nbytes, op->fill);
    for (int32_t n = 0; n < shape[0]; ++n) {
        out = edgeq_pad_fill(out, pads[1][0] * row_nbytes, op->fill);
        for (int32_t h = 0; h < shape[1]; ++h) {
            out = edgeq_pad_fill(out, pads[2][0] * pixel_nbytes, op->fill);
            for (int32_t w = 0; w < shape[2]; ++w) {
                out = edgeq_pad_fill(out, pads[3][0], op->fill);
                for (int32_t c = 0; c < shape[3]; ++c) {
                    *out++ = *x++;
                }
                out = edgeq_pad_fill(out, pads[3][1], op->fill);
            }
            out = edgeq_pad_fill(out, pads[2][1] * pixel_nbytes, op->fill);
        }
        out = edgeq_pad_fill(out, pads[1][1] * row_nbytes, op->fill);
    }
    (void)edgeq_pad_fill(out, pads[0][1] * image_nbytes, op->fill);
}

#endif /* EDGEQ_PAD_H */
