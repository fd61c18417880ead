/* DEPTHWISE_CONV_2D with a filter of 3 x 3 for cores with the DSP extension, four channels at a
 * time through the whole image; twin of edgeq/ops/depthwise_conv_2d.py. The clamp is int8's
 * range. The output lies exactly over the input, or apart from it.
 *
 * A line is a row, or a column where the image is higher than wide; its pixels are a run. Three
 * lines of the four channels are in a ring in scratch, each laid out once: for two pixels one
 * word of halves of each line, of each channel, pixels in the padding as the zero point. An
 * output line reads them from there alone, so it may be written over the input's line of the
 * same number or an earlier one: paddings before the image are 2 at most. A smaller output over
 * its input is written at the input's steps first, and its rows are then brought together.
 *
 * The rounding: by edgeq_requantize an output never falls where the accumulator rises, so that
 * it is given by the accumulators first(y) from which on it is y or more. With 2**s
 * times the weights in the accumulator,
 *     ((2**s * acc + b) * m >> 32) >> t = floor((2**s * acc + b) * m / 2**(32 + t))
 * is y or more from 2**s * acc + b = ceil(y * 2**(32 + t) / m) on: the same for y in -127 ..
 * 127, if that lies above 2**s * (first(y) - 1) + b and not above 2**s * first(y) + b. For one
 * t, depthwise_plane.py finds s, m (next to M * 2**(t + 1 - n - s), M and n being the
 * multiplier and the shift to the right) and b with which this holds of every y that the
 * channel can give, but that the least need not begin at all; nor may the next one above begin
 * at an accumulator that there is. */
#ifndef EDGEQ_DEPTHWISE_CONV_2D_PLANE_H
#define EDGEQ_DEPTHWISE_CONV_2D_PLANE_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_depthwise_channel.h"
#include "edgeq_depthwise_lines.h"
#include "edgeq_dsp_pack.h"
#include "edgeq_words.h"

#define EDGEQ_PLANE_GROUP 4 /* channels */

struct edgeq_plane_image {
    unsigned channels : 16;  /* 4 at least */
    unsigned zero_point : 8; /* the input's, as a byte */
    unsigned stride : 2;     /* 1 or 2, in both directions */
    unsigned line_pad : 2;   /* lines before the image */
    unsigned run_pad : 2;    /* pixels of a line before it */
    unsigned is_upright : 1; /* lines are columns */
    uint16_t input[2];       /* pixels of a line, lines */
    uint16_t output[2];
};

/* Bytes from pixel to pixel of a line, and from line to line, in an image with rows of so many
 * pixels. */
struct edgeq_plane_steps {
    int32_t run;
    int32_t line;
};

static inline struct edgeq_plane_steps edgeq_plane_steps(const struct edgeq_plane_image *image,
                                                         int32_t width) {
    const int32_t channels = image->channels, row = width * channels;
    return image->is_upright ? (struct edgeq_plane_steps){row, channels}
                             : (struct edgeq_plane_steps){channels, row};
}

struct edgeq_depthwise_conv_2d_plane {
    uint32_t shift; /* t */
    struct edgeq_plane_image image;
};

static inline uint32_t edgeq_plane_zero_points(const struct edgeq_plane_image *image) {
    return image->zero_point * 0x01010101u;
}

/* Lays out two pixels of a line, four channels of each as they are in the image. */
static inline void edgeq_plane_put_two(uint32_t *block, uint32_t a, uint32_t b) {
    const uint32_t low = edgeq_pack_low(a, b), high = edgeq_pack_high(a, b);
    block[0] = edgeq_sxtb16(low);
    block[3] = edgeq_sxtb16_odd(low);
    block[6] = edgeq_sxtb16(high);
    block[9] = edgeq_sxtb16_odd(high);
}

/* Lays out `pairs` times two pixels of a line, and gives where the next pixel is. */
#ifdef EDGEQ_HAS_DSP
/* clang-format off */
#define EDGEQ_PLANE_TWO                                                                        \
    "ldr r4, [r0]\n"                                                                           \
    "ldr r5, [r0, r1]\n"                                                                       \
    "add r0, r0, r1, lsl #1\n"                                                                 \
    "pkhbt r6, r4, r5, lsl #16\n"                                                              \
    "pkhtb r4, r5, r4, asr #16\n"                                                              \
    "sxtb16 r5, r6\n"                                                                          \
    "sxtb16 r6, r6, ror #8\n"                                                                  \
    "sxtb16 r7, r4\n"                                                                          \
    "sxtb16 r4, r4, ror #8\n"                                                                  \
    "str r6, [r3, #12]\n"                                                                      \
    "str r7, [r3, #24]\n"                                                                      \
    "str r4, [r3, #36]\n"                                                                      \
    "str r5, [r3], #48\n"
