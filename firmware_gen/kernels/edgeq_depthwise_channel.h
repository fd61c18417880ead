/* Channels of a 3 x 3 depthwise convolution as they are in flash, and how they come into a
 * table of struct edgeq_lines_channel. */
#ifndef EDGEQ_DEPTHWISE_CHANNEL_H
#define EDGEQ_DEPTHWISE_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_depthwise_lines.h"
#include "edgeq_dsp_pack.h"

/* A channel in flash begins with two words of four weights, those of two of the filter's words
 * in struct edgeq_lines_channel, of the first in bytes 0 and 2, of the second in 1 and 3; the
 * third word has [2][2] above 24 bits. With s, m and b as in depthwise_conv_2d_plane.h:
 *
 * EDGEQ_CHANNELS_WIDE, 16 bytes at a whole word: in the 24 bits 8 - s (3) above the upper bits
 * of m (21); in the fourth word b (27) above five bits more of m, of which another five are 0.
 *
 * EDGEQ_CHANNELS_COMPACT, 15 bytes at an odd address: s is 8; m is (2**22 + f) * 2**(1 + e). In
 * the 24 bits e (3) above the upper bits of f (21); in the last three bytes, above the last bit
 * of f, what b is more than
 *     2**15 * the sum of the weights - ((0xf500000 - 32 * f) >> e),
 * which is not much where zero points are -128: the latter is within 5 % of 2**51 / m.
 *
 * So the address says which it is; a model that has one has no code for the other. */
#if defined(EDGEQ_CHANNELS_WIDE) && defined(EDGEQ_CHANNELS_COMPACT)
#define EDGEQ_CHANNELS_ARE_COMPACT(at) ((uintptr_t)(at) % 2u != 0)
#elif defined(EDGEQ_CHANNELS_COMPACT)
#define EDGEQ_CHANNELS_ARE_COMPACT(at) true
#else
#define EDGEQ_CHANNELS_ARE_COMPACT(at) false
#endif

/* Put channels of a group, one at least, into the table. */
#ifdef EDGEQ_HAS_DSP
/* clang-format off */
/* r3 and r4, weights, and r5 to r7-r11; lr: a mask. */
#define EDGEQ_CHANNELS_FILTER                                                              \
    "mov lr, #0xff00ff00\n"                                                                    \
    "and r7, lr, r3, lsl #8\n"                                                                 \
    "and r8, lr, r3\n"                                                                         \
    "and r9, lr, r4, lsl #8\n"                                                                 \
    "and r10, lr, r4\n"                                                                        \
    "and r11, r5, #0xff000000\n"

