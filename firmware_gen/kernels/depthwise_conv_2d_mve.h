/* DEPTHWISE_CONV_2D of 3 x 3 on cores with the vector extension, 16 channels at a time; twin of
 * edgeq/ops/depthwise_conv_2d.py. Taps in the padding are read from a line of the input's zero
 * point in scratch.
 *
 * VMULLB.S8 and VMULLT.S8 give the 16 products of a tap as int16, even channels and odd ones.
 * Of so many taps as the weights allow (the generator has proven that no channel's sum leaves
 * int16) they are added as int16, then widened and added as int32: channels 0, 4, 8, 12 in q4,
 * those from 2 in q5, from 1 in q6, from 3 in q7. Requantization is that of edgeq_mve.h; the
 * zero point is added to int16 after saturation, with saturation, which changes nothing that
 * int8 can hold. */
#ifndef EDGEQ_DEPTHWISE_CONV_2D_MVE_H
#define EDGEQ_DEPTHWISE_CONV_2D_MVE_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_mve.h"
#include "edgeq_window.h"

struct edgeq_depthwise_mve {
    struct edgeq_window window;
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    struct edgeq_image input;
    struct edgeq_image output;
    int32_t taps;    /* added as int16: 5 then 4, 3, or 2 and a last one */
    int32_t is_full; /* as edgeq_mve_tile */
};

/* One call of the assembly. Of each 16 channels: weights tap by tap; four times the biases,
 * multipliers and shifts, bytes, of channels 0, 4, 8, 12, then those from 2, 1 and 3. */
struct edgeq_depthwise_mve_pixel {
    const int8_t *weights;
    const int32_t *params;
    int8_t *out;
    const int8_t *x[9];
    int32_t blocks; /* of 16 channels, at least one */
    int32_t zero_point;
    int32_t activation_min;
    int32_t activation_max;
};

#define EDGEQ_DEPTHWISE_MVE_PARAMS 36 /* words of 16 channels */

#ifdef EDGEQ_HAS_MVE

/* Offsets that the assembly has of struct edgeq_depthwise_mve_pixel. */
_Static_assert(offsetof(struct edgeq_depthwise_mve_pixel, blocks) == 48, "depthwise_mve");
_Static_assert(offsetof(struct edgeq_depthwise_mve_pixel, zero_point) == 52, "depthwise_mve");
_Static_assert(offsetof(struct edgeq_depthwise_mve_pixel, activation_min) == 56,
               "depthwise_mve");
_Static_assert(offsetof(struct edgeq_depthwise_mve_pixel, activation_max) == 60,
               "depthwise_mve");

/* clang-format off */

/* The first tap that is added as int16: q2 and q3 are its products. */
#define EDGEQ_DEPTHWISE_MVE_START(x)                                                           \
    "vldrb.u8 q0, [" x "], #16\n"                                                              \
    "vldrb.u8 q1, [r1], #16\n"                                                                 \
    "vmullb.s8 q2, q0, q1\n"                                                                   \
    "vmullt.s8 q3, q0, q1\n"

/* One more, while q4 and q5 are free. */
#define EDGEQ_DEPTHWISE_MVE_ADD(x)                                                             \
    "vldrb.u8 q0, [" x "], #16\n"                                                              \
    "vldrb.u8 q1, [r1], #16\n"                                                                 \
    "vmullb.s8 q4, q0, q1\n"                                                                   \
    "vmullt.s8 q5, q0, q1\n"                                                                   \
    "vadd.i16 q2, q2, q4\n"                                                                    \
    "vadd.i16 q3, q3, q5\n"

/* One more; the pixel is loaded twice, as there is no register left. */
#define EDGEQ_DEPTHWISE_MVE_MORE(x)                                                            \
    "vldrb.u8 q0, [" x "], #16\n"                                                              \
    "vldrb.u8 q1, [r1], #16\n"                                                                 \
    "vmullb.s8 q0, q0, q1\n"                                                                   \
    "vadd.i16 q2, q2, q0\n"                                                                    \
    "vldrb.u8 q0, [" x ", #-16]\n"                                                             \
    "vmullt.s8 q0, q0, q1\n"                                                                   \
    "vadd.i16 q3, q3, q0\n"

