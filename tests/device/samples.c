#include "samples.h"

/* The first byte tells samples apart; the others are zero, the hardest for COBS. */
const uint8_t edgeq_samples[EDGEQ_SAMPLES_COUNT][EDGEQ_MODEL_INPUT_NBYTES] = {
    {0}, {1}, {2, 0, 255}, {3}, {4, 4}, {5}, {6, 0, 0, 9},
};
