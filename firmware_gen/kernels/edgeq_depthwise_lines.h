/* A line of single channels of a 3 x 3 depthwise convolution, from three lines of the input
 * that are laid out side by side, as depthwise_conv_2d_plane.h says. */
#ifndef EDGEQ_DEPTHWISE_LINES_H
#define EDGEQ_DEPTHWISE_LINES_H

#include <stdint.h>

#include "edgeq_dsp_pack.h"

/* The shift t that most layers have room for: a constant in the code. */
#define EDGEQ_LINES_SHIFT 12
/* Words of two pixels of three lines: one of each line, of each of 4 channels. */
#define EDGEQ_LINES_BLOCK 12
#define EDGEQ_LINES_AT    ((struct edgeq_lines_at){1, EDGEQ_LINES_BLOCK})

/* One channel; filter[line][pixel] times a power of two as halves, low first. With stride 1:
 *     [0][0] [1][0], [0][1] [1][1], [0][2] [1][2], [2][0] [2][1], [2][1] [2][2];
 * with stride 2:
 *     [0][0] [0][1], [1][0] [1][1], [2][0] [2][1], [0][2] [1][2], any [2][2]. */
struct edgeq_lines_channel {
    uint32_t filter[5];
    int32_t multiplier;
    int32_t bias;
};

/* The filter for lines that are laid out in another order: line `turn` is the first with stride
 * 1, the others after it; with stride 2 the last is, if `turn` is not 0, and the first last. */
static inline struct edgeq_lines_channel
edgeq_lines_turned(const struct edgeq_lines_channel *channel, int32_t stride, int32_t turn) {
    const uint32_t *const w = channel->filter;
    struct edgeq_lines_channel result = *channel;
    uint32_t *const to = result.filter;
    if (turn != 0 && stride == 2) {
        to[0] = w[2];
        to[2] = w[0];
        to[3] = edgeq_pack_high(w[4], w[3]);
        to[4] = w[3] << 16;
    } else if (turn == 2) {
        to[0] = edgeq_pack_low(w[3], w[0]);
        to[1] = edgeq_pack_low(w[4], w[1]);
        to[2] = edgeq_pack_low(w[4] >> 16, w[2]);
        to[3] = edgeq_pack_high(w[0], w[1]);
        to[4] = edgeq_pack_high(w[1], w[2]);
    } else if (turn == 1) {
        to[0] = edgeq_pack_low(w[0] >> 16, w[3]);
        to[1] = edgeq_pack_high(w[1], w[3]);
        to[2] = edgeq_pack_high(w[2], w[4]);
        to[3] = edgeq_pack_low(w[0], w[1]);
        to[4] = edgeq_pack_low(w[1], w[2]);
    }
    return result;
}

static inline int8_t edgeq_lines_value(int32_t acc, const struct edgeq_lines_channel *channel,
                                       int32_t shift) {
    return (int8_t)edgeq_saturate8(edgeq_smmla(acc, channel->multiplier, 0) >> shift);
}

/* Where a channel's words are: one of two pixels of each line, `apart` from line to line and
 * `block` from two pixels to the next. */
struct edgeq_lines_at {
    int32_t apart;
    int32_t block;
};

/* An output line of one channel, `step` bytes from pixel to pixel, with stride 1: while two
 * pixels of each line are in registers, they end two outputs (a, b) and begin two. */
static inline void edgeq_lines_1(const uint32_t *block, struct edgeq_lines_at at,
                                 const struct edgeq_lines_channel *channel, int32_t shift,
                                 int32_t width, int32_t step, int8_t *out) {
    const uint32_t *const w = channel->filter;
    int32_t a = 0, b = 0;
    for (int32_t done = -2; done < width; done += 2) {
        const uint32_t left = edgeq_pack_low(block[0], block[at.apart]);
        const uint32_t right = edgeq_pack_high(block[0], block[at.apart]);
        const uint32_t below = block[2 * at.apart];
        if (done >= 0) {
            a = edgeq_mla_low_high(below, w[4], edgeq_smlad(left, w[2], a));
            *out = edgeq_lines_value(a, channel, shift);
            out += step;
        }
        if (done >= 0 && done + 1 < width) {
            b = edgeq_smlad(right, w[2], edgeq_smlad(left, w[1], b));
            b = edgeq_smlad(below, w[4], b);
            *out = edgeq_lines_value(b, channel, shift);
            out += step;
        }
        a = edgeq_smlad(right, w[1], edgeq_smlad(left, w[0], channel->bias));
        a = edgeq_smlad(below, w[3], a);
        b = edgeq_mla_high_low(below, w[3], edgeq_smlad(right, w[0], channel->bias));
        block += at.block;
    }
}

