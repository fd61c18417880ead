/* Products of one row with groups of eight channels, on cores with the DSP extension: as
 * edgeq_tile.h, for one row and with one multiplier and shift for all channels.
 *
 * A group in flash: the biases of channels 1, 0, 3, 2, 5, 4, 7, 6, then for each two taps the
 * words 256 * w1 + w0 of the four pairs. */
#ifndef EDGEQ_ROW_H
#define EDGEQ_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_dsp.h"

struct edgeq_row {
    uint32_t nbytes;    /* of the widened row, a multiple of 32 */
    int32_t groups;     /* of eight channels */
    int32_t half;       /* (2 * output_zero_point + 1) * 2**(n - 1) */
    int32_t multiplier; /* of all channels */
    int32_t right;      /* n - 1 */
};

/* Offsets that the assembly has of struct edgeq_row. */
_Static_assert(offsetof(struct edgeq_row, groups) == 4, "edgeq_row");
_Static_assert(offsetof(struct edgeq_row, half) == 8, "edgeq_row");
_Static_assert(offsetof(struct edgeq_row, multiplier) == 12, "edgeq_row");
_Static_assert(offsetof(struct edgeq_row, right) == 16, "edgeq_row");

#ifdef EDGEQ_HAS_DSP

/* One word of weights in h, two taps of two channels; the row's word in x. */
#define EDGEQ_ROW_PAIR(h, x, a, b)                                                             \
    "smlad " a ", " h ", " x ", " a "\n"                                                       \
    "sxtb16 " h ", " h "\n"                                                                    \
    "smlad " b ", " h ", " x ", " b "\n"

#define EDGEQ_ROW_LOAD(to, base, at) "ldr " to ", [" base ", #" at "]\n"

/* Four taps of eight channels: r0 the row, r1 the weights; neighbouring loads are cheap. */
#define EDGEQ_ROW_STEP(x0, x1, h0, h1, h2, h3, h4, h5, h6, h7)                                 \
    EDGEQ_ROW_LOAD("r11", "r0", x0)                                                            \
    EDGEQ_ROW_LOAD("r12", "r1", h0)                                                            \
    EDGEQ_ROW_LOAD("lr", "r1", h1)                                                             \
    EDGEQ_ROW_LOAD("r2", "r1", h2)                                                             \
    EDGEQ_ROW_PAIR("r12", "r11", "r3", "r4")                                                   \
    EDGEQ_ROW_PAIR("lr", "r11", "r5", "r6")                                                    \
    EDGEQ_ROW_PAIR("r2", "r11", "r7", "r8")                                                    \
    EDGEQ_ROW_LOAD("r12", "r1", h3)                                                            \
    EDGEQ_ROW_LOAD("lr", "r1", h4)                                                             \
    EDGEQ_ROW_LOAD("r2", "r0", x1)                                                             \
    EDGEQ_ROW_PAIR("r12", "r11", "r9", "r10")                                                  \
    EDGEQ_ROW_PAIR("lr", "r2", "r3", "r4")                                                     \
    EDGEQ_ROW_LOAD("r11", "r1", h5)                                                            \
    EDGEQ_ROW_LOAD("r12", "r1", h6)                                                            \
    EDGEQ_ROW_LOAD("lr", "r1", h7)                                                             \
    EDGEQ_ROW_PAIR("r11", "r2", "r5", "r6")                                                    \
    EDGEQ_ROW_PAIR("r12", "r2", "r7", "r8")                                                    \
    EDGEQ_ROW_PAIR("lr", "r2", "r9", "r10")

/* Two channels to bytes `even` and `odd` of the output. */
#define EDGEQ_ROW_OUT(a, b, even, odd)                                                         \
    "sub " a ", " a ", " b "\n"                                                                \
    "lsls " b ", " b ", #1\n"                                                                  \
    "smmlar " b ", " b ", r12, lr\n"                                                           \
    "it mi\nsubmi " b ", " b ", #1\n"                                                          \
    "asr " b ", " b ", r11\n"                                                                  \
    "ssat " b ", #8, " b ", asr #1\n"                                                          \
    "strb " b ", [r0, #" even "]\n"                                                            \
    "asrs " a ", " a ", #7\n"                                                                  \
    "smmlar " a ", " a ", r12, lr\n"                                                           \
    "it mi\nsubmi " a ", " a ", #1\n"                                                          \
    "asr " a ", " a ", r11\n"                                                                  \
    "ssat " a ", #8, " a ", asr #1\n"                                                          \
    "strb " a ", [r0, #" odd "]\n"

