/* FULLY_CONNECTED of one row on cores with the DSP extension: the row is widened into scratch
 * and serves all channels. Twin of edgeq/ops/fully_connected.py; weights as edgeq_row.h. */
#ifndef EDGEQ_FULLY_CONNECTED_DSP_H
#define EDGEQ_FULLY_CONNECTED_DSP_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_row.h"

struct edgeq_fully_connected_dsp {
    int32_t input_channels;
    int32_t output_channels;
    int32_t activation_min;
    int32_t activation_max;
    struct edgeq_row row;
};

/* (I,) -> (O,); scratch: the widened row. */
static inline void edgeq_fully_connected_dsp(const struct edgeq_fully_connected_dsp *op,
                                             const int8_t *x, const int32_t *weights,
                                             int8_t *out, uint32_t *scratch) {
    const int32_t rest = op->output_channels % 8;
    const uint32_t *const end = scratch + op->row.nbytes / 4;
    uint32_t *to = scratch;
    int32_t i = 0;
    for (; i + 4 <= op->input_channels; i += 4) {
        const uint32_t word = edgeq_load4(x + i);
        *to++ = edgeq_sxtb16(word);
        *to++ = edgeq_sxtb16_odd(word);
    }
    if (i < op->input_channels) {
        uint32_t word = 0;
        for (uint32_t shift = 0; i < op->input_channels; shift += 8) {
            word |= ((uint32_t)x[i++] & 0xffu) << shift;
        }
        *to++ = edgeq_sxtb16(word);
        *to++ = edgeq_sxtb16_odd(word);
    }
    while (to < end) {
        *to++ = 0;
    }
    if (op->row.groups > 0) {
        edgeq_row(scratch, weights, out, &op->row);
    }
    if (rest > 0) {
        struct edgeq_row last = op->row;
        int8_t bytes[8];
        last.groups = 1;
        edgeq_row(scratch, weights + op->row.groups * (int32_t)(op->row.nbytes + 8), bytes,
                  &last);
        for (int32_t o = 0; o < rest; ++o) {
            out[op->output_channels - rest + o] = bytes[o];
        }
    }
    if (op->activation_min > -128 || op->activation_max < 127) {
        for (int32_t o = 0; o < op->output_channels; ++o) {
            out[o] = (int8_t)edgeq_clamp(out[o], op->activation_min, op->activation_max);
        }
    }
}

#endif /* EDGEQ_FULLY_CONNECTED_DSP_H */
