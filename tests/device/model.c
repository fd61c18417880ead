/* Output 0: the inputs reversed and mixed with their place; output 1: sums of them. The outputs
 * lie where the inputs were. RUN_US: how long a run takes at least. */
#include "model.h"

#include <stdlib.h>
#include <unistd.h>

#ifndef RUN_US
#define RUN_US 0
#endif

static uint8_t arena[EDGEQ_MODEL_ARENA_NBYTES];

void *edgeq_model_input(size_t index) {
    return index == 0 ? arena : arena + INPUT_0;
}

const void *edgeq_model_output(size_t index) {
    return index == 0 ? arena : arena + EDGEQ_MODEL_INPUT_NBYTES;
}

#ifdef EDGEQ_MODEL_LAYER_COUNT
uint32_t edgeq_model_cycles[EDGEQ_MODEL_LAYER_COUNT];
#endif

void edgeq_model_run(void) {
#ifdef EDGEQ_MODEL_LAYER_COUNT
    for (uint32_t i = 0; i < EDGEQ_MODEL_LAYER_COUNT; ++i) {
        edgeq_model_cycles[i] = 0xfffffff0u - 3u * i;
    }
#endif
    enum { N = EDGEQ_MODEL_INPUT_NBYTES };
    uint32_t sum = 0;
    for (size_t i = 0; i < N; ++i) {
        sum = sum * 31u + arena[i];
    }
    for (size_t i = 0; i < N / 2; ++i) {
        const uint8_t kept = arena[i];
        arena[i] = arena[N - 1 - i];
        arena[N - 1 - i] = kept;
    }
    for (size_t i = 0; i < N; ++i) {
        arena[i] = (uint8_t)(arena[i] ^ ((i * 7u) & 0xffu));
    }
    for (size_t i = 0; i < OUTPUT_1; ++i) {
        arena[N + i] = (uint8_t)(sum >> (8u * i) & 0xffu);
    }
#if RUN_US > 0
    (void)usleep(RUN_US);
#endif
}
