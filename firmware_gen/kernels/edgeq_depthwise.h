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

/* What edgeq_depthwise_run_1 and _2 need beside pointers; all but the flag in bytes. */
struct edgeq_depthwise_run {
    int32_t nbytes;   /* of the blocks that are read in the loop */
    int32_t step;     /* from output pixel to output pixel */
    int32_t is_odd;   /* whether run_1 has one output more than its loop of two */
    int32_t back;     /* from the end of the blocks to the next channel's first word */
    int32_t span;     /* from the next channel's output to the end of the loop's */
    int32_t channels; /* of their descriptions */
};

static inline struct edgeq_depthwise_run edgeq_depthwise_run_of(int32_t stride, int32_t width,
                                                                int32_t step) {
    const int32_t blocks = stride == 1 ? width / 2 + 1 : width + 1;
    const int32_t nbytes = 4 * EDGEQ_DEPTHWISE_BLOCK * blocks;
    return (struct edgeq_depthwise_run){
        .nbytes = nbytes,
        .step = step,
        .is_odd = width & 1,
        .back = nbytes - 12,
        .span = (stride == 1 ? width & ~1 : width) * step - 1,
    };
}

#ifdef EDGEQ_HAS_DSP

#define EDGEQ_UNUSED __attribute__((unused))

/* r4-r8: the filter as in struct edgeq_depthwise_channel; r9, r10: multiplier, addend; r0:
 * block; r1: out; r2, r3: two accumulators; r11, r12, lr: left, right, below. The stack from
 * sp: bias, end of the blocks, step, is_odd, back, span, channel, end of the channels; the
 * saved registers. In assembly because these are all the registers there are, and compilers
 * spill five. */
/* clang-format off */
#define EDGEQ_DEPTHWISE_ENTER                                                                  \
    ".syntax unified\n"                                                                        \
    "push {r4-r11, lr}\n"                                                                      \
    "sub sp, sp, #32\n"                                                                        \
    "ldm r3, {r4-r9}\n"                                                                        \
    "add r4, r4, r0\n"                                                                         \
    "add r9, r9, r1\n"                                                                         \
    "str r4, [sp, #4]\n"                                                                       \
    "strd r5, r6, [sp, #8]\n"                                                                  \
    "strd r7, r8, [sp, #16]\n"                                                                 \
    "str r9, [sp, #28]\n"                                                                      \
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
#define EDGEQ_DEPTHWISE_BEGIN_TWO                                                              \
    "smlad r3, r12, r4, r2\n"                                                                  \
    "smlad r2, r11, r4, r2\n"                                                                  \
    "smlad r2, r12, r5, r2\n"                                                                  \
    "smlatb r3, lr, r7, r3\n"                                                                  \
    "smlad r2, lr, r7, r2\n"
#define EDGEQ_DEPTHWISE_END                                                                    \
    "smlad r2, r11, r6, r2\n"                                                                  \
    "smlabt r2, lr, r8, r2\n"
#define EDGEQ_DEPTHWISE_OUT(acc, at)                                                           \
    "smmla " acc ", " acc ", r9, r10\n"                                                        \
    "ssat " acc ", #8, " acc ", asr #10\n"                                                     \
    "strb " acc ", " at "\n"
#define EDGEQ_DEPTHWISE_LEAVE                                                                  \
    "add r3, r0, #12\n"                                                                        \
    "ldrd r4, r5, [sp, #16]\n"                                                                 \
    "str r3, [sp, #4]\n"                                                                       \
    "sub r0, r0, r4\n"                                                                         \
    "sub r2, r1, r5\n"                                                                         \
    "ldrd r1, r3, [sp, #24]\n"                                                                 \
    "cmp r1, r3\n"                                                                             \
    "bne 0b\n"                                                                                 \
    "add sp, sp, #32\n"                                                                        \
    "pop {r4-r11, pc}\n"

