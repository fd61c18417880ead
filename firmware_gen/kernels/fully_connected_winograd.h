/* FULLY_CONNECTED of one row on cores with the DSP extension: four taps of two channels in five
 * instructions. Twin of edgeq/ops/fully_connected.py and fully_connected_winograd.py.
 *
 * Of each four taps the words e and o hold taps 0, 2 and 1, 3 of two channels, 256 * w1 + w0 in
 * each half; x is the row less its zero point, as int16 in the same order. With dot products
 * of halves (Winograd, 1968, has products of sums in place of sums of products):
 *
 *     t = SXTAB16(xo, e) = xo + we0      u = SXTAB16(xe, o) = xe + wo0
 *     B += t . u      = xo . xe + we0 . wo0 + (we0 . xe + wo0 . xo)
 *     A += o . xo + e . u = 256 * (we1 . xe + wo1 . xo) + (we0 . xe + wo0 . xo) + e . wo0
 *
 * modulo 2**32. xo . xe is one sum for all channels, X; what has no x is in the starts of A and
 * B. With S0 and S1, the sums with their biases,
 *
 *     256 * S0 + fraction = 256 * B + even    even: fraction - 256 * X + a number of the layer
 *     256 * S1 + fraction = A - B             A's start: X + a number of the layer + the pair's
 *
 * An output is then that of edgeq_tile.h, (floor(p * factor / 2**32) + half - (sign if p < 0))
 * >> 9, with one factor, fraction and sign for all channels (steps.py).
 *
 * In flash are groups of three pairs, then pairs alone; each begins with its starts: a word a
 * pair, A's start >> 8 with bits 0 to 7 of both in its byte 1 and bits 8 to 15 of B's in its
 * byte 0; or, if the layer is wide, two words, A's start and B's. */
#ifndef EDGEQ_FULLY_CONNECTED_WINOGRAD_H
#define EDGEQ_FULLY_CONNECTED_WINOGRAD_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_dsp.h"
#include "edgeq_dsp_pack.h"

#define EDGEQ_WINOGRAD_SHIFT 9 /* also in the assembly */
struct edgeq_fully_connected_winograd {
    int32_t even; /* fraction, and what all B lack times 256 */
    int32_t odd;  /* fraction, and what all A lack */
    int32_t factor;
    uint16_t input_channels;
    uint16_t output_channels;
    uint16_t whole; /* channels in groups of three pairs */
    uint16_t sign;
    int16_t input_zero_point;
    int8_t output_zero_point;
    int8_t activation_min;
    int8_t activation_max;
    int8_t is_wide;
};

/* A row and its outputs. */
struct edgeq_winograd_row {
    int32_t even; /* without X, as odd */
    int32_t odd;
    int32_t factor;
    int32_t half;
    int32_t sign;
    int32_t is_wide;
    const uint32_t *x_whole; /* from here the steps are a multiple of 16 */
    uintptr_t x_end;         /* less one if special */
    int32_t is_special;      /* 1 has a sign, 2 is wide or begins before x_whole */
    int32_t product;         /* X of what is in x already */
    const int8_t *in_end;    /* what begins at `in` is to be laid out at x first, by 16 bytes */
    uint32_t minus_zero_point;
    const int8_t *in;
    const int8_t *out_end; /* of all outputs */
};

