/* Clock kind "lm3s6965": 8 MHz crystal, PLL (400 MHz, halved) divided to EDGEQ_CORE_HZ; enables
 * UART0 on PA0 and PA1.
 * Registers and procedure: SysCtlClockSet of the vendor's driverlib (sysctl.c, hw_sysctl.h);
 * Texas Instruments LM3S6965 data sheet (DS-LM3S6965), system control and GPIO. */
#include "edgeq_drivers.h"

#define DID0        0x400fe000u
#define LDOPCTL     0x400fe034u
#define RIS         0x400fe050u
#define RCC         0x400fe060u
#define RCGC1       0x400fe104u
#define RCGC2       0x400fe108u
#define GPIOA_AFSEL 0x40004420u
#define GPIOA_DEN   0x4000451cu

#define DID0_REVISION    0xffffu
#define DID0_A2          0x0002u
#define LDOPCTL_2_75_V   0x1bu
#define RIS_PLL_LOCKED   (1u << 6)
#define RCC_MAIN_OFF     (1u << 0)
#define RCC_OSCSRC_MASK  (3u << 4) /* 0: the main oscillator */
#define RCC_XTAL_MASK    (0xfu << 6)
#define RCC_XTAL_8MHZ    (0xeu << 6)
#define RCC_BYPASS       (1u << 11)
#define RCC_OUTPUT_OFF   (1u << 12) /* of the PLL; driverlib clears it with the PLL's power */
#define RCC_POWER_DOWN   (1u << 13)
#define RCC_USE_DIVIDER  (1u << 22)
#define RCC_DIVIDER_MASK (0xfu << 23)
#define PLL_HZ           200000000u
#define DIVIDER          (PLL_HZ / EDGEQ_CORE_HZ)
#define RCGC1_UART0      (1u << 0)
#define RCGC2_GPIOA      (1u << 0)
#define UART0_PINS       3u
#define CRYSTAL_LOOPS                                                                          \
    524288u /* of three clocks at least, as driverlib's SysCtlClockSet waits */

_Static_assert(DIVIDER *EDGEQ_CORE_HZ == PLL_HZ && DIVIDER >= 4u && DIVIDER <= 16u,
               "the core clock must be 200 MHz divided by 4 to 16");

void edgeq_clock_init(void) {
    /* The PLL of revision A2 is reliable only at 2.75 V: so the vendor's examples for the
     * board. */
    if ((EDGEQ_REG32(DID0) & DID0_REVISION) == DID0_A2) {
        EDGEQ_REG32(LDOPCTL) = LDOPCTL_2_75_V;
    }
    edgeq_modify(RCC, RCC_BYPASS | RCC_USE_DIVIDER | RCC_MAIN_OFF, RCC_BYPASS);
    /* No flag tells that the crystal oscillates, and the core is to run on it. */
    for (uint32_t i = 0; i < CRYSTAL_LOOPS; ++i) {
        __asm__ volatile("");
    }
    edgeq_modify(RCC, RCC_XTAL_MASK | RCC_OSCSRC_MASK | RCC_POWER_DOWN | RCC_OUTPUT_OFF,
                 RCC_XTAL_8MHZ);
    edgeq_modify(RCC, RCC_DIVIDER_MASK | RCC_USE_DIVIDER,
                 ((DIVIDER - 1u) << 23) | RCC_USE_DIVIDER);
    if (edgeq_wait(RIS, RIS_PLL_LOCKED, RIS_PLL_LOCKED)) {
        edgeq_modify(RCC, RCC_BYPASS, 0u);
    }
    edgeq_modify(RCGC1, RCGC1_UART0, RCGC1_UART0);
    edgeq_modify(RCGC2, RCGC2_GPIOA, RCGC2_GPIOA);
    /* Three clocks must pass before an enabled peripheral answers (data sheet). */
    (void)EDGEQ_REG32(RCGC2);
    (void)EDGEQ_REG32(RCGC2);
    edgeq_modify(GPIOA_AFSEL, UART0_PINS, UART0_PINS);
    edgeq_modify(GPIOA_DEN, UART0_PINS, UART0_PINS);
}
