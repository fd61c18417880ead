/* CONCATENATION; twin of edgeq/ops/concatenation.py. */
#ifndef EDGEQ_CONCATENATION_H
#define EDGEQ_CONCATENATION_H

#include <stdint.h>

struct edgeq_concatenation {
    int32_t axis;
    int32_t blocks;       /* extents before the axis, multiplied */
    int32_t block_nbytes; /* of the output: the axis and what follows it */
};

/* Places one input: blocks of nbytes each, from byte `start` of the output's blocks on. */
static inline void edgeq_concatenation(const struct edgeq_concatenation *op,
                                       const int8_t *restrict x, int32_t nbytes, int32_t start,
                                       int8_t *restrict out) {
    for (int32_t block = 0; block < op->blocks; ++block) {
        int8_t *to = out + block * op->block_nbytes + start;
        for (int32_t i = 0; i < nbytes; ++i) {
            to[i] = x[i];
        }
        x += nbytes;
    }
}

#endif /* EDGEQ_CONCATENATION_H */
