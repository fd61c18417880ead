#ifndef SAMPLES_H
#define SAMPLES_H

#include "model.h"

#define EDGEQ_SAMPLES_COUNT 7

extern const uint8_t edgeq_samples[EDGEQ_SAMPLES_COUNT][EDGEQ_MODEL_INPUT_NBYTES];

#endif /* SAMPLES_H */
