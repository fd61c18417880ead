/* The newest rows of an image that is made row by row and never whole. */
#ifndef EDGEQ_RING_H
#define EDGEQ_RING_H

#include <stddef.h>
#include <stdint.h>

struct edgeq_ring {
    int32_t rows; /* that it holds */
    int32_t row_nbytes;
    int32_t x_row_nbytes; /* of the image of which a row is made, as high as this one */
    int32_t height;
    int32_t fill; /* what stands in rows of padding */
};

/* Makes a row, at `out`, of a row at `x`. */
typedef void edgeq_make_row(const int8_t *x, int8_t *out);

/* Makes the image's rows first .. end - 1, each over the oldest, which is at `slot`; returns
 * where the oldest is then. Rows outside the image are padding. */
static inline int32_t edgeq_ring_make(const struct edgeq_ring *ring, edgeq_make_row *make,
                                      const int8_t *x, int32_t first, int32_t end, int32_t slot,
                                      int8_t *rows) {
    for (int32_t row = first; row < end; ++row) {
        int8_t *const out = rows + slot * ring->row_nbytes;
        if (row >= 0 && row < ring->height) {
            make(x + row * ring->x_row_nbytes, out);
        } else {
            __builtin_memset(out, ring->fill, (size_t)ring->row_nbytes);
        }
        slot = slot + 1 < ring->rows ? slot + 1 : 0;
    }
    return slot;
}

#endif /* EDGEQ_RING_H */
