/* Clock kind "nrf52": the core runs at 64 MHz from reset; this starts the crystal, so that the
 * UART's rate is exact, and the flash cache.
 * Registers: nrf52840.svd; nRF52840 Product Specification v1.1, CLOCK and NVMC. */
#include "edgeq_drivers.h"

#define TASKS_HFCLKSTART    0x40000000u
#define EVENTS_HFCLKSTARTED 0x40000100u
#define NVMC_ICACHECNF      0x4001e540u
#define ICACHECNF_ENABLE    (1u << 0)

void edgeq_clock_init(void) {
    EDGEQ_REG32(EVENTS_HFCLKSTARTED) = 0u;
    EDGEQ_REG32(TASKS_HFCLKSTART) = 1u;
    (void)edgeq_wait(EVENTS_HFCLKSTARTED, 1u, 1u);
    EDGEQ_REG32(NVMC_ICACHECNF) = ICACHECNF_ENABLE;
}
