/* Sets up the board in the order that its parts depend on each other. */
#include "edgeq_drivers.h"

void edgeq_platform_init(void) {
    edgeq_clock_init();
    edgeq_uart_init();
    edgeq_ticks_init();
}
