/* Bytes of a pixel widened to int16 in every second word: of each four, bytes 0 and 2, then 1 and
 * 3, as SXTB16 gives them. Between them is room for the other pixel of edgeq_tile.h. */
#ifndef EDGEQ_WIDEN_H
#define EDGEQ_WIDEN_H

#include <stdint.h>

#include "edgeq_dsp.h"

static inline uint32_t *edgeq_widen_word(uint32_t *to, uint32_t word) {
    to[0] = edgeq_sxtb16(word);
    to[2] = edgeq_sxtb16_odd(word);
    return to + 4;
}

#ifdef EDGEQ_HAS_DSP

/* clang-format off */
#define EDGEQ_WIDEN_WORD(word, at0, at1)                                                       \
    "sxtb16 r12, " word "\n"                                                                   \
    "sxtb16 " word ", " word ", ror #8\n"                                                      \
    "str r12, [r0, #" at0 "]\n"                                                                \
    "str " word ", [r0, #" at1 "]\n"

/* `rows` rows of n bytes, n a multiple of 4, not 0; `gap` bytes from the end of one to the next.
 * Returns where the next words go. Loads are side by side: they overlap. */
static __attribute__((naked, noinline, unused)) uint32_t *
edgeq_widen_rows(uint32_t *to __attribute__((unused)), const int8_t *from __attribute__((unused)),
                 int32_t n __attribute__((unused)), int32_t gap __attribute__((unused)),
                 int32_t rows __attribute__((unused))) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r9}\n"
        "ldr r9, [sp, #24]\n"
        "1:\n"
        "subs r8, r2, #16\n"
        "blo 3f\n"
        "2:\n"
        "ldr r4, [r1]\n"
        "ldr r5, [r1, #4]\n"
        "ldr r6, [r1, #8]\n"
        "ldr r7, [r1, #12]\n"
        EDGEQ_WIDEN_WORD("r4", "0", "8")
        EDGEQ_WIDEN_WORD("r5", "16", "24")
        EDGEQ_WIDEN_WORD("r6", "32", "40")
        EDGEQ_WIDEN_WORD("r7", "48", "56")
        "adds r1, r1, #16\n"
        "adds r0, r0, #64\n"
        "subs r8, r8, #16\n"
        "bhs 2b\n"
        "3:\n"
        "adds r8, r8, #16\n"
        "beq 5f\n"
        "4:\n"
        "ldr r4, [r1], #4\n"
        EDGEQ_WIDEN_WORD("r4", "0", "8")
        "adds r0, r0, #16\n"
        "subs r8, r8, #4\n"
        "bne 4b\n"
        "5:\n"
        "add r1, r1, r3\n"
        "subs r9, r9, #1\n"
        "bne 1b\n"
        "pop {r4-r9}\n"
        "bx lr\n");
}

/* Three rows of nine bytes: eight of each, then the three that are left; `step` bytes from row
 * to row. */
static __attribute__((naked, noinline, unused)) void
edgeq_widen_nines(uint32_t *to __attribute__((unused)),
                  const int8_t *from __attribute__((unused)),
                  int32_t step __attribute__((unused))) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7}\n"
        "ldr r4, [r1]\n"
        "ldr r5, [r1, #4]\n"
        "ldrb r7, [r1, #8]\n"
        "add r1, r1, r2\n"
        "ldr r3, [r1]\n"
        EDGEQ_WIDEN_WORD("r4", "0", "8")
        EDGEQ_WIDEN_WORD("r5", "16", "24")
        "ldr r4, [r1, #4]\n"
        "ldrb r6, [r1, #8]\n"
        "add r1, r1, r2\n"
        "ldr r5, [r1]\n"
        EDGEQ_WIDEN_WORD("r3", "32", "40")
        EDGEQ_WIDEN_WORD("r4", "48", "56")
        "ldr r4, [r1, #4]\n"
        "ldrb r3, [r1, #8]\n"
        "orr r7, r7, r6, lsl #8\n"
        "orr r7, r7, r3, lsl #16\n"
        EDGEQ_WIDEN_WORD("r5", "64", "72")
        EDGEQ_WIDEN_WORD("r4", "80", "88")
        EDGEQ_WIDEN_WORD("r7", "96", "104")
        "pop {r4-r7}\n"
        "bx lr\n");
}
/* clang-format on */

#else

static inline uint32_t *edgeq_widen_rows(uint32_t *to, const int8_t *from, int32_t n,
                                         int32_t gap, int32_t rows) {
    for (; rows > 0; --rows) {
        for (int32_t i = 0; i < n; i += 4) {
            to = edgeq_widen_word(to, edgeq_load4(from + i));
        }
        from += n + gap;
    }
    return to;
}

static inline void edgeq_widen_nines(uint32_t *to, const int8_t *from, int32_t step) {
    uint32_t word = 0;
    for (uint32_t i = 0; i < 3; ++i) {
        to = edgeq_widen_word(to, edgeq_load4(from));
        to = edgeq_widen_word(to, edgeq_load4(from + 4));
        word |= ((uint32_t)from[8] & 0xffu) << (8 * i);
        from += step;
    }
    edgeq_widen_word(to, word);
}

#endif

#endif /* EDGEQ_WIDEN_H */
