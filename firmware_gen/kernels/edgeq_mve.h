/* Products of three pixels with groups of four channels, on cores with the vector extension
 * (Helium; Arm DDI0553B, section C2.4).
 *
 * VMLADAVA.S8 adds the products of 16 bytes to an even general register: six accumulators for
 * three pixels and two channels, five loads to six products. Channels 0 and 2 of a group come
 * first, then 1 and 3, as VMOV fills lanes 2 and 0 or 3 and 1 of a vector. Rows of weights are
 * those of OHWI without padding: the last bytes of a row are loaded by a loop with tail
 * predication (WLSTP, LETP), which reads nothing beyond them.
 *
 * Requantization of four channels, lane by lane, is edgeq_requantize:
 *     VSHL       acc << max(shift, 0)
 *     VQRDMULH   doubling_high_mul(acc, m): (2 * acc * m + 2**31) >> 32; m >= 0, none saturates
 *     VAND, VSHR -1 where the product is below 0 and shift < 0
 *     VQADD      ties of negative values go away from zero; at -2**31 there is no tie
 *     VRSHL      (y + 2**(n - 1)) >> n with n = -min(shift, 0), the sum in more than 32 bits
 * Without a positive shift and with nothing below the zero point wanted only VQRDMULH and VRSHL
 * are left: a negative product gives 0 or less either way. */
#ifndef EDGEQ_MVE_H
#define EDGEQ_MVE_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_arith.h"

#if defined(__ARM_FEATURE_MVE) && !defined(EDGEQ_NO_MVE)
#define EDGEQ_HAS_MVE 1
#endif

/* One call of a tile. Of each group of four channels at params: four biases, four multipliers,
 * and the shifts, a byte each. */
struct edgeq_mve_tile {
    const int32_t *params; /* of the group at hand */
    int8_t *out[3];        /* of each pixel, moved on with the groups */
    int32_t groups;        /* left, at least one */
    int32_t zero_point;    /* of the output */
    const int8_t *x[3];    /* taps of each pixel */
    const int8_t *weights; /* depth bytes a channel */
    int32_t depth;         /* taps of a pixel */
    int32_t activation_min;
    int32_t activation_max[4]; /* the same four times */
};

#define EDGEQ_MVE_PARAMS 9 /* words of a group */

#ifdef EDGEQ_HAS_MVE

/* Offsets that the assembly has of struct edgeq_mve_tile. */
_Static_assert(offsetof(struct edgeq_mve_tile, x) == 24, "edgeq_mve_tile");
_Static_assert(offsetof(struct edgeq_mve_tile, weights) == 36, "edgeq_mve_tile");
_Static_assert(offsetof(struct edgeq_mve_tile, depth) == 40, "edgeq_mve_tile");
_Static_assert(offsetof(struct edgeq_mve_tile, activation_min) == 44, "edgeq_mve_tile");
_Static_assert(offsetof(struct edgeq_mve_tile, activation_max) == 48, "edgeq_mve_tile");

/* clang-format off */

/* 16 taps: r1, r3, r5 the pixels, r7 and r9 the rows of weights. */
#define EDGEQ_MVE_CHUNK(mladav)                                                                \
    "vldrb.u8 q0, [r1], #16\n"                                                                  \
    "vldrb.u8 q3, [r7], #16\n"                                                                  \
    mladav " r0, q0, q3\n"                                                                     \
    "vldrb.u8 q1, [r3], #16\n"                                                                  \
    mladav " r2, q1, q3\n"                                                                     \
    "vldrb.u8 q2, [r5], #16\n"                                                                  \
    mladav " r4, q2, q3\n"                                                                     \
    "vldrb.u8 q3, [r9], #16\n"                                                                  \
    mladav " r6, q0, q3\n"                                                                     \
    mladav " r8, q1, q3\n"                                                                     \
    mladav " r10, q2, q3\n"

#define EDGEQ_MVE_TO_LANES(high, low)                                                          \
    "vmov q5[" high "], q5[" low "], r0, r6\n"                                                 \
    "vmov q6[" high "], q6[" low "], r2, r8\n"                                                 \
    "vmov q7[" high "], q7[" low "], r4, r10\n"

#define EDGEQ_MVE_REWIND                                                                       \
    "sub r1, r1, r11\n"                                                                        \
    "sub r3, r3, r11\n"                                                                        \
    "sub r5, r5, r11\n"