static __attribute__((naked, noinline, unused)) const int8_t *
edgeq_plane_put_pairs(const int8_t *x EDGEQ_UNUSED, int32_t step EDGEQ_UNUSED,
                      int32_t pairs EDGEQ_UNUSED, uint32_t *block EDGEQ_UNUSED) {
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
#ifdef EDGEQ_FOR_SPEED
        "lsrs r2, r2, #1\n"
        "bcc 2f\n"
        EDGEQ_PLANE_TWO
        "2:\n"
#endif
        "cbz r2, 3f\n"
        "1:\n"
        EDGEQ_PLANE_TWO
#ifdef EDGEQ_FOR_SPEED
        EDGEQ_PLANE_TWO
#endif
        "subs r2, r2, #1\n"
        "bne 1b\n"
        "3:\n"
        "pop {r4-r7, pc}\n");
}
/* clang-format on */
#else
static inline const int8_t *edgeq_plane_put_pairs(const int8_t *x, int32_t step, int32_t pairs,
                                                  uint32_t *block) {
    for (; pairs > 0; --pairs) {
        edgeq_plane_put_two(block, edgeq_load4(x), edgeq_load4(x + step));
        x += 2 * step;
        block += EDGEQ_LINES_BLOCK;
    }
    return x;
}
#endif

/* Lays out the pixels of a line that are in the image; the blocks hold the zero point where
 * they are in the padding. */
static __attribute__((noinline, cold, unused)) void
edgeq_plane_put_line(const struct edgeq_plane_image *image, const int8_t *x, int32_t step,
                     uint32_t *block) {
    const int32_t pad = image->run_pad;
    int32_t count = image->input[0];
    block += EDGEQ_LINES_BLOCK * (pad >> 1);
    if ((pad & 1) != 0) {
        edgeq_plane_put_two(block, edgeq_plane_zero_points(image), edgeq_load4(x));
        x += step;
        block += EDGEQ_LINES_BLOCK;
        --count;
    }
    x = edgeq_plane_put_pairs(x, step, count >> 1, block);
    if ((count & 1) != 0) {
        edgeq_plane_put_two(block + EDGEQ_LINES_BLOCK * (count >> 1), edgeq_load4(x),
                            edgeq_plane_zero_points(image));
    }
}

/* Brings together the rows of an output that lie at the steps of the input, where those are
 * larger. What is written lies before what is read; whole words, of which up to three bytes
 * beyond a row lie where the next row comes, or in the input's last one. */
static __attribute__((noinline, cold, unused)) void
edgeq_plane_close_up(const struct edgeq_plane_image *image, int8_t *out) {
    const int32_t width = image->input[image->is_upright];
    const int32_t out_w = image->output[image->is_upright];
    const int32_t out_h = image->output[1 - image->is_upright];
    const int32_t from_step = width * image->channels, to_step = out_w * image->channels;
    const int8_t *from = out;
    if (width != out_w) {
        for (int32_t i = out_h; i > 1; --i) {
            from += from_step;
            out += to_step;
            edgeq_copy_words(from, out, (to_step + 3) >> 2);
        }
    }
}

