/* The assembly of edgeq_tile.h in parts. */
#ifndef EDGEQ_TILE_CODE_H
#define EDGEQ_TILE_CODE_H

#include "edgeq_widen.h"

/* A round of the loop is so many bytes of two pixels, in one block or, for speed, two; r0 and
 * r1 are at a block's start. */
#if defined(EDGEQ_FOR_SIZE)
#define EDGEQ_TILE_BLOCK_NBYTES 64
#define EDGEQ_TILE_ROUND_NBYTES 64
#elif defined(EDGEQ_FOR_SPEED)
#define EDGEQ_TILE_BLOCK_NBYTES 128
#define EDGEQ_TILE_ROUND_NBYTES 256
#else
#define EDGEQ_TILE_BLOCK_NBYTES 128
#define EDGEQ_TILE_ROUND_NBYTES 128
#endif

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

/* Sixteen taps: 384 bytes of code; what is behind `at` in the pixels and in the group. */
#define EDGEQ_TILE_STEPS_AT(at)                                                                \
    EDGEQ_TILE_STEP(at "0", at "4")                                                            \
    EDGEQ_TILE_STEP(at "8", at "12")                                                           \
    EDGEQ_TILE_STEP(at "16", at "20")                                                          \
    EDGEQ_TILE_STEP(at "24", at "28")                                                          \
    EDGEQ_TILE_STEP(at "32", at "36")                                                          \
    EDGEQ_TILE_STEP(at "40", at "44")                                                          \
    EDGEQ_TILE_STEP(at "48", at "52")                                                          \
    EDGEQ_TILE_STEP(at "56", at "60")

#if defined(EDGEQ_FOR_SIZE)
#define EDGEQ_TILE_BLOCK "64"
#define EDGEQ_TILE_STEPS EDGEQ_TILE_STEPS_AT("")
#else
#define EDGEQ_TILE_BLOCK "128"
#define EDGEQ_TILE_STEPS EDGEQ_TILE_STEPS_AT("") EDGEQ_TILE_STEPS_AT("64 + ")
#endif
#define EDGEQ_TILE_NEXT_BLOCK                                                                  \
    "add.w r0, r0, #" EDGEQ_TILE_BLOCK "\n"                                                    \
    "add.w r1, r1, #" EDGEQ_TILE_BLOCK "\n"
#if defined(EDGEQ_FOR_SPEED)
#define EDGEQ_TILE_ROUND EDGEQ_TILE_STEPS EDGEQ_TILE_NEXT_BLOCK EDGEQ_TILE_STEPS
#else
#define EDGEQ_TILE_ROUND EDGEQ_TILE_STEPS
#endif

/* What of a group is `at` bytes behind its last taps: r1 is at the last block of these. */
#define EDGEQ_TILE_BEHIND(at) "[r1, #" EDGEQ_TILE_BLOCK " + " at "]"

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

/* clang-format off */
/* Words of both pixels, side by side: r3 from pixel to pixel. Uses r12. */
#define EDGEQ_TILE_WIDEN_TWO(a, b, a0, b0, a1, b1)                                             \
    "sxtb16 r12, " a "\n"                                                                      \
    "sxtb16 " a ", " a ", ror #8\n"                                                            \
    "str r12, [r0, #" a0 "]\n"                                                                 \
    "str " a ", [r0, #" a1 "]\n"                                                               \
    "sxtb16 r12, " b "\n"                                                                      \
    "sxtb16 " b ", " b ", ror #8\n"                                                            \
    "str r12, [r0, #" b0 "]\n"                                                                 \
    "str " b ", [r0, #" b1 "]\n"

#ifdef EDGEQ_TILE_NINE_TAPS
#define EDGEQ_TILE_NINES                                                                       \
    "beq 19b\n"                                                                                \
    "add r4, r1, r3, lsl #1\n"                                                                 \
    "str r4, [sp, #52]\n"                                                                      \
    "add r11, r1, r3\n"                                                                        \
    "mov r2, r10\n"                                                                            \
    "17:\n" EDGEQ_WIDEN_NINES                                                                  \
    "mov r1, r11\n"                                                                            \
    "adds r0, r0, #4\n"                                                                        \
    "adds r9, r9, #1\n"                                                                        \
    "beq 17b\n"
#else
#define EDGEQ_TILE_NINES
#endif
/* clang-format on */

#ifdef EDGEQ_TILE_SIGNED
#define EDGEQ_TILE_CHOICE                                                                      \
    "ldr r2, [sp, #36]\n"                                                                      \
    "cmp r2, #0\n"                                                                             \
    "bne 6f\n"
/* Channel 1 before 0, for B is still whole; the outputs' addresses when all is done. */
/* clang-format off */
#define EDGEQ_TILE_SIGNED_OUT                                                                  \
    "6:\n"                                                                                     \
    "ldr r5, [sp, #28]\n"                                                                      \
    "ldrsb r4, " EDGEQ_TILE_BEHIND("20") "\n"                                                  \
    "ldr r3, " EDGEQ_TILE_BEHIND("4") "\n"                                                     \
    "ldrb r0, " EDGEQ_TILE_BEHIND("17") "\n"                                                   \
    "add r5, r5, r4\n"                                                                         \
    "subs r6, r6, r8\n" EDGEQ_TILE_ONE_SIGNED("r6")                                            \
    "subs r7, r7, r9\n" EDGEQ_TILE_ONE_SIGNED("r7")                                            \
    "ldr r3, " EDGEQ_TILE_BEHIND("0") "\n"                                                     \
    "ldrb r4, " EDGEQ_TILE_BEHIND("21") "\n"                                                   \
    "ldrb r0, " EDGEQ_TILE_BEHIND("16") "\n"                                                   \
    "adds r8, r4, r8, lsl #8\n" EDGEQ_TILE_ONE_SIGNED("r8")                                    \
    "adds r9, r4, r9, lsl #8\n" EDGEQ_TILE_ONE_SIGNED("r9")                                    \
    "ldr r3, " EDGEQ_TILE_BEHIND("12") "\n"                                                    \
    "ldrb r0, " EDGEQ_TILE_BEHIND("19") "\n"                                                   \
    "subs r10, r10, r12\n" EDGEQ_TILE_ONE_SIGNED("r10")                                        \
    "subs r11, r11, lr\n" EDGEQ_TILE_ONE_SIGNED("r11")                                         \
    "ldr r3, " EDGEQ_TILE_BEHIND("8") "\n"                                                     \
    "ldrb r4, " EDGEQ_TILE_BEHIND("22") "\n"                                                   \
    "ldrb r0, " EDGEQ_TILE_BEHIND("18") "\n"                                                   \
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
    "ldr r10, [sp, #32]\n"                                                                     \
    "adds r1, r1, #8\n"                                                                        \
    "b 7b\n"
/* clang-format on */
#else
#define EDGEQ_TILE_CHOICE
#define EDGEQ_TILE_SIGNED_OUT
#endif

#endif

#endif /* EDGEQ_TILE_CODE_H */
