/* Where a program's inputs come from: one of edgeq_app_*.c, or the user's own. */
#ifndef EDGEQ_APP_H
#define EDGEQ_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_framing.h"

/* How many samples the program supplies itself, below 2**31; 0: inputs come only from the line.
 */
uint32_t edgeq_app_sample_count(void);

/* Writes all input tensors of sample `index` (below the count), each byte of them. */
void edgeq_app_load_sample(uint32_t index);

/* edgeq_serial.c has both, weak; an application whose count is always 0 should define them, as
 * edgeq_app_serial.c does: its image then has no code for streams. */

/* Begins a stream, as STREAM asks; false: there are no samples. */
bool edgeq_app_start_stream(uint32_t count, uint32_t first);

/* Called in each edgeq_serial_poll, with what has come; does one run if it is time for one. */
void edgeq_app_poll_stream(enum edgeq_frame_event event);

#endif /* EDGEQ_APP_H */
