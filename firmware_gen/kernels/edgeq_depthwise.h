/* Rows of single channels of a 3 x 3 depthwise convolution, laid out as
 * depthwise_conv_2d_3x3.h says. */
#ifndef EDGEQ_DEPTHWISE_H
#define EDGEQ_DEPTHWISE_H

#include <stdint.h>

#include "edgeq_dsp_pack.h"

/* The shift t that most layers have room for: a constant in the code. */
#define EDGEQ_DEPTHWISE_SHIFT 10
#define EDGEQ_DEPTHWISE_BLOCK 12 /* words of two columns: 3 of each of 4 channels */

/* One channel; filter[y][x] times 2**s as halves, low first. */
struct edgeq_depthwise_channel {
    uint32_t column0;  /* [0][0], [1][0] */
    uint32_t column1;  /* [0][1], [1][1] */
    uint32_t column2;  /* [0][2], [1][2] */
    uint32_t row2;     /* [2][0], [2][1] */
    uint32_t row2_end; /* [2][1], [2][2] */
    int32_t multiplier;
    int32_t addend;
    int32_t bias; /* times 2**s, less the input's zero point times the sum of the filter */
};

static inline int8_t edgeq_depthwise_value(int32_t acc, int32_t multiplier, int32_t addend,
                                           int32_t shift) {
    const int32_t y = edgeq_smmla(acc, multiplier, addend);
    int32_t result;
    if (shift == EDGEQ_DEPTHWISE_SHIFT) {
        EDGEQ_SATURATE8_SHIFTED(result, y, EDGEQ_DEPTHWISE_SHIFT);
        return (int8_t)result;
    }
    return (int8_t)edgeq_saturate8(y >> shift);
}

/* A row of one channel's output, `step` bytes from pixel to pixel, with stride 1: while two
 * columns are in registers, they end two outputs (a, b) and begin two (c, d). */
static inline void edgeq_depthwise_row_1(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int32_t shift, int32_t width, int32_t step,
                                         int8_t *out) {
    const uint32_t w0 = channel->column0, w1 = channel->column1, w2 = channel->column2;
    const uint32_t row2 = channel->row2, row2_end = channel->row2_end;
    const int32_t multiplier = channel->multiplier, addend = channel->addend;
    const int32_t bias = channel->bias;
    int32_t a = edgeq_smlad(block[1], w1, edgeq_smlad(block[0], w0, bias));
    int32_t b = edgeq_smlad(block[1], w0, bias);
    a = edgeq_smlad(block[2], row2, a);
    b = edgeq_mla_high_low(block[2], row2, b);
    const int8_t *const last = out + (width - 1) * step;
    while (out < last) {
        block += EDGEQ_DEPTHWISE_BLOCK;
        const uint32_t left = block[0], right = block[1], below = block[2];
        a = edgeq_smlad(left, w2, a);
        b = edgeq_smlad(left, w1, b);
        b = edgeq_smlad(right, w2, b);
        a = edgeq_mla_low_high(below, row2_end, a);
        b = edgeq_smlad(below, row2_end, b);
        int32_t c = edgeq_smlad(right, w1, edgeq_smlad(left, w0, bias));
        int32_t d = edgeq_smlad(right, w0, bias);
        c = edgeq_smlad(below, row2, c);
        d = edgeq_mla_high_low(below, row2, d);
        out[0] = edgeq_depthwise_value(a, multiplier, addend, shift);
        out[step] = edgeq_depthwise_value(b, multiplier, addend, shift);
        out += 2 * step;
        a = c;
        b = d;
    }
    if (out == last) {
        block += EDGEQ_DEPTHWISE_BLOCK;
        a = edgeq_smlad(block[0], w2, a);
        a = edgeq_mla_low_high(block[2], row2_end, a);
        *out = edgeq_depthwise_value(a, multiplier, addend, shift);
    }
}

