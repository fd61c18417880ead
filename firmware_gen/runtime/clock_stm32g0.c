/* Clock kind "stm32g0": STM32G0 from its 16 MHz RC oscillator (1 %) through the PLL; AHB and
 * APB at the core clock. Registers: ST CMSIS device header stm32g0b1xx.h; ST RM0444, RCC and
 * flash interface. */
#include "edgeq_drivers.h"

#define RCC_CR      0x40021000u
#define RCC_CFGR    0x40021008u
#define RCC_PLLCFGR 0x4002100cu
#define FLASH_ACR   0x40022000u

#define CR_HSI_ON        (1u << 8)
#define CR_HSI_READY     (1u << 10)
#define CR_PLL_ON        (1u << 24)
#define CR_PLL_READY     (1u << 25)
#define PLLCFGR_HSI      (2u << 0)
#define PLLCFGR_R_ENABLE (1u << 28)
#define CFGR_SW_MASK     (7u << 0)
#define CFGR_SW_PLL      (2u << 0)
#define CFGR_SWS_MASK    (7u << 3)
#define CFGR_SWS_PLL     (2u << 3)
#define ACR_LATENCY      2u /* range 1, above 48 MHz: ST RM0444 */
#define ACR_LATENCY_MASK 7u
#define ACR_PREFETCH     (1u << 8)
#define ACR_CODE_CACHE   (1u << 9)

#define HSI_HZ 16000000u
#define PLL_R  2u
#define PLL_N  (EDGEQ_CORE_HZ / HSI_HZ * PLL_R)

_Static_assert(HSI_HZ *PLL_N == EDGEQ_CORE_HZ * PLL_R,
               "the PLL must reach the core clock exactly");
_Static_assert(EDGEQ_CORE_HZ > 48000000u && EDGEQ_CORE_HZ <= 64000000u,
               "two wait states: above 48 MHz, up to 64 MHz");

void edgeq_clock_init(void) {
    edgeq_modify(RCC_CR, CR_HSI_ON, CR_HSI_ON);
    (void)edgeq_wait(RCC_CR, CR_HSI_READY, CR_HSI_READY);
    /* Fields M and R hold the divider less one. */
    EDGEQ_REG32(RCC_PLLCFGR) = PLLCFGR_HSI | (PLL_N << 8) | ((PLL_R - 1u) << 29);
    edgeq_modify(RCC_CR, CR_PLL_ON, CR_PLL_ON);
    if (!edgeq_wait(RCC_CR, CR_PLL_READY, CR_PLL_READY)) {
        return; /* an emulator without RCC */
    }
    edgeq_modify(RCC_PLLCFGR, PLLCFGR_R_ENABLE, PLLCFGR_R_ENABLE);
    edgeq_modify(FLASH_ACR, ACR_LATENCY_MASK, ACR_LATENCY);
    (void)edgeq_wait(FLASH_ACR, ACR_LATENCY_MASK, ACR_LATENCY);
    /* No prefetch: on the G0B1 it may fail when code branches from one flash bank to the other
     * (ST errata sheet ES0548), and Zephyr leaves it off for that reason too. */
    edgeq_modify(FLASH_ACR, ACR_PREFETCH | ACR_CODE_CACHE, ACR_CODE_CACHE);
    edgeq_modify(RCC_CFGR, CFGR_SW_MASK, CFGR_SW_PLL);
    (void)edgeq_wait(RCC_CFGR, CFGR_SWS_MASK, CFGR_SWS_PLL);
}
