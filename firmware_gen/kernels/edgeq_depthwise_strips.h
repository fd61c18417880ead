/* Lines of single channels of a 3 x 3 depthwise convolution, several of a channel after each
 * other, from lines of the input that are laid out as depthwise_conv_2d_strips.h says. */
#ifndef EDGEQ_DEPTHWISE_STRIPS_H
#define EDGEQ_DEPTHWISE_STRIPS_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_depthwise_lines.h"
#include "edgeq_dsp_pack.h"

#define EDGEQ_STRIPS_LINES 8  /* of the input that are laid out at once */
#define EDGEQ_STRIPS_APART 4  /* words from line to line */
#define EDGEQ_STRIPS_BLOCK 32 /* words from two pixels to the next two */
_Static_assert(EDGEQ_STRIPS_BLOCK == EDGEQ_STRIPS_LINES * EDGEQ_STRIPS_APART, "strips");

/* What edgeq_strips_run_1 and _2 need beside pointers; bytes, where nothing else is said. */
struct edgeq_strips_run {
    int32_t steps;  /* from output to output, 1 .. 65535; above it how often a block is read in
                       the loop, less 1 */
    int32_t back;   /* from the end of a line's blocks to the next line's first word */
    int32_t onward; /* from the end of a line's outputs to the next line's first */
    int32_t channels; /* of their descriptions */
    int32_t lines;    /* of output, a number */
    int32_t is_odd;   /* run_1: whether a line has one output more than its loop of two */
};

static inline void edgeq_strips_run_of(struct edgeq_strips_run *run, int32_t stride,
                                       int32_t width, int32_t step, int32_t line_step) {
    const int32_t blocks = width >> (2 - stride);
    run->steps = step + (blocks - 1) * 65536;
    run->back = 4 * (EDGEQ_STRIPS_BLOCK * (blocks + 1) - EDGEQ_STRIPS_APART * stride);
    run->onward = line_step - width * step;
    run->is_odd = width & 1;
}

/* Lines that are laid out: as many of the image as there are, the others as the zero point. */
struct edgeq_strips_put {
    int32_t step;  /* bytes from pixel to pixel */
    int32_t shape; /* blocks that begin with a pixel of the image or end with its first, 1 at
                      least; times 4; + 1 if the first begins before the image, + 2 if one more
                      block begins with the last pixel */
    int32_t row;   /* the first line's number in the image */
    int32_t lines; /* 1 at least */
    int32_t line_step;
    int32_t height;
    uint32_t zero_points;
};

/* Lays out two pixels of a line, four channels of each as they are in the image. */
static inline void edgeq_strips_put_two(uint32_t *block, uint32_t a, uint32_t b) {
    const uint32_t low = edgeq_pack_low(a, b), high = edgeq_pack_high(a, b);
    block[0] = edgeq_sxtb16(low);
    block[1] = edgeq_sxtb16_odd(low);
    block[2] = edgeq_sxtb16(high);
    block[3] = edgeq_sxtb16_odd(high);
}

#ifdef EDGEQ_HAS_DSP

/* clang-format off */
/* r4 and r5, two pixels, to the block at r3. */
#define EDGEQ_STRIPS_PUT                                                                       \
    "pkhbt r6, r4, r5, lsl #16\n"                                                              \
    "pkhtb r4, r5, r4, asr #16\n"                                                              \
    "sxtb16 r5, r6\n"                                                                          \
    "sxtb16 r6, r6, ror #8\n"                                                                  \
    "sxtb16 r7, r4\n"                                                                          \
    "sxtb16 r4, r4, ror #8\n"                                                                  \
    "str r6, [r3, #4]\n"                                                                       \
    "str r7, [r3, #8]\n"                                                                       \
    "str r4, [r3, #12]\n"                                                                      \
    "str r5, [r3], #128\n"
#define EDGEQ_STRIPS_LOAD                                                                      \
    "ldr r4, [r2]\n"                                                                           \
    "ldr r5, [r2, r8]\n"                                                                       \
    "add r2, r2, r8, lsl #1\n"

/* x: line 0 of the image. r2: pixel, steps of r8 (lines outside the image read the zero point
 * again and again); r9: shape; r10: put; r11: row; r12: lines left; lr: rounds of two blocks,
 * of which the first is a half if there is an odd number. */
