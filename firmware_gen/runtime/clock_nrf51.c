/* Clock kind "nrf51": the core runs at 16 MHz from reset; this starts the crystal, so that the
 * UART's rate is exact. nrf51.svd; nRF51 Series Reference Manual v3.0, CLOCK. */
#include "edgeq_drivers.h"

#define TASKS_HFCLKSTART    0x40000000u
#define EVENTS_HFCLKSTARTED 0x40000100u

void edgeq_clock_init(void) {
    EDGEQ_REG32(EVENTS_HFCLKSTARTED) = 0u;
    EDGEQ_REG32(TASKS_HFCLKSTART) = 1u;
    (void)edgeq_wait(EVENTS_HFCLKSTARTED, 1u, 1u);
}
