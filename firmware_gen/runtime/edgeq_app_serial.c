/* Inputs come from the serial line only. */
#include "edgeq_app.h"

uint32_t edgeq_app_sample_count(void) {
    return 0u;
}

void edgeq_app_load_sample(uint32_t index) {
    (void)index;
}
