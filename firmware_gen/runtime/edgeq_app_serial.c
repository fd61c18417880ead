/* Inputs come from the serial line only. */
#include "edgeq_app.h"

uint32_t edgeq_app_sample_count(void) {
    return 0u;
}

void edgeq_app_load_sample(uint32_t index) {
    (void)index;
}

bool edgeq_app_start_stream(uint32_t count, uint32_t first) {
    (void)count;
    (void)first;
    return false;
}

void edgeq_app_poll_stream(enum edgeq_frame_event event) {
    (void)event;
}
