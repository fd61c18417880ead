/* Bytes of a pixel widened to int16 in every second word: of each four, bytes 0 and 2, then 1
 * and 3, as SXTB16 gives them. Between them is room for the other pixel of edgeq_tile.h. */
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

/* r9 rows of r2 bytes from r1, a multiple of 4, not 0; r3 bytes from the end of one to the next;
 * to r0. Uses r4-r8, r12. Loads are side by side: they overlap. */
#define EDGEQ_WIDEN_ROWS                                                                       \
    "12:\n"                                                                                    \
    "subs r8, r2, #16\n"                                                                       \
    "blo 14f\n"                                                                                \
    "13:\n"                                                                                    \
    "ldr r4, [r1]\n"                                                                           \
    "ldr r5, [r1, #4]\n"                                                                       \
    "ldr r6, [r1, #8]\n"                                                                       \
    "ldr r7, [r1, #12]\n"                                                                      \
    EDGEQ_WIDEN_WORD("r4", "0", "8")                                                           \
    EDGEQ_WIDEN_WORD("r5", "16", "24")                                                         \
    EDGEQ_WIDEN_WORD("r6", "32", "40")                                                         \
    EDGEQ_WIDEN_WORD("r7", "48", "56")                                                         \
    "adds r1, r1, #16\n"                                                                       \
    "adds r0, r0, #64\n"                                                                       \
    "subs r8, r8, #16\n"                                                                       \
    "bhs 13b\n"                                                                                \
    "14:\n"                                                                                    \
    "adds r8, r8, #16\n"                                                                       \
    "beq 16f\n"                                                                                \
    "15:\n"                                                                                    \
    "ldr r4, [r1], #4\n"                                                                       \
    EDGEQ_WIDEN_WORD("r4", "0", "8")                                                           \
    "adds r0, r0, #16\n"                                                                       \
    "subs r8, r8, #4\n"                                                                        \
    "bne 15b\n"                                                                                \
    "16:\n"                                                                                    \
    "add r1, r1, r3\n"                                                                         \
    "subs r9, r9, #1\n"                                                                        \
    "bne 12b\n"

/* Three rows of nine bytes from r1, r2 bytes from row to row. Uses r4-r8, r12. */
#define EDGEQ_WIDEN_NINES                                                                      \
    "ldr r4, [r1]\n"                                                                           \
    "ldr r5, [r1, #4]\n"                                                                       \
    "ldrb r7, [r1, #8]\n"                                                                      \
    "add r1, r1, r2\n"                                                                         \
    EDGEQ_WIDEN_WORD("r4", "0", "8")                                                           \
    EDGEQ_WIDEN_WORD("r5", "16", "24")                                                         \
    "ldr r4, [r1]\n"                                                                           \
    "ldr r5, [r1, #4]\n"                                                                       \
    "ldrb r6, [r1, #8]\n"                                                                      \
    "add r1, r1, r2\n"                                                                         \
    EDGEQ_WIDEN_WORD("r4", "32", "40")                                                         \
    EDGEQ_WIDEN_WORD("r5", "48", "56")                                                         \
    "ldr r4, [r1]\n"                                                                           \
    "ldr r5, [r1, #4]\n"                                                                       \
    "ldrb r8, [r1, #8]\n"                                                                      \
    "orr r7, r7, r6, lsl #8\n"                                                                 \
    "orr r7, r7, r8, lsl #16\n"                                                                \
    EDGEQ_WIDEN_WORD("r4", "64", "72")                                                         \
    EDGEQ_WIDEN_WORD("r5", "80", "88")                                                         \
    EDGEQ_WIDEN_WORD("r7", "96", "104")

/* `rows` rows of n bytes, a multiple of 4, not 0; `gap` bytes from the end of one to the next.
 * Returns where the next words go. */
static __attribute__((naked, noinline, unused)) uint32_t *
edgeq_widen_rows(uint32_t *to __attribute__((unused)), const int8_t *from __attribute__((unused)),
                 int32_t n __attribute__((unused)), int32_t gap __attribute__((unused)),
                 int32_t rows __attribute__((unused))) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r9}\n"
        "ldr r9, [sp, #24]\n"
        EDGEQ_WIDEN_ROWS
        "pop {r4-r9}\n"
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

/* Three rows of nine bytes: eight of each, then the three that are left; `step` bytes from row
 * to row. */
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