static __attribute__((naked, noinline, unused)) void edgeq_strips_put(
    const int8_t *x EDGEQ_UNUSED, uint32_t *block EDGEQ_UNUSED,
    const struct edgeq_strips_put *put EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r11, lr}\n"
        "mov r10, r2\n"
        "ldr r9, [r2, #4]\n"
        "ldrd r11, r12, [r2, #8]\n"
        "1:\n"
        "ldr r8, [r10]\n"
        "ldr r4, [r10, #16]\n"
        "ldr r5, [r10, #20]\n"
        "mov r3, r1\n"
        "mla r2, r11, r4, r0\n"
        "cmp r11, r5\n"
        "itt hs\n"
        "addhs r2, r10, #24\n"
        "movhs r8, #0\n"
        "lsrs lr, r9, #3\n" /* carry: an odd number of blocks */
        "adc lr, lr, #0\n"
        "tst r9, #1\n"
        "ldr r4, [r10, #24]\n"
        "ldr r5, [r2]\n"
        "bne 6f\n"
        "mov r4, r5\n"
        "add r2, r2, r8\n"
        "ldr r5, [r2]\n"
        "6:\n"
        "add r2, r2, r8\n"
        "bcs 4f\n"
        "b 3f\n"
        "2:\n"
        EDGEQ_STRIPS_LOAD
        "3:\n"
        EDGEQ_STRIPS_PUT
        EDGEQ_STRIPS_LOAD
        "4:\n"
        EDGEQ_STRIPS_PUT
        "subs lr, lr, #1\n"
        "bgt 2b\n"
        "bmi 5f\n"
        "tst r9, #2\n"
        "ittt ne\n"
        "ldrne r4, [r2]\n"
        "ldrne r5, [r10, #24]\n"
        "bne 4b\n"
        "5:\n"
        "add r11, r11, #1\n"
        "adds r1, r1, #16\n"
        "subs r12, r12, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

/* r4-r8: the filter; r9: multiplier; r0: block, its third line; r1: out; r2: accumulator. The
 * stack from sp: bias; steps, back, onward, end of the channels, lines, is_odd; lines left; the
 * next channel; the channel's block and output; the saved registers. */
#define EDGEQ_STRIPS_ENTER                                                                     \
    ".syntax unified\n"                                                                        \
    "push {r4-r11, lr}\n"                                                                      \
    "sub sp, sp, #44\n"                                                                        \
    "ldm r3, {r4-r9}\n"                                                                        \
    "adds r0, r0, #32\n"                                                                       \
    "adds r7, r7, r1\n"                                                                        \
    "add r11, sp, #4\n"                                                                        \
    "stm r11, {r4-r9}\n"                                                                       \
    "0:\n"                                                                                     \
    "strd r0, r2, [sp, #36]\n"                                                                 \
    "ldm r1!, {r4-r10}\n"                                                                      \
    "str r10, [sp]\n"                                                                          \
    "str r1, [sp, #32]\n"                                                                      \
    "mov r1, r2\n"                                                                             \
    "ldr r2, [sp, #20]\n"                                                                      \
    "6:\n"                                                                                     \
    "str r2, [sp, #28]\n"
#define EDGEQ_STRIPS_LEAVE                                                                     \
    "ldrd r11, r12, [sp, #8]\n"                                                                \
    "ldr r2, [sp, #28]\n"                                                                      \
    "sub r0, r0, r11\n"                                                                        \
    "add r1, r1, r12\n"                                                                        \
    "subs r2, r2, #1\n"                                                                        \
    "bne 6b\n"                                                                                 \
    "ldr r1, [sp, #32]\n"                                                                      \
    "ldr r3, [sp, #16]\n"                                                                      \
    "ldr r2, [sp, #40]\n"                                                                      \
    "ldr r0, [sp, #36]\n"                                                                      \
    "adds r2, r2, #1\n"                                                                        \
    "adds r0, r0, #4\n"                                                                        \
    "cmp r1, r3\n"                                                                             \
    "bne 0b\n"                                                                                 \
    "add sp, sp, #44\n"                                                                        \
    "pop {r4-r11, pc}\n"

#define EDGEQ_STRIPS_LOAD_1 EDGEQ_LINES_LOAD("#-32", "#-16", "#128")

/* Lines as edgeq_lines_1 makes one, of each channel, two outputs at least, the shift 12. r3: the
 * second accumulator; r10: steps. */
static __attribute__((naked, noinline, unused)) void edgeq_strips_run_1(
    const uint32_t *block EDGEQ_UNUSED,
    const struct edgeq_lines_channel *channel EDGEQ_UNUSED, int8_t *out EDGEQ_UNUSED,
    const struct edgeq_strips_run *run EDGEQ_UNUSED) {
    __asm__ volatile(
        EDGEQ_STRIPS_ENTER
        "ldr r10, [sp, #4]\n"
        "ldr r2, [sp]\n"
        "lsls r3, r10, #16\n"
        EDGEQ_STRIPS_LOAD_1
        EDGEQ_LINES_BEGIN_TWO
        EDGEQ_LINES_ROUND(EDGEQ_LINES_END_TWO(EDGEQ_STRIPS_LOAD_1) EDGEQ_LINES_BEGIN_TWO)
        EDGEQ_LINES_END_TWO(EDGEQ_STRIPS_LOAD_1)
        "subs r10, r10, " EDGEQ_LINES_COUNT
        EDGEQ_LINES_BEGIN_TWO
        "bpl 1b\n"
        "ldr r3, [sp, #24]\n"
        "cbnz r3, 4f\n"
        "3:\n"
        EDGEQ_STRIPS_LEAVE
        "4:\n"
        "ldr r11, [r0, #-32]\n"
        "ldr r12, [r0, #-16]\n"
        "pkhbt lr, r11, r12, lsl #16\n"
        "ldr r11, [r0]\n"
        EDGEQ_LINES_END
        EDGEQ_LINES_VALUE("r2")
        "uxtah r1, r1, r10\n"
        "b 3b\n");
}

