/* Assembly of fully_connected_winograd.h, which includes it and says what it does: the loop
 * over a group's taps, and from sums to bytes. */
#ifndef EDGEQ_WINOGRAD_CODE_H
#define EDGEQ_WINOGRAD_CODE_H

/* Blocks in a round of the loop over a group's taps. */
#if defined(EDGEQ_FOR_SPEED)
#define EDGEQ_WINOGRAD_BLOCKS 16
#elif defined(EDGEQ_FOR_SIZE)
#define EDGEQ_WINOGRAD_BLOCKS 4
#else
#define EDGEQ_WINOGRAD_BLOCKS 8
#endif

#if defined(EDGEQ_WINOGRAD_PARTS) || defined(EDGEQ_WINOGRAD_WIDE)
#define EDGEQ_WINOGRAD_BY_ENTRY /* some groups begin at an address, not with the loop */
#endif

#if defined(EDGEQ_WINOGRAD_SIGNS) || defined(EDGEQ_WINOGRAD_WIDE)
#define EDGEQ_WINOGRAD_MORE_STACK
#endif

/* clang-format off */
/* Four bytes in `even` to two words; what is added in r2, X in r12. */
#define EDGEQ_WINOGRAD_WIDEN(even, odd)                                                        \
    "sxtab16 " odd ", r2, " even ", ror #8\n"                                                  \
    "sxtab16 " even ", r2, " even "\n"                                                         \
    "smlad r12, " even ", " odd ", r12\n"

/* Eight bytes of the row. */
#define EDGEQ_WINOGRAD_WIDEN_BLOCK                                                             \
    "ldmia r1!, {r4, r6}\n"                                                                    \
    EDGEQ_WINOGRAD_WIDEN("r4", "r5")                                                           \
    EDGEQ_WINOGRAD_WIDEN("r6", "r7")                                                           \
    "stmia r3!, {r4-r7}\n"
#ifdef EDGEQ_FOR_SPEED
#define EDGEQ_WINOGRAD_WIDEN_MORE                                                              \
    "beq 11f\n"                                                                                \
    EDGEQ_WINOGRAD_WIDEN_BLOCK EDGEQ_WINOGRAD_WIDEN_BLOCK                                      \
    "cmp r1, lr\n"
#else
#define EDGEQ_WINOGRAD_WIDEN_MORE
#endif

/* r0: op, r4: taps. lr: where the offset that is loaded to r2 ends. */
#ifdef EDGEQ_WINOGRAD_OFFSETS
/* Then r0 is where the next offset is, r8 the row's end, r9 and r4 are the taps of an offset. */
#define EDGEQ_WINOGRAD_SEGMENTS                                                                \
    "add r8, r1, r4\n"                                                                         \
    "ittte cs\n"                                                                               \
    "ldrcs r0, [r0]\n"                                                                         \
    "subcs r0, r0, r4, lsr #5\n"                                                               \
    "movcs r4, #32\n"                                                                          \
    "addcc r0, r0, #16\n"                                                                      \
    "mov r9, r4\n"
#define EDGEQ_WINOGRAD_OFFSET                                                                  \
    "8:\n"                                                                                     \
    "ldrsb r2, [r0], #1\n"                                                                     \
    "add lr, r1, r9\n"
#define EDGEQ_WINOGRAD_NEXT_OFFSET /* no carry where the row goes on */                        \
    "cmp r1, r8\n"                                                                             \
    "bne 8b\n"
#else
#define EDGEQ_WINOGRAD_SEGMENTS "add lr, r1, r4\n"
#define EDGEQ_WINOGRAD_OFFSET   "ldrsb r2, [r0, #16]\n"
#define EDGEQ_WINOGRAD_NEXT_OFFSET
#endif

#define EDGEQ_WINOGRAD_PAIR(xe, xo, e, o, a, b)                                                \
    "smlad " a ", " o ", " xo ", " a "\n"                                                      \
    "sxtab16 " o ", " xe ", " o "\n"                                                           \
    "smlad " a ", " e ", " o ", " a "\n"                                                       \
    "sxtab16 " e ", " xo ", " e "\n"                                                           \
    "smlad " b ", " e ", " o ", " b "\n"

/* Four taps of three pairs: x at r0 + `x`, weights of two pairs at r2 + `w`; neighbouring loads
 * are cheap, and LDRD takes no longer if it adds to r2: `third` loads the third pair's weights
 * to r4 and r5. A block of eight taps has a length that does not depend on x. */
