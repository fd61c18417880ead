/* Products of four pixels with every channel, on cores that have a 32-bit multiplication but no
 * DSP extension: two pixels share one multiplication.
 *
 * A word of the scratch holds one tap of two pixels, X = x0 + 2**16 * x1, so that
 *     p = 2**15 + sum(w * X) = (2**15 + s0) + 2**16 * s1       over four taps
 * has s1 = p >> 16 as long as -2**15 <= s0, s1 < 2**15, which holds where sum(|w|) <= 255: the
 * generator takes what is beyond that out of the weights, into a list that is added behind.
 * Over all taps, modulo 2**32,
 *     T = sum(p) = blocks * 2**15 + S0 + 2**16 * S1      S = sum(p >> 16) = S1
 * and S0 = T - 2**16 * S - blocks * 2**15. T begins with bias + 2**16 * bias - blocks * 2**15
 * and S with the bias, so that S and T - 2**16 * S are the accumulators.
 * The accumulators become bytes as edgeq_narrow.h says.
 *
 * A channel in flash: bias * 256 + (32 if it has a list) + n - 2, then the multiplier. A list:
 * words of tap * 2048 + (256 if it is the last) + the byte to add. */
#ifndef EDGEQ_LANES_H
#define EDGEQ_LANES_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_narrow.h"
#include "edgeq_sums.h"

struct edgeq_lanes {
    uint32_t nbytes; /* of the scratch: 8 a tap, a multiple of 32 */
    int32_t step;    /* bytes from a channel's tap to its next: 1, or 8 on Armv6-M */
    int32_t channels;
    int32_t output_zero_point;
    int32_t activation_min;
    int32_t activation_max;
};

/* Offsets that the assembly has of struct edgeq_lanes. */
_Static_assert(offsetof(struct edgeq_lanes, nbytes) == 0, "edgeq_lanes");
_Static_assert(offsetof(struct edgeq_lanes, channels) == 8, "edgeq_lanes");
_Static_assert(offsetof(struct edgeq_lanes, output_zero_point) == 12, "edgeq_lanes");

#if defined(__ARM_ARCH_6M__)
/* clang-format off */

/* One tap: r0 the pixels, r1 + r0 behind the weight; p in r3 and r4. */
#define EDGEQ_LANES_TAP                                                                        \
    "ldm r0!, {r5, r6}\n"                                                                      \
    "ldrsb r2, [r1, r0]\n"                                                                     \
    "muls r5, r2, r5\n"                                                                        \
    "adds r3, r3, r5\n"                                                                        \
    "muls r6, r2, r6\n"                                                                        \
    "adds r4, r4, r6\n"
#define EDGEQ_LANES_BLOCK                                                                      \
    "ldm r0!, {r3, r4}\n"                                                                      \
    "ldrsb r2, [r1, r0]\n"                                                                     \
    "muls r3, r2, r3\n"                                                                        \
    "add r3, r3, r12\n"                                                                        \
    "muls r4, r2, r4\n"                                                                        \
    "add r4, r4, r12\n"                                                                        \
    EDGEQ_LANES_TAP EDGEQ_LANES_TAP EDGEQ_LANES_TAP                                            \
    "add r8, r8, r3\n"                                                                         \
    "asrs r3, r3, #16\n"                                                                       \
    "add r9, r9, r3\n"                                                                         \
    "add r10, r10, r4\n"                                                                       \
    "asrs r4, r4, #16\n"                                                                       \
    "add r11, r11, r4\n"

/* Adds the products with one channel to the sums, which are in r8 to r11; r12: 2**15; lr: the
 * end of the pixels. Two blocks of four taps a turn, entered at the second if they are odd.
 * Weights are 8 bytes apart, as the pixels are, so that one register advances both. */
