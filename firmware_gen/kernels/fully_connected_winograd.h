/* FULLY_CONNECTED of one row on cores with the DSP extension: four taps of two channels in five
 * instructions. Twin of edgeq/ops/fully_connected.py and fully_connected_winograd.py.
 *
 * Of each four taps the words e and o hold taps 0, 2 and 1, 3 of two channels, 256 * w1 + w0 in
 * each half; x is the row with an offset, as int16 in the same order. With dot products of
 * halves (Winograd, 1968, has products of sums in place of sums of products):
 *
 *     t = SXTAB16(xo, e) = xo + we0      u = SXTAB16(xe, o) = xe + wo0
 *     B += t . u      = xo . xe + we0 . wo0 + (we0 . xe + wo0 . xo)
 *     A += o . xo + e . u = 256 * (we1 . xe + wo1 . xo) + (we0 . xe + wo0 . xo) + e . wo0
 *
 * modulo 2**32. xo . xe is one sum for all channels, X; what has no x is in the starts of A and
 * B. With S0 and S1, the sums with their biases, and a number c of the layer that all starts
 * lack, A's 256 times,
 *
 *     256 * S0 + fraction = 256 * B + even    even: base - 256 * X
 *     256 * S1 + fraction = A - B             A's start: the pair's + base + X
 *
 * with base = fraction + 256 * c. An output is then that of edgeq_tile.h, (floor(p * factor /
 * 2**32) + half - (sign if p < 0)) >> 9, with one factor, fraction and sign for all channels
 * (steps.py).
 *
 * In flash are groups of three pairs, then pairs alone; each begins with its starts: a word a
 * pair, A's start >> 8 with bits 0 to 7 of both in its byte 1 and bits 8 to 15 of B's in its
 * byte 0; or, if the layer is wide, two words, A's start and B's. Then come blocks of eight
 * taps, e and o of four taps of each pair, then of the other four; but of a group's third pair
 * the words of the other four are the block's first.
 *
 * Any offset of x will do, it is in the starts: the one that takes the zero point off (or 1
 * more, it is even) or, where starts would need two words with that and a word with others, one
 * for each 32 taps.
 *
 * Only what the layers of a model need is compiled (fully_connected_winograd.py):
 * EDGEQ_WINOGRAD_PARTS a row that is not whole rounds of the loop, _OFFSETS offsets for each 32
 * taps, _WIDE starts of two words, _SIGNED a sign of 1, _SIGNS a larger one, _LEFT pairs alone,
 * _ODD an odd number of channels, _TAIL a row that is not whole blocks, _CLAMPS a clamp within
 * int8. */
#ifndef EDGEQ_FULLY_CONNECTED_WINOGRAD_H
#define EDGEQ_FULLY_CONNECTED_WINOGRAD_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_dsp.h"
#include "edgeq_dsp_pack.h"

#define EDGEQ_WINOGRAD_SHIFT 9 /* also in the assembly */

#define EDGEQ_WINOGRAD_SEGMENT 32 /* taps of an offset, also in the assembly */

/* As in a row of a table, with no bytes between members. */
typedef const int32_t *edgeq_winograd_words __attribute__((aligned(2)));
typedef int32_t edgeq_winograd_number __attribute__((aligned(2)));

struct edgeq_fully_connected_winograd {
    edgeq_winograd_words weights; /* offsets for each 32 taps are the bytes before them */
    edgeq_winograd_number base;   /* fraction, and what all starts lack times 256 */
    edgeq_winograd_number factor;
    uint16_t inputs;    /* channels * 4, + 2 if it has offsets for each 32, + 1 if it is wide */
    uint16_t outputs;   /* channels * 2, + 1 if its sign is 0 */
    int8_t offset;      /* half of what is added to x */
    uint8_t zero_point; /* of the output, + 128 */
#ifdef EDGEQ_WINOGRAD_SIGNS
    uint8_t more_sign; /* sign - 1 */
#endif
#ifdef EDGEQ_WINOGRAD_CLAMPS
    uint8_t above_least; /* activation_min + 128 */
    uint8_t below_most;  /* 127 - activation_max */
#endif
};