/* The same with stride 2: each output has two pixels of each line, and the next one. */
static inline void edgeq_lines_2(const uint32_t *block, struct edgeq_lines_at at,
                                 const struct edgeq_lines_channel *channel, int32_t shift,
                                 int32_t width, int32_t step, int8_t *out) {
    const uint32_t *const w = channel->filter;
    for (int32_t i = 0; i < width; ++i) {
        int32_t acc = channel->bias;
        acc = edgeq_smlad(block[0], w[0], acc);
        acc = edgeq_smlad(block[at.apart], w[1], acc);
        acc = edgeq_smlad(block[2 * at.apart], w[2], acc);
        block += at.block;
        acc = edgeq_mla_low_low(block[0], w[3], acc);
        acc = edgeq_mla_low_high(block[at.apart], w[3], acc);
        acc = edgeq_mla_low_high(block[2 * at.apart], w[4], acc);
        *out = edgeq_lines_value(acc, channel, shift);
        out += step;
    }
}

/* What edgeq_lines_run_1 and _2 need beside pointers; bytes, where nothing else is said. */
struct edgeq_lines_run {
    int32_t steps; /* from output to output, 1 .. 65535; above it how often a block is read in
                      the loop, less 1 */
    int32_t back;  /* from the end of the blocks to the next channel's first word */
    int32_t span;  /* from the next channel's output to the end of the loop's */
    int32_t channels; /* of their descriptions */
    int32_t is_odd;   /* run_1: whether it has one output more than its loop of two */
    int32_t turn;     /* as in edgeq_lines_turned */
};

static inline struct edgeq_lines_run edgeq_lines_run_of(int32_t stride, int32_t width,
                                                        int32_t step) {
    const int32_t blocks = width >> (2 - stride);
    return (struct edgeq_lines_run){
        .steps = step + (blocks - 1) * 65536,
        .back = 4 * EDGEQ_LINES_BLOCK * (blocks + 1) - 12,
        .span = (stride == 1 ? width & ~1 : width) * step - 1,
        .is_odd = width & 1,
        .turn = 0,
    };
}

/* Loops are written out twice, where that is worth its bytes; then the first round is a half if
 * the number of blocks is odd: if the carry is clear after the number less 1 is shifted out. */
#define EDGEQ_LINES_TWICE(half) "bcc 2f\n1:\n" half "2:\n"
#define EDGEQ_LINES_TWO_BLOCKS  "#131072\n"
#define EDGEQ_LINES_ONCE(half)  "1:\n"
#define EDGEQ_LINES_ONE_BLOCK   "#65536\n"
#ifdef EDGEQ_FOR_SPEED
#define EDGEQ_LINES_ROUND_1 EDGEQ_LINES_TWICE
#define EDGEQ_LINES_COUNT_1 EDGEQ_LINES_TWO_BLOCKS
#else
#define EDGEQ_LINES_ROUND_1 EDGEQ_LINES_ONCE
#define EDGEQ_LINES_COUNT_1 EDGEQ_LINES_ONE_BLOCK
#endif
#ifdef EDGEQ_FOR_SIZE
#define EDGEQ_LINES_ROUND EDGEQ_LINES_ONCE
#define EDGEQ_LINES_COUNT EDGEQ_LINES_ONE_BLOCK
#else
#define EDGEQ_LINES_ROUND EDGEQ_LINES_TWICE
#define EDGEQ_LINES_COUNT EDGEQ_LINES_TWO_BLOCKS
#endif

#ifdef EDGEQ_HAS_DSP

#define EDGEQ_UNUSED __attribute__((unused))

/* r4-r8: the filter; r9: multiplier; r0: block, its third word; r1: out; r2: accumulator. The
 * stack from sp: bias, steps, back, span, channel, end of the channels, is_odd, turn; the saved
 * registers. In assembly because these are all the registers there are. */
/* clang-format off */
#define EDGEQ_LINES_ENTER                                                                      \
    ".syntax unified\n"                                                                        \
    "push {r4-r11, lr}\n"                                                                      \
    "sub sp, sp, #32\n"                                                                        \
    "ldm r3, {r4-r9}\n"                                                                        \
    "adds r0, #8\n"                                                                            \
    "adds r7, r7, r1\n"                                                                        \
    "strd r4, r5, [sp, #4]\n"                                                                  \
    "str r6, [sp, #12]\n"                                                                      \
    "str r7, [sp, #20]\n"                                                                      \
    "strd r8, r9, [sp, #24]\n"                                                                 \
    "0:\n"                                                                                     \
    "ldm r1!, {r4-r10}\n"                                                                      \
    "str r1, [sp, #16]\n"                                                                      \
    "mov r1, r2\n"                                                                             \
    "ldr r3, [sp, #28]\n"