static __attribute__((naked, noinline, unused)) void
edgeq_lanes_dot(const uint32_t *x EDGEQ_UNUSED, const int8_t *weights EDGEQ_UNUSED,
                struct edgeq_sums *sums EDGEQ_UNUSED,
                const struct edgeq_lanes *lanes EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        EDGEQ_SUMS_TAKE
        "movs r4, #128\n"
        "lsls r4, r4, #8\n"
        "mov r12, r4\n"
        "ldr r3, [r3]\n"
        "adds r4, r3, r0\n"
        "mov lr, r4\n"
        "subs r1, r1, r0\n"
        "subs r1, #8\n"
        "lsls r3, r3, #26\n"
        "bmi 2f\n"
        "1:\n"
        EDGEQ_LANES_BLOCK
        "2:\n"
        EDGEQ_LANES_BLOCK
        "cmp r0, lr\n"
        "bne 1b\n"
        EDGEQ_SUMS_GIVE);
}
/* clang-format on */

#elif defined(__ARM_ARCH_7M__)

#define EDGEQ_LANES_HAS_ALL 1 /* edgeq_lanes_all is in assembly */
/* clang-format off */
/* Four taps; p in r7 and r12. */
#define EDGEQ_LANES_BLOCK                                                                      \
    "ldm r0!, {r3-r6}\n"                                                                       \
    "ldrsb r2, [r1], #1\n"                                                                     \
    "mla r7, r3, r2, lr\n"                                                                     \
    "mla r12, r4, r2, lr\n"                                                                    \
    "ldrsb r2, [r1], #1\n"                                                                     \
    "mla r7, r5, r2, r7\n"                                                                     \
    "mla r12, r6, r2, r12\n"                                                                   \
    "ldm r0!, {r3-r6}\n"                                                                       \
    "ldrsb r2, [r1], #1\n"                                                                     \
    "mla r7, r3, r2, r7\n"                                                                     \
    "mla r12, r4, r2, r12\n"                                                                   \
    "ldrsb r2, [r1], #1\n"                                                                     \
    "mla r7, r5, r2, r7\n"                                                                     \
    "mla r12, r6, r2, r12\n"                                                                   \
    "add r8, r8, r7\n"                                                                         \
    "add r9, r9, r7, asr #16\n"                                                                \
    "add r10, r10, r12\n"                                                                      \
    "add r11, r11, r12, asr #16\n"

/* One product of the list: the pixels in `x`, the byte in r2. */
#define EDGEQ_LANES_MORE(x, t, s)                                                              \
    "mul " x ", " x ", r2\n"                                                                   \
    "add " t ", " t ", " x "\n"                                                                \
    "add " x ", " x ", lr\n"                                                                   \
    "add " s ", " s ", " x ", asr #16\n"

/* One accumulator to a byte: the multiplier in r5, n - 2 in r4, c in r7. */
#define EDGEQ_LANES_OUT(acc, at)                                                               \
    "and r2, " acc ", #0x80000000\n"                                                           \
    "orr r2, r2, #0x40000000\n"                                                                \
    "add r3, r7, " acc ", asr #31\n"                                                           \
    "smlal r2, r3, " acc ", r5\n"                                                              \
    "asr r3, r3, r4\n"                                                                         \
    "ssat r3, #8, r3, asr #1\n"                                                                \
    "strb r3, [r0" at "]\n"

/* All channels, saturated but not clamped. The sums are in r8 to r11; lr: 2**15. The stack from
 * sp: the pixels' end, where a turn of eight blocks is entered, 2**15 * blocks, 2 * zero point
 * + 1, channels left; x, (weights), words, list; the saved registers; out, then the distances
 * of the other three pixels. */
