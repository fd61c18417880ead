/* Products of two pixels with groups of four channels, on cores with the DSP extension.
 *
 * Two channels share a word of weights: h = 256 * w1 + w0 in each int16, so that
 *     A = sum(h * x)  = 256 * S1 + S0        (SMLAD)
 *     B = sum(w0 * x) = S0                   (SMLAD of SXTB16(h))
 * and p1 = A - B = 256 * S1, exact modulo 2**32 as long as |S1| < 2**23, which the generator
 * has proven of every channel with its bias. The pixels are widened to int16 once
 * and serve all channels; bytes 0, 2 and 1, 3 of each four are pairs, as SXTB16 gives them.
 *
 * What A and B start with brings the bias, and a fraction of 1/256 accumulators that is the
 * channel's own, of S0 1 .. 255 in bits 24 to 31 of B: |S0| < 2**23 leaves them alone, but for
 * the borrow of a negative one. So p0 = ROR(B, 24) = 256 * S0 + fraction - (S0 < 0 ? 1 : 0).
 *     out = (floor(p * factor / 2**32) + half - (p < 0 ? sign : 0)) >> t, saturated
 * where half = (2 * zero_point + 1) * 2**(t - 1). The generator (steps.py) has found numbers of
 * each channel with which every step of this staircase is where edgeq_requantize has it; where
 * no output below the zero point is wanted sign is 0, and t EDGEQ_TILE_SHIFT if that will do.
 *
 * A group in flash: the starts of channels 1, 0, 3, 2 (A, B, A, B); for each two taps the words
 * of channels (0, 1) and (2, 3); four factors. With t != 0 B has no fraction, p0 is 256 * B and
 * a fraction, and a group has eight bytes more: four signs, what is added to half, the
 * fractions of channels 0 and 2, and 0.
 *
 * What is defined some layer needs: EDGEQ_TILE_SIGNED t != 0, EDGEQ_TILE_NINE_TAPS runs of
 * edgeq_widen_nines. */
#ifndef EDGEQ_TILE_H
#define EDGEQ_TILE_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_dsp_pack.h"
#include "edgeq_tile_code.h"
#include "edgeq_widen.h"

#define EDGEQ_TILE_SHIFT 12

/* Pairs of pixels; up to `rows` in the order of the assembly's stack. edgeq_tile_layer
 * sets what the loop needs. */
struct edgeq_tile_run {
    const uint32_t *x;    /* the widened pixels */
    const uint32_t *base; /* what the loop's first round counts from */
    uint32_t step;        /* from a group's last base to the next one's first, times 2 */
    uint32_t entry;       /* where in the code of the loop to begin */
    const uint32_t *last; /* the base of the last of several rounds */
    int8_t *out0;         /* four bytes for each group */
    int8_t *out1;
    int32_t half;
    const int32_t *weights_end; /* less EDGEQ_TILE_BACK */
    int32_t t;
    const int32_t *weights; /* less EDGEQ_TILE_BACK */
    int32_t out_step; /* from a pixel's output to the next one's; 4 * groups if pairs > 1 */
    int32_t pairs;
    const int8_t *from; /* the first pixel's taps */
    int32_t from_step;  /* to the next pixel's */
    int32_t row_nbytes; /* of taps, a multiple of 4 */
    int32_t gap;        /* from the end of a row of taps to the next */
    int32_t rows;       /* 0: the pixels are widened already; EDGEQ_TILE_NINE_ROWS: as
                           edgeq_widen_nines does, `gap` being its step */
    uint32_t nbytes;    /* of the two widened pixels, a multiple of 16; of a group's taps */
};

#define EDGEQ_TILE_NINE_ROWS (-1)

/* Words from where the loop's base is when a group's taps are done to the next group. */
#define EDGEQ_TILE_BACK (EDGEQ_TILE_BLOCK_NBYTES / 4 + 4)

/* Words of a group in flash. */
static inline int32_t edgeq_tile_group(const struct edgeq_tile_run *run) {
    return (int32_t)(run->nbytes / 4) + (run->t != 0 ? 10 : 8);
}

/* What a layer's runs have in common: whole groups of `channels`; t 0 is EDGEQ_TILE_SHIFT and
 * no signs. The first two taps are outside the loop, which is entered further down if the
 * others are not a multiple of its round: two taps are 48 bytes of code, between two blocks are
 * 8, and Thumb code wants 1. step has 1 in bit 0 if there is one round only. */