#define EDGEQ_LINES_VALUE(acc)                                                                 \
    "smmul " acc ", " acc ", r9\n"                                                             \
    "ssat " acc ", #8, " acc ", asr #12\n"                                                     \
    "strb " acc ", [r1]\n"
#define EDGEQ_LINES_LEAVE                                                                      \
    "ldrd r4, r5, [sp, #8]\n"                                                                  \
    "sub r2, r1, r5\n"                                                                         \
    "ldrd r1, r3, [sp, #16]\n"                                                                 \
    "subs r0, r0, r4\n"                                                                        \
    "cmp r1, r3\n"                                                                             \
    "bne 0b\n"                                                                                 \
    "add sp, sp, #32\n"                                                                        \
    "pop {r4-r11, pc}\n"

/* lr: the first pixel of lines 0 and 1; r12: the second; r11: both of line 2. */
#define EDGEQ_LINES_LOAD(line0, line1, step)                                                   \
    "ldr r11, [r0, " line0 "]\n"                                                               \
    "ldr r12, [r0, " line1 "]\n"                                                               \
    "pkhbt lr, r11, r12, lsl #16\n"                                                            \
    "pkhtb r12, r12, r11, asr #16\n"                                                           \
    "ldr r11, [r0], " step "\n"
#define EDGEQ_LINES_LOAD_1 EDGEQ_LINES_LOAD("#-8", "#-4", "#48")
#define EDGEQ_LINES_BEGIN_TWO                                                                  \
    "smlad r3, r12, r4, r2\n"                                                                  \
    "smlad r2, lr, r4, r2\n"                                                                   \
    "smlad r2, r12, r5, r2\n"                                                                  \
    "smlatb r3, r11, r7, r3\n"                                                                 \
    "smlad r2, r11, r7, r2\n"
#define EDGEQ_LINES_END                                                                        \
    "smlad r2, lr, r6, r2\n"                                                                   \
    "smlabt r2, r11, r8, r2\n"
#define EDGEQ_LINES_END_TWO(load)                                                              \
    load                                                                                       \
    EDGEQ_LINES_END                                                                            \
    "smlad r3, lr, r5, r3\n"                                                                   \
    "smlad r3, r12, r6, r3\n"                                                                  \
    "smlad r3, r11, r8, r3\n"                                                                  \
    EDGEQ_LINES_VALUE("r2")                                                                    \
    "uxtah r1, r1, r10\n"                                                                      \
    EDGEQ_LINES_VALUE("r3")                                                                    \
    "ldr r2, [sp]\n"                                                                           \
    "uxtah r1, r1, r10\n"

/* What edgeq_lines_1 does, for each channel, two outputs at least, the shift 12. r3: the second
 * accumulator; r10: steps. */
static __attribute__((naked, noinline, unused)) void edgeq_lines_run_1(
    const uint32_t *block EDGEQ_UNUSED,
    const struct edgeq_lines_channel *channel EDGEQ_UNUSED, int8_t *out EDGEQ_UNUSED,
    const struct edgeq_lines_run *run EDGEQ_UNUSED) {
    __asm__ volatile(
        EDGEQ_LINES_ENTER
        "str r10, [sp]\n"
        "cmp r3, #1\n"
        "blo 5f\n"
        "beq 4f\n"
        "lsr r11, r8, #16\n"
        "pkhbt r11, r11, r6, lsl #16\n"
        "pkhtb r12, r5, r4, asr #16\n"
        "pkhtb lr, r6, r5, asr #16\n"
        "pkhbt r4, r7, r4, lsl #16\n"
        "pkhbt r5, r8, r5, lsl #16\n"
        "mov r6, r11\n"
        "b 6f\n"
        "4:\n"
        "lsr r11, r4, #16\n"
        "pkhbt r12, r4, r5, lsl #16\n"
        "pkhbt lr, r5, r6, lsl #16\n"
        "pkhbt r4, r11, r7, lsl #16\n"
        "pkhtb r5, r7, r5, asr #16\n"
        "pkhtb r6, r8, r6, asr #16\n"
        "6:\n"
        "mov r7, r12\n"
        "mov r8, lr\n"
        "5:\n"
        "mov r2, r10\n"
        "ldr r10, [sp, #4]\n"
        "lsls r3, r10, #16\n"
        EDGEQ_LINES_LOAD_1
        EDGEQ_LINES_BEGIN_TWO
        EDGEQ_LINES_ROUND_1(EDGEQ_LINES_END_TWO(EDGEQ_LINES_LOAD_1) EDGEQ_LINES_BEGIN_TWO)
        EDGEQ_LINES_END_TWO(EDGEQ_LINES_LOAD_1)
        "subs r10, r10, " EDGEQ_LINES_COUNT_1
        EDGEQ_LINES_BEGIN_TWO
        "bpl 1b\n"
        "ldr r3, [sp, #24]\n"
        "cbz r3, 3f\n"
        "ldr r11, [r0, #-8]\n"
        "ldr r12, [r0, #-4]\n"
        "pkhbt lr, r11, r12, lsl #16\n"
        "ldr r11, [r0]\n"
        EDGEQ_LINES_END
        EDGEQ_LINES_VALUE("r2")
        "3:\n"
        EDGEQ_LINES_LEAVE);
}

