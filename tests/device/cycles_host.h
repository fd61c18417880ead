/* In place of edgeq_cycles.h, by -include: a counter on the host. COUNTS, IS_REAL: 0 or 1. */
#ifndef EDGEQ_CYCLES_H
#define EDGEQ_CYCLES_H

#include <stdbool.h>

static inline bool edgeq_cycles_start(void) {
    return COUNTS != 0;
}

static inline bool edgeq_cycles_are_real(void) {
    return IS_REAL != 0;
}

#endif /* EDGEQ_CYCLES_H */
