/* FULLY_CONNECTED of one row on cores without the DSP extension: two channels share one
 * multiplication. Twin of edgeq/ops/fully_connected.py.
 *
 * A word of weights holds two taps of two channels, plus 128 each so that they are not
 * negative: bytes 0 and 2 are the first tap, 1 and 3 the second. E = word & 0x00ff00ff and O =
 * (word >> 8) & 0x00ff00ff are the channels of one tap in 16-bit lanes, and p = start + sum(E *
 * x0 + O * x1) = (2**15 + s0) + 2**16 * s1     over eight taps start = 2**15 - 128 * (2**16 +
 * 1) * sum(x) has what was added taken off again, so that s0 and s1 are as edgeq_lanes.h has
 * them, and T and S too: where abs(weight) of eight taps is more than 255, the rest is in a
 * list.
 *
 * The scratch: of each eight taps `start`, then the eight as int16. A group of four channels in
 * flash: of each two taps the words of channels (0, 1) and (2, 3). Words of the channels: bias
 * * 256 + (32 if it has a list). A list: words of tap * 2048 + (256 if it is the last) + the
 * byte to add. The accumulators become bytes as edgeq_narrow.h says. */
#ifndef EDGEQ_FULLY_CONNECTED_PAIRS_H
#define EDGEQ_FULLY_CONNECTED_PAIRS_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_narrow.h"
#include "edgeq_sums.h"

struct edgeq_fully_connected_pairs {
    int32_t input_channels;
    int32_t output_channels;
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
    int32_t multiplier;
    int32_t k; /* n - 2 */
};

#define EDGEQ_PAIRS_TAPS  8
#define EDGEQ_PAIRS_WORDS 5 /* of the scratch for eight taps */

#if defined(__ARM_ARCH_6M__)
/* clang-format off */

/* Two taps of one pair: x in r3 and r4, p in a high register. */
#define EDGEQ_PAIRS_WORD(p)                                                                    \
    "ldm r1!, {r5}\n"                                                                          \
    "lsrs r6, r5, #8\n"                                                                        \
    "ands r5, r2\n"                                                                            \
    "muls r5, r3, r5\n"                                                                        \
    "add " p ", " p ", r5\n"                                                                   \
    "ands r6, r2\n"                                                                            \
    "muls r6, r4, r6\n"                                                                        \
    "add " p ", " p ", r6\n"
#define EDGEQ_PAIRS_TWO                                                                        \
    "ldm r0!, {r4}\n"                                                                          \
    "sxth r3, r4\n"                                                                            \
    "asrs r4, r4, #16\n" EDGEQ_PAIRS_WORD("r12") EDGEQ_PAIRS_WORD("lr")
#define EDGEQ_PAIRS_DRAIN(p, t, s)                                                             \
    "mov r6, " p "\n"                                                                          \
    "add " t ", " t ", r6\n"                                                                   \
    "asrs r6, r6, #16\n"                                                                       \
    "add " s ", " s ", r6\n"

/* Adds the products of a group to the sums, in r8 to r11; r2: the mask; r7: the end. */
static __attribute__((naked, noinline, unused)) void
edgeq_pairs_dot(const uint32_t *x EDGEQ_UNUSED, const uint32_t *weights EDGEQ_UNUSED,
                struct edgeq_sums *sums EDGEQ_UNUSED,
                const uint32_t *end EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        EDGEQ_SUMS_TAKE
        "mov r7, r3\n"
        "movs r2, #255\n"
        "lsls r3, r2, #16\n"
        "orrs r2, r3\n"
        "1:\n"
        "ldm r0!, {r6}\n"
        "mov r12, r6\n"
        "mov lr, r6\n"
        EDGEQ_PAIRS_TWO EDGEQ_PAIRS_TWO EDGEQ_PAIRS_TWO EDGEQ_PAIRS_TWO
        EDGEQ_PAIRS_DRAIN("r12", "r8", "r9") EDGEQ_PAIRS_DRAIN("lr", "r10", "r11")
        "cmp r0, r7\n"
        "bne 1b\n"
        EDGEQ_SUMS_GIVE);
}
/* clang-format on */

#elif defined(__ARM_ARCH_7M__)
/* clang-format off */