/* r3-r6: a channel in flash; r7-r12, lr: in the table; then r3: 8 - s. */
static __attribute__((naked, noinline, unused)) void
edgeq_channels_wide(const uint8_t *from EDGEQ_UNUSED, int32_t count EDGEQ_UNUSED,
                        struct edgeq_lines_channel *to EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "1:\n"
        "ldm r0!, {r3-r6}\n"
        EDGEQ_CHANNELS_FILTER
        "pkhtb r11, r11, r10, asr #16\n"
        "lsl r12, r5, #11\n"
        "lsr r12, r12, #1\n"
        "bfi r12, r6, #5, #5\n"
        "asr lr, r6, #5\n"
        "stm r2!, {r7-r12, lr}\n"
        "lsls r5, r5, #8\n"
        "lsrs r3, r5, #29\n"
        "beq 3f\n"
        "movs r4, #5\n"
        "sub r5, r2, #28\n"
        "2:\n" /* a word: both halves >> r3 */
        "ldr r6, [r5]\n"
        "sxth r7, r6\n"
        "asrs r6, r6, r3\n"
        "asrs r7, r7, r3\n"
        "pkhbt r6, r7, r6\n"
        "stm r5!, {r6}\n"
        "subs r4, r4, #1\n"
        "bne 2b\n"
        "3:\n"
        "subs r1, r1, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

/* r3-r6: bytes 0, 4, 8 and 11 of a channel in flash; then r3: 1 in both halves, the bias's
 * share of f; r4: 2**8 * the sum of the weights; r5: f; r12: e. */
static __attribute__((naked, noinline, unused)) void
edgeq_channels_compact(const uint8_t *from EDGEQ_UNUSED, int32_t count EDGEQ_UNUSED,
                           struct edgeq_lines_channel *to EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "1:\n"
        "ldr r3, [r0]\n"
        "ldr r4, [r0, #4]\n"
        "ldr r5, [r0, #8]\n"
        "ldr r6, [r0, #11]\n"
        "adds r0, r0, #15\n"
        EDGEQ_CHANNELS_FILTER
        "mov r3, #0x00010001\n"
        "smuad r4, r7, r3\n"
        "smlad r4, r8, r3, r4\n"
        "smlad r4, r9, r3, r4\n"
        "smlad r4, r10, r3, r4\n"
        "add r4, r4, r11, asr #16\n"
        "pkhtb r11, r11, r10, asr #16\n"
        "ubfx r12, r5, #21, #3\n"
        "ubfx r5, r5, #0, #21\n"
        "asrs r6, r6, #9\n" /* carry: the last bit of f */
        "adcs r5, r5, r5\n"
        "mov r3, #0xf500000\n"
        "sub r3, r3, r5, lsl #5\n"
        "lsr r3, r3, r12\n"
        "orr r5, r5, #0x400000\n"
        "adds r5, r5, r5\n"
        "lsl r12, r5, r12\n"
        "subs r6, r6, r3\n"
        "add lr, r6, r4, lsl #7\n"
        "stm r2!, {r7-r12, lr}\n"
        "subs r1, r1, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}
/* clang-format on */
#else
static inline uint32_t edgeq_channels_word(const uint8_t *at) {
    return edgeq_load4((const int8_t *)at);
}

/* Gives the third word. */
static inline uint32_t edgeq_channels_filter(const uint8_t *from,
                                             struct edgeq_lines_channel *to) {
    const uint32_t upper = 0xff00ff00u, end = edgeq_channels_word(from + 8);
    const uint32_t a = edgeq_channels_word(from), b = edgeq_channels_word(from + 4);
    to->filter[0] = a << 8 & upper;
    to->filter[1] = a & upper;
    to->filter[2] = b << 8 & upper;
    to->filter[3] = b & upper;
    to->filter[4] = edgeq_pack_high(b & upper, end & 0xff000000u);
    return end;
}

static inline void edgeq_channels_wide(const uint8_t *from, int32_t count,
                                       struct edgeq_lines_channel *to) {
    for (; count > 0; --count) {
        const uint32_t end = edgeq_channels_filter(from, to);
        const uint32_t bias = edgeq_channels_word(from + 12), less = end << 8 >> 29;
        to->multiplier = (int32_t)(end << 11 >> 1 | (bias & 31u) << 5);
        to->bias = (int32_t)bias >> 5;
        for (int32_t i = 0; i < 5; ++i) {
            const uint32_t w = to->filter[i];
            const int32_t low = (int16_t)(w & 0xffffu), high = (int32_t)w;
            to->filter[i] =
                edgeq_pack_high((uint32_t)(low >> less) << 16, (uint32_t)(high >> less));
        }
        from += 16;
        ++to;
    }
}

static inline void edgeq_channels_compact(const uint8_t *from, int32_t count,
                                          struct edgeq_lines_channel *to) {
    for (; count > 0; --count) {
        const uint32_t end = edgeq_channels_filter(from, to);
        const uint32_t last = edgeq_channels_word(from + 11);
        const uint32_t f = (end & 0x1fffffu) << 1 | (last >> 8 & 1u), e = end >> 21 & 7u;
        int32_t sum = (int32_t)(end & 0xff000000u) >> 16;
        for (int32_t i = 0; i < 4; ++i) {
            sum = edgeq_smlad(to->filter[i], 0x00010001u, sum);
        }
        to->multiplier = (int32_t)((f + 0x400000u) << 1 << e);
        to->bias = ((int32_t)last >> 9) - (int32_t)((0xf500000u - (f << 5)) >> e) + 128 * sum;
        from += 15;
        ++to;
    }
}
#endif

/* Gives where the next channels are: after a whole group, at an address as odd as this. */
static inline const uint8_t *edgeq_channels_unpack(const uint8_t *from, int32_t count,
                                                   struct edgeq_lines_channel *to) {
    if (EDGEQ_CHANNELS_ARE_COMPACT(from)) {
        edgeq_channels_compact(from, count, to);
        return from + 15 * count;
    }
    edgeq_channels_wide(from, count, to);
    return from + 16 * count;
}

#endif /* EDGEQ_DEPTHWISE_CHANNEL_H */