static __attribute__((naked, noinline, unused)) void
edgeq_lanes_all(const uint32_t *x EDGEQ_UNUSED, const int8_t *weights EDGEQ_UNUSED,
                const int32_t *words EDGEQ_UNUSED, const uint32_t *list EDGEQ_UNUSED,
                const struct edgeq_lanes *lanes EDGEQ_UNUSED, int8_t *out EDGEQ_UNUSED,
                int32_t second EDGEQ_UNUSED, int32_t third EDGEQ_UNUSED,
                int32_t fourth EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r0-r11, lr}\n"
        "sub sp, sp, #20\n"
        "ldr r12, [sp, #72]\n"
        "ldr r4, [r12]\n"
        "add r5, r0, r4\n"
        "ubfx r6, r4, #5, #3\n"
        "strd r5, r6, [sp]\n"
        "lsl r5, r4, #10\n"
        "ldr r6, [r12, #12]\n"
        "lsl r6, r6, #1\n"
        "add r6, r6, #1\n"
        "strd r5, r6, [sp, #8]\n"
        "ldr r5, [r12, #8]\n"
        "str r5, [sp, #16]\n"
        "1:\n"
        "ldr r0, [sp, #20]\n"
        "ldr r3, [sp, #28]\n"
        "ldrd r5, r2, [sp, #4]\n"
        "ldr r9, [r3]\n"
        "mov lr, #0x8000\n"
        "asr r9, r9, #8\n"
        "add r8, r9, r9, lsl #16\n"
        "sub r8, r8, r2\n"
        "mov r10, r8\n"
        "mov r11, r9\n"
        "tbb [pc, r5]\n"
        "8:\n"
        ".byte (20f - 8b) / 2\n"
        ".byte (27f - 8b) / 2\n"
        ".byte (26f - 8b) / 2\n"
        ".byte (25f - 8b) / 2\n"
        ".byte (24f - 8b) / 2\n"
        ".byte (23f - 8b) / 2\n"
        ".byte (22f - 8b) / 2\n"
        ".byte (21f - 8b) / 2\n"
        "20:\n" EDGEQ_LANES_BLOCK "21:\n" EDGEQ_LANES_BLOCK
        "22:\n" EDGEQ_LANES_BLOCK "23:\n" EDGEQ_LANES_BLOCK
        "24:\n" EDGEQ_LANES_BLOCK "25:\n" EDGEQ_LANES_BLOCK
        "26:\n" EDGEQ_LANES_BLOCK "27:\n" EDGEQ_LANES_BLOCK
        "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 20b\n"
        "ldr r2, [sp, #28]\n"
        "ldm r2!, {r4, r5}\n"
        "str r2, [sp, #28]\n"
        "tst r4, #32\n"
        "bne 3f\n"
        "2:\n"
        "sub r8, r8, r9, lsl #16\n"
        "sub r10, r10, r11, lsl #16\n"
        "ldr r7, [sp, #12]\n"
        "and r4, r4, #31\n"
        "lsl r7, r7, r4\n"
        "ldr r0, [sp, #76]\n"
        "ldrd r6, r12, [sp, #80]\n"
        "ldr lr, [sp, #88]\n"
        EDGEQ_LANES_OUT("r8", "")
        EDGEQ_LANES_OUT("r9", ", r6")
        EDGEQ_LANES_OUT("r10", ", r12")
        EDGEQ_LANES_OUT("r11", ", lr")
        "add r0, r0, #1\n"
        "str r0, [sp, #76]\n"
        "ldr r2, [sp, #16]\n"
        "subs r2, r2, #1\n"
        "str r2, [sp, #16]\n"
        "bne 1b\n"
        "add sp, sp, #36\n"
        "pop {r4-r11, pc}\n"
        "3:\n"
        "ldr r0, [sp, #20]\n"
        "ldr r7, [sp, #32]\n"
        "4:\n"
        "ldr r12, [r7], #4\n"
        "lsr r3, r12, #11\n"
        "add r3, r0, r3, lsl #3\n"
        "ldm r3, {r3, r6}\n"
        "sxtb r2, r12\n"
        EDGEQ_LANES_MORE("r3", "r8", "r9")
        EDGEQ_LANES_MORE("r6", "r10", "r11")
        "tst r12, #256\n"
        "beq 4b\n"
        "str r7, [sp, #32]\n"
        "b 2b\n");
}
/* clang-format on */

#else