#if defined(EDGEQ_WINOGRAD_TAIL) || defined(EDGEQ_WINOGRAD_CLAMPS) || !defined(EDGEQ_HAS_DSP)
#define EDGEQ_WINOGRAD_ENDS /* C before and after the row */
#endif

/* What is added to x, twice. */
static inline uint32_t edgeq_winograd_twice(int32_t offset) {
    const uint32_t added = (uint32_t)(2 * offset) & 0xffffu;
    return added | added << 16;
}

/* Four bytes of the row to two words; returns `product` with theirs. */
static inline int32_t edgeq_winograd_widen(uint32_t *to, uint32_t word, uint32_t added,
                                           int32_t product) {
    to[0] = edgeq_sxtab16(added, word);
    to[1] = edgeq_sxtab16_odd(added, word);
    return edgeq_smlad(to[0], to[1], product);
}

#ifdef EDGEQ_HAS_DSP
#include "edgeq_winograd_code.h"

/* Offsets that the assembly has. */
#define EDGEQ_WINOGRAD_AT(member, offset)                                                      \
    _Static_assert(offsetof(struct edgeq_fully_connected_winograd, member) == (offset), #member)
EDGEQ_WINOGRAD_AT(base, 4);
EDGEQ_WINOGRAD_AT(factor, 8);
EDGEQ_WINOGRAD_AT(inputs, 12);
EDGEQ_WINOGRAD_AT(outputs, 14);
EDGEQ_WINOGRAD_AT(offset, 16);
EDGEQ_WINOGRAD_AT(zero_point, 17);
#ifdef EDGEQ_WINOGRAD_SIGNS
EDGEQ_WINOGRAD_AT(more_sign, 18);
#endif

#ifdef EDGEQ_WINOGRAD_ENDS
#define EDGEQ_WINOGRAD_ROW     edgeq_winograd_row
#define EDGEQ_WINOGRAD_PRODUCT , int32_t product __attribute__((unused))
#else
#define EDGEQ_WINOGRAD_ROW edgeq_fully_connected_winograd
#define EDGEQ_WINOGRAD_PRODUCT
#endif

/* (I,) -> (O,); scratch: the row with its offset, as int16. `product`: X of what is in scratch
 * already, the block behind whole ones.
 *
 * The stack from sp: x of the first round, factor, out, half, even, A's base, where groups end
 * (0 if each is to begin at 12); where the first round begins, where groups end, x of the last
 * round (1 less if signed), the end of x, x; perhaps the sign, is_wide; the saved registers. */
static __attribute__((naked, noinline, unused, aligned(4))) void
EDGEQ_WINOGRAD_ROW(const struct edgeq_fully_connected_winograd *op __attribute__((unused)),
                   const int8_t *x __attribute__((unused)), int8_t *out __attribute__((unused)),
                   uint32_t *scratch __attribute__((unused)) EDGEQ_WINOGRAD_PRODUCT) {
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "push {r0, r2-r11, lr}\n"
        "ldrh r4, [r0, #12]\n"
#ifdef EDGEQ_WINOGRAD_ENDS
        "ldr r12, [sp, #48]\n"
#else
        "mov r12, #0\n"
#endif
        "lsrs r4, r4, #2\n" /* carry: it has offsets */
#ifdef EDGEQ_WINOGRAD_ENDS
        "bic r4, r4, #7\n"
#endif
        EDGEQ_WINOGRAD_SEGMENTS
#ifdef EDGEQ_WINOGRAD_TAIL
        "cmp r4, #0\n"
        "beq 11f\n"
#endif
        "lsls r4, r4, #29\n" /* carry: an odd number of blocks */
        EDGEQ_WINOGRAD_OFFSET
        "add r2, r2\n" /* keeps the carry */
        "pkhbt r2, r2, r2, lsl #16\n"
        "bcs 10f\n"
        "9:\n"
        EDGEQ_WINOGRAD_WIDEN_BLOCK
        "10:\n"
        EDGEQ_WINOGRAD_WIDEN_BLOCK
        "cmp r1, lr\n"
        EDGEQ_WINOGRAD_WIDEN_MORE
        "bne 9b\n"
        "11:\n"
        EDGEQ_WINOGRAD_NEXT_OFFSET
        "pop {r5-r7}\n" /* op, out, scratch */
#ifdef EDGEQ_WINOGRAD_TAIL
        "ldrh r4, [r5, #12]\n"
        "ubfx r4, r4, #2, #3\n"
        "cbz r4, 4f\n"
        "adds r3, r3, #16\n"
        "4:\n"
#endif
        "ldrh r1, [r5, #14]\n"
#ifdef EDGEQ_WINOGRAD_BY_ENTRY
        "ldrh r4, [r5, #12]\n"
#endif
        "lsrs r1, r1, #1\n" /* carry: no sign */
#ifdef EDGEQ_WINOGRAD_SIGNS
        "ldrb r8, [r5, #18]\n"
        "it cc\n"
        "addcc r8, r8, #1\n"
#endif
        "sbc r2, r3, #" EDGEQ_WINOGRAD_ROUND "\n"
        "adds r1, r1, r6\n"
        "subs r1, r1, #5\n"
#ifdef EDGEQ_WINOGRAD_BY_ENTRY
#ifdef EDGEQ_WINOGRAD_WIDE
        "and lr, r4, #1\n"
#endif
        "rsb r4, r4, #3\n" /* blocks: 4 * channels rounded up to 32 */
        "ubfx r4, r4, #5, #" EDGEQ_WINOGRAD_BLOCK_BITS "\n"
        "movs r0, #" EDGEQ_WINOGRAD_BLOCK_NBYTES "\n"
        "muls r0, r4, r0\n"
        "adr.w r9, 2f + 1\n"
        "add r0, r0, r9\n"
#endif
#ifdef EDGEQ_WINOGRAD_MORE_STACK
        "push {r8, lr}\n"
#endif
        "push {r0-r3, r7}\n"
        "mov r3, r6\n"
#ifdef EDGEQ_WINOGRAD_BY_ENTRY
        "sub r0, r7, r4, lsl #4\n"
#ifdef EDGEQ_WINOGRAD_WIDE
        "orr r4, r4, lr\n"
#endif
        "cmp r4, #1\n"
        "sbcs r7, r7, r7\n" /* 0 if a group is to begin at 12 */
        "ands r7, r7, r1\n"
#else
        "mov r0, r7\n"
        "mov r7, r1\n"
#endif
        "ldrb r4, [r5, #17]\n"
        "ldr r1, [r5, #8]\n"
        "ldr r2, [r5]\n"
        "ldr r5, [r5, #4]\n"
        "lsls r4, r4, #9\n"
        "sub r4, r4, #0xff00\n"
        "add r6, r5, r12\n"
        "sub r5, r5, r12, lsl #8\n"
        "push {r0, r1, r3-r7}\n"
        "12:\n"
        "ldr r5, [sp, #32]\n"
#ifdef EDGEQ_WINOGRAD_BY_ENTRY
        "ldr r7, [sp, #28]\n"
#endif
#ifdef EDGEQ_WINOGRAD_WIDE
        "ldr r4, [sp, #52]\n"
#endif
        "cmp r3, r5\n"
        "bhs 13f\n"
#ifdef EDGEQ_WINOGRAD_WIDE
        "cbz r4, 3f\n"
        "ldmia r2!, {r8-r12, lr}\n"
        "add r8, r8, r6\n"
        "add r10, r10, r6\n"
        "add r12, r12, r6\n"
        "bx r7\n"
        "3:\n"
#endif
#ifdef EDGEQ_WINOGRAD_BY_ENTRY
        EDGEQ_WINOGRAD_STARTS
        "bx r7\n"
#endif
        "1:\n"
        EDGEQ_WINOGRAD_STARTS
        "2:\n"
        EDGEQ_WINOGRAD_TAPS
        "add r0, r0, #" EDGEQ_WINOGRAD_ROUND "\n"
        "bgt 2b\n"
        EDGEQ_WINOGRAD_ALL_OUTS
        "b 12b\n"
        "13:\n"
#ifdef EDGEQ_WINOGRAD_LEFT
        "adds r5, r5, #5\n"
        "cmp r3, r5\n"
        "bhs 16f\n"
        "ldr r8, [sp, #40]\n"
        "ldr r0, [sp, #44]\n"
        "ldmia r2!, {r1}\n"
#ifdef EDGEQ_WINOGRAD_WIDE
        "cbz r4, 3f\n"
        "add r12, r6, r1\n"
        "ldr lr, [r2], #4\n"
        "b 14f\n"
        "3:\n"
#endif
        "revsh lr, r1\n"
        "add r12, r6, r1, asr #8\n"
        "14:\n"
        "sub r4, r8, r0\n"
        "lsls r4, r4, #27\n"
        "bmi 18f\n"
        "17:\n"
        EDGEQ_WINOGRAD_PAIR_BLOCK
        "18:\n"
        EDGEQ_WINOGRAD_PAIR_BLOCK
        "cmp r0, r8\n"
        "bne 17b\n"
        "ldm sp, {r0, r1, r3-r7}\n"
        EDGEQ_WINOGRAD_LOAD_SIGN
#ifdef EDGEQ_WINOGRAD_ODD
        EDGEQ_WINOGRAD_BOTH(EDGEQ_WINOGRAD_PAIR_OUT, "r12", "lr")
        "strb lr, [r3], #1\n"
        "ldr r7, [sp, #32]\n"
        "adds r7, r7, #5\n"
        "cmp r3, r7\n"
        "it lo\n"
        "strblo r12, [r3], #1\n"
        "str r3, [sp, #8]\n"
        "b 12b\n"
#else
        "b 15b\n"
#endif
        "16:\n"
#endif
        "add sp, sp, #" EDGEQ_WINOGRAD_FRAME "\n"
        "pop {r4-r11, pc}\n");
    /* clang-format on */
}
#else