#define EDGEQ_WINOGRAD_STEP(x, w, third)                                                       \
    EDGEQ_WINOGRAD_LDR_X "r1, [r0, #" x "]\n"                                                  \
    EDGEQ_WINOGRAD_LDR_X "r3, [r0, #" x " + 4]\n"                                              \
    "ldr r4, [r2, #" w "]\n"                                                                   \
    "ldr r5, [r2, #" w " + 4]\n"                                                               \
    "ldr r6, [r2, #" w " + 8]\n"                                                               \
    "ldr r7, [r2, #" w " + 12]\n"                                                              \
    EDGEQ_WINOGRAD_PAIR("r1", "r3", "r4", "r5", "r8", "r9")                                    \
    EDGEQ_WINOGRAD_PAIR("r1", "r3", "r6", "r7", "r10", "r11")                                  \
    third                                                                                      \
    EDGEQ_WINOGRAD_PAIR("r1", "r3", "r4", "r5", "r12", "lr")
#define EDGEQ_WINOGRAD_BLOCK_BY(x, third, behind)                                              \
    EDGEQ_WINOGRAD_STEP(x, "8", third)                                                         \
    behind                                                                                     \
    EDGEQ_WINOGRAD_STEP(x " + 8", "32", "ldrd r4, r5, [r2], #48\n")
#define EDGEQ_WINOGRAD_BLOCK(x) EDGEQ_WINOGRAD_BLOCK_BY(x, "ldrd r4, r5, [r2, #24]\n", "")
#define EDGEQ_WINOGRAD_LAST_BLOCK(x)                                                           \
    EDGEQ_WINOGRAD_BLOCK_BY(x,                                                                 \
        "ldr r4, [r2, #24]\n"                                                                  \
        "ldr r5, [r2, #28]\n"                                                                  \
        "ldr r6, [sp, #36]\n",                                                                 \
        "cmp r6, r0\n")
#define EDGEQ_WINOGRAD_THREE(x)                                                                \
    EDGEQ_WINOGRAD_BLOCK(x) EDGEQ_WINOGRAD_BLOCK(x " + 16") EDGEQ_WINOGRAD_BLOCK(x " + 32")
#define EDGEQ_WINOGRAD_FOUR(x) EDGEQ_WINOGRAD_THREE(x) EDGEQ_WINOGRAD_BLOCK(x " + 48")

#if EDGEQ_WINOGRAD_BLOCKS == 16
#define EDGEQ_WINOGRAD_LDR_X "ldr.w " /* offsets are beyond those of 16 bits */
#define EDGEQ_WINOGRAD_BLOCK_NBYTES "160"
#define EDGEQ_WINOGRAD_BLOCK_BITS "4"
#define EDGEQ_WINOGRAD_ROUND "256" /* bytes of x */
#define EDGEQ_WINOGRAD_TAPS                                                                    \
    EDGEQ_WINOGRAD_FOUR("0") EDGEQ_WINOGRAD_FOUR("64") EDGEQ_WINOGRAD_FOUR("128")              \
    EDGEQ_WINOGRAD_THREE("192") EDGEQ_WINOGRAD_LAST_BLOCK("240")
#elif EDGEQ_WINOGRAD_BLOCKS == 8
#define EDGEQ_WINOGRAD_LDR_X "ldr "
#define EDGEQ_WINOGRAD_BLOCK_NBYTES "152"
#define EDGEQ_WINOGRAD_BLOCK_BITS "3"
#define EDGEQ_WINOGRAD_ROUND "128"
#define EDGEQ_WINOGRAD_TAPS                                                                    \
    EDGEQ_WINOGRAD_FOUR("0") EDGEQ_WINOGRAD_THREE("64") EDGEQ_WINOGRAD_LAST_BLOCK("112")
#else
#define EDGEQ_WINOGRAD_LDR_X "ldr "
#define EDGEQ_WINOGRAD_BLOCK_NBYTES "152"
#define EDGEQ_WINOGRAD_BLOCK_BITS "2"
#define EDGEQ_WINOGRAD_ROUND "64"
#define EDGEQ_WINOGRAD_TAPS EDGEQ_WINOGRAD_THREE("0") EDGEQ_WINOGRAD_LAST_BLOCK("48")
#endif

#define EDGEQ_WINOGRAD_STARTS                                                                  \
    "ldmia r2!, {r1, r3, r4}\n"                                                                \
    "add r8, r6, r1, asr #8\n"                                                                 \
    "revsh r9, r1\n"                                                                           \
    "add r10, r6, r3, asr #8\n"                                                                \
    "revsh r11, r3\n"                                                                          \
    "add r12, r6, r4, asr #8\n"                                                                \
    "revsh lr, r4\n"

/* Sums to bytes. r1: factor, r4: half, r5: even, r7: for the sign. A sign may be taken off in a
 * layer that has none: there no output below the zero point z is wanted, and of a negative p
 * floor(p * factor / 2**32) + half <= half - 1 = 512 * z + 255, so that the output is z at most
 * with the sign and without, and the clamp makes one and the same of both. */
