/* Products of two pixels with groups of four channels, on cores with the DSP extension.
 *
 * Two channels share a word of weights: h = 256 * w1 + w0 in each int16, so that
 *     A = sum(h * x)  = 256 * S1 + S0        (SMLAD)
 *     B = sum(w0 * x) = S0                   (SMLAD of SXTB16(h))
 * and p1 = A - B = 256 * S1, exact modulo 2**32 as long as |S1| < 2**23, which the generator
 * has proven of every channel with its bias; p0 = 256 * B. The pixels are widened to int16 once
 * and serve all channels; bytes 0, 2 and 1, 3 of each four are pairs, as SXTB16 gives them.
 *
 * What A and B start with brings the bias, and a fraction of 1/256 accumulators that is the
 * channel's own. Then
 *     out = (floor(p * factor / 2**32) + half - (p < 0 ? sign : 0)) >> t, saturated
 * where half = (2 * zero_point + 1) * 2**(t - 1). The generator (steps.py) has found numbers of
 * each channel with which every step of this staircase is where edgeq_requantize has it; where
 * no output below the zero point is wanted sign is 0, and t EDGEQ_TILE_SHIFT if that will do.
 *
 * A group in flash: the starts of channels 1, 0, 3, 2 (A, B, A, B); for each two taps the words
 * of channels (0, 1) and (2, 3); four factors; the fractions of channels 0 and 2 as bytes; with
 * t != 0 four signs as bytes, and the group's own half.
 *
 * What is defined some layer needs: EDGEQ_TILE_SIGNED t != 0, EDGEQ_TILE_NINE_TAPS runs of
 * edgeq_widen_nines. */
#ifndef EDGEQ_TILE_H
#define EDGEQ_TILE_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_dsp_pack.h"
#include "edgeq_widen.h"

#define EDGEQ_TILE_SHIFT 12

struct edgeq_tile {
    int32_t half;
    uint16_t nbytes;       /* of the two widened pixels, a multiple of 16; of a group's taps */
    uint16_t group_nbytes; /* of a group in flash */
    uint16_t groups;       /* whole groups of four channels */
    uint16_t t;            /* 0: EDGEQ_TILE_SHIFT and no signs */
};

/* Pairs of pixels; in the order of the assembly's stack. */
struct edgeq_tile_run {
    const uint32_t *x; /* where the widened pixels are, less `skipped` bytes */
    uint32_t skipped;  /* what nbytes lacks to a multiple of 128 */
    uint32_t entry;    /* edgeq_tile_entry of the taps */
    const uint32_t *x_end;
    const int32_t *weights_end;
    int8_t *out0; /* four bytes for each group */
    int8_t *out1;
    int32_t half;
    int32_t t;
    const int32_t *weights;
    int32_t out_step; /* from a pixel's output to the next one's; 4 * groups if pairs > 1 */
    int32_t pairs;
    const int8_t *from; /* the first pixel's taps */
    int32_t from_step;  /* to the next pixel's */
    int32_t row_nbytes; /* of taps, a multiple of 4; 0: edgeq_widen_nines, `gap` its step */
    int32_t gap;        /* from the end of a row of taps to the next */
    int32_t rows;       /* 0: the pixels are widened already */
};

/* Where in the code of the loop to begin: two steps of 48 bytes for each 16 that nbytes lacks
 * to a multiple of 256, four between the halves; 1 for Thumb code. */
static inline uint32_t edgeq_tile_entry(uint32_t nbytes) {
    const uint32_t missing = (0u - nbytes) & 240u;
    return missing * 6 + (missing >= 128 ? 4 : 0) + 1;
}

#ifdef EDGEQ_HAS_DSP

_Static_assert(offsetof(struct edgeq_tile_run, rows) == 64, "edgeq_tile_run");

/* Two taps of two pixels and four channels: r0 the pixels, r1 the weights. 48 bytes of code. */
#define EDGEQ_TILE_STEP(first, second)                                                         \
    "ldr r2, [r0, #" first "]\n"                                                               \
    "ldr r3, [r0, #" second "]\n"                                                              \
    "ldr r4, [r1, #" first "]\n"                                                               \
    "ldr r5, [r1, #" second "]\n"                                                              \
    "smlad r6, r4, r2, r6\n"                                                                   \
    "smlad r7, r4, r3, r7\n"                                                                   \
    "sxtb16 r4, r4\n"                                                                          \
    "smlad r10, r5, r2, r10\n"                                                                 \
    "smlad r11, r5, r3, r11\n"                                                                 \
    "sxtb16 r5, r5\n"                                                                          \
    "smlad r8, r4, r2, r8\n"                                                                   \
    "smlad r9, r4, r3, r9\n"                                                                   \
    "smlad r12, r5, r2, r12\n"                                                                 \
    "smlad lr, r5, r3, lr\n"