/* `any`: with any shift and length of a line. */
static inline __attribute__((always_inline)) void
edgeq_plane(const struct edgeq_plane_image *image, bool any, uint32_t shift, const int8_t *x,
            const uint8_t *channels, uint32_t *scratch, int8_t *out) {
    const int32_t stride = image->stride;
    struct edgeq_lines_channel *const table = (struct edgeq_lines_channel *)scratch;
    uint32_t *const ring = (uint32_t *)(table + EDGEQ_PLANE_GROUP);
    const int32_t channel_count = image->channels;
    const int32_t lines = image->output[1], width = image->output[0];
    const int32_t pad = image->line_pad;
    const uint32_t zero_points = edgeq_plane_zero_points(image);
    const struct edgeq_plane_steps steps =
        edgeq_plane_steps(image, image->input[image->is_upright]);
    const struct edgeq_plane_steps to_steps =
        edgeq_plane_steps(image, (x == out ? image->input : image->output)[image->is_upright]);
    struct edgeq_lines_run run = edgeq_lines_run_of(stride, width, to_steps.run);
    const int32_t blocks = ((width - 1) * stride + 4) >> 1;
    edgeq_fill_words(edgeq_sxtb16(zero_points), (int8_t *)ring, EDGEQ_LINES_BLOCK * blocks);
    for (int32_t c = 0; c < channel_count; c += EDGEQ_PLANE_GROUP) {
        /* The last group may begin before; the channels done are laid out, but not run. */
        const int32_t beyond = c + EDGEQ_PLANE_GROUP - channel_count;
        const int32_t first = beyond > 0 ? beyond : 0;
        const int32_t count = EDGEQ_PLANE_GROUP - first;
        run.channels = count * (int32_t)sizeof *table;
        channels = edgeq_channels_unpack(channels, count, table);
        int32_t in_line = -pad, slot = 0, slot_step = 1;
        run.turn = 0;
        for (int32_t i = 0; i < lines; ++i) {
            const int32_t top = i * stride - pad;
            for (; in_line < top + 3; ++in_line) {
                const bool is_in = in_line >= 0 && in_line < image->input[1];
                edgeq_plane_put_line(image,
                                     is_in ? x + in_line * steps.line + c - first
                                           : (const int8_t *)&zero_points,
                                     is_in ? steps.run : 0, ring + slot);
                if (stride == 1) { /* 0 1 2 0 1 2 */
                    slot = slot == 2 ? 0 : slot + 1;
                } else { /* 0 1 2 1 0 1 2 */
                    slot += slot_step;
                    slot_step = slot == 1 ? slot_step : -slot_step;
                }
            }
            const uint32_t *const block = ring + 3 * first;
            int8_t *const to = out + i * to_steps.line + c;
            if (any) {
                for (int32_t k = 0; k < count; ++k) {
                    const struct edgeq_lines_channel channel =
                        edgeq_lines_turned(table + k, stride, run.turn);
                    if (stride == 1) {
                        edgeq_lines_1(block + 3 * k, EDGEQ_LINES_AT, &channel, (int32_t)shift,
                                      width, to_steps.run, to + k);
                    } else {
                        edgeq_lines_2(block + 3 * k, EDGEQ_LINES_AT, &channel, (int32_t)shift,
                                      width, to_steps.run, to + k);
                    }
                }
            } else if (stride == 1) {
                edgeq_lines_run_1(block, table, to, &run);
            } else {
                edgeq_lines_run_2(block, table, to, &run);
            }
            if (stride == 1) {
                run.turn = run.turn == 0 ? 2 : run.turn - 1;
            } else {
                run.turn ^= 1;
            }
        }
    }
    if (x == out) {
        edgeq_plane_close_up(image, out);
    }
}

/* The layers of a model share these, and only those that one uses are linked. */
static __attribute__((noinline, unused)) void
edgeq_plane_any(const struct edgeq_plane_image *image, uint32_t shift, const int8_t *x,
                const uint8_t *channels, uint32_t *scratch, int8_t *out) {
    edgeq_plane(image, true, shift, x, channels, scratch, out);
}

static __attribute__((noinline, cold, unused)) void
edgeq_plane_usual(const struct edgeq_plane_image *image, const int8_t *x,
                  const uint8_t *channels, uint32_t *scratch, int8_t *out) {
    edgeq_plane(image, false, EDGEQ_LINES_SHIFT, x, channels, scratch, out);
}

/* (H, W, C) -> (out_h, out_w, C); scratch: four struct edgeq_lines_channel, and
 * EDGEQ_LINES_BLOCK words for each two pixels of a line. */
static inline void edgeq_depthwise_conv_2d_plane(const struct edgeq_depthwise_conv_2d_plane *op,
                                                 const int8_t *x, const uint8_t *channels,
                                                 uint32_t *scratch, int8_t *out) {
    if (op->shift != EDGEQ_LINES_SHIFT || op->image.output[0] < 2) {
        edgeq_plane_any(&op->image, op->shift, x, channels, scratch, out);
    } else {
        edgeq_plane_usual(&op->image, x, channels, scratch, out);
    }
}

#endif /* EDGEQ_DEPTHWISE_CONV_2D_PLANE_H */