/* Offsets that the assembly has. */
#define EDGEQ_WINOGRAD_AT(member, offset)                                                      \
    _Static_assert(offsetof(struct edgeq_winograd_row, member) == (offset), #member)
EDGEQ_WINOGRAD_AT(odd, 4);
EDGEQ_WINOGRAD_AT(factor, 8);
EDGEQ_WINOGRAD_AT(half, 12);
EDGEQ_WINOGRAD_AT(sign, 16);
EDGEQ_WINOGRAD_AT(is_wide, 20);
#ifdef EDGEQ_HAS_DSP
EDGEQ_WINOGRAD_AT(x_whole, 24);
EDGEQ_WINOGRAD_AT(x_end, 28);
EDGEQ_WINOGRAD_AT(is_special, 32);
EDGEQ_WINOGRAD_AT(product, 36);
EDGEQ_WINOGRAD_AT(in_end, 40);
EDGEQ_WINOGRAD_AT(minus_zero_point, 44);
EDGEQ_WINOGRAD_AT(in, 48);
EDGEQ_WINOGRAD_AT(out_end, 52);
#endif

/* Four bytes of the row to two words; returns `product` with theirs. */
static inline int32_t edgeq_winograd_widen(uint32_t *to, uint32_t word, uint32_t less,
                                           int32_t product) {
    to[0] = edgeq_sxtab16(less, word);
    to[1] = edgeq_sxtab16_odd(less, word);
    return edgeq_smlad(to[0], to[1], product);
}

#ifdef EDGEQ_HAS_DSP

/* clang-format off */
/* The row's zero point in r3, X in r12. */
#define EDGEQ_WINOGRAD_WIDEN(even, odd)                                                        \
    "sxtab16 " odd ", r3, " even ", ror #8\n"                                                  \
    "sxtab16 " even ", r3, " even "\n"                                                         \
    "smlad r12, " even ", " odd ", r12\n"
#define EDGEQ_WINOGRAD_PAIR(xe, xo, e, o, a, b)                                                \
    "smlad " a ", " o ", " xo ", " a "\n"                                                      \
    "sxtab16 " o ", " xe ", " o "\n"                                                           \
    "smlad " a ", " e ", " o ", " a "\n"                                                       \
    "sxtab16 " e ", " xo ", " e "\n"                                                           \
    "smlad " b ", " e ", " o ", " b "\n"

/* Four taps of three pairs: x at r0 + `x`, weights at r1 + 3 * `x`; neighbouring loads are
 * cheap, so `load` is one more that r6 or r7 may take. */
#define EDGEQ_WINOGRAD_STEP_AND(x, load)                                                       \
    "ldr r2, [r0, #" x "]\n"                                                                   \
    "ldr r3, [r0, #" x " + 4]\n"                                                               \
    "ldr r4, [r1, #3 * (" x ")]\n"                                                             \
    "ldr r5, [r1, #3 * (" x ") + 4]\n"                                                         \
    "ldr r6, [r1, #3 * (" x ") + 8]\n"                                                         \
    "ldr r7, [r1, #3 * (" x ") + 12]\n"                                                        \
    EDGEQ_WINOGRAD_PAIR("r2", "r3", "r4", "r5", "r8", "r9")                                                \
    EDGEQ_WINOGRAD_PAIR("r2", "r3", "r6", "r7", "r10", "r11")                                              \
    "ldr r4, [r1, #3 * (" x ") + 16]\n"                                                        \
    "ldr r5, [r1, #3 * (" x ") + 20]\n"                                                        \
    load                                                                                       \
    EDGEQ_WINOGRAD_PAIR("r2", "r3", "r4", "r5", "r12", "lr")

#define EDGEQ_WINOGRAD_STEP(x) EDGEQ_WINOGRAD_STEP_AND(x, "")
#define EDGEQ_WINOGRAD_FOUR(x)                                                                 \
    EDGEQ_WINOGRAD_STEP(x)                                                                     \
    EDGEQ_WINOGRAD_STEP(x " + 8")                                                              \
    EDGEQ_WINOGRAD_STEP(x " + 16")                                                             \
    EDGEQ_WINOGRAD_STEP(x " + 24")

#define EDGEQ_WINOGRAD_STARTS                                                                  \
    "ldmia r1!, {r2-r4}\n"                                                                     \
    "add r8, r7, r2, asr #8\n"                                                                 \
    "revsh r9, r2\n"                                                                           \
    "add r10, r7, r3, asr #8\n"                                                                \
    "revsh r11, r3\n"                                                                          \
    "add r12, r7, r4, asr #8\n"                                                                \
    "revsh lr, r4\n"

/* r2: the output, r3: factor, r4: half, r5: even; signs follow each multiplication. */
#define EDGEQ_WINOGRAD_OUT(a, b, even, odd, sign_a, sign_b)                                    \
    EDGEQ_WINOGRAD_BOTH(a, b, sign_a, sign_b)                                                  \
    "strb " b ", [r2" even "\n"                                                                \
    "strb " a ", [r2, #" odd "]\n"

#define EDGEQ_WINOGRAD_BOTH(a, b, sign_a, sign_b)                                              \
    "subs " a ", " a ", " b "\n"                                                               \
    "smmla " a ", " a ", r3, r4\n" sign_a                                                      \
    "adds " b ", r5, " b ", lsl #8\n"                                                          \
    "smmla " b ", " b ", r3, r4\n" sign_b                                                      \
    "ssat " a ", #8, " a ", asr #9\n"                                                          \
    "ssat " b ", #8, " b ", asr #9\n"

#define EDGEQ_WINOGRAD_SIGN(v) "it mi\nsubmi " v ", " v ", r7\n"

#define EDGEQ_WINOGRAD_SIGNED_OUT(a, b, even, odd)                                             \
    EDGEQ_WINOGRAD_OUT(a, b, even, odd, EDGEQ_WINOGRAD_SIGN(a), EDGEQ_WINOGRAD_SIGN(b))
/* `weights` for the row to `out`, three pairs at a time until `out_whole`, then one. The stack
 * from sp: x, out, out_whole; the saved registers; from byte 48 `row`. A special row has a path
 * of its own for all but the loop. */
static __attribute__((naked, noinline, unused)) void
edgeq_winograd_pairs(uint32_t *x __attribute__((unused)),
                     const int32_t *weights __attribute__((unused)),
                     int8_t *out __attribute__((unused)),
                     const int8_t *out_whole __attribute__((unused)),
                     struct edgeq_winograd_row row __attribute__((unused))) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r0, r2-r11, lr}\n"
        "ldr r12, [sp, #84]\n"
        "ldr r2, [sp, #96]\n"
        "ldr lr, [sp, #88]\n"
        "ldr r3, [sp, #92]\n"
        "cmp r2, lr\n"
        "beq 11f\n"
        "10:\n"
        "ldr r4, [r2]\n"
        "ldr r6, [r2, #4]\n"
        "ldr r8, [r2, #8]\n"
        "ldr r10, [r2, #12]\n"
        EDGEQ_WINOGRAD_WIDEN("r4", "r5")
        EDGEQ_WINOGRAD_WIDEN("r6", "r7")
        EDGEQ_WINOGRAD_WIDEN("r8", "r9")
        EDGEQ_WINOGRAD_WIDEN("r10", "r11")
        "stmia r0!, {r4-r11}\n"
        "adds r2, r2, #16\n"
        "cmp r2, lr\n"
        "bne 10b\n"
        "11:\n"
        "ldr r4, [sp, #48]\n"
        "ldr r7, [sp, #52]\n"
        "ldr r0, [sp]\n"
        "ldr r2, [sp, #4]\n"
        "ldr r6, [sp, #8]\n"
        "ldr r5, [sp, #80]\n"
        "sub r4, r4, r12, lsl #8\n"
        "add r7, r7, r12\n"
        "strd r4, r7, [sp, #48]\n"
        "cmp r2, r6\n"
        "beq 12f\n"
        "cmp r5, #0\n"
        "bne 6f\n"
        "1:\n"
        EDGEQ_WINOGRAD_STARTS
        "2:\n"
        EDGEQ_WINOGRAD_FOUR("0")
        EDGEQ_WINOGRAD_FOUR("32")
        EDGEQ_WINOGRAD_FOUR("64")
        EDGEQ_WINOGRAD_STEP("96")
        EDGEQ_WINOGRAD_STEP("104")
        EDGEQ_WINOGRAD_STEP("112")
        EDGEQ_WINOGRAD_STEP_AND("120", "ldr r6, [sp, #76]\n")
        "adds r0, r0, #128\n"
        "add r1, r1, #384\n"
        "subs r6, r6, r0\n"
        "bgt 2b\n"
        "3:\n"
        "ldr r0, [sp]\n"
        "ldr r2, [sp, #4]\n"
        "ldr r3, [sp, #56]\n"
        "ldr r4, [sp, #60]\n"
        "ldr r5, [sp, #48]\n"
        "ldr r6, [sp, #8]\n"
        "ldr r7, [sp, #52]\n"
        "bmi 5f\n"
        EDGEQ_WINOGRAD_OUT("r8", "r9", "], #6", "-5", "", "")
        EDGEQ_WINOGRAD_OUT("r10", "r11", ", #-4]", "-3", "", "")
        EDGEQ_WINOGRAD_OUT("r12", "lr", ", #-2]", "-1", "", "")
        "str r2, [sp, #4]\n"
        "cmp r2, r6\n"
        "bne 1b\n"
        "b 12f\n"
        "5:\n"
        "ldr r7, [sp, #64]\n"
        "ldr r0, [sp, #80]\n"
        EDGEQ_WINOGRAD_SIGNED_OUT("r8", "r9", "], #6", "-5")
        EDGEQ_WINOGRAD_SIGNED_OUT("r10", "r11", ", #-4]", "-3")
        EDGEQ_WINOGRAD_SIGNED_OUT("r12", "lr", ", #-2]", "-1")
        "str r2, [sp, #4]\n"
        "cmp r2, r6\n"
        "beq 12f\n"
        "asrs r0, r0, #1\n"
        "ldr r0, [sp]\n"
        "ldr r7, [sp, #52]\n"
        "beq 1b\n"
        "6:\n"
        "ldr r6, [sp, #68]\n"
        "cbnz r6, 7f\n"
        EDGEQ_WINOGRAD_STARTS
        "b 8f\n"
        "7:\n"
        "ldmia r1!, {r8-r12, lr}\n"
        "add r8, r8, r7\n"
        "add r10, r10, r7\n"
        "add r12, r12, r7\n"
        "8:\n"
        "ldr r6, [sp, #72]\n"
        "cmp r0, r6\n"
        "beq 2b\n"
        "9:\n"
        EDGEQ_WINOGRAD_STEP_AND("0", "ldr r6, [sp, #72]\n")
        "adds r0, r0, #8\n"
        "adds r1, r1, #24\n"
        "cmp r0, r6\n"
        "bne 9b\n"
        "ldr r6, [sp, #76]\n"
        "subs r6, r6, r0\n"
        "bgt 2b\n"
        "b 3b\n"
        "12:\n"
        "ldr r3, [sp, #100]\n"
        "cmp r2, r3\n"
        "bhs 16f\n"
        "ldr r0, [sp]\n"
        "ldr r12, [sp, #76]\n"
        "ldr r6, [sp, #52]\n"
        "ldr r7, [sp, #68]\n"
        "ldr r8, [r1], #4\n"
        "cbnz r7, 13f\n"
        "revsh r9, r8\n"
        "add r8, r6, r8, asr #8\n"
        "b 14f\n"
        "13:\n"
        "ldr r9, [r1], #4\n"
        "add r8, r8, r6\n"
        "14:\n"
        "ldmia r0!, {r2, r3, r10, r11}\n"
        "ldmia r1!, {r4-r7}\n"
        EDGEQ_WINOGRAD_PAIR("r2", "r3", "r4", "r5", "r8", "r9")
        EDGEQ_WINOGRAD_PAIR("r10", "r11", "r6", "r7", "r8", "r9")
        "cmp r0, r12\n"
        "blo 14b\n"
        "ldr r2, [sp, #4]\n"
        "ldr r3, [sp, #56]\n"
        "ldr r4, [sp, #60]\n"
        "ldr r5, [sp, #48]\n"
        "ldr r7, [sp, #64]\n"
        "ldr r0, [sp, #100]\n"
        EDGEQ_WINOGRAD_BOTH("r8", "r9", EDGEQ_WINOGRAD_SIGN("r8"), EDGEQ_WINOGRAD_SIGN("r9"))
        "strb r9, [r2], #2\n"
        "str r2, [sp, #4]\n"
        "cmp r2, r0\n"
        "it ls\n"
        "strbls r8, [r2, #-1]\n"
        "b 12b\n"
        "16:\n"
        "add sp, sp, #12\n"
        "pop {r4-r11, pc}\n");
}
/* clang-format on */
#else

