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
    uint32_t steps;   /* from output to output, 1 .. 65535; above it rounds of the loop, less 1;
                         all times 2, + 1 if the first round (run_1: four outputs, run_2: two) is
                         a half */
    int32_t back;     /* from the end of a line's blocks to the next line's first word */
    int32_t onward;   /* from the end of the loop's outputs to the next line's first; times 2,
                         + 1 if a line of run_1 has one output more than its loop of two */
    int32_t channels; /* of their descriptions */
    int32_t lines;    /* of output, a number */
};

static inline struct edgeq_strips_run edgeq_strips_run_of(int32_t stride, int32_t width,
                                                          int32_t step, int32_t line_step) {
    /* Times that a block is read in the loop, two in a round. */
    const int32_t blocks = stride == 1 ? width / 2 : width;
    const int32_t odd = stride == 1 ? width & 1 : 0;
    return (struct edgeq_strips_run){
        .steps = ((uint32_t)step + (uint32_t)((blocks + 1) / 2 - 1) * 65536u) * 2u +
                 ((uint32_t)blocks & 1u),
        .back = 4 * (EDGEQ_STRIPS_BLOCK * (blocks + 1) - EDGEQ_STRIPS_APART * stride),
        .onward = (line_step - (width - odd) * step) * 2 + odd,
        .channels = 0,
        .lines = 0,
    };
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
        "ldrd r11, r12, [r2, #8]\n"
        "1:\n"
        "ldrd r8, r9, [r10]\n"
        "ldrd r4, r5, [r10, #16]\n"
        "mov r3, r1\n"
        "cmp r11, r5\n"
        "itee lo\n"
        "mlalo r2, r11, r4, r0\n"
        "addhs r2, r10, #24\n"
        "movhs r8, #0\n"
        "lsrs lr, r9, #3\n"
        "adc lr, lr, #0\n"
        "tst r9, #1\n"
        "ldr r5, [r2]\n"
        "add r2, r2, r8\n"
        "iteee ne\n"
        "ldrne r4, [r10, #24]\n"
        "moveq r4, r5\n"
        "ldreq r5, [r2]\n"
        "addeq r2, r2, r8\n"
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
        "bne 2b\n"
        "tst r9, #2\n"
        "beq 5f\n"
        "bic r9, r9, #2\n"
        "ldr r4, [r2]\n"
        "ldr r5, [r10, #24]\n"
        "mov lr, #1\n"
        "b 4b\n"
        "5:\n"
        "add r11, r11, #1\n"
        "adds r1, r1, #16\n"
        "subs r12, r12, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

/* r4-r8: the filter; r9: multiplier; r0: block, its third line; r1: out; r2: accumulator. The
 * stack from sp: bias; steps, back, onward, end of the channels, lines; lines left; the next
 * channel; the channel's block and output; the saved registers. */
#define EDGEQ_STRIPS_ENTER                                                                     \
    ".syntax unified\n"                                                                        \
    "push {r4-r11, lr}\n"                                                                      \
    "sub sp, sp, #40\n"                                                                        \
    "ldm r3, {r4-r8}\n"                                                                        \
    "adds r0, r0, #32\n"                                                                       \
    "adds r7, r7, r1\n"                                                                        \
    "add r11, sp, #4\n"                                                                        \
    "stm r11, {r4-r8}\n"                                                                       \
    "0:\n"                                                                                     \
    "strd r0, r2, [sp, #32]\n"                                                                 \
    "ldm r1!, {r4-r10}\n"                                                                      \
    "str r10, [sp]\n"                                                                          \
    "str r1, [sp, #28]\n"                                                                      \
    "mov r1, r2\n"                                                                             \
    "ldr r2, [sp, #20]\n"                                                                      \
    "6:\n"                                                                                     \
    "str r2, [sp, #24]\n"
/* r11: onward. */
#define EDGEQ_STRIPS_LEAVE                                                                     \
    "ldr r12, [sp, #8]\n"                                                                      \
    "ldr r2, [sp, #24]\n"                                                                      \
    "sub r0, r0, r12\n"                                                                        \
    "add r1, r1, r11\n"                                                                        \
    "subs r2, r2, #1\n"                                                                        \
    "bne 6b\n"                                                                                 \
    "ldr r1, [sp, #28]\n"                                                                      \
    "ldr r3, [sp, #16]\n"                                                                      \
    "ldr r2, [sp, #36]\n"                                                                      \
    "ldr r0, [sp, #32]\n"                                                                      \
    "adds r2, r2, #1\n"                                                                        \
    "adds r0, r0, #4\n"                                                                        \
    "cmp r1, r3\n"                                                                             \
    "bne 0b\n"                                                                                 \
    "add sp, sp, #40\n"                                                                        \
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
        "lsrs r10, r10, #1\n"
        EDGEQ_STRIPS_LOAD_1
        EDGEQ_LINES_BEGIN_TWO
        "bcs 2f\n"
        "1:\n"
        EDGEQ_LINES_END_TWO(EDGEQ_STRIPS_LOAD_1)
        EDGEQ_LINES_BEGIN_TWO
        "2:\n"
        EDGEQ_LINES_END_TWO(EDGEQ_STRIPS_LOAD_1)
        "subs r10, r10, #65536\n"
        EDGEQ_LINES_BEGIN_TWO
        "bpl 1b\n"
        "ldr r11, [sp, #12]\n"
        "asrs r11, r11, #1\n"
        "bcs 4f\n"
        "3:\n"
        EDGEQ_STRIPS_LEAVE
        "4:\n"
        "ldr r11, [r0, #-32]\n"
        "ldr r12, [r0, #-16]\n"
        "pkhbt lr, r11, r12, lsl #16\n"
        "ldr r11, [r0]\n"
        EDGEQ_LINES_END
        EDGEQ_LINES_VALUE("r2")
        "ldr r11, [sp, #12]\n"
        "asrs r11, r11, #1\n"
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
        "lsrs r3, r3, #1\n"
        "bcs 2f\n"
        "adds r0, r0, #128\n"
        "1:\n"
        EDGEQ_LINES_ONE("#-32", "#-16", "#0")
        "2:\n"
        EDGEQ_LINES_ONE("#96", "#112", "#128")
        "add r0, r0, #256\n"
        "subs r3, r3, #65536\n"
        "bpl 1b\n"
        "ldr r11, [sp, #12]\n"
        "asrs r11, r11, #1\n"
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
    const int32_t step = (run->steps >> 1) & 0xffff;
    const int32_t odd = run->onward & 1;
    const int32_t line_step = (run->onward - odd) / 2 + (width - odd) * step;
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
    const int32_t half = run->steps & 1, rounds = (int32_t)(run->steps >> 17) + 1;
    edgeq_strips_run(1, 4 * rounds - 2 * half + (run->onward & 1), block, channel, out, run);
}

static inline void edgeq_strips_run_2(const uint32_t *block,
                                      const struct edgeq_lines_channel *channel, int8_t *out,
                                      const struct edgeq_strips_run *run) {
    const int32_t half = run->steps & 1, rounds = (int32_t)(run->steps >> 17) + 1;
    edgeq_strips_run(2, 2 * rounds - half, block, channel, out, run);
}

#endif

#endif /* EDGEQ_DEPTHWISE_STRIPS_H */