/* 32 taps: 768 bytes of code. */
#define EDGEQ_TILE_STEPS                                                                       \
    EDGEQ_TILE_STEP("0", "4")                                                                  \
    EDGEQ_TILE_STEP("8", "12")                                                                 \
    EDGEQ_TILE_STEP("16", "20")                                                                \
    EDGEQ_TILE_STEP("24", "28")                                                                \
    EDGEQ_TILE_STEP("32", "36")                                                                \
    EDGEQ_TILE_STEP("40", "44")                                                                \
    EDGEQ_TILE_STEP("48", "52")                                                                \
    EDGEQ_TILE_STEP("56", "60")                                                                \
    EDGEQ_TILE_STEP("64", "68")                                                                \
    EDGEQ_TILE_STEP("72", "76")                                                                \
    EDGEQ_TILE_STEP("80", "84")                                                                \
    EDGEQ_TILE_STEP("88", "92")                                                                \
    EDGEQ_TILE_STEP("96", "100")                                                               \
    EDGEQ_TILE_STEP("104", "108")                                                              \
    EDGEQ_TILE_STEP("112", "116")                                                              \
    EDGEQ_TILE_STEP("120", "124")

/* p of a channel's two pixels to bytes `at`; r3 the factor, r5 half, r0 and r2 the outputs. */
#define EDGEQ_TILE_OUT(p0, p1, factor, at)                                                     \
    "smmla " p0 ", " p0 ", " factor ", r5\n"                                                   \
    "smmla " p1 ", " p1 ", " factor ", r5\n"                                                   \
    "ssat " p0 ", #8, " p0 ", asr #12\n"                                                       \
    "ssat " p1 ", #8, " p1 ", asr #12\n"                                                       \
    "strb " p0 ", [r0" at "\n"                                                                 \
    "strb " p1 ", [r2" at "\n"

/* One p, its sign in the flags, to its output; r0 the sign's number, r2 t. */
#define EDGEQ_TILE_ONE_SIGNED(p)                                                               \
    "smmla " p ", " p ", r3, r5\n"                                                             \
    "it mi\nsubmi " p ", " p ", r0\n"                                                          \
    "asr " p ", " p ", r2\n"                                                                   \
    "ssat " p ", #8, " p "\n"

#ifdef EDGEQ_TILE_NINE_TAPS
#define EDGEQ_TILE_NINES                                                                       \
    "cmp r2, #0\n"                                                                             \
    "bne 9f\n"                                                                                 \
    "17:\n"                                                                                    \
    "mov r11, r1\n"                                                                            \
    "mov r2, r3\n" EDGEQ_WIDEN_NINES "ldr r9, [sp, #52]\n"                                     \
    "add r1, r11, r9\n"                                                                        \
    "add r0, r0, r10\n"                                                                        \
    "subs r10, r10, #4\n"                                                                      \
    "beq 17b\n"                                                                                \
    "b 18f\n"
#else
#define EDGEQ_TILE_NINES
#endif

#ifdef EDGEQ_TILE_SIGNED
#define EDGEQ_TILE_CHOICE                                                                      \
    "ldr r2, [sp, #32]\n"                                                                      \
    "cmp r2, #0\n"                                                                             \
    "bne 6f\n"