static inline int32_t edgeq_winograd_sign(const struct edgeq_fully_connected_winograd *op) {
    if (op->outputs % 2 != 0) {
        return 0;
    }
#ifdef EDGEQ_WINOGRAD_SIGNS
    return op->more_sign + 1;
#else
    return 1;
#endif
}

static inline int8_t edgeq_winograd_out(const struct edgeq_fully_connected_winograd *op,
                                        int32_t p) {
    const int32_t half = (2 * op->zero_point - 255) * (1 << (EDGEQ_WINOGRAD_SHIFT - 1));
    const int32_t v = edgeq_smmla(p, op->factor, half) - (p < 0 ? edgeq_winograd_sign(op) : 0);
    return (int8_t)edgeq_saturate8(v >> EDGEQ_WINOGRAD_SHIFT);
}

static inline void edgeq_winograd_row(const struct edgeq_fully_connected_winograd *op,
                                      const int8_t *x, int8_t *out, uint32_t *scratch,
                                      int32_t product) {
    const int32_t channels = op->inputs / 4;
    const int32_t blocks = (channels + 7) / 8;
    const int32_t starts = op->inputs % 2 + 1;
    const int32_t *weights = op->weights;
    const int32_t taps_of_offset = op->inputs & 2 ? EDGEQ_WINOGRAD_SEGMENT : channels;
    const int8_t *const offsets =
        op->inputs & 2 ? (const int8_t *)weights - channels / taps_of_offset : &op->offset;
    for (int32_t i = 0; i < channels / 8 * 8; i += 4) {
        product =
            edgeq_winograd_widen(scratch + i / 2, edgeq_load4(x + i),
                                 edgeq_winograd_twice(offsets[i / taps_of_offset]), product);
    }
    const uint32_t even = (uint32_t)op->base - ((uint32_t)product << 8);
    const uint32_t base = (uint32_t)op->base + (uint32_t)product;
    const int8_t *const end = out + op->outputs / 2;
    for (int32_t pairs = 3; out < end; out += 2 * pairs) {
        pairs = end - out >= 6 ? 3 : 1;
        const int32_t *const taps = weights + pairs * starts;
        for (int32_t i = 0; i < pairs; ++i) {
            const int32_t *const start = weights + i * starts;
            const uint32_t word = (uint32_t)start[0];
            const int32_t near = (int16_t)((word >> 8 & 0xffu) | (word & 0xffu) << 8);
            uint32_t b = (uint32_t)(starts == 2 ? start[1] : near);
            uint32_t a = (uint32_t)(starts == 2 ? start[0] : start[0] >> 8) + base;
            for (int32_t step = 0; step < 2 * blocks; ++step) {
                const int32_t four = step % 2 * pairs + i; /* of the block's */
                const int32_t *const block = taps + step / 2 * 4 * pairs;
                const int32_t *const at = block + (pairs == 3 ? (2 * four + 2) % 12 : 2 * four);
                const uint32_t *const row = scratch + 2 * step;
                const uint32_t e = (uint32_t)at[0];
                const uint32_t o = (uint32_t)at[1];
                const uint32_t u = edgeq_sxtab16(row[0], o);
                a = (uint32_t)edgeq_smlad(e, u, edgeq_smlad(o, row[1], (int32_t)a));
                b = (uint32_t)edgeq_smlad(edgeq_sxtab16(row[1], e), u, (int32_t)b);
            }
            out[2 * i] = edgeq_winograd_out(op, (int32_t)((b << 8) + even));
            if (out + 2 * i + 1 < end) {
                out[2 * i + 1] = edgeq_winograd_out(op, (int32_t)(a - b));
            }
        }
        weights = taps + 4 * pairs * blocks;
    }
}

