/* The taps of one output pixel that are in the image: a rectangle, at least one. */
#ifndef EDGEQ_PATCH_H
#define EDGEQ_PATCH_H

#include <stdint.h>

#include "edgeq_window.h"

struct edgeq_patch {
    int32_t start;       /* byte of its first tap */
    int32_t rows;        /* of taps */
    int32_t columns;     /* of taps */
    int32_t row_step;    /* bytes from row to row */
    int32_t column_step; /* bytes from tap to tap */
};

/* Moves `at`, the first of `taps` positions, to the first within 0 .. extent - 1; returns how
 * many are there. */
static inline int32_t edgeq_patch_clip(int32_t *at, int32_t taps, int32_t step,
                                       int32_t extent) {
    for (; *at < 0; *at += step) {
        --taps;
    }
    while (*at + (taps - 1) * step >= extent) {
        --taps;
    }
    return taps;
}

static inline struct edgeq_patch edgeq_patch_of(const struct edgeq_window *window,
                                                const struct edgeq_image *image, int32_t out_y,
                                                int32_t out_x) {
    int32_t y = out_y * window->stride_h - window->pad_top;
    int32_t x = out_x * window->stride_w - window->pad_left;
    struct edgeq_patch patch;
    patch.rows = edgeq_patch_clip(&y, window->filter_h, window->dilation_h, image->height);
    patch.columns = edgeq_patch_clip(&x, window->filter_w, window->dilation_w, image->width);
    patch.start = (y * image->width + x) * image->channels;
    patch.row_step = window->dilation_h * image->width * image->channels;
    patch.column_step = window->dilation_w * image->channels;
    return patch;
}

#endif /* EDGEQ_PATCH_H */
