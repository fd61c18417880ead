/* Ticks kind "systick": the core's 24-bit SysTick timer, extended to 64 bits by its interrupt.
 * Registers: Arm DDI0403E, ARMv7-M Architecture Reference Manual, SysTick (the same in ARMv6-M,
 * DDI0419E, and ARMv8-M, DDI0553B). */
#include "edgeq_drivers.h"

#define SYST_CSR           0xe000e010u
#define SYST_RVR           0xe000e014u
#define SYST_CVR           0xe000e018u
#define SYST_CSR_ENABLE    (1u << 0)
#define SYST_CSR_TICKINT   (1u << 1)
#define SYST_CSR_CLKSOURCE (1u << 2) /* the processor clock */
#define PERIOD_MASK        0x00ffffffu

/* DDI0403E: ICSR, and its bit PENDSTSET: SysTick is pending. */
#define ICSR           0xe000ed04u
#define ICSR_PENDSTSET (1u << 26)

static volatile uint32_t edgeq_systick_periods;

void SysTick_Handler(void);
EDGEQ_TICKS_HANDLER void SysTick_Handler(void) {
    edgeq_systick_periods = edgeq_systick_periods + 1u;
    edgeq_check_stack();
}

void edgeq_ticks_init(void) {
    EDGEQ_USE("SysTick_Handler");
    EDGEQ_REG32(SYST_CSR) = 0u;
    edgeq_systick_periods = 0u;
    EDGEQ_REG32(SYST_RVR) = PERIOD_MASK;
    EDGEQ_REG32(SYST_CVR) = 0u; /* any write clears it, without an interrupt */
    EDGEQ_REG32(SYST_CSR) = SYST_CSR_ENABLE | SYST_CSR_TICKINT | SYST_CSR_CLKSOURCE;
}

/* A value belongs to `periods` if no interrupt was waiting after it was read and none was taken
 * in between. The interrupt comes as the count reaches 0, so 0 is the first value of the new
 * period, not the last of the old one. */
uint64_t edgeq_ticks(void) {
    uint32_t periods;
    uint32_t value;
    uint32_t pending;
    do {
        periods = edgeq_systick_periods;
        value = EDGEQ_REG32(SYST_CVR);
        pending = EDGEQ_REG32(ICSR) & ICSR_PENDSTSET;
    } while (pending != 0u || periods != edgeq_systick_periods);
    return ((uint64_t)periods << 24) | ((0u - value) & PERIOD_MASK);
}
