/* The model "tiny": constants, a function or a row of a table for each layer, and the calls
 * in order. Fixed-point integers only; nothing is allocated at run time. The functions for
 * other code are declared in model.h. */

#include "model.h"

#define EDGEQ_FOR_SPEED
#include "conv_2d.h"
#include "fully_connected.h"
#include "max_pool_2d.h"
#include "pad.h"

/* Every activation and all scratch memory. */
_Alignas(16) uint8_t edgeq_arena[EDGEQ_MODEL_ARENA_NBYTES];

/* A buffer of the arena, as a pointer of which the compiler knows no more: from constant
 * addresses GCC 12 (-O2) may form one buffer's address out of another's, and then take a
 * function that only writes through it for one without effect. */
static inline void *edgeq_buffer(uint32_t offset) {
    uint8_t *at = edgeq_arena + offset;
    __asm__("" : "+r"(at));
    return at;
}

/* Offsets in the arena, and the steps (layers, from 0) that a buffer lives. */
enum {
    /* input: int8 (1, 3, 3, 1), scale 0.5 (0x1p-1), zero point -3; from the start to step 0 */
    input_0 = 8,
    /* net/pad: int8 (1, 3, 4, 1), scale 0.5 (0x1p-1), zero point -3; from step 0 to step 1 */
    pad_output = 0,
    /* net/conv/Relu: int8 (1, 2, 2, 2), scale 0.1 (0x1.999999999999ap-4), zero point 7; from
     * step 1 to step 2 */
    conv_output = 12,
    /* net/pool: int8 (1, 2, 2, 2), scale 0.1 (0x1.999999999999ap-4), zero point 7; from step
     * 2 to step 3 */
    pool_output = 0,
    /* net/flat: int8 (1, 8), scale 0.1 (0x1.999999999999ap-4), zero point 7; from step 3 to
     * step 4 */
    flat_output = 0,
    /* scores: int8 (1, 3), scale 0.5 (0x1p-1), zero point -3; from step 4 to the end */
    fc_output = 8,
};

#define INT8_AT(offset) ((int8_t *)edgeq_buffer(offset))

/* 0: PAD (1, 3, 3, 1) -> (1, 3, 4, 1). net/pad */
static __attribute__((noinline)) void pad(void) {
    static const struct edgeq_pad op = {
        .pads = {{0, 0}, {0, 0}, {0, 1}, {0, 0}},
        .fill = -3,
        .input_shape = {1, 3, 3, 1},
    };
    edgeq_pad(&op, INT8_AT(input_0), INT8_AT(pad_output));
}

/* 1: CONV_2D (1, 3, 4, 1) -> (1, 2, 2, 2), 32 multiplications. net/conv/Relu */
/* OHWI (2, 2, 2, 1) */
static const int8_t conv_filter[8] = {
    -4, -3, -2, -1, 0, 1, 2, 3,
};

/* the bias, less the input's zero point times the sum of the channel's filter */
static const int32_t conv_bias[2] = {
    -25, 12,
};

static const int32_t conv_multiplier[2] = {
    1518500250, 1073741824,
};

static const int8_t conv_shift[2] = {
    -1, 0,
};

static __attribute__((noinline)) void conv(void) {
    static const struct edgeq_conv_2d op = {
        .window = {
            .filter_h = 2, .filter_w = 2, .stride_h = 2, .stride_w = 2, .dilation_h = 1,
            .dilation_w = 1, .pad_top = 0, .pad_bottom = 1, .pad_left = 0, .pad_right = 0,
        },
        .input_zero_point = -3,
        .output_zero_point = 7,
        .activation_min = 7,
        .activation_max = 127,
        .multiplier = conv_multiplier,
        .shift = conv_shift,
        .multiplier_step = 1,
        .input = {.height = 3, .width = 4, .channels = 1},
        .output = {.height = 2, .width = 2, .channels = 2},
    };
    edgeq_conv_2d(&op, INT8_AT(pad_output), conv_filter, conv_bias, INT8_AT(conv_output));
}

/* 2: MAX_POOL_2D (1, 2, 2, 2) -> (1, 2, 2, 2). net/pool */
static __attribute__((noinline)) void pool(void) {
    static const struct edgeq_max_pool_2d op = {
        .window = {
            .filter_h = 1, .filter_w = 1, .stride_h = 1, .stride_w = 1, .dilation_h = 1,
            .dilation_w = 1, .pad_top = 0, .pad_bottom = 0, .pad_left = 0, .pad_right = 0,
        },
        .activation_min = -128,
        .activation_max = 100,
        .input = {.height = 2, .width = 2, .channels = 2},
        .output = {.height = 2, .width = 2, .channels = 2},
    };
    edgeq_max_pool_2d(&op, INT8_AT(conv_output), INT8_AT(pool_output));
}

/* 3: RESHAPE (1, 2, 2, 2) -> (1, 8). net/flat
 * No code: the output is the input's bytes. */

/* 4: FULLY_CONNECTED (1, 8) -> (1, 3), 24 multiplications. scores */
/* OI (3, 8) */
static const int8_t fc_filter[24] = {
    -3, -2, -1, 0, 1, 2, 3, -3, -2, -1, 0, 1, 2, 3, -3, -2, -1, 0, 1, 2, 3, -3, -2, -1,
};

/* the bias, less the input's zero point times the sum of the channel's filter */
static const int32_t fc_bias[3] = {
    22, 16, 10,
};

static const int32_t fc_multiplier[1] = {
    1288490189,
};

static const int8_t fc_shift[1] = {
    -2,
};

static __attribute__((noinline)) void fc(void) {
    static const struct edgeq_fully_connected op = {
        .input_zero_point = 7,
        .output_zero_point = -3,
        .activation_min = -128,
        .activation_max = 127,
        .multiplier = fc_multiplier,
        .shift = fc_shift,
        .multiplier_step = 0,
        .rows = 1,
        .input_channels = 8,
        .output_channels = 3,
    };
    edgeq_fully_connected(&op, INT8_AT(flat_output), fc_filter, fc_bias, INT8_AT(fc_output));
}

extern inline void *edgeq_model_input(size_t index);

void edgeq_model_run(void) {
    pad();
    conv();
    pool();
    fc();
}

extern inline const void *edgeq_model_output(size_t index);
