/* CONV_2D of single pixels on cores with the DSP extension: the image is one row, and all of
 * it one run of edgeq_tile. Weights as edgeq_tile.h has them; twin of edgeq/ops/conv_2d.py.
 * EDGEQ_CONV_2D_POINTWISE_ODD is defined if some layer has an odd number of pixels, _PACKED if
 * the weights of some are packed (edgeq_tile_packed.h). */
#ifndef EDGEQ_CONV_2D_POINTWISE_H
#define EDGEQ_CONV_2D_POINTWISE_H

#include <stdint.h>

#include "edgeq_tile.h"
#ifdef EDGEQ_CONV_2D_POINTWISE_PACKED
#include "edgeq_tile_packed.h"
#endif

#define EDGEQ_CONV_2D_POINTWISE_IS_PACKED 128

struct edgeq_conv_2d_pointwise {
    uint16_t pixels;
    uint16_t channels; /* as the output's a multiple of 4, and of packed weights those that
                          there are: the image has them up to a multiple of 4 */
    uint16_t output_channels;
    int8_t output_zero_point;
    uint8_t t; /* of edgeq_tile; of packed weights `how` of edgeq_tile_unpack, 128 or more */
};

/* Channels of an image. */
static inline int32_t edgeq_conv_2d_pointwise_fours(int32_t channels) {
#ifdef EDGEQ_CONV_2D_POINTWISE_PACKED
    return (channels + 3) & ~3;
#else
    return channels;
#endif
}

/* (P, I) -> (P, O); scratch: two widened pixels, and behind them the weights if they are
 * packed. All other work is in edgeq_tile. */
static __attribute__((noinline, cold, unused)) void
edgeq_conv_2d_pointwise(const struct edgeq_conv_2d_pointwise *op, const int8_t *x,
                        const int32_t *weights, int8_t *out, uint32_t *scratch) {
    const int32_t channels = edgeq_conv_2d_pointwise_fours(op->channels);
    const int32_t outputs = edgeq_conv_2d_pointwise_fours(op->output_channels);
    struct edgeq_tile_run run;
    int32_t t = op->t;
    run.out_step = outputs;
    run.row_nbytes = channels;
    run.from = x;
    run.from_step = channels;
    run.gap = 0;
    run.rows = 1;
#ifdef EDGEQ_CONV_2D_POINTWISE_PACKED
    if (t >= EDGEQ_CONV_2D_POINTWISE_IS_PACKED) {
        const int32_t *const packed = weights;
        weights = (const int32_t *)(scratch + channels);
        edgeq_tile_unpack(packed, scratch + channels, op->channels, op->output_channels,
                          (uint32_t)t);
        t = 0;
    }
#endif
    edgeq_tile_layer(&run, scratch, weights, outputs, channels, op->output_zero_point, t);
    run.out0 = out;
    run.out1 = out + outputs;
    run.pairs = op->pixels >> 1;
#ifdef EDGEQ_CONV_2D_POINTWISE_ODD
    if (run.pairs != 0) {
        edgeq_tile(&run);
    }
    if ((op->pixels & 1) != 0) { /* the last is its own second */
        const int32_t last = op->pixels - 1;
        run.from += last * channels;
        run.from_step = 0;
        run.out0 += last * outputs;
        run.out1 = run.out0;
        run.pairs = 1;
        edgeq_tile(&run);
    }
#else
    edgeq_tile(&run);
#endif
}

#endif /* EDGEQ_CONV_2D_POINTWISE_H */