static inline void edgeq_lanes_dot(const uint32_t *x, const int8_t *weights,
                                   struct edgeq_sums *sums, const struct edgeq_lanes *lanes) {
    const uint32_t *const end = x + lanes->nbytes / 4;
    while (x < end) {
        uint32_t p0 = 1u << 15;
        uint32_t p1 = 1u << 15;
        for (int32_t i = 0; i < 4; ++i) {
            const uint32_t w = (uint32_t)(int32_t)*weights;
            p0 += w * x[0];
            p1 += w * x[1];
            weights += lanes->step;
            x += 2;
        }
        sums->t0 += p0;
        sums->s0 += (uint32_t)((int32_t)p0 >> 16);
        sums->t1 += p1;
        sums->s1 += (uint32_t)((int32_t)p1 >> 16);
    }
}

#endif

#ifndef EDGEQ_LANES_HAS_ALL

/* The products with a list; returns what is behind it. */
static inline const uint32_t *edgeq_lanes_list(const uint32_t *x, const uint32_t *list,
                                               struct edgeq_sums *sums) {
    uint32_t entry;
    do {
        entry = *list++;
        const uint32_t *const taps = x + 2 * (entry >> 11);
        const uint32_t w = (uint32_t)(int32_t)(int8_t)(entry & 0xffu);
        sums->t0 += w * taps[0];
        sums->s0 += (uint32_t)((int32_t)(w * taps[0] + (1u << 15)) >> 16);
        sums->t1 += w * taps[1];
        sums->s1 += (uint32_t)((int32_t)(w * taps[1] + (1u << 15)) >> 16);
    } while ((entry & 256u) == 0);
    return list;
}

/* All channels, saturated; an output may be clamped already. */
static __attribute__((noinline, unused)) void
edgeq_lanes_all(const uint32_t *x, const int8_t *weights, const int32_t *words,
                const uint32_t *list, const struct edgeq_lanes *lanes, int8_t *out,
                int32_t second, int32_t third, int32_t fourth) {
    const int32_t two_zero_plus = 2 * lanes->output_zero_point + 1;
    const int32_t zero = edgeq_narrow_zero(lanes->output_zero_point, lanes->activation_min);
    const uint32_t rounding = lanes->nbytes << 10;
    for (int32_t channel = 1; channel <= lanes->channels; ++channel) {
        const int32_t word = words[0];
        const int32_t m = words[1];
        const uint32_t bias = (uint32_t)(word >> 8);
        const int32_t k = word & 31;
        const int32_t c = two_zero_plus * (1 << k);
        struct edgeq_sums sums;
        sums.t0 = sums.t1 = bias + (bias << 16) - rounding;
        sums.s0 = sums.s1 = bias;
        edgeq_lanes_dot(x, weights, &sums, lanes);
        if ((word & 32) != 0) {
            list = edgeq_lanes_list(x, list, &sums);
        }
        const int32_t acc0 = (int32_t)(sums.t0 - (sums.s0 << 16));
        const int32_t acc2 = (int32_t)(sums.t1 - (sums.s1 << 16));
        out[0] = edgeq_narrow(acc0, m, c, k, zero);
        out[second] = edgeq_narrow((int32_t)sums.s0, m, c, k, zero);
        out[third] = edgeq_narrow(acc2, m, c, k, zero);
        out[fourth] = edgeq_narrow((int32_t)sums.s1, m, c, k, zero);
        ++out;
        words += 2;
        /* Interleaved weights are in groups of as many channels as a step has bytes. */
        if (lanes->step == 1) {
            weights += lanes->nbytes / 8;
        } else {
            weights += (channel & 7) != 0 ? 1 : lanes->nbytes - 7;
        }
    }
}

#endif

/* Four pixels with all channels to `count` pixels, 1 to 4: the others equal the last of them.
 */
static inline void edgeq_lanes_four(const struct edgeq_lanes *lanes, const uint32_t *x,
                                    const int8_t *weights, const int32_t *words,
                                    const uint32_t *list, int8_t *out, int32_t count) {
    const int32_t channels = lanes->channels;
    edgeq_lanes_all(x, weights, words, list, lanes, out, count > 1 ? channels : 0,
                    (count > 2 ? 2 : count - 1) * channels, (count - 1) * channels);
    edgeq_narrow_clamp(out, count * channels, lanes->activation_min, lanes->activation_max);
}

#endif /* EDGEQ_LANES_H */