#define EDGEQ_DEPTHWISE_MVE_WIDEN                                                              \
    "vmovlb.s16 q4, q2\n"                                                                      \
    "vmovlt.s16 q5, q2\n"                                                                      \
    "vmovlb.s16 q6, q3\n"                                                                      \
    "vmovlt.s16 q7, q3\n"

#define EDGEQ_DEPTHWISE_MVE_WIDEN_MORE                                                         \
    "vmovlb.s16 q0, q2\n"                                                                      \
    "vmovlt.s16 q1, q2\n"                                                                      \
    "vadd.i32 q4, q4, q0\n"                                                                    \
    "vadd.i32 q5, q5, q1\n"                                                                    \
    "vmovlb.s16 q0, q3\n"                                                                      \
    "vmovlt.s16 q1, q3\n"                                                                      \
    "vadd.i32 q6, q6, q0\n"                                                                    \
    "vadd.i32 q7, q7, q1\n"

#define EDGEQ_DEPTHWISE_MVE_FIVE_FOUR                                                          \
    EDGEQ_DEPTHWISE_MVE_START("r4")                                                            \
    EDGEQ_DEPTHWISE_MVE_ADD("r5")                                                              \
    EDGEQ_DEPTHWISE_MVE_ADD("r6")                                                              \
    EDGEQ_DEPTHWISE_MVE_ADD("r7")                                                              \
    EDGEQ_DEPTHWISE_MVE_ADD("r8")                                                              \
    EDGEQ_DEPTHWISE_MVE_WIDEN                                                                  \
    EDGEQ_DEPTHWISE_MVE_START("r9")                                                            \
    EDGEQ_DEPTHWISE_MVE_MORE("r10")                                                            \
    EDGEQ_DEPTHWISE_MVE_MORE("r11")                                                            \
    EDGEQ_DEPTHWISE_MVE_MORE("r12")                                                            \
    EDGEQ_DEPTHWISE_MVE_WIDEN_MORE

#define EDGEQ_DEPTHWISE_MVE_THREES                                                             \
    EDGEQ_DEPTHWISE_MVE_START("r4")                                                            \
    EDGEQ_DEPTHWISE_MVE_ADD("r5")                                                              \
    EDGEQ_DEPTHWISE_MVE_ADD("r6")                                                              \
    EDGEQ_DEPTHWISE_MVE_WIDEN                                                                  \
    EDGEQ_DEPTHWISE_MVE_START("r7")                                                            \
    EDGEQ_DEPTHWISE_MVE_MORE("r8")                                                             \
    EDGEQ_DEPTHWISE_MVE_MORE("r9")                                                             \
    EDGEQ_DEPTHWISE_MVE_WIDEN_MORE                                                             \
    EDGEQ_DEPTHWISE_MVE_START("r10")                                                           \
    EDGEQ_DEPTHWISE_MVE_MORE("r11")                                                            \
    EDGEQ_DEPTHWISE_MVE_MORE("r12")                                                            \
    EDGEQ_DEPTHWISE_MVE_WIDEN_MORE

#define EDGEQ_DEPTHWISE_MVE_TWOS                                                               \
    EDGEQ_DEPTHWISE_MVE_START("r4")                                                            \
    EDGEQ_DEPTHWISE_MVE_ADD("r5")                                                              \
    EDGEQ_DEPTHWISE_MVE_WIDEN                                                                  \
    EDGEQ_DEPTHWISE_MVE_START("r6")                                                            \
    EDGEQ_DEPTHWISE_MVE_MORE("r7")                                                             \
    EDGEQ_DEPTHWISE_MVE_WIDEN_MORE                                                             \
    EDGEQ_DEPTHWISE_MVE_START("r8")                                                            \
    EDGEQ_DEPTHWISE_MVE_MORE("r9")                                                             \
    EDGEQ_DEPTHWISE_MVE_WIDEN_MORE                                                             \
    EDGEQ_DEPTHWISE_MVE_START("r10")                                                           \
    EDGEQ_DEPTHWISE_MVE_MORE("r11")                                                            \
    EDGEQ_DEPTHWISE_MVE_WIDEN_MORE                                                             \
    EDGEQ_DEPTHWISE_MVE_START("r12")                                                           \
    EDGEQ_DEPTHWISE_MVE_WIDEN_MORE

