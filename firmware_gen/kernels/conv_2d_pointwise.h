/* CONV_2D of single pixels on cores with the DSP extension: the image is one row, and all of
 * it one run of edgeq_tile. Weights as edgeq_tile.h has them; twin of edgeq/ops/conv_2d.py.
 * EDGEQ_CONV_2D_POINTWISE_ODD is defined if some layer has an odd number of pixels. */
#ifndef EDGEQ_CONV_2D_POINTWISE_H
#define EDGEQ_CONV_2D_POINTWISE_H

#include <stdint.h>

#include "edgeq_tile.h"

struct edgeq_conv_2d_pointwise {
    uint16_t pixels;
    uint16_t channels; /* a multiple of 4, as the output's */
    uint16_t output_channels;
    int8_t output_zero_point;
    uint8_t t; /* of edgeq_tile */
};

/* (P, I) -> (P, O); scratch: two widened pixels. All work is in edgeq_tile. */
static __attribute__((noinline, cold, unused)) void
edgeq_conv_2d_pointwise(const struct edgeq_conv_2d_pointwise *op, const int8_t *x,
                        const int32_t *weights, int8_t *out, uint32_t *scratch) {
    struct edgeq_tile_run run;
    run.out_step = op->output_channels;
    run.row_nbytes = op->channels;
    run.from = x;
    run.from_step = op->channels;
    run.gap = 0;
    run.rows = 1;
    edgeq_tile_layer(&run, scratch, weights, op->output_channels, op->channels,
                     op->output_zero_point, op->t);
    run.out0 = out;
    run.out1 = out + op->output_channels;
    run.pairs = op->pixels >> 1;
#ifdef EDGEQ_CONV_2D_POINTWISE_ODD
    if (run.pairs != 0) {
        edgeq_tile(&run);
    }
    if ((op->pixels & 1) != 0) { /* the last is its own second */
        const int32_t last = op->pixels - 1;
        run.from += last * op->channels;
        run.from_step = 0;
        run.out0 += last * op->output_channels;
        run.out1 = run.out0;
        run.pairs = 1;
        edgeq_tile(&run);
    }
#else
    edgeq_tile(&run);
#endif
}

#endif /* EDGEQ_CONV_2D_POINTWISE_H */