/* Two channels of three pixels. The depth, r11, is a multiple of 16; r12 is how many less 1. */
#define EDGEQ_MVE_WHOLE(high, low)                                                             \
    EDGEQ_MVE_CHUNK("vmladav.s8")                                                              \
    "wls lr, r12, 3f\n"                                                                        \
    "2:\n"                                                                                     \
    EDGEQ_MVE_CHUNK("vmladava.s8")                                                             \
    "le lr, 2b\n"                                                                              \
    "3:\n"                                                                                     \
    EDGEQ_MVE_REWIND                                                                           \
    EDGEQ_MVE_TO_LANES(high, low)

/* The depth is 16 or more, its rest at sp + 68; r11 is the depth up to a multiple of 16, r12 the
 * depth less r11. */
#define EDGEQ_MVE_ANY(high, low)                                                               \
    "ldr lr, [sp, #68]\n"                                                                      \
    EDGEQ_MVE_CHUNK("vmladav.s8")                                                              \
    "wlstp.8 lr, lr, 3f\n"                                                                     \
    "2:\n"                                                                                     \
    EDGEQ_MVE_CHUNK("vmladava.s8")                                                             \
    "letp lr, 2b\n"                                                                            \
    "3:\n"                                                                                     \
    "add r7, r7, r12\n"                                                                        \
    "add r9, r9, r12\n"                                                                        \
    EDGEQ_MVE_REWIND                                                                           \
    EDGEQ_MVE_TO_LANES(high, low)

/* The depth, r11, is below 16: the pixels stay in q0 to q2, the predicate as it is. */
#define EDGEQ_MVE_SHORT(high, low)                                                             \
    "vpst\n"                                                                                   \
    "vldrbt.u8 q3, [r7]\n"                                                                     \
    "add r7, r7, r11\n"                                                                        \
    "vmladav.s8 r0, q0, q3\n"                                                                  \
    "vmladav.s8 r2, q1, q3\n"                                                                  \
    "vmladav.s8 r4, q2, q3\n"                                                                  \
    "vpst\n"                                                                                   \
    "vldrbt.u8 q3, [r9]\n"                                                                     \
    "add r9, r9, r11\n"                                                                        \
    "vmladav.s8 r6, q0, q3\n"                                                                  \
    "vmladav.s8 r8, q1, q3\n"                                                                  \
    "vmladav.s8 r10, q2, q3\n"                                                                 \
    EDGEQ_MVE_TO_LANES(high, low)

#define EDGEQ_MVE_NEXT_GROUP                                                                   \
    "add r7, r7, r11, lsl #1\n"                                                                \
    "add r9, r9, r11, lsl #1\n"

#define EDGEQ_MVE_START_WHOLE                                                                  \
    "lsr r12, r11, #4\n"                                                                       \
    "sub r12, r12, #1\n"

#define EDGEQ_MVE_START_ANY                                                                    \
    "sub r2, r11, #16\n"                                                                       \
    "str r2, [sp, #68]\n"                                                                      \
    "add r2, r11, #15\n"                                                                       \
    "bic r2, r2, #15\n"                                                                        \
    "sub r12, r11, r2\n"                                                                       \
    "lsl r11, r11, #1\n"                                                                       \
    "str r11, [sp, #72]\n"                                                                     \
    "mov r11, r2\n"

#define EDGEQ_MVE_NEXT_ANY                                                                     \
    "ldr r2, [sp, #72]\n"                                                                      \
    "add r7, r7, r2\n"                                                                         \
    "add r9, r9, r2\n"

#define EDGEQ_MVE_LOAD_SHORT                                                                   \
    "vpsttt\n"                                                                                 \
    "vldrbt.u8 q0, [r1]\n"                                                                     \
    "vldrbt.u8 q1, [r3]\n"                                                                     \
    "vldrbt.u8 q2, [r5]\n"

#define EDGEQ_MVE_START_SHORT "vctp.8 r11\n" EDGEQ_MVE_LOAD_SHORT

#define EDGEQ_MVE_NEXT_SHORT EDGEQ_MVE_LOAD_SHORT EDGEQ_MVE_NEXT_GROUP

/* Biases are in q0, multipliers in q1, shifts in q2. */
#define EDGEQ_MVE_ROUND_PLAIN                                                                  \
    "vadd.i32 q5, q5, q0\n"                                                                    \
    "vadd.i32 q6, q6, q0\n"                                                                    \
    "vadd.i32 q7, q7, q0\n"                                                                    \
    "vqrdmulh.s32 q5, q5, q1\n"                                                                \
    "vqrdmulh.s32 q6, q6, q1\n"                                                                \
    "vqrdmulh.s32 q7, q7, q1\n"                                                                \
    "vrshl.s32 q5, q5, q2\n"                                                                   \
    "vrshl.s32 q6, q6, q2\n"                                                                   \
    "vrshl.s32 q7, q7, q2\n"

