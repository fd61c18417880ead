/* Clock kind "reset": the core already runs at EDGEQ_CORE_HZ after reset. */
#include "edgeq_drivers.h"

void edgeq_clock_init(void) {}
