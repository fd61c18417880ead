/* Weights of edgeq_tile.h in fewer bytes of flash, which a run unpacks into its scratch.
 *
 * Of a group of four channels there are, if it is the last perhaps of two:
 * - a word of each channel, then 16 bits of each. These 48 bits are, from above,
 *       f, bias (20 bits, less as f is longer than 22), e (3 bits), d (3 bits)
 *   With m = 2**31 + their first 31 bits, f and what follows it, the factor is m >> (k - e), k
 *   being the layer's, and the start 256 * bias + fraction with
 *       fraction = EDGEQ_TILE_PACKED_NUMERATOR / (m >> 8) + d
 *   in whole numbers: a fraction that serves is about 2**38 / multiplier, and the factor is the
 *   multiplier but for its length (steps.py).
 * - the words of its taps, four of each four taps; of one pair of channels two.
 * - of taps that are left over, one to three, in a whole group: 256 * w1 + w0 of channels
 *   (0, 1), and above it of channels (2, 3).
 * What is missing is zero, but for factors: they are not read but to multiply zero. `how` is 16 * k + the bits of f above 22. */
#ifndef EDGEQ_TILE_PACKED_H
#define EDGEQ_TILE_PACKED_H

#include <stdint.h>

#include "edgeq_arith.h"
#include "edgeq_dsp.h"

#define EDGEQ_TILE_PACKED_NUMERATOR 0x7e000000u /* also in the assembly */

/* `taps` of a channel, four at least; `channels`, an even number. */
#ifdef EDGEQ_HAS_DSP
/* clang-format off */
/* r1: to; r2: taps; r3: channels left; r7: how the bias is shifted; r8: k; r9: bytes from a
 * group to its factors; r10: the factor's place; r11: B; r12: the 16 bits' place; lr: channels
 * of the group left. */
static __attribute__((naked, noinline, unused)) void edgeq_tile_unpack(
    const int32_t *from EDGEQ_UNUSED, uint32_t *to EDGEQ_UNUSED, uint32_t taps EDGEQ_UNUSED,
    uint32_t channels EDGEQ_UNUSED, uint32_t how EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "ldr r7, [sp, #36]\n"
        "adds r4, r2, #7\n"
        "bic r9, r4, #3\n"
        "lsl r9, r9, #2\n"
        "lsr r8, r7, #4\n"
        "and r7, r7, #15\n"
        "adds r7, r7, #12\n"
        "1:\n"
        "add r10, r1, r9\n"
        "mov lr, #4\n"
        "cmp r3, #4\n"
        "it lo\n"
        "movlo lr, #2\n"
        "add r12, r0, lr, lsl #2\n"
        "2:\n"
        "ldr r4, [r0], #4\n"
        "ldrh r5, [r12], #2\n"
        "lsls r6, r4, #10\n"
        "orr r6, r6, r5, lsr #6\n"
        "lsls r6, r6, r7\n"
        "asrs r6, r6, r7\n" /* bias */
        "lsls r6, r6, #8\n"
        "lsrs r4, r4, #1\n"
        "orr r4, r4, #0x80000000\n" /* m */
        "and r11, r5, #7\n"
        "add r6, r6, r11\n"
        "ubfx r5, r5, #3, #3\n"
        "sub r5, r8, r5\n"
        "lsr r5, r4, r5\n"
        "str r5, [r10], #4\n"
        "lsrs r4, r4, #8\n"
        "mov r5, #0x7e000000\n"
        "udiv r4, r5, r4\n"
        "add r6, r6, r4\n" /* start */
        "ldr r4, [r1, #4]\n" /* B if the channel is 1 or 3 */
        "lsls r5, lr, #31\n"
        "ittt eq\n"
        "asreq r5, r6, #8\n"
        "addeq r5, r5, r6, lsl #24\n"
        "streq r5, [r1, #4]\n"
        "itt ne\n"
        "addne r6, r6, r4\n"
        "strne r6, [r1], #8\n"
        "subs lr, lr, #1\n"
        "bne 2b\n"
        "mov r0, r12\n"
        "subs r3, r3, #4\n"
        "blo 6f\n"
        "lsrs r12, r2, #2\n"
        "3:\n"
        "ldm r0!, {r4-r6, r11}\n"
        "stm r1!, {r4-r6, r11}\n"
        "subs r12, r12, #1\n"
        "bne 3b\n"
        "ands r12, r2, #3\n"
        "beq 5f\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "ldr r4, [r0], #4\n"
        "cmp r12, #2\n"
        "it hs\n"
        "ldrhs r5, [r0], #4\n"
        "it hi\n"
        "ldrhi r6, [r0], #4\n"
        "pkhbt r12, r4, r6, lsl #16\n"
        "str r12, [r1], #4\n"
        "pkhtb r6, r6, r4, asr #16\n"
        "uxth r11, r5\n"
        "lsr r12, r5, #16\n"
        "stm r1!, {r6, r11, r12}\n"
        "5:\n"
        "adds r1, r1, #16\n"
        "cmp r3, #0\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n"
        "6:\n"
        "movs r5, #0\n"
        "movs r7, #0\n"
        "stm r1!, {r5, r7}\n"
        "sub r12, r10, #8\n"
        "7:\n"
        "ldm r0!, {r4, r6}\n"
        "stm r1!, {r4-r7}\n"
        "cmp r1, r12\n"
        "bne 7b\n"
        "pop {r4-r11, pc}\n");
}
/* clang-format on */
#else
static inline void edgeq_tile_unpack(const int32_t *from, uint32_t *to, uint32_t taps,
                                     uint32_t channels, uint32_t how) {
    const uint32_t *at = (const uint32_t *)from, above = 12u + (how & 15u), k = how >> 4;
    const uint32_t words = (taps + 3u) & ~3u;
    for (uint32_t left = channels; left > 0u; to += words + 8u) {
        const uint32_t count = left < 4u ? 2u : 4u;
        const uint32_t *const halves = at + count;
        for (uint32_t i = 0; i < words + 8u; ++i) {
            to[i] = 0;
        }
        for (uint32_t c = 0; c < count; ++c) {
            const uint32_t w = at[c], h = halves[c / 2] >> (16u * (c % 2u)) & 0xffffu;
            const uint32_t m = 0x80000000u | w >> 1;
            const uint32_t bias = (w << 10 | h >> 6) << above;
            const uint32_t fraction = EDGEQ_TILE_PACKED_NUMERATOR / (m >> 8) + (h & 7u);
            const uint32_t start = (uint32_t)((int32_t)bias >> above) * 256u + fraction;
            to[4u + words + c] = m >> (k - (h >> 3 & 7u));
            to[c ^ 1u] =
                c % 2u != 0u ? start + to[c] : (uint32_t)((int32_t)start >> 8) + (start << 24);
        }
        at = halves + count / 2u;
        const uint32_t whole = count == 4u ? taps & ~3u : words;
        for (uint32_t i = 0; i < whole; i += 4u / count) {
            to[4u + i] = *at++;
        }
        for (uint32_t i = whole; i < taps; ++i) {
            const uint32_t both = *at++, shift = i % 4u == 2u ? 16u : 0u;
            uint32_t *const pair = to + 4u + whole + (i % 4u == 1u ? 2u : 0u);
            pair[0] |= (both & 0xffffu) << shift;
            pair[1] |= both >> 16 << shift;
        }
        left -= count;
    }
}
#endif

#endif /* EDGEQ_TILE_PACKED_H */