/* Channel 1 before 0, for B is still whole; the outputs' addresses when all is done. */
/* clang-format off */
#define EDGEQ_TILE_SIGNED_OUT                                                                  \
    "6:\n"                                                                                     \
    "ldr r5, [r1, #24]\n"                                                                      \
    "ldr r3, [r1, #4]\n"                                                                       \
    "ldrb r0, [r1, #21]\n"                                                                     \
    "subs r6, r6, r8\n" EDGEQ_TILE_ONE_SIGNED("r6")                                            \
    "subs r7, r7, r9\n" EDGEQ_TILE_ONE_SIGNED("r7")                                            \
    "ldr r3, [r1]\n"                                                                           \
    "ldrb r4, [r1, #16]\n"                                                                     \
    "ldrb r0, [r1, #20]\n"                                                                     \
    "adds r8, r4, r8, lsl #8\n" EDGEQ_TILE_ONE_SIGNED("r8")                                    \
    "adds r9, r4, r9, lsl #8\n" EDGEQ_TILE_ONE_SIGNED("r9")                                    \
    "ldr r3, [r1, #12]\n"                                                                      \
    "ldrb r0, [r1, #23]\n"                                                                     \
    "subs r10, r10, r12\n" EDGEQ_TILE_ONE_SIGNED("r10")                                        \
    "subs r11, r11, lr\n" EDGEQ_TILE_ONE_SIGNED("r11")                                         \
    "ldr r3, [r1, #8]\n"                                                                       \
    "ldrb r4, [r1, #17]\n"                                                                     \
    "ldrb r0, [r1, #22]\n"                                                                     \
    "adds r12, r4, r12, lsl #8\n" EDGEQ_TILE_ONE_SIGNED("r12")                                 \
    "adds lr, r4, lr, lsl #8\n" EDGEQ_TILE_ONE_SIGNED("lr")                                    \
    "ldr r0, [sp, #20]\n"                                                                      \
    "ldr r2, [sp, #24]\n"                                                                      \
    "strb r8, [r0], #4\n"                                                                      \
    "strb r9, [r2], #4\n"                                                                      \
    "strb r6, [r0, #-3]\n"                                                                     \
    "strb r7, [r2, #-3]\n"                                                                     \
    "strb r12, [r0, #-2]\n"                                                                    \
    "strb lr, [r2, #-2]\n"                                                                     \
    "strb r10, [r0, #-1]\n"                                                                    \
    "strb r11, [r2, #-1]\n"                                                                    \
    "adds r1, r1, #28\n"                                                                       \
    "b 7b\n"
/* clang-format on */
#else
#define EDGEQ_TILE_CHOICE
#define EDGEQ_TILE_SIGNED_OUT
#endif

/* The stack from sp: struct edgeq_tile_run; the saved registers. The loop takes 64 taps in two
 * halves; it is entered further down if the taps are not a multiple. */
static __attribute__((naked, noinline, unused)) void edgeq_tile(const struct edgeq_tile_run *run
                                                                __attribute__((unused))) {
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "ldm r0!, {r1-r9}\n"
        "mov r10, r3\n"
        "adr.w r3, 20f\n"
        "add r3, r3, r10\n"
        "sub sp, sp, #68\n"
        "mov r10, sp\n"
        "stm r10!, {r1-r9}\n"
        "ldm r0, {r1-r8}\n"
        "stm r10, {r1-r8}\n"
        "8:\n"
        "ldr r9, [sp, #64]\n"
        "ldr r2, [sp, #56]\n"
        "ldr r3, [sp, #60]\n"
        "ldr r1, [sp, #48]\n"
        "movs r10, #4\n"
        "cmp r9, #0\n"
        "beq 19f\n"
        "ldrd r0, r4, [sp]\n"
        "add r0, r0, r4\n"
        EDGEQ_TILE_NINES
        "9:\n"
        "mov r11, r1\n"
        EDGEQ_WIDEN_ROWS
        "ldr r9, [sp, #52]\n"
        "ldrd r0, r4, [sp]\n"
        "add r1, r11, r9\n"
        "add r0, r0, r4\n"
        "ldr r9, [sp, #64]\n"
        "add r0, r0, r10\n"
        "subs r10, r10, #4\n"
        "beq 9b\n"
        "18:\n"
        "str r1, [sp, #48]\n"
        "19:\n"
        "ldr r1, [sp, #36]\n"
        "1:\n"
        "ldm r1!, {r6, r8, r10, r12}\n"
        "mov r7, r6\n"
        "mov r9, r8\n"
        "mov r11, r10\n"
        "mov lr, r12\n"
        "ldm sp, {r0, r2, r3}\n"
        "subs r1, r1, r2\n"
        "bx r3\n"
        "20:\n"
        EDGEQ_TILE_STEPS
        "adds r0, r0, #128\n"
        "adds r1, r1, #128\n"
        EDGEQ_TILE_STEPS
        "ldr r2, [sp, #12]\n"
        "adds r0, r0, #128\n"
        "adds r1, r1, #128\n"
        "cmp r0, r2\n"
        "bne 20b\n"
        EDGEQ_TILE_CHOICE
        "ldr r0, [sp, #20]\n"
        "ldr r2, [sp, #24]\n"
        "ldr r5, [sp, #28]\n"
        "ldrb r4, [r1, #16]\n"
        "ldr r3, [r1]\n"
        "subs r6, r6, r8\n"
        "subs r7, r7, r9\n"
        "add r8, r4, r8, lsl #8\n"
        "add r9, r4, r9, lsl #8\n"
        EDGEQ_TILE_OUT("r8", "r9", "r3", "], #4")
        "ldr r3, [r1, #4]\n"
        "ldrb r4, [r1, #17]\n"
        "ldr r8, [r1, #8]\n"
        "ldr r9, [r1, #12]\n"
        EDGEQ_TILE_OUT("r6", "r7", "r3", ", #-3]")
        "sub r10, r10, r12\n"
        "sub r11, r11, lr\n"
        "add r12, r4, r12, lsl #8\n"
        "add lr, r4, lr, lsl #8\n"
        EDGEQ_TILE_OUT("r12", "lr", "r8", ", #-2]")
        EDGEQ_TILE_OUT("r10", "r11", "r9", ", #-1]")
        "adds r1, r1, #20\n"
        "7:\n"
        "ldr r3, [sp, #16]\n"
        "str r0, [sp, #20]\n"
        "str r2, [sp, #24]\n"
        "cmp r1, r3\n"
        "bne 1b\n"
        "ldr r4, [sp, #44]\n"
        "ldr r3, [sp, #40]\n"
        "str r2, [sp, #20]\n"
        "add r2, r2, r3\n"
        "str r2, [sp, #24]\n"
        "subs r4, r4, #1\n"
        "str r4, [sp, #44]\n"
        "bne 8b\n"
        "add sp, sp, #68\n"
        "pop {r4-r11, pc}\n"
        EDGEQ_TILE_SIGNED_OUT);
    /* clang-format on */
}

