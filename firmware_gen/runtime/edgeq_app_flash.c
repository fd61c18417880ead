/* Samples stored in flash: edgeq_samples of the generated samples.h, each the input tensors one
 * behind the other. */
#include "edgeq_app.h"

#include "model.h"
#include "samples.h"

uint32_t edgeq_app_sample_count(void) {
    return (uint32_t)EDGEQ_SAMPLES_COUNT;
}

void edgeq_app_load_sample(uint32_t index) {
    const uint8_t *from = edgeq_samples[index];
    for (size_t tensor = 0; tensor < EDGEQ_MODEL_INPUT_COUNT; ++tensor) {
        uint8_t *to = edgeq_model_input(tensor);
        const size_t nbytes = edgeq_model_input_nbytes(tensor);
        for (size_t i = 0; i < nbytes; ++i) {
            to[i] = *from++;
        }
    }
}
