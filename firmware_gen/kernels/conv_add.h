/* CONV_ADD; twin of edgeq/ops/conv_add.py. Some rows of the convolution are made in scratch, by
 * any kernel of CONV_2D, and then added to those of the other operand by any of ADD. */
#ifndef EDGEQ_CONV_ADD_H
#define EDGEQ_CONV_ADD_H

#include <stdint.h>

/* Makes rows, at `out`, of what is at `x`. */
typedef void edgeq_conv_add_rows(const int8_t *x, int8_t *out);

struct edgeq_conv_add {
    edgeq_conv_add_rows *first; /* with the padding above */
    edgeq_conv_add_rows *conv;
    edgeq_conv_add_rows *last; /* with the padding below */
    edgeq_conv_add_rows *add;  /* what is in scratch and some rows of y */
    int32_t count;             /* of times that rows are made */
    int32_t first_x_nbytes;    /* from the first rows of x to the next ones */
    int32_t x_nbytes;          /* from there on */
    int32_t output_nbytes;     /* of the rows that are made at once */
};

/* (H, W, I), (out_h, out_w, O) -> (out_h, out_w, O); out may be y. */
static inline __attribute__((always_inline)) void
edgeq_conv_add(const struct edgeq_conv_add *op, const int8_t *x, int8_t *scratch,
               const int8_t *y, int8_t *out) {
    for (int32_t i = 0; i < op->count; ++i) {
        if (i == 0) {
            op->first(x, scratch);
            x += op->first_x_nbytes;
        } else {
            if (i == op->count - 1) {
                op->last(x, scratch);
            } else {
                op->conv(x, scratch);
            }
            x += op->x_nbytes;
        }
        op->add(y, out);
        y += op->output_nbytes;
        out += op->output_nbytes;
    }
}

#endif /* EDGEQ_CONV_ADD_H */