#define EDGEQ_MVE_AWAY(q)                                                                      \
    "vqrdmulh.s32 " q ", " q ", q1\n"                                                          \
    "vand q0, " q ", q2\n"                                                                     \
    "vshr.s32 q0, q0, #31\n"                                                                   \
    "vqadd.s32 " q ", " q ", q0\n"                                                             \
    "vrshl.s32 " q ", " q ", q2\n"

#define EDGEQ_MVE_ROUND_FULL                                                                   \
    "vadd.i32 q5, q5, q0\n"                                                                    \
    "vadd.i32 q6, q6, q0\n"                                                                    \
    "vadd.i32 q7, q7, q0\n"                                                                    \
    "vmov.i32 q3, #0\n"                                                                        \
    "vmax.s32 q0, q2, q3\n"                                                                    \
    "vmin.s32 q2, q2, q3\n"                                                                    \
    "vshl.s32 q5, q5, q0\n"                                                                    \
    "vshl.s32 q6, q6, q0\n"                                                                    \
    "vshl.s32 q7, q7, q0\n"                                                                    \
    EDGEQ_MVE_AWAY("q5")                                                                       \
    EDGEQ_MVE_AWAY("q6")                                                                       \
    EDGEQ_MVE_AWAY("q7")

#define EDGEQ_MVE_STORE(q, to)                                                                 \
    "vadd.i32 " q ", " q ", lr\n"                                                              \
    "vmax.s32 " q ", " q ", q4\n"                                                              \
    "vmin.s32 " q ", " q ", q3\n"                                                              \
    "vstrb.32 " q ", [" to "], #4\n"

/* The stack from sp: d8 to d15; the tile; two words; the saved registers. */
#define EDGEQ_MVE_TILE(name, start, half, next, round)                                         \
    static __attribute__((naked, noinline, unused)) void name(                                 \
        struct edgeq_mve_tile *tile __attribute__((unused))) {                                 \
        __asm__ volatile(                                                                      \
            ".syntax unified\n"                                                                \
            "push {r0-r2, r4-r11, lr}\n"                                                       \
            "vpush {d8-d15}\n"                                                                 \
            "ldr r1, [r0, #24]\n"                                                              \
            "ldr r3, [r0, #28]\n"                                                              \
            "ldr r5, [r0, #32]\n"                                                              \
            "ldr r7, [r0, #36]\n"                                                              \
            "ldr r11, [r0, #40]\n"                                                             \
            "ldr r2, [r0, #44]\n"                                                              \
            "vdup.32 q4, r2\n"                                                                 \
            "add r9, r7, r11, lsl #1\n"                                                        \
            start                                                                              \
            "1:\n"                                                                             \
            half("2", "0")                                                                     \
            half("3", "1")                                                                     \
            "ldr r8, [sp, #64]\n"                                                              \
            "ldmia r8, {r0, r2, r4, r6, r10, lr}\n"                                            \
            "vldrw.u32 q0, [r0], #16\n"                                                        \
            "vldrw.u32 q1, [r0], #16\n"                                                        \
            "vldrb.s32 q2, [r0], #4\n"                                                         \
            round                                                                              \
            "vldrw.u32 q3, [r8, #48]\n"                                                        \
            EDGEQ_MVE_STORE("q5", "r2")                                                        \
            EDGEQ_MVE_STORE("q6", "r4")                                                        \
            EDGEQ_MVE_STORE("q7", "r6")                                                        \
            "subs r10, r10, #1\n"                                                              \
            "stmia r8, {r0, r2, r4, r6, r10}\n"                                                \
            next                                                                               \
            "bne 1b\n"                                                                         \
            "vpop {d8-d15}\n"                                                                  \
            "add sp, sp, #12\n"                                                                \
            "pop {r4-r11, pc}\n");                                                             \
    }

EDGEQ_MVE_TILE(edgeq_mve_tile_whole, EDGEQ_MVE_START_WHOLE, EDGEQ_MVE_WHOLE,
               EDGEQ_MVE_NEXT_GROUP, EDGEQ_MVE_ROUND_PLAIN)
EDGEQ_MVE_TILE(edgeq_mve_tile_whole_full, EDGEQ_MVE_START_WHOLE, EDGEQ_MVE_WHOLE,
               EDGEQ_MVE_NEXT_GROUP, EDGEQ_MVE_ROUND_FULL)
EDGEQ_MVE_TILE(edgeq_mve_tile_any, EDGEQ_MVE_START_ANY, EDGEQ_MVE_ANY, EDGEQ_MVE_NEXT_ANY,
               EDGEQ_MVE_ROUND_PLAIN)