/* A tap of four channels: the weights' words in r3 and r4, what p is added to in `p`. */
#define EDGEQ_PAIRS_TAP(shift, p0, p1)                                                         \
    "ldrsh r5, [r0], #2\n"                                                                     \
    "and r12, r2, r3" shift "\n"                                                               \
    "mla r6, r12, r5, " p0 "\n"                                                                \
    "and r12, r2, r4" shift "\n"                                                               \
    "mla r7, r12, r5, " p1 "\n"
#define EDGEQ_PAIRS_TWO                                                                        \
    "ldm r1!, {r3, r4}\n"                                                                      \
    EDGEQ_PAIRS_TAP("", "r6", "r7") EDGEQ_PAIRS_TAP(", lsr #8", "r6", "r7")
#define EDGEQ_PAIRS_BLOCK                                                                      \
    "ldr r7, [r0], #4\n"                                                                       \
    "ldm r1!, {r3, r4}\n"                                                                      \
    EDGEQ_PAIRS_TAP("", "r7", "r7") EDGEQ_PAIRS_TAP(", lsr #8", "r6", "r7")                    \
    EDGEQ_PAIRS_TWO EDGEQ_PAIRS_TWO EDGEQ_PAIRS_TWO                                            \
    "add r8, r8, r6\n"                                                                         \
    "add r9, r9, r6, asr #16\n"                                                                \
    "add r10, r10, r7\n"                                                                       \
    "add r11, r11, r7, asr #16\n"

/* Adds the products of a group to the sums, in r8 to r11; p in r6 and r7; r2: the mask; lr: the
 * end. Two blocks of eight taps a turn, entered at the second if they are odd, which the 20 bytes
 * of each show. */
static __attribute__((naked, noinline, unused)) void
edgeq_pairs_dot(const uint32_t *x EDGEQ_UNUSED, const uint32_t *weights EDGEQ_UNUSED,
                struct edgeq_sums *sums EDGEQ_UNUSED,
                const uint32_t *end EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r2, r4-r11, lr}\n"
        "ldm r2, {r8-r11}\n"
        "mov lr, r3\n"
        "mov r2, #0x00ff00ff\n"
        "sub r4, r3, r0\n"
        "tst r4, #4\n"
        "bne 2f\n"
        "1:\n"
        EDGEQ_PAIRS_BLOCK
        "2:\n"
        EDGEQ_PAIRS_BLOCK
        "cmp r0, lr\n"
        "bne 1b\n"
        "pop {r2}\n"
        "stm r2, {r8-r11}\n"
        "pop {r4-r11, pc}\n");
}
/* clang-format on */

#else

static inline void edgeq_pairs_dot(const uint32_t *x, const uint32_t *weights,
                                   struct edgeq_sums *sums, const uint32_t *end) {
    const uint32_t mask = 0x00ff00ffu;
    while (x != end) {
        uint32_t p0 = *x++;
        uint32_t p1 = p0;
        for (int32_t i = 0; i < EDGEQ_PAIRS_TAPS; i += 2) {
            const uint32_t x0 = (uint32_t)(int32_t)(int16_t)(*x & 0xffffu);
            const uint32_t x1 = (uint32_t)((int32_t)*x++ >> 16);
            p0 += (weights[0] & mask) * x0 + (weights[0] >> 8 & mask) * x1;
            p1 += (weights[1] & mask) * x0 + (weights[1] >> 8 & mask) * x1;
            weights += 2;
        }
        sums->t0 += p0;
        sums->s0 += (uint32_t)((int32_t)p0 >> 16);
        sums->t1 += p1;
        sums->s1 += (uint32_t)((int32_t)p1 >> 16);
    }
}

#endif

/* Two taps to a word; returns their sum. */
static inline int32_t edgeq_pairs_two(uint32_t *to, int32_t x0, int32_t x1) {
    *to = ((uint32_t)x0 & 0xffffu) | (uint32_t)x1 << 16;
    return x0 + x1;
}

