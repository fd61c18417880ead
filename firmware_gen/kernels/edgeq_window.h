/* How a filter slides over an image; twin of edgeq/ops/window.py. Images are HWC. */
#ifndef EDGEQ_WINDOW_H
#define EDGEQ_WINDOW_H

#include <stdint.h>

struct edgeq_window {
    int32_t filter_h;
    int32_t filter_w;
    int32_t stride_h;
    int32_t stride_w;
    int32_t dilation_h;
    int32_t dilation_w;
    int32_t pad_top;
    int32_t pad_bottom;
    int32_t pad_left;
    int32_t pad_right;
};

struct edgeq_image {
    int32_t height;
    int32_t width;
    int32_t channels;
};

#endif /* EDGEQ_WINDOW_H */