#define EDGEQ_LINES_ONE(line0, line1, line2)                                                   \
    "smlad r2, r11, r4, r10\n"                                                                 \
    "smlad r2, r12, r5, r2\n"                                                                  \
    "smlad r2, lr, r6, r2\n"                                                                   \
    "ldr r11, [r0, " line0 "]\n"                                                               \
    "ldr r12, [r0, " line1 "]\n"                                                               \
    "ldr lr, [r0, " line2 "]\n"                                                                \
    "smlabb r2, r11, r7, r2\n"                                                                 \
    "smlabt r2, r12, r7, r2\n"                                                                 \
    "smlabt r2, lr, r8, r2\n"                                                                  \
    EDGEQ_LINES_VALUE("r2")                                                                    \
    "uxtah r1, r1, r3\n"

/* What edgeq_lines_2 does, for each channel, the shift 12. r11, r12, lr: two pixels of lines
 * 0, 1, 2; r3: steps; r10: bias. */
static __attribute__((naked, noinline, unused)) void edgeq_lines_run_2(
    const uint32_t *block EDGEQ_UNUSED,
    const struct edgeq_lines_channel *channel EDGEQ_UNUSED, int8_t *out EDGEQ_UNUSED,
    const struct edgeq_lines_run *run EDGEQ_UNUSED) {
    __asm__ volatile(
        EDGEQ_LINES_ENTER
        "cbz r3, 3f\n"
        "mov r3, r4\n"
        "mov r4, r6\n"
        "mov r6, r3\n"
        "pkhtb r3, r7, r8, asr #16\n"
        "lsl r8, r7, #16\n"
        "mov r7, r3\n"
        "3:\n"
        "ldr r3, [sp, #4]\n"
        "ldr r11, [r0, #-8]\n"
        "ldr r12, [r0, #-4]\n"
        "ldr lr, [r0]\n"
#ifdef EDGEQ_FOR_SIZE
        "adds r0, r0, #48\n"
        "1:\n"
        EDGEQ_LINES_ONE("#-8", "#-4", "#0")
        "adds r0, r0, #48\n"
#else
        "lsls r2, r3, #16\n"
        "bcc 2f\n"
        "adds r0, r0, #48\n"
        "1:\n"
        EDGEQ_LINES_ONE("#-8", "#-4", "#0")
        "2:\n"
        EDGEQ_LINES_ONE("#40", "#44", "#48")
        "adds r0, r0, #96\n"
#endif
        "subs r3, r3, " EDGEQ_LINES_COUNT
        "bpl 1b\n"
        EDGEQ_LINES_LEAVE);
}
/* clang-format on */

#else

static inline void edgeq_lines_run_1(const uint32_t *block,
                                     const struct edgeq_lines_channel *channel, int8_t *out,
                                     const struct edgeq_lines_run *run) {
    const int32_t width = 2 * (run->steps >> 16) + 2 + run->is_odd;
    const int32_t count = run->channels / (int32_t)sizeof *channel;
    for (int32_t i = 0; i < count; ++i) {
        const struct edgeq_lines_channel turned = edgeq_lines_turned(channel + i, 1, run->turn);
        edgeq_lines_1(block + 3 * i, EDGEQ_LINES_AT, &turned, EDGEQ_LINES_SHIFT, width,
                      run->steps & 0xffff, out + i);
    }
}

static inline void edgeq_lines_run_2(const uint32_t *block,
                                     const struct edgeq_lines_channel *channel, int8_t *out,
                                     const struct edgeq_lines_run *run) {
    const int32_t width = (run->steps >> 16) + 1;
    const int32_t count = run->channels / (int32_t)sizeof *channel;
    for (int32_t i = 0; i < count; ++i) {
        const struct edgeq_lines_channel turned = edgeq_lines_turned(channel + i, 2, run->turn);
        edgeq_lines_2(block + 3 * i, EDGEQ_LINES_AT, &turned, EDGEQ_LINES_SHIFT, width,
                      run->steps & 0xffff, out + i);
    }
}

#endif

#endif /* EDGEQ_DEPTHWISE_LINES_H */
