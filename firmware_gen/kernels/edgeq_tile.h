/* Products of two pixels with groups of four channels, on cores with the DSP extension.
 *
 * Two channels share a word of weights: h = 256 * w1 + w0 in each int16, so that
 *     A = sum(h * x)  = 256 * S1 + S0        (SMLAD)
 *     B = sum(w0 * x) = S0                   (SMLAD of SXTB16(h))
 * and p1 = A - B = 256 * S1, exact modulo 2**32 as long as |S1| < 2**23, which the generator has
 * proven of every channel with its bias; p0 = 256 * B. The pixels are widened to int16 once and
 * serve all channels; bytes 0, 2 and 1, 3 of each four are pairs, as SXTB16 gives them.
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
 * EDGEQ_TILE_SIGNED: some layer has t != 0. */
#ifndef EDGEQ_TILE_H
#define EDGEQ_TILE_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_dsp_pack.h"

#define EDGEQ_TILE_SHIFT 12

struct edgeq_tile {
    int32_t half;
    uint16_t nbytes;       /* of the two widened pixels, a multiple of 16; of a group's taps */
    uint16_t group_nbytes; /* of a group in flash */
    uint16_t groups;       /* whole groups of four channels */
    uint16_t t;            /* 0: EDGEQ_TILE_SHIFT and no signs */
};

/* Offsets that the assembly has of struct edgeq_tile. */
_Static_assert(offsetof(struct edgeq_tile, nbytes) == 4, "edgeq_tile");
_Static_assert(offsetof(struct edgeq_tile, t) == 10, "edgeq_tile");

#ifdef EDGEQ_HAS_DSP

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

#ifdef EDGEQ_TILE_SIGNED
#define EDGEQ_TILE_CHOICE                                                                      \
    "ldr r2, [sp, #32]\n"                                                                      \
    "cmp r2, #0\n"                                                                             \
    "bne 6f\n"
/* Channel 1 before 0, for B is still whole; the outputs' addresses when all is done. */
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
#else
#define EDGEQ_TILE_CHOICE
#define EDGEQ_TILE_SIGNED_OUT
#endif

/* x: two pixels, word by word in turns; out0, out1: four bytes for each group.
 *
 * The stack from sp: x less `skipped`, skipped, where the loop is entered, the pixels' end, the
 * weights' end, out0, out1, half, t; the saved registers; the arguments. The loop takes 32
 * taps; it is entered further down, by the bytes skipped, if the taps are not a multiple. */
static __attribute__((naked, noinline, unused)) void
edgeq_tile(const uint32_t *x __attribute__((unused)),
           const int32_t *weights __attribute__((unused)), int8_t *out0 __attribute__((unused)),
           int8_t *out1 __attribute__((unused)),
           const struct edgeq_tile *tile __attribute__((unused)),
           const int32_t *weights_end __attribute__((unused))) {
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "ldr r6, [sp, #36]\n"
        "ldr r7, [sp, #40]\n"
        "ldr r10, [r6]\n"
        "ldrh r5, [r6, #4]\n"
        "ldrh r11, [r6, #10]\n"
        "mov r8, r2\n"
        "mov r9, r3\n"
        "rsbs r4, r5, #0\n"
        "and r4, r4, #112\n"
        "adds r6, r0, r5\n"
        "subs r0, r0, r4\n"
        "adr.w r5, 20f\n"
        "add r3, r4, r4, lsl #1\n"
        "add r5, r5, r3, lsl #1\n"
        "orr r5, r5, #1\n"
        "push {r0, r4-r11}\n"
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
        EDGEQ_TILE_STEP("0", "4")
        EDGEQ_TILE_STEP("8", "12")
        EDGEQ_TILE_STEP("16", "20")
        EDGEQ_TILE_STEP("24", "28")
        EDGEQ_TILE_STEP("32", "36")
        EDGEQ_TILE_STEP("40", "44")
        EDGEQ_TILE_STEP("48", "52")
        EDGEQ_TILE_STEP("56", "60")
        EDGEQ_TILE_STEP("64", "68")
        EDGEQ_TILE_STEP("72", "76")
        EDGEQ_TILE_STEP("80", "84")
        EDGEQ_TILE_STEP("88", "92")
        EDGEQ_TILE_STEP("96", "100")
        EDGEQ_TILE_STEP("104", "108")
        EDGEQ_TILE_STEP("112", "116")
        EDGEQ_TILE_STEP("120", "124")
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
        "add sp, sp, #36\n"
        "pop {r4-r11, pc}\n"
        EDGEQ_TILE_SIGNED_OUT);
    /* clang-format on */
}

#else

static inline void edgeq_tile(const uint32_t *x, const int32_t *weights, int8_t *out0,
                              int8_t *out1, const struct edgeq_tile *tile,
                              const int32_t *weights_end) {
    const int32_t steps = tile->nbytes / 8;
    const int32_t t = tile->t != 0 ? tile->t : EDGEQ_TILE_SHIFT;
    for (; weights != weights_end; weights += tile->group_nbytes / 4) {
        const int32_t *const taps = weights + 4;
        const int32_t *const factors = taps + 2 * steps;
        for (int32_t i = 0; i < 8; ++i) {
            const int32_t o = i >> 1;
            int32_t a = weights[o & 2];
            int32_t b = weights[o | 1];
            for (int32_t step = 0; step < steps; ++step) {
                const uint32_t h = (uint32_t)taps[2 * step + (o >> 1)];
                a = edgeq_smlad(h, x[2 * step + (i & 1)], a);
                b = edgeq_smlad(edgeq_sxtb16(h), x[2 * step + (i & 1)], b);
            }
            const uint32_t fraction = ((uint32_t)factors[4] >> (4 * (o & 2))) & 0xffu;
            const uint32_t p = (o & 1) != 0 ? (uint32_t)a - (uint32_t)b
                                            : fraction + ((uint32_t)b << 8);
            int32_t y = edgeq_smmla((int32_t)p, factors[o], tile->t != 0 ? factors[6] : tile->half);
            if (tile->t != 0 && (int32_t)p < 0) {
                y -= (int32_t)(((uint32_t)factors[5] >> (8 * o)) & 0xffu);
            }
            ((i & 1) == 0 ? out0 : out1)[o] = (int8_t)edgeq_saturate8(y >> t);
        }
        out0 += 4;
        out1 += 4;
    }
}

#endif

#endif /* EDGEQ_TILE_H */
