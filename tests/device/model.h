/* A model of two inputs and two outputs that overlie each other in one arena, as planned ones
 * do. tests/stream_device.py has its twin in Python. */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifndef EDGEQ_MODEL_NAME
#define EDGEQ_MODEL_NAME "mixer"
#endif
#ifndef DIGEST_LAST
#define DIGEST_LAST 0x0f
#endif
#define EDGEQ_MODEL_DIGEST                                                                     \
    {0xed, 0x6e, 0x00, 0x03, 0x04, 0x05, 0x06, 0x07,                                           \
     0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, DIGEST_LAST}
#ifndef INPUT_0
#define INPUT_0 20
#endif
#define INPUT_1                   12
#define OUTPUT_1                  3
#define EDGEQ_MODEL_INPUT_COUNT   2
#define EDGEQ_MODEL_OUTPUT_COUNT  2
#define EDGEQ_MODEL_INPUT_NBYTES  (INPUT_0 + INPUT_1)
#define EDGEQ_MODEL_OUTPUT_NBYTES (INPUT_0 + INPUT_1 + OUTPUT_1)
#define EDGEQ_MODEL_ARENA_NBYTES  (INPUT_0 + INPUT_1 + OUTPUT_1)

void *edgeq_model_input(size_t index);
void edgeq_model_run(void);
const void *edgeq_model_output(size_t index);

static inline size_t edgeq_model_input_nbytes(size_t index) {
    return index == 0 ? INPUT_0 : INPUT_1;
}

static inline size_t edgeq_model_output_nbytes(size_t index) {
    return index == 0 ? INPUT_0 + INPUT_1 : OUTPUT_1;
}

#ifdef EDGEQ_MODEL_LAYER_COUNT
extern uint32_t edgeq_model_cycles[EDGEQ_MODEL_LAYER_COUNT];
#endif

#endif /* MODEL_H */
