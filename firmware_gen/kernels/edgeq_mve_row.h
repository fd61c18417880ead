/* Products of one row with groups of eight channels, on cores with the vector extension, with
 * one multiplier and shift for all channels; VMLADAVA.S8 and the roundings as edgeq_mve.h has
 * them.
 *
 * A group in flash: its biases; the weights of each 16 taps, channel by channel; those of the
 * last taps, fewer than 16, channel by channel. The eight accumulators are r0, r2 .. r12 and
 * lr, loaded with the biases at once. */
#ifndef EDGEQ_MVE_ROW_H
#define EDGEQ_MVE_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_mve.h"

struct edgeq_mve_row {
    int32_t multiplier;
    int32_t shift; /* 0 or less; below 0 if is_relu is 0 */
    int32_t zero_point;
    int32_t activation_min;
    int32_t activation_max;
    int32_t groups; /* of eight channels, at least one */
    int32_t depth;
    int32_t is_relu; /* 1: the zero point and the clamp's lower end are -128, the upper 127 */
};

#define EDGEQ_MVE_ROW_BLOCK 128 /* taps of an unrolled block */

#ifdef EDGEQ_HAS_MVE

/* Offsets that the assembly has of struct edgeq_mve_row. */
_Static_assert(offsetof(struct edgeq_mve_row, activation_min) == 12, "edgeq_mve_row");
_Static_assert(offsetof(struct edgeq_mve_row, activation_max) == 16, "edgeq_mve_row");
_Static_assert(offsetof(struct edgeq_mve_row, groups) == 20, "edgeq_mve_row");
_Static_assert(offsetof(struct edgeq_mve_row, depth) == 24, "edgeq_mve_row");

/* clang-format off */

#define EDGEQ_MVE_ROW_TAPS(channel, at, q)                                                     \
    "vldrw.u32 " q ", [r3, #" at "]\n"                                                         \
    "vmladava.s8 " channel ", q0, " q "\n"

/* 16 taps of eight channels, the weights at these offsets from r3. */
#define EDGEQ_MVE_ROW_CHUNK(w0, w1, w2, w3, w4, w5, w6, w7)                                    \
    EDGEQ_MVE_ROW_TAPS("r0", w0, "q1")                                                         \
    EDGEQ_MVE_ROW_TAPS("r2", w1, "q2")                                                         \
    EDGEQ_MVE_ROW_TAPS("r4", w2, "q3")                                                         \
    EDGEQ_MVE_ROW_TAPS("r6", w3, "q1")                                                         \
    EDGEQ_MVE_ROW_TAPS("r8", w4, "q2")                                                         \
    EDGEQ_MVE_ROW_TAPS("r10", w5, "q3")                                                        \
    EDGEQ_MVE_ROW_TAPS("r12", w6, "q1")                                                        \
    EDGEQ_MVE_ROW_TAPS("lr", w7, "q2")

/* 32 taps, 256 bytes of weights: the first load moves r3 on. */
#define EDGEQ_MVE_ROW_32_TAPS                                                                  \
    "vldrb.u8 q0, [r1], #16\n"                                                                 \
    "vldrw.u32 q1, [r3], #256\n"                                                               \
    "vmladava.s8 r0, q0, q1\n"                                                                 \
    EDGEQ_MVE_ROW_TAPS("r2", "-240", "q2")                                                     \
    EDGEQ_MVE_ROW_TAPS("r4", "-224", "q3")                                                     \
    EDGEQ_MVE_ROW_TAPS("r6", "-208", "q1")                                                     \
    EDGEQ_MVE_ROW_TAPS("r8", "-192", "q2")                                                     \
    EDGEQ_MVE_ROW_TAPS("r10", "-176", "q3")                                                    \
    EDGEQ_MVE_ROW_TAPS("r12", "-160", "q1")                                                    \
    EDGEQ_MVE_ROW_TAPS("lr", "-144", "q2")                                                     \
    "vldrb.u8 q0, [r1], #16\n"                                                                 \
    EDGEQ_MVE_ROW_CHUNK("-128", "-112", "-96", "-80", "-64", "-48", "-32", "-16")

/* The depth is a multiple of 128; r5 counts them down. */
#define EDGEQ_MVE_ROW_COUNT_BLOCKS "lsr r5, r5, #7\n"

#define EDGEQ_MVE_ROW_BLOCKS                                                                   \
    "2:\n"                                                                                     \
    EDGEQ_MVE_ROW_32_TAPS                                                                      \
    EDGEQ_MVE_ROW_32_TAPS                                                                      \
    EDGEQ_MVE_ROW_32_TAPS                                                                      \
    EDGEQ_MVE_ROW_32_TAPS                                                                      \
    "subs r5, r5, #1\n"                                                                        \
    "bne 2b\n"

