/* FULLY_CONNECTED; twin of edgeq/ops/fully_connected.py. Filters OI. The bias holds
 * -input_zero_point * sum(filter) already. */
#ifndef EDGEQ_FULLY_CONNECTED_H
#define EDGEQ_FULLY_CONNECTED_H

#include <stdint.h>

#include "edgeq_arith.h"

struct edgeq_fully_connected {
    int32_t input_zero_point; /* in the bias already */
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    const int32_t *multiplier; /* (O,), or (1,) if one serves all channels */
    const int8_t *shift;       /* as multiplier */
    int32_t multiplier_step;   /* 1, or 0 if one serves all channels */
    int32_t rows;              /* R */
    int32_t input_channels;    /* I */
    int32_t output_channels;   /* O */
};

/* (R, I) -> (R, O). */
static inline void edgeq_fully_connected(const struct edgeq_fully_connected *op,
                                         const int8_t *x, const int8_t *restrict filter,
                                         const int32_t *restrict bias, int8_t *out) {
    for (int32_t r = 0; r < op->rows; ++r) {
        const int8_t *taps = filter;
        for (int32_t o = 0; o < op->output_channels; ++o) {
            const int32_t acc = bias[o] + edgeq_dot(x, taps, op->input_channels);
            const int32_t m = o * op->multiplier_step;
            const int32_t y = edgeq_requantize(acc, op->multiplier[m], op->shift[m]);
            *out++ = (int8_t)edgeq_clamp(y + op->output_zero_point, op->activation_min,
                                         op->activation_max);
            taps += op->input_channels;
        }
        x += op->input_channels;
    }
}

#endif /* EDGEQ_FULLY_CONNECTED_H */
