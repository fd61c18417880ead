/* LOGISTIC; twin of edgeq/ops/logistic.py. */
#ifndef EDGEQ_LOGISTIC_H
#define EDGEQ_LOGISTIC_H

#include <stdint.h>

struct edgeq_logistic {
    const int8_t *table; /* (256,) by input + 128 */
    int32_t count;
};

/* out may be x. */
static inline void edgeq_logistic(const struct edgeq_logistic *op, const int8_t *x,
                                  int8_t *out) {
    for (int32_t i = 0; i < op->count; ++i) {
        out[i] = op->table[x[i] + 128];
    }
}

#endif /* EDGEQ_LOGISTIC_H */