#define EDGEQ_WINOGRAD_UNSIGNED(v) "smmla " v ", " v ", r1, r4\n"
#if defined(EDGEQ_WINOGRAD_SIGNS) /* r0: sign */
#define EDGEQ_WINOGRAD_SIGNED_V(v)                                                             \
    "and r7, r0, " v ", asr #31\n"                                                             \
    "sub r7, r4, r7\n"                                                                         \
    "smmla " v ", " v ", r1, r7\n"
#define EDGEQ_WINOGRAD_LOAD_SIGN "ldr r0, [sp, #48]\n"
#define EDGEQ_WINOGRAD_LOAD_X "ldr r0, [sp]\n"
#else
#define EDGEQ_WINOGRAD_SIGNED_V(v)                                                             \
    "add r7, r4, " v ", asr #31\n"                                                             \
    "smmla " v ", " v ", r1, r7\n"
#define EDGEQ_WINOGRAD_LOAD_SIGN
#define EDGEQ_WINOGRAD_LOAD_X
#endif
#define EDGEQ_WINOGRAD_BOTH(v, a, b)                                                           \
    "sub " a ", " a ", " b "\n" v(a)                                                           \
    "add " b ", r5, " b ", lsl #8\n" v(b)                                                      \
    "ssat " b ", #8, " b ", asr #9\n"                                                          \
    "ssat " a ", #8, " a ", asr #9\n"
#define EDGEQ_WINOGRAD_OUT(v, a, b)                                                            \
    EDGEQ_WINOGRAD_BOTH(v, a, b)                                                               \
    "strb " b ", [r3], #2\n"                                                                   \
    "strb " a ", [r3, #-1]\n"
#define EDGEQ_WINOGRAD_TWO(v)                                                                  \
    EDGEQ_WINOGRAD_OUT(v, "r8", "r9")                                                          \
    EDGEQ_WINOGRAD_OUT(v, "r10", "r11")

/* Eight taps of a pair alone. */
#define EDGEQ_WINOGRAD_PAIR_BLOCK                                                              \
    "ldmia r0!, {r1, r3, r10, r11}\n"                                                          \
    "ldmia r2!, {r4-r7}\n"                                                                     \
    EDGEQ_WINOGRAD_PAIR("r1", "r3", "r4", "r5", "r12", "lr")                                   \
    EDGEQ_WINOGRAD_PAIR("r10", "r11", "r6", "r7", "r12", "lr")

/* From the sums of a group to the next group; pairs alone enter at 15. */
#define EDGEQ_WINOGRAD_OUTS                                                                    \
    "ldm sp, {r0, r1, r3-r7}\n"                                                                \
    EDGEQ_WINOGRAD_TWO(EDGEQ_WINOGRAD_UNSIGNED)                                                \
    "15:\n"                                                                                    \
    EDGEQ_WINOGRAD_OUT(EDGEQ_WINOGRAD_UNSIGNED, "r12", "lr")                                   \
    "str r3, [sp, #8]\n"                                                                       \
    "cmp r3, r7\n"                                                                             \
    "blo 1b\n"
#define EDGEQ_WINOGRAD_SIGNED_OUTS                                                             \
    "ldm sp, {r0, r1, r3-r6}\n"                                                                \
    EDGEQ_WINOGRAD_LOAD_SIGN                                                                   \
    EDGEQ_WINOGRAD_TWO(EDGEQ_WINOGRAD_SIGNED_V)                                                \
    "15:\n"                                                                                    \
    EDGEQ_WINOGRAD_OUT(EDGEQ_WINOGRAD_SIGNED_V, "r12", "lr")                                   \
    EDGEQ_WINOGRAD_LOAD_X                                                                      \
    "str r3, [sp, #8]\n"                                                                       \
    "ldr r7, [sp, #24]\n"                                                                      \
    "cmp r3, r7\n"                                                                             \
    "blo 1b\n"
#if !defined(EDGEQ_WINOGRAD_SIGNED)
#define EDGEQ_WINOGRAD_ALL_OUTS EDGEQ_WINOGRAD_OUTS
#define EDGEQ_WINOGRAD_PAIR_OUT EDGEQ_WINOGRAD_UNSIGNED
#else
#define EDGEQ_WINOGRAD_ALL_OUTS                                                                \
    "bmi 5f\n"                                                                                 \
    EDGEQ_WINOGRAD_OUTS                                                                        \
    "b 12b\n"                                                                                  \
    "5:\n"                                                                                     \
    EDGEQ_WINOGRAD_SIGNED_OUTS
#define EDGEQ_WINOGRAD_PAIR_OUT EDGEQ_WINOGRAD_SIGNED_V
#endif

/* Bytes of the stack but scratch and the saved registers. */
#ifdef EDGEQ_WINOGRAD_MORE_STACK
#define EDGEQ_WINOGRAD_FRAME "56"
#else
#define EDGEQ_WINOGRAD_FRAME "48"
#endif
/* clang-format on */

#endif /* EDGEQ_WINOGRAD_CODE_H */