static inline int8_t edgeq_winograd_out(const struct edgeq_winograd_row *row, int32_t p) {
    const int32_t v = edgeq_smmla(p, row->factor, row->half) - (p < 0 ? row->sign : 0);
    return (int8_t)edgeq_saturate8(v >> EDGEQ_WINOGRAD_SHIFT);
}

static inline void edgeq_winograd_pairs(uint32_t *x, const int32_t *weights, int8_t *out,
                                        const int8_t *out_whole,
                                        struct edgeq_winograd_row row) {
    const int32_t steps = (int32_t)((row.x_end + 7 - (uintptr_t)x) / 8);
    const int32_t starts = row.is_wide != 0 ? 2 : 1;
    for (uint32_t *to = x; row.in != row.in_end; row.in += 4, to += 2) {
        row.product =
            edgeq_winograd_widen(to, edgeq_load4(row.in), row.minus_zero_point, row.product);
    }
    for (int32_t pairs = 3; out < row.out_end; out += 2 * pairs) {
        pairs = out < out_whole ? 3 : 1;
        const int32_t *const taps = weights + pairs * starts;
        for (int32_t i = 0; i < pairs; ++i) {
            const int32_t *const start = weights + i * starts;
            const uint32_t word = (uint32_t)start[0];
            const int32_t near = (int16_t)((word >> 8 & 0xffu) | (word & 0xffu) << 8);
            uint32_t b = (uint32_t)(row.is_wide != 0 ? start[1] : near);
            uint32_t a = (uint32_t)(row.is_wide != 0 ? start[0] : start[0] >> 8);
            a += (uint32_t)row.odd + (uint32_t)row.product;
            for (int32_t step = 0; step < steps; ++step) {
                const uint32_t *const at = x + 2 * step;
                const uint32_t e = (uint32_t)taps[2 * (pairs * step + i)];
                const uint32_t o = (uint32_t)taps[2 * (pairs * step + i) + 1];
                const uint32_t u = edgeq_sxtab16(at[0], o);
                a = (uint32_t)edgeq_smlad(e, u, edgeq_smlad(o, at[1], (int32_t)a));
                b = (uint32_t)edgeq_smlad(edgeq_sxtab16(at[1], e), u, (int32_t)b);
            }
            const uint32_t even = (uint32_t)row.even - ((uint32_t)row.product << 8);
            out[2 * i] = edgeq_winograd_out(&row, (int32_t)((b << 8) + even));
            if (out + 2 * i + 1 < row.out_end) {
                out[2 * i + 1] = edgeq_winograd_out(&row, (int32_t)(a - b));
            }
        }
        weights = taps + 2 * pairs * steps;
    }
}