/* Lines as edgeq_lines_2 makes one, of each channel, the shift 12. r11, r12, lr: two pixels of
 * lines 0, 1, 2; r3: steps; r10: bias. */
static __attribute__((naked, noinline, unused)) void edgeq_strips_run_2(
    const uint32_t *block EDGEQ_UNUSED,
    const struct edgeq_lines_channel *channel EDGEQ_UNUSED, int8_t *out EDGEQ_UNUSED,
    const struct edgeq_strips_run *run EDGEQ_UNUSED) {
    __asm__ volatile(
        EDGEQ_STRIPS_ENTER
        "ldr r3, [sp, #4]\n"
        "ldr r11, [r0, #-32]\n"
        "ldr r12, [r0, #-16]\n"
        "ldr lr, [r0]\n"
#ifdef EDGEQ_FOR_SIZE
        "adds r0, r0, #128\n"
        "1:\n"
        EDGEQ_LINES_ONE("#-32", "#-16", "#0")
        "adds r0, r0, #128\n"
#else
        "lsls r2, r3, #16\n"
        "bcc 2f\n"
        "adds r0, r0, #128\n"
        "1:\n"
        EDGEQ_LINES_ONE("#-32", "#-16", "#0")
        "2:\n"
        EDGEQ_LINES_ONE("#96", "#112", "#128")
        "add r0, r0, #256\n"
#endif
        "subs r3, r3, " EDGEQ_LINES_COUNT
        "bpl 1b\n"
        EDGEQ_STRIPS_LEAVE);
}
/* clang-format on */

#else

static inline void edgeq_strips_put(const int8_t *x, uint32_t *block,
                                    const struct edgeq_strips_put *put) {
    for (int32_t row = put->row; row < put->row + put->lines; ++row) {
        const bool is_in = row >= 0 && row < put->height;
        const int32_t step = is_in ? put->step : 0;
        const int8_t *from =
            is_in ? x + row * put->line_step : (const int8_t *)&put->zero_points;
        uint32_t *to = block;
        int32_t pairs = put->shape >> 2;
        if ((put->shape & 1) != 0) {
            edgeq_strips_put_two(to, put->zero_points, edgeq_load4(from));
            from += step;
            to += EDGEQ_STRIPS_BLOCK;
            --pairs;
        }
        for (; pairs > 0; --pairs) {
            edgeq_strips_put_two(to, edgeq_load4(from), edgeq_load4(from + step));
            from += 2 * step;
            to += EDGEQ_STRIPS_BLOCK;
        }
        if ((put->shape & 2) != 0) {
            edgeq_strips_put_two(to, edgeq_load4(from), put->zero_points);
        }
        block += EDGEQ_STRIPS_APART;
    }
}

static inline void edgeq_strips_run(int32_t stride, int32_t width, const uint32_t *block,
                                    const struct edgeq_lines_channel *channel, int8_t *out,
                                    const struct edgeq_strips_run *run) {
    const int32_t step = run->steps & 0xffff, line_step = run->onward + width * step;
    const int32_t count = run->channels / (int32_t)sizeof *channel;
    for (int32_t c = 0; c < count; ++c) {
        for (int32_t i = 0; i < run->lines; ++i) {
            const uint32_t *const from = block + c + i * stride * EDGEQ_STRIPS_APART;
            int8_t *const to = out + c + i * line_step;
            const struct edgeq_lines_at at = {EDGEQ_STRIPS_APART, EDGEQ_STRIPS_BLOCK};
            if (stride == 1) {
                edgeq_lines_1(from, at, channel + c, EDGEQ_LINES_SHIFT, width, step, to);
            } else {
                edgeq_lines_2(from, at, channel + c, EDGEQ_LINES_SHIFT, width, step, to);
            }
        }
    }
}

static inline void edgeq_strips_run_1(const uint32_t *block,
                                      const struct edgeq_lines_channel *channel, int8_t *out,
                                      const struct edgeq_strips_run *run) {
    const int32_t width = 2 * (run->steps >> 16) + 2 + run->is_odd;
    edgeq_strips_run(1, width, block, channel, out, run);
}

static inline void edgeq_strips_run_2(const uint32_t *block,
                                      const struct edgeq_lines_channel *channel, int8_t *out,
                                      const struct edgeq_strips_run *run) {
    edgeq_strips_run(2, (run->steps >> 16) + 1, block, channel, out, run);
}

#endif

#endif /* EDGEQ_DEPTHWISE_STRIPS_H */
