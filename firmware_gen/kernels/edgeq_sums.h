/* Two pairs of sums that kernels for cores without the DSP extension take from memory and give
 * back: T and S of edgeq_lanes.h. */
#ifndef EDGEQ_SUMS_H
#define EDGEQ_SUMS_H

#include <stdint.h>

struct edgeq_sums {
    uint32_t t0;
    uint32_t s0;
    uint32_t t1;
    uint32_t s1;
};

#if defined(__ARM_ARCH_6M__)
/* clang-format off */

/* Saves what a function must, and r2, where the sums are; these to r8 to r11. */
#define EDGEQ_SUMS_TAKE                                                                        \
    "push {r4-r7, lr}\n"                                                                       \
    "mov r4, r8\n"                                                                             \
    "mov r5, r9\n"                                                                             \
    "mov r6, r10\n"                                                                            \
    "mov r7, r11\n"                                                                            \
    "push {r2, r4-r7}\n"                                                                       \
    "ldm r2!, {r4-r7}\n"                                                                       \
    "mov r8, r4\n"                                                                             \
    "mov r9, r5\n"                                                                             \
    "mov r10, r6\n"                                                                            \
    "mov r11, r7\n"

/* Back to where they are; returns. */
#define EDGEQ_SUMS_GIVE                                                                        \
    "pop {r2, r4-r7}\n"                                                                        \
    "mov r0, r8\n"                                                                             \
    "mov r1, r9\n"                                                                             \
    "stm r2!, {r0, r1}\n"                                                                      \
    "mov r0, r10\n"                                                                            \
    "mov r1, r11\n"                                                                            \
    "stm r2!, {r0, r1}\n"                                                                      \
    "mov r8, r4\n"                                                                             \
    "mov r9, r5\n"                                                                             \
    "mov r10, r6\n"                                                                            \
    "mov r11, r7\n"                                                                            \
    "pop {r4-r7, pc}\n"

/* clang-format on */
#endif

#endif /* EDGEQ_SUMS_H */