EDGEQ_MVE_TILE(edgeq_mve_tile_any_full, EDGEQ_MVE_START_ANY, EDGEQ_MVE_ANY, EDGEQ_MVE_NEXT_ANY,
               EDGEQ_MVE_ROUND_FULL)
EDGEQ_MVE_TILE(edgeq_mve_tile_short, EDGEQ_MVE_START_SHORT, EDGEQ_MVE_SHORT,
               EDGEQ_MVE_NEXT_SHORT, EDGEQ_MVE_ROUND_PLAIN)
EDGEQ_MVE_TILE(edgeq_mve_tile_short_full, EDGEQ_MVE_START_SHORT, EDGEQ_MVE_SHORT,
               EDGEQ_MVE_NEXT_SHORT, EDGEQ_MVE_ROUND_FULL)

/* is_full: a shift is positive, or something below the zero point is wanted. */
static inline __attribute__((always_inline)) void edgeq_mve_tile(struct edgeq_mve_tile *tile,
                                                                 int32_t depth,
                                                                 int32_t is_full) {
    if (depth < 16) {
        if (is_full != 0) {
            edgeq_mve_tile_short_full(tile);
        } else {
            edgeq_mve_tile_short(tile);
        }
    } else if (depth % 16 != 0) {
        if (is_full != 0) {
            edgeq_mve_tile_any_full(tile);
        } else {
            edgeq_mve_tile_any(tile);
        }
    } else if (is_full != 0) {
        edgeq_mve_tile_whole_full(tile);
    } else {
        edgeq_mve_tile_whole(tile);
    }
}

/* Copies n bytes of each row; n and rows at least 1. */
static inline __attribute__((always_inline)) void
edgeq_mve_copy_rows(int8_t *to, int32_t to_step, const int8_t *from, int32_t from_step,
                    int32_t n, int32_t rows) {
    int8_t *out;
    const int8_t *in;
    __asm__ volatile("1:\n"
                     "mov %[out], %[to]\n"
                     "mov %[in], %[from]\n"
                     "dlstp.8 lr, %[n]\n"
                     "2:\n"
                     "vldrb.u8 q0, [%[in]], #16\n"
                     "vstrb.8 q0, [%[out]], #16\n"
                     "letp lr, 2b\n"
                     "add %[to], %[to], %[to_step]\n"
                     "add %[from], %[from], %[from_step]\n"
                     "subs %[rows], %[rows], #1\n"
                     "bne 1b\n"
                     : [to] "+r"(to), [from] "+r"(from), [rows] "+r"(rows), [out] "=&r"(out),
                       [in] "=&r"(in)
                     : [n] "r"(n), [to_step] "r"(to_step), [from_step] "r"(from_step)
                     : "lr", "q0", "cc", "memory");
}

/* n bytes, 0 or more, of one value. */
static inline __attribute__((always_inline)) void edgeq_mve_fill(int8_t *to, int32_t value,
                                                                 int32_t n) {
    __asm__ volatile("vdup.8 q0, %2\n"
                     "wlstp.8 lr, %1, 2f\n"
                     "1:\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(to)
                     : "r"(n), "r"(value)
                     : "lr", "q0", "memory");
}

#else

static inline void edgeq_mve_tile(struct edgeq_mve_tile *tile, int32_t depth, int32_t is_full) {
    (void)is_full;
    for (; tile->groups > 0; --tile->groups) {
        for (int32_t o = 0; o < 4; ++o) {
            const int32_t multiplier = tile->params[4 + o];
            const int32_t shift = (int8_t)((uint32_t)tile->params[8] >> (8 * o) & 0xffu);
            for (int32_t pixel = 0; pixel < 3; ++pixel) {
                const int32_t acc =
                    tile->params[o] + edgeq_dot(tile->x[pixel], tile->weights, depth);
                const int32_t y =
                    edgeq_requantize(acc, multiplier, shift) + tile->zero_point;
                *tile->out[pixel]++ =
                    (int8_t)edgeq_clamp(y, tile->activation_min, tile->activation_max[0]);
            }
            tile->weights += depth;
        }
        tile->params += EDGEQ_MVE_PARAMS;
    }
}

static inline void edgeq_mve_copy_rows(int8_t *to, int32_t to_step, const int8_t *from,
                                       int32_t from_step, int32_t n, int32_t rows) {
    for (int32_t row = 0; row < rows; ++row) {
        for (int32_t i = 0; i < n; ++i) {
            to[row * to_step + i] = from[row * from_step + i];
        }
    }
}

static inline void edgeq_mve_fill(int8_t *to, int32_t value, int32_t n) {
    for (int32_t i = 0; i < n; ++i) {
        to[i] = (int8_t)value;
    }
}

#endif

#endif /* EDGEQ_MVE_H */
