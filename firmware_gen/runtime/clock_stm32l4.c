/* Clock kind "stm32l4": STM32L4+ from its 16 MHz RC oscillator (1 %) through the PLL, in range
 * 1 boost mode; AHB and both APB at the core clock; the supply of port G valid. Registers: ST
 * CMSIS device header stm32l4r5xx.h; ST RM0432, RCC, PWR (with the procedure above 80 MHz) and
 * flash interface. Factors and wait states as Mbed's system_clock.c for the chip has them. */
#include "edgeq_drivers.h"

#define RCC_CR       0x40021000u
#define RCC_CFGR     0x40021008u
#define RCC_PLLCFGR  0x4002100cu
#define RCC_APB1ENR1 0x40021058u
#define FLASH_ACR    0x40022000u
#define PWR_CR2      0x40007004u
#define PWR_CR5      0x40007080u

#define CR_HSI_ON        (1u << 8)
#define CR_HSI_READY     (1u << 10)
#define CR_PLL_ON        (1u << 24)
#define CR_PLL_READY     (1u << 25)
#define PLLCFGR_HSI      (2u << 0)
#define PLLCFGR_R_ENABLE (1u << 24) /* field R = 0 divides by 2 */
#define CFGR_SW_MASK     (3u << 0)
#define CFGR_SW_PLL      (3u << 0)
#define CFGR_SWS_MASK    (3u << 2)
#define CFGR_SWS_PLL     (3u << 2)
#define CFGR_HPRE_MASK   (0xfu << 4)
#define CFGR_HPRE_BY_2   (8u << 4)
#define APB1ENR1_PWR     (1u << 28)
#define ACR_LATENCY      5u /* range 1 boost, up to 120 MHz */
#define ACR_LATENCY_MASK 0xfu
#define ACR_CACHES       ((1u << 8) | (1u << 9) | (1u << 10)) /* prefetch, code, data */
#define CR2_IOSV         (1u << 9)                            /* VDDIO2 of port G is valid */
#define CR5_NO_BOOST     (1u << 8)

#define HSI_HZ 16000000u
#define PLL_M  4u
#define PLL_R  2u
#define PLL_N  (EDGEQ_CORE_HZ / (HSI_HZ / PLL_M) * PLL_R)

_Static_assert(HSI_HZ / PLL_M * PLL_N == EDGEQ_CORE_HZ * PLL_R,
               "the PLL must reach the core clock exactly");
_Static_assert(EDGEQ_CORE_HZ > 80000000u && EDGEQ_CORE_HZ <= 120000000u,
               "boost mode: above 80 MHz, up to 120 MHz");

void edgeq_clock_init(void) {
    edgeq_modify(RCC_APB1ENR1, APB1ENR1_PWR, APB1ENR1_PWR);
    (void)EDGEQ_REG32(RCC_APB1ENR1);
    edgeq_modify(PWR_CR2, CR2_IOSV, CR2_IOSV);
    edgeq_modify(RCC_CR, CR_HSI_ON, CR_HSI_ON);
    (void)edgeq_wait(RCC_CR, CR_HSI_READY, CR_HSI_READY);
    edgeq_modify(PWR_CR5, CR5_NO_BOOST, 0u);
    EDGEQ_REG32(RCC_PLLCFGR) = PLLCFGR_HSI | ((PLL_M - 1u) << 4) | (PLL_N << 8);
    edgeq_modify(RCC_CR, CR_PLL_ON, CR_PLL_ON);
    if (!edgeq_wait(RCC_CR, CR_PLL_READY, CR_PLL_READY)) {
        return; /* an emulator without RCC */
    }
    edgeq_modify(RCC_PLLCFGR, PLLCFGR_R_ENABLE, PLLCFGR_R_ENABLE);
    edgeq_modify(FLASH_ACR, ACR_LATENCY_MASK, ACR_LATENCY);
    (void)edgeq_wait(FLASH_ACR, ACR_LATENCY_MASK, ACR_LATENCY);
    edgeq_modify(FLASH_ACR, ACR_CACHES, ACR_CACHES);
    edgeq_modify(RCC_CFGR, CFGR_HPRE_MASK, CFGR_HPRE_BY_2);
    edgeq_modify(RCC_CFGR, CFGR_SW_MASK, CFGR_SW_PLL);
    (void)edgeq_wait(RCC_CFGR, CFGR_SWS_MASK, CFGR_SWS_PLL);
    /* At least 1 us at half the speed: 60 reads take longer than 60 clocks of 60 MHz. */
    for (uint32_t i = 0; i < 60u; ++i) {
        (void)EDGEQ_REG32(RCC_CFGR);
    }
    edgeq_modify(RCC_CFGR, CFGR_HPRE_MASK, 0u);
}
