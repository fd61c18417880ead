/* CONV_ADD; twin of edgeq/ops/conv_add.py. Some rows of the convolution are made in scratch, by
 * any kernel of CONV_2D, and then added to those of the other operand by any of ADD. */
#ifndef EDGEQ_CONV_ADD_H
#define EDGEQ_CONV_ADD_H

#include <stdint.h>

/* Makes rows, at `out`, of what is at `x`. */
typedef void edgeq_conv_add_rows(const int8_t *x, int8_t *out);

struct edgeq_conv_add {
    edgeq_conv_add_rows *add; /* what is in scratch and some rows of an operand */
    int32_t x_nbytes;         /* from the rows of x that are read at once to the next ones */
    int32_t output_nbytes;    /* of the rows that are made at once */
};

/* Some rows of x are made rows in scratch by `conv`, `count` times; out may be y. */
static inline __attribute__((always_inline)) void
edgeq_conv_add(const struct edgeq_conv_add *op, edgeq_conv_add_rows *conv, int32_t count,
               const int8_t *x, int8_t *scratch, const int8_t *y, int8_t *out) {
    for (int32_t i = 0; i < count; ++i) {
        conv(x, scratch);
        op->add(y, out);
        x += op->x_nbytes;
        y += op->output_nbytes;
        out += op->output_nbytes;
    }
}

#endif /* EDGEQ_CONV_ADD_H */
