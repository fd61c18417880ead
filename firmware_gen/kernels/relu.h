/* RELU and RELU6 that stand alone; twin of edgeq/ops/relu.py. */
#ifndef EDGEQ_RELU_H
#define EDGEQ_RELU_H

#include <stdint.h>

#include "edgeq_arith.h"

struct edgeq_relu {
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t multiplier;
    int32_t shift;
    int32_t activation_min;
    int32_t activation_max;
    int32_t count;
};

/* out may be x. */
static inline void edgeq_relu(const struct edgeq_relu *op, const int8_t *x, int8_t *out) {
    for (int32_t i = 0; i < op->count; ++i) {
        const int32_t y =
            edgeq_requantize(x[i] - op->input_zero_point, op->multiplier, op->shift);
        out[i] = (int8_t)edgeq_clamp(y + op->output_zero_point, op->activation_min,
                                     op->activation_max);
    }
}

#endif /* EDGEQ_RELU_H */