/* What edgeq_depthwise_row_1 does, for each channel, two outputs at least, the shift 10. */
static __attribute__((naked, noinline, unused)) void edgeq_depthwise_run_1(
    const uint32_t *block EDGEQ_UNUSED,
    const struct edgeq_depthwise_channel *channel EDGEQ_UNUSED, int8_t *out EDGEQ_UNUSED,
    const struct edgeq_depthwise_run *run EDGEQ_UNUSED) {
    __asm__ volatile(
        EDGEQ_DEPTHWISE_ENTER
        EDGEQ_DEPTHWISE_LOAD
        EDGEQ_DEPTHWISE_BEGIN_TWO
        "1:\n"
        EDGEQ_DEPTHWISE_LOAD
        EDGEQ_DEPTHWISE_END
        "smlad r3, r11, r5, r3\n"
        "smlad r3, r12, r6, r3\n"
        "smlad r3, lr, r8, r3\n"
        EDGEQ_DEPTHWISE_OUT("r2", "[r1]")
        "ldr r2, [sp, #8]\n"
        EDGEQ_DEPTHWISE_OUT("r3", "[r1, r2]")
        "add r1, r1, r2, lsl #1\n"
        "ldrd r2, r3, [sp]\n"
        "cmp r0, r3\n"
        EDGEQ_DEPTHWISE_BEGIN_TWO
        "bne 1b\n"
        "ldr r3, [sp, #12]\n"
        "cbz r3, 2f\n"
        "ldr r11, [r0]\n"
        "ldr lr, [r0, #8]\n"
        EDGEQ_DEPTHWISE_END
        EDGEQ_DEPTHWISE_OUT("r2", "[r1]")
        "2:\n"
        EDGEQ_DEPTHWISE_LEAVE);
}

/* What edgeq_depthwise_row_2 does, for each channel, the shift 10. */
static __attribute__((naked, noinline, unused)) void edgeq_depthwise_run_2(
    const uint32_t *block EDGEQ_UNUSED,
    const struct edgeq_depthwise_channel *channel EDGEQ_UNUSED, int8_t *out EDGEQ_UNUSED,
    const struct edgeq_depthwise_run *run EDGEQ_UNUSED) {
    __asm__ volatile(
        EDGEQ_DEPTHWISE_ENTER
        EDGEQ_DEPTHWISE_LOAD
        "1:\n"
        "smlad r2, r11, r4, r2\n"
        "smlad r2, r12, r5, r2\n"
        "smlad r2, lr, r7, r2\n"
        EDGEQ_DEPTHWISE_LOAD
        EDGEQ_DEPTHWISE_END
        EDGEQ_DEPTHWISE_OUT("r2", "[r1]")
        "ldr r2, [sp, #8]\n"
        "add r1, r1, r2\n"
        "ldrd r2, r3, [sp]\n"
        "cmp r0, r3\n"
        "bne 1b\n"
        EDGEQ_DEPTHWISE_LEAVE);
}
/* clang-format on */

#else

static inline void edgeq_depthwise_run_1(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int8_t *out, const struct edgeq_depthwise_run *run) {
    const int32_t pairs = run->nbytes / (int32_t)(4 * EDGEQ_DEPTHWISE_BLOCK) - 1;
    const int32_t count = run->channels / (int32_t)sizeof *channel;
    for (int32_t i = 0; i < count; ++i) {
        edgeq_depthwise_row_1(block + 3 * i, channel + i, EDGEQ_DEPTHWISE_SHIFT,
                              2 * pairs + run->is_odd, run->step, out + i);
    }
}

static inline void edgeq_depthwise_run_2(const uint32_t *block,
                                         const struct edgeq_depthwise_channel *channel,
                                         int8_t *out, const struct edgeq_depthwise_run *run) {
    const int32_t width = run->nbytes / (int32_t)(4 * EDGEQ_DEPTHWISE_BLOCK) - 1;
    const int32_t count = run->channels / (int32_t)sizeof *channel;
    for (int32_t i = 0; i < count; ++i) {
        edgeq_depthwise_row_2(block + 3 * i, channel + i, EDGEQ_DEPTHWISE_SHIFT, width,
                              run->step, out + i);
    }
}

#endif

#endif /* EDGEQ_DEPTHWISE_H */
