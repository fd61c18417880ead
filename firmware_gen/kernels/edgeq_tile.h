/* Products of two pixels with groups of four channels, on cores with the DSP extension.
 *
 * Two channels share a word of weights: h = 256 * w1 + w0 in each int16, so that
 *     A = sum(h * x)  = 256 * S1 + S0        (SMLAD)
 *     B = sum(w0 * x) = S0                   (SMLAD of SXTB16(h))
 * and S1 = (A - B) / 256, exact modulo 2**32 as long as |S1| < 2**23, which the generator has
 * proven of every channel with its bias. The pixels are widened to int16 once and serve all
 * channels; bytes 0, 2 and 1, 3 of each four are pairs, as SXTB16 gives them.
 *
 * Requantization is edgeq_requantize for shift = -n, 1 <= n <= 23, of acc = S + bias:
 *     doubling_high_mul(acc, m) = 2 * acc * m / 2**32, rounded (SMMLAR)
 *     c = (2 * zero_point + 1) * 2**(n - 1), half of 2**n and the zero point with it
 *     out = (doubling_high_mul(acc, m) + c - (acc < 0)) >> n, saturated
 * acc < 0 stands for a negative product: they differ only where the product is 0, and 0 and -1
 * give one result. If no result below the zero point is wanted, acc < 0 need not be looked at.
 *
 * A group in flash: for each two taps the words of channels (0, 1) and (2, 3), then four words
 * bias * 256 + n - 1, then four multipliers. */
#ifndef EDGEQ_TILE_H
#define EDGEQ_TILE_H

#include <stddef.h>
#include <stdint.h>

#include "edgeq_dsp.h"

struct edgeq_tile {
    uint32_t nbytes; /* of the two widened pixels, a multiple of 16; also of a group's taps */
    int32_t groups;  /* of four channels */
    int32_t two_zero_plus; /* 2 * output_zero_point + 1 */
    int32_t has_signs;     /* 0: no result below the zero point is wanted */
};

/* Offsets that the assembly has of struct edgeq_tile. */
_Static_assert(offsetof(struct edgeq_tile, groups) == 4, "edgeq_tile");
_Static_assert(offsetof(struct edgeq_tile, two_zero_plus) == 8, "edgeq_tile");
_Static_assert(offsetof(struct edgeq_tile, has_signs) == 12, "edgeq_tile");

#ifdef EDGEQ_HAS_DSP

/* Two taps of two pixels and four channels: r0 the pixels, r1 the weights. */
#define EDGEQ_TILE_STEP(first, second)                                                         \
    "ldr r11, [r0, #" first "]\n"                                                              \
    "ldr r12, [r0, #" second "]\n"                                                             \
    "ldr r2, [r1, #" first "]\n"                                                               \
    "ldr lr, [r1, #" second "]\n"                                                              \
    "smlad r3, r2, r11, r3\n"                                                                  \
    "smlad r4, r2, r12, r4\n"                                                                  \
    "sxtb16 r2, r2\n"                                                                          \
    "smlad r7, lr, r11, r7\n"                                                                  \
    "smlad r8, lr, r12, r8\n"                                                                  \
    "sxtb16 lr, lr\n"                                                                          \
    "smlad r5, r2, r11, r5\n"                                                                  \
    "smlad r6, r2, r12, r6\n"                                                                  \
    "smlad r9, lr, r11, r9\n"                                                                  \
    "smlad r10, lr, r12, r10\n"

/* One accumulator to a byte: `twice` leaves 2 * acc and its sign in the flags. */
#define EDGEQ_TILE_ONE(acc, twice, fix, to)                                                    \
    twice(acc) "smmlar " acc ", " acc ", r12, lr\n" fix(acc) "asr " acc ", " acc ", r11\n"     \
                                                             "ssat " acc ", #8, " acc          \
                                                             ", asr #1\n"                      \
                                                             "strb " acc ", [" to "]\n"

