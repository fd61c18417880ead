/* The model "tiny": write the inputs, call edgeq_model_run, read the outputs. Not reentrant:
 * there is one arena, of 20 bytes, static in model.c. Images are (1, height, width,
 * channels), channels together.
 *
 * Input 0: input: int8 (1, 3, 3, 1), scale 0.5 (0x1p-1), zero point -3, 9 bytes.
 * A real value x is written as q = round(x / 0.5) - 3, clamped to -128 .. 127.
 *
 * Output 0: scores: int8 (1, 3), scale 0.5 (0x1p-1), zero point -3, 3 bytes.
 * q stands for the real value 0.5 * (q + 3). */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

#define EDGEQ_MODEL_NAME "tiny"
#define EDGEQ_MODEL_DIGEST {0x34, 0x32, 0x60, 0x69, 0x7b, 0xfb, 0xd8, 0xde, \
                            0x98, 0x20, 0x74, 0x53, 0xed, 0x69, 0xc3, 0x74}
#define EDGEQ_MODEL_ARENA_NBYTES 20u
#define EDGEQ_MODEL_INPUT_COUNT 1u
#define EDGEQ_MODEL_INPUT_NBYTES 9u
#define EDGEQ_MODEL_INPUT_0_NBYTES 9u
#define EDGEQ_MODEL_INPUT_0_LENGTH 9u
#define EDGEQ_MODEL_OUTPUT_COUNT 1u
#define EDGEQ_MODEL_OUTPUT_NBYTES 3u
#define EDGEQ_MODEL_OUTPUT_0_NBYTES 3u
#define EDGEQ_MODEL_OUTPUT_0_LENGTH 3u

/* For the functions below alone. */
extern uint8_t edgeq_arena[EDGEQ_MODEL_ARENA_NBYTES];

/* Where to write input `index`, 4 bytes aligned; NULL if there is none. A run may
 * overwrite its inputs: write all of them before each. */
inline void *edgeq_model_input(size_t index) {
    return index == 0 ? edgeq_arena + 8 : NULL;
}

/* Runs the model on what is in the inputs. */
void edgeq_model_run(void);

/* Where output `index` is from the end of a run to the next write of an input; NULL if there is
 * none. */
inline const void *edgeq_model_output(size_t index) {
    return index == 0 ? edgeq_arena + 8 : NULL;
}

/* Bytes of input `index`, 0 if there is none. */
static inline size_t edgeq_model_input_nbytes(size_t index) {
    static const size_t nbytes[EDGEQ_MODEL_INPUT_COUNT] = {EDGEQ_MODEL_INPUT_0_NBYTES};
    return index < EDGEQ_MODEL_INPUT_COUNT ? nbytes[index] : 0;
}

/* Bytes of output `index`, 0 if there is none. */
static inline size_t edgeq_model_output_nbytes(size_t index) {
    static const size_t nbytes[EDGEQ_MODEL_OUTPUT_COUNT] = {EDGEQ_MODEL_OUTPUT_0_NBYTES};
    return index < EDGEQ_MODEL_OUTPUT_COUNT ? nbytes[index] : 0;
}

#endif /* MODEL_H */