/* The same with stride 2: each output has two columns, and the left one of the next two. */
static inline void edgeq_depthwise_row_2(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int32_t shift, int32_t width, int32_t step,
                                         int8_t *out) {
    const uint32_t w0 = channel->column0, w1 = channel->column1, w2 = channel->column2;
    const uint32_t row2 = channel->row2, row2_end = channel->row2_end;
    const int32_t multiplier = channel->multiplier, addend = channel->addend;
    const int32_t bias = channel->bias;
    const uint32_t *const last = block + EDGEQ_DEPTHWISE_BLOCK * width;
    uint32_t left = block[0], right = block[1], below = block[2];
    while (block != last) {
        block += EDGEQ_DEPTHWISE_BLOCK;
        int32_t a = edgeq_smlad(right, w1, edgeq_smlad(left, w0, bias));
        a = edgeq_smlad(below, row2, a);
        left = block[0];
        right = block[1];
        below = block[2];
        a = edgeq_smlad(left, w2, a);
        a = edgeq_mla_low_high(below, row2_end, a);
        *out = edgeq_depthwise_value(a, multiplier, addend, shift);
        out += step;
    }
}

/* What edgeq_depthwise_run_1 and _2 need beside pointers. */
struct edgeq_depthwise_run {
    int32_t nbytes; /* of the blocks in which outputs begin and end, two by two or one by one */
    int32_t step;   /* bytes from output pixel to output pixel */
    int32_t is_odd; /* whether one output is left then */
    int32_t count;  /* channels */
};

#ifdef EDGEQ_HAS_DSP

#define EDGEQ_UNUSED __attribute__((unused))

/* r4-r8: the filter as in struct edgeq_depthwise_channel; r9, r10: multiplier, addend; r0:
 * block; r1: out; r2, r3: two accumulators; r11, r12, lr: left, right, below. The stack from
 * sp: bias, end of the blocks, step, is_odd; block, out, channel, count; the saved registers.
 * In assembly because these are all the registers there are, and compilers spill five. */
#define EDGEQ_DEPTHWISE_ENTER                                                                  \
    "push {r4-r11, lr}\n"                                                                      \
    "sub sp, sp, #32\n"                                                                        \
    "ldm r3, {r4-r7}\n"                                                                        \
    "add r4, r4, r0\n"                                                                         \
    "strd r5, r6, [sp, #8]\n"                                                                  \
    "strd r0, r2, [sp, #16]\n"                                                                 \
    "str r4, [sp, #4]\n"                                                                       \
    "str r7, [sp, #28]\n"                                                                      \
    "0:\n"                                                                                     \
    "ldm r1!, {r4-r10, r12}\n"                                                                 \
    "str r1, [sp, #24]\n"                                                                      \
    "str r12, [sp]\n"                                                                          \
    "mov r1, r2\n"                                                                             \
    "mov r2, r12\n"
#define EDGEQ_DEPTHWISE_LOAD                                                                   \
    "ldr r12, [r0, #4]\n"                                                                      \
    "ldr lr, [r0, #8]\n"                                                                       \
    "ldr r11, [r0], #48\n"
#define EDGEQ_DEPTHWISE_OUT(acc, at)                                                           \
    "smmla " acc ", " acc ", r9, r10\n"                                                        \
    "ssat " acc ", #8, " acc ", asr #10\n"                                                     \
    "strb " acc ", " at "\n"
#define EDGEQ_DEPTHWISE_LEAVE                                                                  \
    "ldr r3, [sp, #28]\n"                                                                      \
    "ldrd r0, r2, [sp, #16]\n"                                                                 \
    "ldr r4, [sp, #4]\n"                                                                       \
    "ldr r1, [sp, #24]\n"                                                                      \
    "add r0, r0, #12\n"                                                                        \
    "add r2, r2, #1\n"                                                                         \
    "add r4, r4, #12\n"                                                                        \
    "strd r0, r2, [sp, #16]\n"                                                                 \
    "str r4, [sp, #4]\n"                                                                       \
    "subs r3, r3, #1\n"                                                                        \
    "str r3, [sp, #28]\n"                                                                      \
    "bne 0b\n"                                                                                 \
    "add sp, sp, #32\n"                                                                        \
    "pop {r4-r11, pc}\n"