/* One channel of two pixels, to bytes `at` of both outputs. */
#define EDGEQ_TILE_OUT(acc0, acc1, twice, fix, word, multiplier, at)                           \
    "ldr r11, [r1, #" word "]\n"                                                               \
    "ldr r12, [r1, #" multiplier "]\n"                                                         \
    "ldr lr, [sp, #4]\n"                                                                       \
    "lsl lr, lr, r11\n" EDGEQ_TILE_ONE(acc0, twice, fix, "r0, #" at)                           \
        EDGEQ_TILE_ONE(acc1, twice, fix, "r2, #" at)

#define EDGEQ_TILE_LOW(acc)  "lsls " acc ", " acc ", #1\n"
#define EDGEQ_TILE_HIGH(acc) "asrs " acc ", " acc ", #7\n"
#define EDGEQ_TILE_SIGN(acc) "it mi\nsubmi " acc ", " acc ", #1\n"
#define EDGEQ_TILE_NO_SIGN(acc)

#define EDGEQ_TILE_OUTS(fix)                                                                   \
    EDGEQ_TILE_OUT("r5", "r6", EDGEQ_TILE_LOW, fix, "0", "16", "0")                            \
    EDGEQ_TILE_OUT("r3", "r4", EDGEQ_TILE_HIGH, fix, "4", "20", "1")                           \
    EDGEQ_TILE_OUT("r9", "r10", EDGEQ_TILE_LOW, fix, "8", "24", "2")                           \
    EDGEQ_TILE_OUT("r7", "r8", EDGEQ_TILE_HIGH, fix, "12", "28", "3")

/* x: two pixels, word by word in turns; out0, out1: 4 * groups bytes each.
 *
 * The stack from sp: groups left, two_zero_plus, the pixels' end, has_signs; x, weights, out0,
 * out1; the saved registers; the fifth argument. The loop takes 32 taps; it is entered further
 * down if the taps are not a multiple of that. */