/* x: the widened row; out: 8 * groups bytes. The stack from sp: the end of x; x, groups left,
 * out, row; the saved registers. */
static __attribute__((naked, noinline, unused)) void
edgeq_row(const uint32_t *x __attribute__((unused)),
          const int32_t *weights __attribute__((unused)), int8_t *out __attribute__((unused)),
          const struct edgeq_row *row __attribute__((unused))) {
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "push {r0-r11, lr}\n"
        "sub sp, sp, #4\n"
        "ldr r4, [r3]\n"
        "ldr r5, [r3, #4]\n"
        "str r5, [sp, #8]\n"
        "add r4, r0, r4\n"
        "str r4, [sp]\n"
        "1:\n"
        "ldmia r1!, {r3-r10}\n"
        "add r3, r4, r3, lsl #8\n"
        "add r5, r6, r5, lsl #8\n"
        "add r7, r8, r7, lsl #8\n"
        "add r9, r10, r9, lsl #8\n"
        "2:\n"
        EDGEQ_ROW_STEP("0", "4", "0", "4", "8", "12", "16", "20", "24", "28")
        EDGEQ_ROW_STEP("8", "12", "32", "36", "40", "44", "48", "52", "56", "60")
        EDGEQ_ROW_STEP("16", "20", "64", "68", "72", "76", "80", "84", "88", "92")
        EDGEQ_ROW_STEP( "24", "28", "96", "100", "104", "108", "112", "116", "120", "124")
        "add r0, r0, #32\n"
        "add r1, r1, #128\n"
        "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 2b\n"
        "ldr r2, [sp, #16]\n"
        "ldr r0, [sp, #12]\n"
        "ldr lr, [r2, #8]\n"
        "ldr r12, [r2, #12]\n"
        "ldr r11, [r2, #16]\n"
        EDGEQ_ROW_OUT("r3", "r4", "0", "1")
        EDGEQ_ROW_OUT("r5", "r6", "2", "3")
        EDGEQ_ROW_OUT("r7", "r8", "4", "5")
        EDGEQ_ROW_OUT( "r9", "r10", "6", "7")
        "add r0, r0, #8\n"
        "str r0, [sp, #12]\n"
        "ldr r0, [sp, #4]\n"
        "ldr r3, [sp, #8]\n"
        "subs r3, r3, #1\n"
        "str r3, [sp, #8]\n"
        "bne 1b\n"
        "add sp, sp, #20\n"
        "pop {r4-r11, pc}\n");
    /* clang-format on */
}

#else

static inline void edgeq_row(const uint32_t *x, const int32_t *weights, int8_t *out,
                             const struct edgeq_row *row) {
    const int32_t steps = (int32_t)(row->nbytes / 4);
    for (int32_t group = 0; group < row->groups; ++group) {
        const int32_t *const h = weights + 8;
        for (int32_t o = 0; o < 8; ++o) {
            int32_t b = weights[o | 1];
            int32_t a = (int32_t)((uint32_t)b + ((uint32_t)weights[o & 6] << 8));
            for (int32_t i = 0; i < steps; ++i) {
                const uint32_t word = (uint32_t)h[4 * i + (o >> 1)];
                a = edgeq_smlad(word, x[i], a);
                b = edgeq_smlad(edgeq_sxtb16(word), x[i], b);
            }
            const int32_t high = (int32_t)((uint32_t)a - (uint32_t)b) >> 7;
            const int32_t twice = (o & 1) != 0 ? high : (int32_t)((uint32_t)b << 1);
            const int32_t fix = twice < 0 ? 1 : 0;
            const int32_t y =
                (edgeq_smmlar(twice, row->multiplier, row->half) - fix) >> row->right >> 1;
            *out++ = (int8_t)(y < -128 ? -128 : (y > 127 ? 127 : y));
        }
        weights = h + 4 * steps;
    }
}

#endif

#endif /* EDGEQ_ROW_H */