static inline void edgeq_tile_layer(struct edgeq_tile_run *run, const uint32_t *x,
                                    const int32_t *weights, int32_t channels, int32_t taps,
                                    int32_t zero_point, int32_t t) {
    const uint32_t nbytes = 4u * (((uint32_t)taps + 3u) & ~3u);
    const uint32_t left = nbytes - 8u;
    const uint32_t missing = (0u - left) & (EDGEQ_TILE_ROUND_NBYTES - 8u);
    const uint32_t skipped = missing & (EDGEQ_TILE_BLOCK_NBYTES - 8u);
    const uint32_t is_once = left <= EDGEQ_TILE_ROUND_NBYTES ? 1u : 0u;
    run->x = x;
    run->base = x + 2 - skipped / 4;
    run->step = 2 * (EDGEQ_TILE_BLOCK_NBYTES + 40u - skipped) + is_once;
    run->entry = missing * 6 + (missing >= EDGEQ_TILE_BLOCK_NBYTES ? 8u : 0u) + 1u;
    run->last = (const uint32_t *)((uintptr_t)x + nbytes - EDGEQ_TILE_ROUND_NBYTES);
    run->half = (2 * zero_point + 1) * (1 << ((t != 0 ? t : EDGEQ_TILE_SHIFT) - 1));
    run->t = t;
    run->weights = (const int32_t *)((uintptr_t)weights - 4u * EDGEQ_TILE_BACK);
    run->nbytes = nbytes;
    run->weights_end = run->weights + (channels >> 2) * edgeq_tile_group(run);
}

#ifdef EDGEQ_HAS_DSP

_Static_assert(offsetof(struct edgeq_tile_run, rows) == 68, "edgeq_tile_run");

/* The stack from sp: struct edgeq_tile_run; the saved registers. The base is what r0 and r1
 * count from: the loop's last block ends at it and EDGEQ_TILE_BLOCK, where factors begin. ADR
 * counts from a multiple of 4, at which compilers put a function only if they are not to save
 * bytes. */