static __attribute__((naked, noinline, unused)) void
edgeq_tile(const uint32_t *x __attribute__((unused)),
           const int32_t *weights __attribute__((unused)), int8_t *out0 __attribute__((unused)),
           int8_t *out1 __attribute__((unused)),
           const struct edgeq_tile *tile __attribute__((unused))) {
    /* clang-format off */
    __asm__ volatile(
        ".syntax unified\n"
        "push {r0-r11, lr}\n"
        "sub sp, sp, #16\n"
        "ldr r4, [sp, #68]\n"
        "ldr r5, [r4]\n"
        "ldr r6, [r4, #4]\n"
        "ldr r7, [r4, #8]\n"
        "ldr r8, [r4, #12]\n"
        "add r2, r0, r5\n"
        "str r6, [sp]\n"
        "str r7, [sp, #4]\n"
        "str r2, [sp, #8]\n"
        "str r8, [sp, #12]\n"
        "1:\n"
        "sub r11, r2, r0\n"
        "add r12, r1, r11\n"
        "ldr r5, [r12]\n"
        "ldr r3, [r12, #4]\n"
        "ldr r9, [r12, #8]\n"
        "ldr r7, [r12, #12]\n"
        "asr r5, r5, #8\n"
        "add r3, r3, r5\n"
        "mov r4, r3\n"
        "mov r6, r5\n"
        "asr r9, r9, #8\n"
        "add r7, r7, r9\n"
        "mov r8, r7\n"
        "mov r10, r9\n"
        "rsb r11, r11, #0\n"
        "ands r11, r11, #112\n"
        "beq 20f\n"
        "sub r0, r0, r11\n"
        "sub r1, r1, r11\n"
        "lsr r11, r11, #4\n"
        "tbh [pc, r11, lsl #1]\n"
        "8:\n"
        ".hword (20f - 8b) / 2\n"
        ".hword (21f - 8b) / 2\n"
        ".hword (22f - 8b) / 2\n"
        ".hword (23f - 8b) / 2\n"
        ".hword (24f - 8b) / 2\n"
        ".hword (25f - 8b) / 2\n"
        ".hword (26f - 8b) / 2\n"
        ".hword (27f - 8b) / 2\n"
        "20:\n"
        EDGEQ_TILE_STEP("0", "4")
        EDGEQ_TILE_STEP("8", "12")
        "21:\n"
        EDGEQ_TILE_STEP("16", "20")
        EDGEQ_TILE_STEP("24", "28")
        "22:\n"
        EDGEQ_TILE_STEP("32", "36")
        EDGEQ_TILE_STEP("40", "44")
        "23:\n"
        EDGEQ_TILE_STEP("48", "52")
        EDGEQ_TILE_STEP("56", "60")
        "24:\n"
        EDGEQ_TILE_STEP("64", "68")
        EDGEQ_TILE_STEP("72", "76")
        "25:\n"
        EDGEQ_TILE_STEP("80", "84")
        EDGEQ_TILE_STEP("88", "92")
        "26:\n"
        EDGEQ_TILE_STEP("96", "100")
        EDGEQ_TILE_STEP("104", "108")
        "27:\n"
        EDGEQ_TILE_STEP("112", "116")
        EDGEQ_TILE_STEP("120", "124")
        "add r0, r0, #128\n"
        "add r1, r1, #128\n"
        "ldr r2, [sp, #8]\n"
        "cmp r0, r2\n"
        "bne 20b\n"
        "ldr r11, [sp, #12]\n"
        "ldr r0, [sp, #24]\n"
        "ldr r2, [sp, #28]\n"
        "sub r3, r3, r5\n"
        "sub r4, r4, r6\n"
        "sub r7, r7, r9\n"
        "sub r8, r8, r10\n"
        "cmp r11, #0\n"
        "bne 6f\n"
        EDGEQ_TILE_OUTS( EDGEQ_TILE_NO_SIGN)
        "7:\n"
        "add r0, r0, #4\n"
        "add r2, r2, #4\n"
        "str r0, [sp, #24]\n"
        "str r2, [sp, #28]\n"
        "add r1, r1, #32\n"
        "ldr r3, [sp]\n"
        "ldr r0, [sp, #16]\n"
        "ldr r2, [sp, #8]\n"
        "subs r3, r3, #1\n"
        "str r3, [sp]\n"
        "bne 1b\n"
        "add sp, sp, #32\n"
        "pop {r4-r11, pc}\n"
        "6:\n"
        EDGEQ_TILE_OUTS(EDGEQ_TILE_SIGN)
        "b 7b\n");
    /* clang-format on */
}

#else

static inline int8_t edgeq_tile_out(int32_t twice_acc, int32_t word, int32_t multiplier,
                                    int32_t two_zero_plus, int32_t fix) {
    const int32_t n = word & 0xff;
    const int32_t c = (int32_t)((uint32_t)two_zero_plus << n);
    const int32_t y = (edgeq_smmlar(twice_acc, multiplier, c) - fix) >> n >> 1;
    return (int8_t)(y < -128 ? -128 : (y > 127 ? 127 : y));
}