/* What edgeq_depthwise_row_1 does, for each of `count` channels, the shift 10. */
static __attribute__((naked, noinline, unused)) void
edgeq_depthwise_run_1(const uint32_t *block EDGEQ_UNUSED,
                      const struct edgeq_depthwise_channel *channel EDGEQ_UNUSED,
                      int8_t *out EDGEQ_UNUSED,
                      const struct edgeq_depthwise_run *run EDGEQ_UNUSED) {
#define EDGEQ_DEPTHWISE_BEGIN                                                                  \
    "smlad r3, r12, r4, r2\n"                                                                  \
    "smlad r2, r11, r4, r2\n"                                                                  \
    "smlad r2, r12, r5, r2\n"                                                                  \
    "smlatb r3, lr, r7, r3\n"                                                                  \
    "smlad r2, lr, r7, r2\n"
    __asm__ volatile(
        ".syntax unified\n" EDGEQ_DEPTHWISE_ENTER EDGEQ_DEPTHWISE_LOAD EDGEQ_DEPTHWISE_BEGIN
        "ldr r11, [sp, #4]\n"
        "cmp r0, r11\n"
        "beq 2f\n"
        "1:\n" EDGEQ_DEPTHWISE_LOAD "smlad r3, r12, r6, r3\n"
        "smlabt r2, lr, r8, r2\n"
        "smlad r2, r11, r6, r2\n"
        "smlad r3, r11, r5, r3\n"
        "smlad r3, lr, r8, r3\n" EDGEQ_DEPTHWISE_OUT(
            "r2",
            "[r1]") "ldr r2, [sp, #8]\n" EDGEQ_DEPTHWISE_OUT("r3",
                                                             "[r1, r2]") "add r1, r1, r2, lsl "
                                                                         "#1\n"
                                                                         "ldrd r2, r3, [sp]\n"
                                                                         "cmp r0, "
                                                                         "r3"
                                                                         "\n" EDGEQ_DEPTHWISE_BEGIN
                                                                         "bne 1b\n"
                                                                         "2:\n"
                                                                         "ldr r3, [sp, #12]\n"
                                                                         "cbz r3, "
                                                                         "3f"
                                                                         "\n" EDGEQ_DEPTHWISE_LOAD
                                                                         "smlad r2, r11, r6, "
                                                                         "r2\n"
                                                                         "smlabt r2, lr, r8, "
                                                                         "r2"
                                                                         "\n" EDGEQ_DEPTHWISE_OUT(
                                                                             "r2",
                                                                             "[r1]") "3:"
                                                                                     "\n" EDGEQ_DEPTHWISE_LEAVE);
#undef EDGEQ_DEPTHWISE_BEGIN
}

/* What edgeq_depthwise_row_2 does, for each of `count` channels, the shift 10. */
static __attribute__((naked, noinline, unused)) void
edgeq_depthwise_run_2(const uint32_t *block EDGEQ_UNUSED,
                      const struct edgeq_depthwise_channel *channel EDGEQ_UNUSED,
                      int8_t *out EDGEQ_UNUSED,
                      const struct edgeq_depthwise_run *run EDGEQ_UNUSED) {
    __asm__ volatile(".syntax unified\n" EDGEQ_DEPTHWISE_ENTER EDGEQ_DEPTHWISE_LOAD "1:\n"
                     "smlad r2, r11, r4, r2\n"
                     "smlad r2, r12, r5, r2\n"
                     "smlad r2, lr, r7, r2\n" EDGEQ_DEPTHWISE_LOAD "smlad r2, r11, r6, r2\n"
                     "smlabt r2, lr, r8, r2\n" EDGEQ_DEPTHWISE_OUT(
                         "r2", "[r1]") "ldr r2, [sp, #8]\n"
                                       "add r1, r1, r2\n"
                                       "ldrd r2, r3, [sp]\n"
                                       "cmp r0, r3\n"
                                       "bne 1b\n" EDGEQ_DEPTHWISE_LEAVE);
}

#else

static inline void edgeq_depthwise_run_1(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int8_t *out, const struct edgeq_depthwise_run *run) {
    const int32_t pairs = run->nbytes / (int32_t)(4 * EDGEQ_DEPTHWISE_BLOCK) - 1;
    for (int32_t i = 0; i < run->count; ++i) {
        edgeq_depthwise_row_1(block + 3 * i, channel + i, EDGEQ_DEPTHWISE_SHIFT,
                              2 * pairs + run->is_odd, run->step, out + i);
    }
}

static inline void edgeq_depthwise_run_2(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int8_t *out, const struct edgeq_depthwise_run *run) {
    const int32_t width = run->nbytes / (int32_t)(4 * EDGEQ_DEPTHWISE_BLOCK) - 1;
    for (int32_t i = 0; i < run->count; ++i) {
        edgeq_depthwise_row_2(block + 3 * i, channel + i, EDGEQ_DEPTHWISE_SHIFT, width,
                              run->step, out + i);
    }
}

#endif

#endif /* EDGEQ_DEPTHWISE_H */
