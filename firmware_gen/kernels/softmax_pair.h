/* SOFTMAX of two classes, on any core; twin of edgeq/ops/softmax.py. Both results are functions
 * of the difference of the two values; softmax.py makes the table of the smaller and has seen
 * that the larger is minus it, within int8. */
#ifndef EDGEQ_SOFTMAX_PAIR_H
#define EDGEQ_SOFTMAX_PAIR_H

#include <stdint.h>

struct edgeq_softmax_pair {
    const int8_t *table; /* by the difference; beyond, its last */
    int32_t entries;
    int32_t rows;
};

/* (R, 2) -> (R, 2); out may be x. */
static inline void edgeq_softmax_pair(const struct edgeq_softmax_pair *op, const int8_t *x,
                                      int8_t *out) {
    for (int32_t r = 0; r < op->rows; ++r) {
        const int32_t higher = x[0] < x[1] ? 1 : 0;
        const int32_t difference = x[higher] - x[1 - higher];
        const int32_t smaller =
            op->table[difference < op->entries ? difference : op->entries - 1];
        out[1 - higher] = (int8_t)smaller;
        out[higher] = (int8_t)(smaller == INT8_MIN ? INT8_MAX : -smaller);
        x += 2;
        out += 2;
    }
}

#endif /* EDGEQ_SOFTMAX_PAIR_H */