static inline void edgeq_tile(const uint32_t *x, const int32_t *weights, int8_t *out0,
                              int8_t *out1, const struct edgeq_tile *tile) {
    const int32_t steps = (int32_t)(tile->nbytes / 8);
    for (int32_t group = 0; group < tile->groups; ++group) {
        const int32_t *const words = weights + 2 * steps;
        for (int32_t o = 0; o < 4; ++o) {
            for (int32_t pixel = 0; pixel < 2; ++pixel) {
                const int32_t low = words[o & 2] >> 8;
                int32_t b = low;
                int32_t a = (int32_t)((uint32_t)words[o | 1] + (uint32_t)low);
                for (int32_t i = 0; i < steps; ++i) {
                    const uint32_t h = (uint32_t)weights[2 * i + (o >> 1)];
                    a = edgeq_smlad(h, x[2 * i + pixel], a);
                    b = edgeq_smlad(edgeq_sxtb16(h), x[2 * i + pixel], b);
                }
                const int32_t high = (int32_t)((uint32_t)a - (uint32_t)b) >> 7;
                const int32_t twice = (o & 1) != 0 ? high : (int32_t)((uint32_t)b << 1);
                const int32_t fix = twice < 0 ? tile->has_signs : 0;
                (pixel == 0 ? out0 : out1)[o] =
                    edgeq_tile_out(twice, words[o], words[4 + o], tile->two_zero_plus, fix);
            }
        }
        out0 += 4;
        out1 += 4;
        weights = words + 8;
    }
}

#endif

/* Four bytes of one pixel at a time, n a multiple of 4, to every second word. */
static inline uint32_t *edgeq_widen(uint32_t *to, const int8_t *from, int32_t n) {
    for (; n >= 16; n -= 16) {
        const uint32_t a = edgeq_load4(from);
        const uint32_t b = edgeq_load4(from + 4);
        const uint32_t c = edgeq_load4(from + 8);
        const uint32_t d = edgeq_load4(from + 12);
        to[0] = edgeq_sxtb16(a);
        to[2] = edgeq_sxtb16_odd(a);
        to[4] = edgeq_sxtb16(b);
        to[6] = edgeq_sxtb16_odd(b);
        to[8] = edgeq_sxtb16(c);
        to[10] = edgeq_sxtb16_odd(c);
        to[12] = edgeq_sxtb16(d);
        to[14] = edgeq_sxtb16_odd(d);
        from += 16;
        to += 16;
    }
    for (; n > 0; n -= 4) {
        const uint32_t a = edgeq_load4(from);
        to[0] = edgeq_sxtb16(a);
        to[2] = edgeq_sxtb16_odd(a);
        from += 4;
        to += 4;
    }
    return to;
}

/* The same of n bytes that are all `value`. */
static inline uint32_t *edgeq_widen_value(uint32_t *to, int32_t value, int32_t n) {
    const uint32_t pair = ((uint32_t)value & 0xffffu) | (uint32_t)value << 16;
    for (; n > 0; n -= 4) {
        to[0] = pair;
        to[2] = pair;
        to += 4;
    }
    return to;
}

/* Two pixels with all channels, to out0 and out1. */
static inline void edgeq_tile_pair(const struct edgeq_tile *tile, int32_t channels,
                                   int32_t activation_min, int32_t activation_max,
                                   const uint32_t *x, const int32_t *weights, int8_t *out0,
                                   int8_t *out1) {
    const int32_t rest = channels % 4;
    if (tile->groups > 0) {
        edgeq_tile(x, weights, out0, out1, tile);
    }
    if (rest > 0) {
        const struct edgeq_tile last = {tile->nbytes, 1, tile->two_zero_plus, tile->has_signs};
        int8_t out[8];
        weights += tile->groups * (int32_t)(tile->nbytes / 4 + 8);
        edgeq_tile(x, weights, out, out + 4, &last);
        for (int32_t i = 0; i < rest; ++i) {
            out0[channels - rest + i] = out[i];
            out1[channels - rest + i] = out[4 + i];
        }
    }
    if (activation_min > -128 || activation_max < 127) {
        for (int32_t i = 0; i < channels; ++i) {
            const int32_t a = out0[i];
            const int32_t b = out1[i];
            out0[i] = (int8_t)(a < activation_min   ? activation_min
                               : a > activation_max ? activation_max
                                                    : a);
            out1[i] = (int8_t)(b < activation_min   ? activation_min
                               : b > activation_max ? activation_max
                                                    : b);
        }
    }
}

#endif /* EDGEQ_TILE_H */