#endif

#ifdef EDGEQ_WINOGRAD_ENDS
/* (I,) -> (O,); scratch: the row with its offset, as int16. */
static __attribute__((noinline, unused)) void
edgeq_fully_connected_winograd(const struct edgeq_fully_connected_winograd *op, const int8_t *x,
                               int8_t *out, uint32_t *scratch) {
    int32_t product = 0;
#ifdef EDGEQ_WINOGRAD_TAIL
    const int32_t channels = op->inputs / 4;
    const int32_t whole = channels / 8 * 8;
    if (whole < channels) {
        int8_t last[8] = {0};
        for (int32_t i = whole; i < channels; ++i) {
            last[i - whole] = x[i];
        }
        for (int32_t i = 0; i < 8; i += 4) {
            product = edgeq_winograd_widen(scratch + (whole + i) / 2, edgeq_load4(last + i),
                                           edgeq_winograd_twice(op->offset), product);
        }
    }
#endif
    edgeq_winograd_row(op, x, out, scratch, product);
#ifdef EDGEQ_WINOGRAD_CLAMPS
    const int32_t least = op->above_least - 128;
    const int32_t most = 127 - op->below_most;
    if (least > -128 || most < 127) {
        for (int32_t o = 0; o < op->outputs / 2; ++o) {
            out[o] = (int8_t)edgeq_clamp(out[o], least, most);
        }
    }
#endif
}
#endif

#endif /* EDGEQ_FULLY_CONNECTED_WINOGRAD_H */
