/* The core's cycle counter, for firmware that is built to measure its layers. Registers: Arm
 * DDI0403E, ARMv7-M Architecture Reference Manual, sections C1.6.5 (DEMCR) and C1.8 (DWT), the
 * same in ARMv8-M (DDI0553B). The lock, which the Cortex-M7 has, and the identification are
 * those of every CoreSight component: Arm IHI0029, LAR and CIDR0 to CIDR3. */
#ifndef EDGEQ_CYCLES_H
#define EDGEQ_CYCLES_H

#include <stdbool.h>
#include <stdint.h>

#define EDGEQ_CYCLES_REG(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define EDGEQ_DEMCR               0xe000edfcu
#define EDGEQ_DEMCR_TRCENA        (1u << 24)
#define EDGEQ_DWT_CTRL            0xe0001000u
#define EDGEQ_DWT_CTRL_CYCCNTENA  (1u << 0)
#define EDGEQ_DWT_CTRL_NOCYCCNT   (1u << 25)
#define EDGEQ_DWT_CYCCNT          0xe0001004u
#define EDGEQ_DWT_LAR             0xe0001fb0u
#define EDGEQ_DWT_UNLOCK          0xc5acce55u
#define EDGEQ_DWT_CIDR0           0xe0001ff0u

/* Cycles so far, modulo 2**32. */
static inline uint32_t edgeq_cycles(void) {
    return EDGEQ_CYCLES_REG(EDGEQ_DWT_CYCCNT);
}

/* Lets the counter run; false if the core has none, or it stands still. */
static inline bool edgeq_cycles_start(void) {
    EDGEQ_CYCLES_REG(EDGEQ_DEMCR) |= EDGEQ_DEMCR_TRCENA;
    if ((EDGEQ_CYCLES_REG(EDGEQ_DEMCR) & EDGEQ_DEMCR_TRCENA) == 0u ||
        (EDGEQ_CYCLES_REG(EDGEQ_DWT_CTRL) & EDGEQ_DWT_CTRL_NOCYCCNT) != 0u) {
        return false;
    }
    EDGEQ_CYCLES_REG(EDGEQ_DWT_LAR) = EDGEQ_DWT_UNLOCK;
    EDGEQ_CYCLES_REG(EDGEQ_DWT_CTRL) |= EDGEQ_DWT_CTRL_CYCCNTENA;
    const uint32_t before = edgeq_cycles();
    for (uint32_t i = 0; i < 16u; ++i) {
        if (edgeq_cycles() != before) {
            return true;
        }
    }
    return false;
}

/* Whether the unit has the preamble of a CoreSight identification (CIDR0, CIDR2, CIDR3), which
 * real ones have and the counter of an emulator must not have. */
static inline bool edgeq_cycles_are_real(void) {
    return (EDGEQ_CYCLES_REG(EDGEQ_DWT_CIDR0) & 0xffu) == 0x0du &&
           (EDGEQ_CYCLES_REG(EDGEQ_DWT_CIDR0 + 8u) & 0xffu) == 0x05u &&
           (EDGEQ_CYCLES_REG(EDGEQ_DWT_CIDR0 + 12u) & 0xffu) == 0xb1u;
}

#endif /* EDGEQ_CYCLES_H */