/* The row to the scratch, zeros up to a multiple of eight; returns its end. */
static inline uint32_t *edgeq_pairs_row(const int8_t *x, int32_t n, uint32_t *to) {
    for (; n > 0; n -= EDGEQ_PAIRS_TAPS) {
        int32_t sum = 0;
        if (n >= EDGEQ_PAIRS_TAPS) {
            sum += edgeq_pairs_two(to + 1, x[0], x[1]);
            sum += edgeq_pairs_two(to + 2, x[2], x[3]);
            sum += edgeq_pairs_two(to + 3, x[4], x[5]);
            sum += edgeq_pairs_two(to + 4, x[6], x[7]);
        } else {
            for (int32_t i = 0; i < EDGEQ_PAIRS_TAPS; i += 2) {
                sum +=
                    edgeq_pairs_two(to + 1 + i / 2, i < n ? x[i] : 0, i + 1 < n ? x[i + 1] : 0);
            }
        }
        *to = (1u << 15) - 0x00800080u * (uint32_t)sum;
        x += EDGEQ_PAIRS_TAPS;
        to += EDGEQ_PAIRS_WORDS;
    }
    return to;
}

/* What a channel's list adds; returns what is behind it. */
static inline const uint32_t *edgeq_pairs_list(const int8_t *x, const uint32_t *list,
                                               int32_t *acc) {
    uint32_t entry;
    do {
        entry = *list++;
        *acc += (int8_t)(entry & 0xffu) * x[entry >> 11];
    } while ((entry & 256u) == 0);
    return list;
}

/* The layers of a model share this. */
static __attribute__((noinline, unused)) void
edgeq_fully_connected_pairs_any(const struct edgeq_fully_connected_pairs *op, const int8_t *x,
                                const uint32_t *weights, const int32_t *words,
                                const uint32_t *list, int8_t *out, uint32_t *scratch) {
    const int32_t m = op->multiplier;
    const int32_t k = op->k;
    const int32_t c = (2 * op->output_zero_point + 1) * (1 << k);
    const int32_t zero = edgeq_narrow_zero(op->output_zero_point, op->activation_min);
    const uint32_t *const end = edgeq_pairs_row(x, op->input_channels, scratch);
    const int32_t blocks = (op->input_channels + EDGEQ_PAIRS_TAPS - 1) / EDGEQ_PAIRS_TAPS;
    const uint32_t rounding = (uint32_t)blocks << 15;
    for (int32_t channel = 0; channel < op->output_channels; channel += 4) {
        const uint32_t bias1 = (uint32_t)(words[1] >> 8);
        const uint32_t bias3 = (uint32_t)(words[3] >> 8);
        struct edgeq_sums sums = {(uint32_t)(words[0] >> 8) + (bias1 << 16) - rounding, bias1,
                                  (uint32_t)(words[2] >> 8) + (bias3 << 16) - rounding, bias3};
        edgeq_pairs_dot(scratch, weights, &sums, end);
        weights += blocks * EDGEQ_PAIRS_TAPS;
        int32_t accs[4] = {(int32_t)(sums.t0 - (sums.s0 << 16)), (int32_t)sums.s0,
                           (int32_t)(sums.t1 - (sums.s1 << 16)), (int32_t)sums.s1};
        if (((words[0] | words[1] | words[2] | words[3]) & 32) != 0) {
            for (int32_t i = 0; i < 4; ++i) {
                if ((words[i] & 32) != 0) {
                    list = edgeq_pairs_list(x, list, &accs[i]);
                }
            }
        }
        const int32_t left = op->output_channels - channel;
        const int32_t *const last = accs + (left < 4 ? left : 4);
        for (const int32_t *acc = accs; acc != last; ++acc) {
            *out++ = edgeq_narrow(*acc, m, c, k, zero);
        }
        words += 4;
    }
    edgeq_narrow_clamp(out - op->output_channels, op->output_channels, op->activation_min,
                       op->activation_max);
}

/* (I,) -> (O,); scratch: five words for each eight taps. */
static inline void edgeq_fully_connected_pairs(const struct edgeq_fully_connected_pairs *op,
                                               const int8_t *x, const uint32_t *weights,
                                               const int32_t *words, const uint32_t *list,
                                               int8_t *out, uint32_t *scratch) {
    edgeq_fully_connected_pairs_any(op, x, weights, words, list, out, scratch);
}

#endif /* EDGEQ_FULLY_CONNECTED_PAIRS_H */