#endif

/* (I,) -> (O,); scratch: the row less its zero point, as int16. */
static inline void
edgeq_fully_connected_winograd(const struct edgeq_fully_connected_winograd *op, const int8_t *x,
                               const int32_t *weights, int8_t *out, uint32_t *scratch) {
    const int32_t steps = (op->input_channels + 7) / 8 * 2;
    const int32_t laid_out = op->input_channels & ~15;
    const uint32_t less = (uint32_t)-op->input_zero_point & 0xffffu;
    const uint32_t minus_zero_point = less | less << 16;
    int32_t product = 0;
    for (int32_t i = laid_out; i < 4 * steps; i += 4) {
        uint32_t word = 0;
        for (int32_t n = 3; n >= 0; --n) {
            word = word << 8 | (i + n < op->input_channels ? (uint32_t)x[i + n] & 0xffu : 0u);
        }
        product = edgeq_winograd_widen(scratch + i / 2, word, minus_zero_point, product);
    }
    const int32_t special = (op->sign != 0) | ((op->is_wide != 0) | ((steps & 15) != 0)) << 1;
    const struct edgeq_winograd_row row = {
        .even = op->even,
        .odd = op->odd,
        .factor = op->factor,
        .half = (2 * op->output_zero_point + 1) * (1 << (EDGEQ_WINOGRAD_SHIFT - 1)),
        .sign = op->sign,
        .is_wide = op->is_wide,
        .x_whole = scratch + 2 * (steps & 15),
        .x_end = (uintptr_t)(scratch + 2 * steps) - (special != 0),
        .is_special = special,
        .product = product,
        .in_end = x + laid_out,
        .minus_zero_point = minus_zero_point,
        .in = x,
        .out_end = out + op->output_channels,
    };
    edgeq_winograd_pairs(scratch, weights, out, out + op->whole, row);
    if (op->activation_min > -128 || op->activation_max < 127) {
        for (int32_t o = 0; o < op->output_channels; ++o) {
            out[o] = (int8_t)edgeq_clamp(out[o], op->activation_min, op->activation_max);
        }
    }
}

#endif /* EDGEQ_FULLY_CONNECTED_WINOGRAD_H */
