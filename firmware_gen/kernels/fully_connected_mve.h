/* FULLY_CONNECTED on cores with the vector extension, one row; twin of
 * edgeq/ops/fully_connected.py. Weights as edgeq_mve_row.h. */
#ifndef EDGEQ_FULLY_CONNECTED_MVE_H
#define EDGEQ_FULLY_CONNECTED_MVE_H

#include <stdint.h>

#include "edgeq_mve_row.h"

struct edgeq_fully_connected_mve {
    struct edgeq_mve_row row;
};

/* (I,) -> (O,), O a multiple of 8. */
static inline __attribute__((always_inline)) void
edgeq_fully_connected_mve(const struct edgeq_fully_connected_mve *op, const int8_t *x,
                          const int32_t *weights, int8_t *out) {
    edgeq_mve_row(&op->row, x, weights, out);
}

#endif /* EDGEQ_FULLY_CONNECTED_MVE_H */