/* One channel's last taps, r5 of them. */
#define EDGEQ_MVE_ROW_REST(channel)                                                            \
    "vpst\n"                                                                                   \
    "vldrbt.u8 q1, [r3]\n"                                                                     \
    "vmladava.s8 " channel ", q0, q1\n"                                                        \
    "add r3, r3, r5\n"

/* Any depth, r5: 16 taps while there are, then what is left. */
#define EDGEQ_MVE_ROW_COUNT_ANY ""

#define EDGEQ_MVE_ROW_ANY                                                                      \
    "2:\n"                                                                                     \
    "subs r5, r5, #16\n"                                                                       \
    "blo 3f\n"                                                                                 \
    "vldrb.u8 q0, [r1], #16\n"                                                                 \
    EDGEQ_MVE_ROW_CHUNK("0", "16", "32", "48", "64", "80", "96", "112")                        \
    "add r3, r3, #128\n"                                                                       \
    "b 2b\n"                                                                                   \
    "3:\n"                                                                                     \
    "adds r5, r5, #16\n"                                                                       \
    "beq 4f\n"                                                                                 \
    "vctp.8 r5\n"                                                                              \
    "vpst\n"                                                                                   \
    "vldrbt.u8 q0, [r1]\n"                                                                     \
    EDGEQ_MVE_ROW_REST("r0")                                                                   \
    EDGEQ_MVE_ROW_REST("r2")                                                                   \
    EDGEQ_MVE_ROW_REST("r4")                                                                   \
    EDGEQ_MVE_ROW_REST("r6")                                                                   \
    EDGEQ_MVE_ROW_REST("r8")                                                                   \
    EDGEQ_MVE_ROW_REST("r10")                                                                  \
    EDGEQ_MVE_ROW_REST("r12")                                                                  \
    EDGEQ_MVE_ROW_REST("lr")                                                                   \
    "4:\n"

/* Channels 0, 2, 4, 6 in q0, the others in q1; r0 the multiplier, r2 the shift, r4 the zero
 * point. What is below the zero point becomes it, so ties below do not matter; 0 .. 255 is what
 * the narrowing leaves, and -128 brings it to int8. */
#define EDGEQ_MVE_ROW_RELU                                                                     \
    "vqrdmulh.s32 q0, q0, r0\n"                                                                \
    "vqrdmulh.s32 q1, q1, r0\n"                                                                \
    "vrshl.s32 q0, r2\n"                                                                       \
    "vrshl.s32 q1, r2\n"                                                                       \
    "vqmovunb.s32 q2, q0\n"                                                                    \
    "vqmovunt.s32 q2, q1\n"                                                                    \
    "vqmovnb.u16 q2, q2\n"                                                                     \
    "vadd.i16 q2, q2, r4\n"

/* Ties below 0 go away from it; q4 and q5 are the clamp's ends. */
#define EDGEQ_MVE_ROW_CLAMP                                                                    \
    "vqrdmulh.s32 q0, q0, r0\n"                                                                \
    "vqrdmulh.s32 q1, q1, r0\n"                                                                \
    "vshr.s32 q2, q0, #31\n"                                                                   \
    "vshr.s32 q3, q1, #31\n"                                                                   \
    "vqadd.s32 q0, q0, q2\n"                                                                   \
    "vqadd.s32 q1, q1, q3\n"                                                                   \
    "vrshl.s32 q0, r2\n"                                                                       \
    "vrshl.s32 q1, r2\n"                                                                       \
    "vqadd.s32 q0, q0, r4\n"                                                                   \
    "vqadd.s32 q1, q1, r4\n"                                                                   \
    "vqmovnb.s32 q2, q0\n"                                                                     \
    "vqmovnt.s32 q2, q1\n"                                                                     \
    "vmax.s16 q2, q2, q4\n"                                                                    \
    "vmin.s16 q2, q2, q5\n"

/* r7 the output, r9 the row, r11 the depth. The stack from sp: multiplier, shift, zero point,
 * the output's end; d8 to d11; the saved registers. */