/* Bias, multiplier and shift of four channels; q1 and q2 are free. */
#define EDGEQ_DEPTHWISE_MVE_ROUND_PLAIN(q)                                                     \
    "vldrw.u32 q0, [r2], #16\n"                                                                \
    "vadd.i32 " q ", " q ", q0\n"                                                              \
    "vldrw.u32 q0, [r2], #16\n"                                                                \
    "vqrdmulh.s32 " q ", " q ", q0\n"                                                          \
    "vldrb.s32 q0, [r2], #4\n"                                                                 \
    "vrshl.s32 " q ", " q ", q0\n"

#define EDGEQ_DEPTHWISE_MVE_ROUND_FULL(q)                                                      \
    "vldrw.u32 q0, [r2], #16\n"                                                                \
    "vadd.i32 " q ", " q ", q0\n"                                                              \
    "vldrw.u32 q1, [r2], #16\n"                                                                \
    "vldrb.s32 q0, [r2], #4\n"                                                                 \
    "vmov.i32 q3, #0\n"                                                                        \
    "vmax.s32 q2, q0, q3\n"                                                                    \
    "vmin.s32 q0, q0, q3\n"                                                                    \
    "vshl.s32 " q ", " q ", q2\n"                                                              \
    "vqrdmulh.s32 " q ", " q ", q1\n"                                                          \
    "vand q1, " q ", q0\n"                                                                     \
    "vshr.s32 q1, q1, #31\n"                                                                   \
    "vqadd.s32 " q ", " q ", q1\n"                                                             \
    "vrshl.s32 " q ", " q ", q0\n"

#define EDGEQ_DEPTHWISE_MVE_CLAMP_PLAIN                                                        \
    ""

#define EDGEQ_DEPTHWISE_MVE_CLAMP_FULL                                                         \
    "ldr r0, [sp, #64]\n"                                                                      \
    "ldr r0, [r0, #56]\n"                                                                      \
    "vdup.8 q0, r0\n"                                                                          \
    "vmax.s8 q4, q4, q0\n"                                                                     \
    "ldr r0, [sp, #64]\n"                                                                      \
    "ldr r0, [r0, #60]\n"                                                                      \
    "vdup.8 q0, r0\n"                                                                          \
    "vmin.s8 q4, q4, q0\n"                                                                     \
    "ldr r0, [sp, #64]\n"                                                                      \
    "ldr r0, [r0, #52]\n"

/* r1 weights, r2 parameters, r3 the output, r4 to r12 the taps; the stack from sp: d8 to d15,
 * the pixel. */
#define EDGEQ_DEPTHWISE_MVE(name, taps, round, clamp)                                          \
    static __attribute__((naked, noinline, unused)) void name(                                 \
        const struct edgeq_depthwise_mve_pixel *pixel __attribute__((unused))) {               \
        __asm__ volatile(                                                                      \
            ".syntax unified\n"                                                                \
            "push {r0, r4-r12, lr}\n"                                                          \
            "vpush {d8-d15}\n"                                                                 \
            "ldr lr, [r0, #48]\n"                                                              \
            "dls lr, lr\n"                                                                     \
            "ldr r3, [r0, #52]\n"                                                              \
            "mov r1, r0\n"                                                                     \
            "mov r0, r3\n"                                                                     \
            "ldmia r1, {r1-r12}\n"                                                             \
            "1:\n"                                                                             \
            taps                                                                               \
            round("q4")                                                                        \
            round("q5")                                                                        \
            round("q6")                                                                        \
            round("q7")                                                                        \
            "vqmovnb.s32 q4, q4\n"                                                             \
            "vqmovnt.s32 q4, q5\n"                                                             \
            "vqmovnb.s32 q6, q6\n"                                                             \
            "vqmovnt.s32 q6, q7\n"                                                             \
            "vqadd.s16 q4, q4, r0\n"                                                           \
            "vqadd.s16 q6, q6, r0\n"                                                           \
            "vqmovnb.s16 q4, q4\n"                                                             \
            "vqmovnt.s16 q4, q6\n"                                                             \
            clamp                                                                              \
            "vstrb.8 q4, [r3], #16\n"                                                          \
            "le lr, 1b\n"                                                                      \
            "vpop {d8-d15}\n"                                                                  \
            "pop {r0, r4-r12, pc}\n");                                                         \
    }

