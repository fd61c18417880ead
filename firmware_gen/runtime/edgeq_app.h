/* Where a program's inputs come from: one of edgeq_app_*.c, or the user's own. */
#ifndef EDGEQ_APP_H
#define EDGEQ_APP_H

#include <stdint.h>

/* How many samples the program supplies itself, below 2**31; 0: inputs come only from the line.
 */
uint32_t edgeq_app_sample_count(void);

/* Writes all input tensors of sample `index` (below the count), each byte of them. */
void edgeq_app_load_sample(uint32_t index);

#endif /* EDGEQ_APP_H */
