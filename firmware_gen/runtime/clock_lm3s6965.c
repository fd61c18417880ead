/* Clock kind "lm3s6965": 8 MHz crystal, PLL (400 MHz, halved) divided to EDGEQ_CORE_HZ; enables
 * UART0 on PA0 and PA1.
 * Texas Instruments LM3S6965 data sheet (DS-LM3S6965), sections 5.4 (system control), 5.3
 * (procedure) and 8.5 (GPIO). */
#include "edgeq_drivers.h"

#define RIS         0x400fe050u
#define RCC         0x400fe060u
#define RCGC1       0x400fe104u
#define RCGC2       0x400fe108u
#define GPIOA_AFSEL 0x40004420u
#define GPIOA_DEN   0x4000451cu

#define RIS_PLL_LOCKED   (1u << 6)
#define RCC_MAIN_OFF     (1u << 0)
#define RCC_OSCSRC_MASK  (3u << 4) /* 0: the main oscillator */
#define RCC_XTAL_MASK    (0xfu << 6)
#define RCC_XTAL_8MHZ    (0xeu << 6)
#define RCC_BYPASS       (1u << 11)
#define RCC_POWER_DOWN   (1u << 13)
#define RCC_USE_DIVIDER  (1u << 22)
#define RCC_DIVIDER_MASK (0xfu << 23)
#define PLL_HZ           200000000u
#define DIVIDER          (PLL_HZ / EDGEQ_CORE_HZ)
#define RCGC1_UART0      (1u << 0)
#define RCGC2_GPIOA      (1u << 0)
#define UART0_PINS       3u

_Static_assert(DIVIDER *EDGEQ_CORE_HZ == PLL_HZ && DIVIDER >= 4u && DIVIDER <= 16u,
               "the core clock must be 200 MHz divided by 4 to 16");

void edgeq_clock_init(void) {
    edgeq_modify(RCC, RCC_BYPASS | RCC_USE_DIVIDER | RCC_MAIN_OFF, RCC_BYPASS);
    edgeq_modify(RCC, RCC_XTAL_MASK | RCC_OSCSRC_MASK | RCC_POWER_DOWN, RCC_XTAL_8MHZ);
    edgeq_modify(RCC, RCC_DIVIDER_MASK | RCC_USE_DIVIDER,
                 ((DIVIDER - 1u) << 23) | RCC_USE_DIVIDER);
    if (edgeq_wait(RIS, RIS_PLL_LOCKED, RIS_PLL_LOCKED)) {
        edgeq_modify(RCC, RCC_BYPASS, 0u);
    }
    edgeq_modify(RCGC1, RCGC1_UART0, RCGC1_UART0);
    edgeq_modify(RCGC2, RCGC2_GPIOA, RCGC2_GPIOA);
    /* Three clocks must pass before an enabled peripheral answers (section 5.2.4.1). */
    (void)EDGEQ_REG32(RCGC2);
    (void)EDGEQ_REG32(RCGC2);
    edgeq_modify(GPIOA_AFSEL, UART0_PINS, UART0_PINS);
    edgeq_modify(GPIOA_DEN, UART0_PINS, UART0_PINS);
}