/* clang-format on */

EDGEQ_DEPTHWISE_MVE(edgeq_depthwise_mve_fives, EDGEQ_DEPTHWISE_MVE_FIVE_FOUR,
                    EDGEQ_DEPTHWISE_MVE_ROUND_PLAIN, EDGEQ_DEPTHWISE_MVE_CLAMP_PLAIN)
EDGEQ_DEPTHWISE_MVE(edgeq_depthwise_mve_fives_full, EDGEQ_DEPTHWISE_MVE_FIVE_FOUR,
                    EDGEQ_DEPTHWISE_MVE_ROUND_FULL, EDGEQ_DEPTHWISE_MVE_CLAMP_FULL)
EDGEQ_DEPTHWISE_MVE(edgeq_depthwise_mve_threes, EDGEQ_DEPTHWISE_MVE_THREES,
                    EDGEQ_DEPTHWISE_MVE_ROUND_PLAIN, EDGEQ_DEPTHWISE_MVE_CLAMP_PLAIN)
EDGEQ_DEPTHWISE_MVE(edgeq_depthwise_mve_threes_full, EDGEQ_DEPTHWISE_MVE_THREES,
                    EDGEQ_DEPTHWISE_MVE_ROUND_FULL, EDGEQ_DEPTHWISE_MVE_CLAMP_FULL)
EDGEQ_DEPTHWISE_MVE(edgeq_depthwise_mve_twos, EDGEQ_DEPTHWISE_MVE_TWOS,
                    EDGEQ_DEPTHWISE_MVE_ROUND_PLAIN, EDGEQ_DEPTHWISE_MVE_CLAMP_PLAIN)
EDGEQ_DEPTHWISE_MVE(edgeq_depthwise_mve_twos_full, EDGEQ_DEPTHWISE_MVE_TWOS,
                    EDGEQ_DEPTHWISE_MVE_ROUND_FULL, EDGEQ_DEPTHWISE_MVE_CLAMP_FULL)

static inline __attribute__((always_inline)) void
edgeq_depthwise_mve_pixel(const struct edgeq_depthwise_mve_pixel *pixel, int32_t taps,
                          int32_t is_full) {
    if (taps == 5) {
        if (is_full != 0) {
            edgeq_depthwise_mve_fives_full(pixel);
        } else {
            edgeq_depthwise_mve_fives(pixel);
        }
    } else if (taps == 3) {
        if (is_full != 0) {
            edgeq_depthwise_mve_threes_full(pixel);
        } else {
            edgeq_depthwise_mve_threes(pixel);
        }
    } else if (is_full != 0) {
        edgeq_depthwise_mve_twos_full(pixel);
    } else {
        edgeq_depthwise_mve_twos(pixel);
    }
}

#else

