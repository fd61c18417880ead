/* ADD of two inputs of the output's shape as one affine map, on any core; twin of
 * edgeq/ops/add.py. add_affine.py finds the three integers, and tries them on all 65,536 pairs
 * of bytes: nothing leaves int32, and the result is that of the two roundings. */
#ifndef EDGEQ_ADD_AFFINE_H
#define EDGEQ_ADD_AFFINE_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_arith.h"

/* Pairs of bytes in a turn of the loop. */
#if defined(EDGEQ_FOR_SPEED)
#define EDGEQ_ADD_PAIRS 4
#elif defined(EDGEQ_FOR_SIZE)
#define EDGEQ_ADD_PAIRS 1
#else
#define EDGEQ_ADD_PAIRS 2
#endif

#define EDGEQ_ADD_RIGHT 21 /* fraction bits of the map */

struct edgeq_add_affine {
    int32_t multiplier1;
    int32_t multiplier2;
    int32_t addend;
    int32_t nbytes;
    int8_t activation_min;
    int8_t activation_max;
};

#ifdef __ARM_FEATURE_MVE
/* Four bytes at a time (Arm DDI0553B, section C2.4). Not by VQSHRNB, which takes one
 * instruction less: GNU as 2.40 gives it the code of VQRSHRNB, which rounds. */
_Static_assert(EDGEQ_ADD_RIGHT == 21, "edgeq_add_fours");
static inline void edgeq_add_fours(const struct edgeq_add_affine *op, const int8_t *input1,
                                   const int8_t *input2, int8_t *out, int32_t fours) {
    __asm__ volatile("vdup.32 q3, %6\n\t"
                     "dls lr, %3\n"
                     "1:\n\t"
                     "vldrb.s32 q0, [%0], #4\n\t"
                     "vldrb.s32 q1, [%1], #4\n\t"
                     "vmov q2, q3\n\t"
                     "vmla.s32 q2, q0, %4\n\t"
                     "vmla.s32 q2, q1, %5\n\t"
                     "vshr.s32 q2, q2, #21\n\t"
                     "vqmovnb.s32 q2, q2\n\t"
                     "vqmovnb.s16 q2, q2\n\t"
                     "vstrb.32 q2, [%2], #4\n\t"
                     "le lr, 1b"
                     : "+l"(input1), "+l"(input2), "+l"(out)
                     : "r"(fours), "r"(op->multiplier1), "r"(op->multiplier2), "r"(op->addend)
                     : "lr", "q0", "q1", "q2", "q3", "memory");
}
#elif defined(__ARM_FEATURE_SAT)
/* Two bytes at an offset, loads side by side; compilers keep neither the order nor SSAT's own
 * shift. */
#define EDGEQ_ADD_PAIR(at, next)                                                               \
    __asm__ volatile("ldrsb %0, [%5, #" at "]\n\t"                                             \
                     "ldrsb %1, [%5, #" next "]\n\t"                                           \
                     "ldrsb %2, [%4, #" at "]\n\t"                                             \
                     "ldrsb %3, [%4, #" next "]\n\t"                                           \
                     "mla %0, %0, %8, %9\n\t"                                                  \
                     "mla %1, %1, %8, %9\n\t"                                                  \
                     "mla %0, %2, %7, %0\n\t"                                                  \
                     "mla %1, %3, %7, %1\n\t"                                                  \
                     "ssat %0, #8, %0, asr %10\n\t"                                            \
                     "ssat %1, #8, %1, asr %10\n\t"                                            \
                     "strb %0, [%6, #" at "]\n\t"                                              \
                     "strb %1, [%6, #" next "]"                                                \
                     : "=&r"(y0), "=&r"(y1), "=&r"(x0), "=&r"(x1)                              \
                     : "r"(input1), "r"(input2), "r"(out), "r"(multiplier1), "r"(multiplier2), \
                       "r"(addend), "I"(EDGEQ_ADD_RIGHT)                                       \
                     : "memory")
#endif

/* out may be an input. */
static inline void edgeq_add_affine(const struct edgeq_add_affine *op, const int8_t *input1,
                                    const int8_t *input2, int8_t *out) {
    const int8_t *const end = out + op->nbytes;
    int32_t multiplier1 = op->multiplier1, multiplier2 = op->multiplier2;
    int32_t addend = op->addend;
    /* In registers: compilers make shifts and sums of a product with a constant. */
    __asm__("" : "+r"(multiplier1), "+r"(multiplier2), "+r"(addend));
#ifdef EDGEQ_ADD_CLAMPED /* some layer clamps to less than int8 */
    const bool saturates = op->activation_min == INT8_MIN && op->activation_max == INT8_MAX;
#else
    const bool saturates = true;
#endif
#ifdef __ARM_FEATURE_MVE
    const int32_t fours = op->nbytes / 4;
    if (saturates && fours > 0) {
        edgeq_add_fours(op, input1, input2, out, fours);
        input1 += 4 * fours;
        input2 += 4 * fours;
        out += 4 * fours;
    }
#elif defined(__ARM_FEATURE_SAT)
    if (saturates) {
        const int32_t turn = 2 * EDGEQ_ADD_PAIRS;
        const int8_t *const end_of_pairs = out + (op->nbytes & -turn);
        int32_t x0, x1, y0, y1;
        for (; out != end_of_pairs; input1 += turn, input2 += turn, out += turn) {
            EDGEQ_ADD_PAIR("0", "1");
#if EDGEQ_ADD_PAIRS > 1
            EDGEQ_ADD_PAIR("2", "3");
#endif
#if EDGEQ_ADD_PAIRS > 2
            EDGEQ_ADD_PAIR("4", "5");
            EDGEQ_ADD_PAIR("6", "7");
#endif
        }
    }
#endif
    while (out != end) {
        int32_t y = multiplier2 * *input2++ + addend;
        y = (multiplier1 * *input1++ + y) >> EDGEQ_ADD_RIGHT;
        *out++ = (int8_t)(saturates ? edgeq_clamp(y, INT8_MIN, INT8_MAX)
                                    : edgeq_clamp(y, op->activation_min, op->activation_max));
    }
}

#endif /* EDGEQ_ADD_AFFINE_H */