#define EDGEQ_MVE_ROW(name, count, taps, round)                                                \
    static __attribute__((naked, noinline, unused)) void name(                                 \
        const struct edgeq_mve_row *row __attribute__((unused)),                               \
        const int8_t *x __attribute__((unused)),                                               \
        const int32_t *weights __attribute__((unused)), int8_t *out __attribute__((unused))) { \
        __asm__ volatile(                                                                      \
            ".syntax unified\n"                                                                \
            "push {r3-r11, lr}\n"                                                              \
            "vpush {d8-d11}\n"                                                                 \
            "sub sp, sp, #16\n"                                                                \
            "mov r7, r3\n"                                                                     \
            "mov r3, r2\n"                                                                     \
            "mov r9, r1\n"                                                                     \
            "ldr r1, [r0, #12]\n"                                                              \
            "ldr r2, [r0, #16]\n"                                                              \
            "vdup.16 q4, r1\n"                                                                 \
            "vdup.16 q5, r2\n"                                                                 \
            "ldr r11, [r0, #24]\n"                                                             \
            "ldr r6, [r0, #20]\n"                                                              \
            "add r6, r7, r6, lsl #3\n"                                                         \
            "ldmia r0, {r0, r2, r4}\n"                                                         \
            "stm sp, {r0, r2, r4, r6}\n"                                                       \
            "mov r5, r11\n"                                                                    \
            count                                                                              \
            "mov r11, r5\n"                                                                    \
            "1:\n"                                                                             \
            "ldmia r3!, {r0, r2, r4, r6, r8, r10, r12, lr}\n"                                  \
            "mov r1, r9\n"                                                                     \
            "mov r5, r11\n"                                                                    \
            taps                                                                               \
            "vmov q0[2], q0[0], r0, r8\n"                                                      \
            "vmov q1[2], q1[0], r2, r10\n"                                                      \
            "vmov q0[3], q0[1], r4, r12\n"                                                     \
            "vmov q1[3], q1[1], r6, lr\n"                                                     \
            "ldm sp, {r0, r2, r4, r6}\n"                                                       \
            round                                                                              \
            "vstrb.16 q2, [r7], #8\n"                                                          \
            "cmp r7, r6\n"                                                                     \
            "bne 1b\n"                                                                         \
            "add sp, sp, #16\n"                                                                \
            "vpop {d8-d11}\n"                                                                  \
            "pop {r3-r11, pc}\n");                                                             \
    }

/* clang-format on */

EDGEQ_MVE_ROW(edgeq_mve_row_blocks_relu, EDGEQ_MVE_ROW_COUNT_BLOCKS, EDGEQ_MVE_ROW_BLOCKS,
              EDGEQ_MVE_ROW_RELU)
EDGEQ_MVE_ROW(edgeq_mve_row_blocks, EDGEQ_MVE_ROW_COUNT_BLOCKS, EDGEQ_MVE_ROW_BLOCKS,
              EDGEQ_MVE_ROW_CLAMP)
EDGEQ_MVE_ROW(edgeq_mve_row_any_relu, EDGEQ_MVE_ROW_COUNT_ANY, EDGEQ_MVE_ROW_ANY,
              EDGEQ_MVE_ROW_RELU)
EDGEQ_MVE_ROW(edgeq_mve_row_any, EDGEQ_MVE_ROW_COUNT_ANY, EDGEQ_MVE_ROW_ANY,
              EDGEQ_MVE_ROW_CLAMP)

/* x: depth bytes; out: 8 * groups bytes. */
static inline __attribute__((always_inline)) void edgeq_mve_row(const struct edgeq_mve_row *row,
                                                                const int8_t *x,
                                                                const int32_t *weights,
                                                                int8_t *out) {
    if (row->depth % EDGEQ_MVE_ROW_BLOCK == 0) {
        if (row->is_relu != 0) {
            edgeq_mve_row_blocks_relu(row, x, weights, out);
        } else {
            edgeq_mve_row_blocks(row, x, weights, out);
        }
    } else if (row->is_relu != 0) {
        edgeq_mve_row_any_relu(row, x, weights, out);
    } else {
        edgeq_mve_row_any(row, x, weights, out);
    }
}

#else

static inline void edgeq_mve_row(const struct edgeq_mve_row *row, const int8_t *x,
                                 const int32_t *weights, int8_t *out) {
    for (int32_t group = 0; group < row->groups; ++group) {
        const int8_t *const bytes = (const int8_t *)(weights + 8);
        for (int32_t o = 0; o < 8; ++o) {
            int32_t acc = weights[o];
            for (int32_t i = 0; i < row->depth; i += 16) {
                const int32_t taps = row->depth - i < 16 ? row->depth - i : 16;
                acc += edgeq_dot(x + i, bytes + 8 * i + o * taps, taps);
            }
            const int32_t y =
                edgeq_requantize(acc, row->multiplier, row->shift) + row->zero_point;
            *out++ = (int8_t)edgeq_clamp(y, row->activation_min, row->activation_max);
        }
        weights += 8 + 2 * row->depth;
    }
}

#endif

#endif /* EDGEQ_MVE_ROW_H */