static inline void edgeq_depthwise_mve_pixel(const struct edgeq_depthwise_mve_pixel *pixel,
                                             int32_t taps, int32_t is_full) {
    static const int8_t vectors[4] = {0, 2, 1, 3}; /* of channels 0, 1, 2, 3 */
    (void)is_full;
    for (int32_t i = 0; i < 16 * pixel->blocks; ++i) {
        const int8_t *const w = pixel->weights + i / 16 * 144 + i % 16;
        const int32_t *const params =
            pixel->params + i / 16 * EDGEQ_DEPTHWISE_MVE_PARAMS + 9 * vectors[i % 4];
        const int32_t lane = i % 16 / 4;
        int32_t acc = params[lane];
        int16_t sum = 0;
        for (int32_t tap = 0; tap < 9; ++tap) {
            sum = (int16_t)(tap % taps == 0 ? 0 : sum);
            sum = (int16_t)(sum + pixel->x[tap][i] * w[16 * tap]);
            if (tap % taps == taps - 1 || tap == 8) {
                acc += sum;
            }
        }
        const int32_t shift = (int8_t)((uint32_t)params[8] >> (8 * lane) & 0xffu);
        const int32_t y = edgeq_requantize(acc, params[4 + lane], shift) + pixel->zero_point;
        pixel->out[i] = (int8_t)edgeq_clamp(y, pixel->activation_min, pixel->activation_max);
    }
}

#endif

/* The nine taps of an output pixel; those outside the image are at `line`. */
static inline __attribute__((always_inline)) void
edgeq_depthwise_mve_taps(const struct edgeq_depthwise_mve *op, const int8_t *x, int32_t out_y,
                         int32_t out_x, const int8_t *line, const int8_t **taps) {
    const struct edgeq_window *const window = &op->window;
    const int32_t top = out_y * window->stride_h - window->pad_top;
    const int32_t left = out_x * window->stride_w - window->pad_left;
    if (top >= 0 && left >= 0 && top + 2 * window->dilation_h < op->input.height &&
        left + 2 * window->dilation_w < op->input.width) {
        const int32_t step = window->dilation_w * op->input.channels;
        x += (top * op->input.width + left) * op->input.channels;
        for (int32_t filter_y = 0; filter_y < 3; ++filter_y) {
            taps[0] = x;
            taps[1] = x + step;
            taps[2] = x + 2 * step;
            taps += 3;
            x += window->dilation_h * op->input.width * op->input.channels;
        }
        return;
    }
    for (int32_t filter_y = 0; filter_y < 3; ++filter_y) {
        const int32_t y = top + filter_y * window->dilation_h;
        for (int32_t filter_x = 0; filter_x < 3; ++filter_x) {
            const int32_t at = left + filter_x * window->dilation_w;
            const int32_t is_inside =
                y >= 0 && y < op->input.height && at >= 0 && at < op->input.width;
            *taps++ = is_inside ? x + (y * op->input.width + at) * op->input.channels : line;
        }
    }
}

/* (H, W, C) -> (out_h, out_w, C), C at least 16; line: C bytes of scratch. */
static inline __attribute__((always_inline)) void
edgeq_depthwise_mve(const struct edgeq_depthwise_mve *op, const int8_t *x,
                    const int8_t *weights, const int32_t *params, int8_t *out, int8_t *line) {
    const int32_t channels = op->output.channels;
    const int32_t blocks = channels / 16;
    struct edgeq_depthwise_mve_pixel pixel = {.zero_point = op->output_zero_point,
                                              .activation_min = op->activation_min,
                                              .activation_max = op->activation_max};
    edgeq_mve_fill(line, op->input_zero_point, channels);
    for (int32_t out_y = 0; out_y < op->output.height; ++out_y) {
        for (int32_t out_x = 0; out_x < op->output.width; ++out_x) {
            edgeq_depthwise_mve_taps(op, x, out_y, out_x, line, pixel.x);
            pixel.weights = weights;
            pixel.params = params;
            pixel.out = out;
            pixel.blocks = blocks;
            edgeq_depthwise_mve_pixel(&pixel, op->taps, op->is_full);
            if (channels % 16 != 0) { /* the last 16, the first of them once more */
                for (int32_t tap = 0; tap < 9; ++tap) {
                    pixel.x[tap] += channels - 16;
                }
                pixel.weights = weights + blocks * 144;
                pixel.params = params + blocks * EDGEQ_DEPTHWISE_MVE_PARAMS;
                pixel.out = out + channels - 16;
                pixel.blocks = 1;
                edgeq_depthwise_mve_pixel(&pixel, op->taps, op->is_full);
            }
            out += channels;
        }
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_MVE_H */