static __attribute__((naked, noinline, unused, aligned(4))) void
edgeq_tile(const struct edgeq_tile_run *run __attribute__((unused))) {
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "sub sp, sp, #72\n"
        "mov r10, sp\n"
        "ldm r0!, {r1-r9}\n"
        "adr.w r11, 20f\n"
        "add r4, r4, r11\n"
        "stm r10!, {r1-r9}\n"
        "ldm r0, {r1-r9}\n"
        "stm r10, {r1-r9}\n"
        "8:\n"
        "ldr r9, [sp, #68]\n"
        "ldr r10, [sp, #64]\n"
        "ldr r2, [sp, #60]\n"
        "ldr r3, [sp, #56]\n"
        "ldr r1, [sp, #52]\n"
        "ldr r0, [sp]\n"
        "cmp r9, #0\n"
        "ble 22f\n"
        "add r4, r1, r3, lsl #1\n"
        "str r4, [sp, #52]\n"
        "add r11, r3, #4\n"
        "12:\n"
        "lsrs r8, r2, #3\n"
        "bcs 23f\n"
        "13:\n"
        "ldr r4, [r1]\n"
        "ldr r5, [r1, #4]\n"
        "ldr r6, [r1, r3]\n"
        "ldr r7, [r1, r11]\n"
        EDGEQ_TILE_WIDEN_TWO("r4", "r6", "0", "4", "8", "12")
        EDGEQ_TILE_WIDEN_TWO("r5", "r7", "16", "20", "24", "28")
        "adds r1, r1, #8\n"
        "adds r0, r0, #32\n"
        "subs r8, r8, #1\n"
        "bne 13b\n"
        "16:\n"
        "add r1, r1, r10\n"
        "subs r9, r9, #1\n"
        "bne 12b\n"
        "19:\n"
        "ldr r1, [sp, #40]\n"
        "b 1f\n"
        "21:\n"
        "ldr r2, [sp, #16]\n"
        EDGEQ_TILE_NEXT_BLOCK
        "cmp r0, r2\n"
        "20:\n"
        EDGEQ_TILE_ROUND
        "blo 21b\n"
        EDGEQ_TILE_CHOICE
        "ldr r3, " EDGEQ_TILE_BEHIND("4") "\n"
        "ldr r4, " EDGEQ_TILE_BEHIND("12") "\n"
        "ldr r5, [sp, #28]\n"
        "ldr r2, [sp, #24]\n"
        "ldr r0, [sp, #20]\n"
        "subs r6, r6, r8\n"
        "subs r7, r7, r9\n"
        "sub r10, r10, r12\n"
        "sub r11, r11, lr\n"
        EDGEQ_TILE_OUT("r6", "r7", "r3", ", #1]")
        EDGEQ_TILE_OUT("r10", "r11", "r4", ", #3]")
        "ldr r3, " EDGEQ_TILE_BEHIND("0") "\n"
        "ldr r6, " EDGEQ_TILE_BEHIND("8") "\n"
        "ldr r10, [sp, #32]\n"
        "ror r8, r8, #24\n"
        "ror r9, r9, #24\n"
        EDGEQ_TILE_OUT("r8", "r9", "r3", "], #2")
        "ror r12, r12, #24\n"
        "ror lr, lr, #24\n"
        EDGEQ_TILE_OUT("r12", "lr", "r6", "], #2")
        "7:\n"
        "str r0, [sp, #20]\n"
        "str r2, [sp, #24]\n"
        "cmp r1, r10\n"
        "beq 2f\n"
        "1:\n"
        "ldr r0, [sp]\n"
        "ldr r6, " EDGEQ_TILE_BEHIND("16") "\n"
        "ldr r8, " EDGEQ_TILE_BEHIND("20") "\n"
        "ldr r10, " EDGEQ_TILE_BEHIND("24") "\n"
        "ldr r4, " EDGEQ_TILE_BEHIND("32") "\n"
        "ldr r5, " EDGEQ_TILE_BEHIND("36") "\n"
        "ldr r3, [r0, #4]\n"
        "ldr r2, [r0]\n"
        "ldr r12, " EDGEQ_TILE_BEHIND("28") "\n"
        "smlad r7, r4, r3, r6\n"
        "smlad r6, r4, r2, r6\n"
        "sxtb16 r4, r4\n"
        "smlad r11, r5, r3, r10\n"
        "smlad r10, r5, r2, r10\n"
        "sxtb16 r5, r5\n"
        "smlad r9, r4, r3, r8\n"
        "smlad r8, r4, r2, r8\n"
        "smlad lr, r5, r3, r12\n"
        "smlad r12, r5, r2, r12\n"
        "ldr r3, [sp, #12]\n"
        "ldr r2, [sp, #8]\n"
        "ldr r0, [sp, #4]\n"
        "lsrs r2, r2, #1\n"
        "add r1, r1, r2\n"
        "bx r3\n"
        "2:\n"
        "ldr r4, [sp, #48]\n"
        "ldr r3, [sp, #44]\n"
        "str r2, [sp, #20]\n"
        "add r2, r2, r3\n"
        "str r2, [sp, #24]\n"
        "subs r4, r4, #1\n"
        "str r4, [sp, #48]\n"
        "bne 8b\n"
        "add sp, sp, #72\n"
        "pop {r4-r11, pc}\n"
        "22:\n"
        EDGEQ_TILE_NINES
        "b 19b\n"
        "23:\n"
        "ldr r4, [r1]\n"
        "ldr r6, [r1, r3]\n"
        EDGEQ_TILE_WIDEN_TWO("r4", "r6", "0", "4", "8", "12")
        "adds r1, r1, #4\n"
        "adds r0, r0, #16\n"
        "cmp r8, #0\n"
        "bne 13b\n"
        "b 16b\n"
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
    const uint32_t odd = (uint32_t)a - (uint32_t)b;
    if (run->t == 0) {
        const uint32_t even = (uint32_t)b << 8 | (uint32_t)b >> 24;
        const int32_t p = (int32_t)((o & 1) != 0 ? odd : even);
        const int32_t y = edgeq_smmla(p, factors[o], run->half);
        return (int8_t)edgeq_saturate8(y >> EDGEQ_TILE_SHIFT);
    }
    const uint32_t fraction = ((uint32_t)factors[5] >> (8 + 4 * (o & 2))) & 0xffu;
    const int32_t p = (int32_t)((o & 1) != 0 ? odd : ((uint32_t)b << 8) + fraction);
    const int32_t sign = (int32_t)(((uint32_t)factors[4] >> (8 * o)) & 0xffu);
    const int32_t half = run->half + (int8_t)(factors[5] & 0xff);
    const int32_t y = edgeq_smmla(p, factors[o], half) - (p < 0 ? sign : 0);
    return (int8_t)edgeq_saturate8(y >> run->t);
}

static inline void edgeq_tile(const struct edgeq_tile_run *parameters) {
    struct edgeq_tile_run run = *parameters;
    uint32_t *const x = (uint32_t *)(uintptr_t)run.x;
    const int32_t steps = (int32_t)run.nbytes / 8;
    const int32_t *const end = run.weights_end + EDGEQ_TILE_BACK;
    const int32_t tail = run.t != 0 ? 6 : 4;
    for (; run.pairs > 0; --run.pairs) {
        for (int32_t i = 0; i < 2 && run.rows != 0; ++i) {
            if (run.rows < 0) {
                edgeq_widen_nines(x + i, run.from, run.gap);
            } else {
                edgeq_widen_rows(x + i, run.from, run.row_nbytes, run.gap, run.rows);
            }
            run.from += run.from_step;
        }
        for (const int32_t *w = run.weights + EDGEQ_TILE_BACK; w != end;
             w += 4 + 2 * steps + tail) {
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