#else

static inline int8_t edgeq_tile_out(const struct edgeq_tile_run *run, const uint32_t *x,
                                    const int32_t *weights, int32_t steps, int32_t o) {
    const int32_t *const taps = weights + 4;
    const int32_t *const factors = taps + 2 * steps;
    int32_t a = weights[o & 2];
    int32_t b = weights[o | 1];
    for (int32_t i = 0; i < steps; ++i) {
        const uint32_t h = (uint32_t)taps[2 * i + (o >> 1)];
        a = edgeq_smlad(h, x[2 * i], a);
        b = edgeq_smlad(edgeq_sxtb16(h), x[2 * i], b);
    }
    const uint32_t fraction = ((uint32_t)factors[4] >> (4 * (o & 2))) & 0xffu;
    const uint32_t odd = (uint32_t)a - (uint32_t)b;
    const int32_t p = (int32_t)((o & 1) != 0 ? odd : fraction + ((uint32_t)b << 8));
    if (run->t == 0) {
        const int32_t y = edgeq_smmla(p, factors[o], run->half);
        return (int8_t)edgeq_saturate8(y >> EDGEQ_TILE_SHIFT);
    }
    const int32_t sign = (int32_t)(((uint32_t)factors[5] >> (8 * o)) & 0xffu);
    const int32_t y = edgeq_smmla(p, factors[o], factors[6]) - (p < 0 ? sign : 0);
    return (int8_t)edgeq_saturate8(y >> run->t);
}

static inline void edgeq_tile(const struct edgeq_tile_run *parameters) {
    struct edgeq_tile_run run = *parameters;
    uint32_t *const x = (uint32_t *)(uintptr_t)run.x + run.skipped / 4;
    const int32_t steps = (int32_t)(run.x_end - x) / 2;
    const int32_t tail = run.t != 0 ? 7 : 5;
    for (; run.pairs > 0; --run.pairs) {
        for (int32_t i = 0; i < 2 && run.rows > 0; ++i) {
            if (run.row_nbytes == 0) {
                edgeq_widen_nines(x + i, run.from, run.gap);
            } else {
                edgeq_widen_rows(x + i, run.from, run.row_nbytes, run.gap, run.rows);
            }
            run.from += run.from_step;
        }
        for (const int32_t *w = run.weights; w != run.weights_end; w += 4 + 2 * steps + tail) {
            for (int32_t o = 0; o < 4; ++o) {
                *run.out0++ = edgeq_tile_out(&run, x, w, steps, o);
                *run.out1++ = edgeq_tile_out(&run, x + 1, w, steps, o);
            }
        }
        run.out0 = run.out1;
        run.out1 += run.out_step;
    }
}

#endif

#endif /* EDGEQ_TILE_H */
