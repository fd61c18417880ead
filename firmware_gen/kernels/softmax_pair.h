/* SOFTMAX of two classes, on any core; twin of edgeq/ops/softmax.py. Both results are functions
 * of the difference of the two values; softmax.py makes the steps of the smaller and has seen
 * that the larger is minus it, within int8. */
#ifndef EDGEQ_SOFTMAX_PAIR_H
#define EDGEQ_SOFTMAX_PAIR_H

#include <stdint.h>

#include "edgeq_arith.h"

struct edgeq_softmax_pair {
    const uint8_t
        *steps;      /* by how much less it is for one more difference; lowest bits first */
    int32_t bits;    /* of a step: 1, 2, 4 or 8 */
    int32_t entries; /* beyond so many differences it is no less */
    int32_t rows;
};

/* (R, 2) -> (R, 2); out may be x. */
static inline void edgeq_softmax_pair(const struct edgeq_softmax_pair *op, const int8_t *x,
                                      int8_t *out) {
    for (int32_t r = 0; r < op->rows; ++r) {
        const int32_t difference = x[0] - x[1];
        const int32_t distance = difference < 0 ? -difference : difference;
        const int32_t n = distance < op->entries ? distance : op->entries;
        int32_t larger = 0;
        for (int32_t i = 0; i < n * op->bits; i += op->bits) {
            larger += (op->steps[i >> 3] >> (i & 7)) & ((1 << op->bits) - 1);
        }
        const int32_t first = difference < 0 ? -larger : larger;
        out[0] = (int8_t)edgeq_clamp(first, INT8_MIN, INT8_MAX);
        out[1] = (int8_t)edgeq_clamp(-first, INT8_MIN, INT8_MAX);
        x += 2;
        out += 2;
    }
}

#endif /* EDGEQ_SOFTMAX_PAIR_H */
