/* Clock kind "stm32f4": crystal (or the clock of the debugger), else the 16 MHz RC oscillator,
 * through the PLL; AHB at the core clock, APB1 a quarter, APB2 half of it.
 * Registers: ST CMSIS device header stm32f446xx.h; ST RM0090 (STM32F405) and RM0390
 * (STM32F446), RCC, PWR and flash interface, with the limits of the PLL and the procedure with
 * overdrive. */
#include "edgeq_drivers.h"

#define RCC_CR      0x40023800u
#define RCC_PLLCFGR 0x40023804u
#define RCC_CFGR    0x40023808u
#define RCC_APB1ENR 0x40023840u
#define FLASH_ACR   0x40023c00u
#define PWR_CR      0x40007000u
#define PWR_CSR     0x40007004u

#define CR_HSE_ON        (1u << 16)
#define CR_HSE_READY     (1u << 17)
#define CR_HSE_BYPASS    (1u << 18)
#define CR_PLL_ON        (1u << 24)
#define CR_PLL_READY     (1u << 25)
#define PLLCFGR_HSE      (1u << 22)
#define PLLCFGR_Q(q)     ((q) << 24)
#define PLLCFGR_R(r)     ((r) << 28) /* of the F446; must be 2 at least */
#define CFGR_SW_MASK     (3u << 0)
#define CFGR_SW_PLL      (2u << 0)
#define CFGR_SWS_MASK    (3u << 2)
#define CFGR_SWS_PLL     (2u << 2)
#define CFGR_DIVIDERS    ((0xfu << 4) | (7u << 10) | (7u << 13))
#define CFGR_APB1_BY_4   (5u << 10)
#define CFGR_APB2_BY_2   (4u << 13)
#define APB1ENR_PWR      (1u << 28)
#define ACR_LATENCY      5u /* 3.3 V, above 150 MHz: ST RM0390 */
#define ACR_LATENCY_MASK 0xfu
#define ACR_PREFETCH     (1u << 8)
#define ACR_CACHES       ((1u << 9) | (1u << 10)) /* code, data */
#define PWR_OD_ENABLE    (1u << 16)
#define PWR_OD_SWITCH    (1u << 17)
#define PWR_OD_READY     (1u << 16)
#define PWR_ODSW_READY   (1u << 17)

#define HSI_HZ 16000000u
#define PLL_P  2u
#define PLL_N  (EDGEQ_CORE_HZ * PLL_P / EDGEQ_CLOCK_PLL_INPUT_HZ)

_Static_assert(PLL_N *EDGEQ_CLOCK_PLL_INPUT_HZ == EDGEQ_CORE_HZ * PLL_P,
               "the PLL must reach the core clock exactly");
_Static_assert(PLL_N >= 50u && PLL_N <= 432u, "the multiplier that RM0390 allows");
_Static_assert(EDGEQ_CLOCK_HSE_HZ % EDGEQ_CLOCK_PLL_INPUT_HZ == 0u &&
                   HSI_HZ % EDGEQ_CLOCK_PLL_INPUT_HZ == 0u,
               "either oscillator must divide to the PLL's input");

void edgeq_clock_init(void) {
    edgeq_modify(RCC_APB1ENR, APB1ENR_PWR, APB1ENR_PWR);
    edgeq_modify(RCC_CR, CR_HSE_BYPASS, EDGEQ_CLOCK_HSE_BYPASS != 0u ? CR_HSE_BYPASS : 0u);
    edgeq_modify(RCC_CR, CR_HSE_ON, CR_HSE_ON);
    /* Either source gives the PLL the same input, so a dead crystal costs precision only. */
    const bool crystal = edgeq_wait(RCC_CR, CR_HSE_READY, CR_HSE_READY);
    const uint32_t pll_m = (crystal ? EDGEQ_CLOCK_HSE_HZ : HSI_HZ) / EDGEQ_CLOCK_PLL_INPUT_HZ;
    EDGEQ_REG32(RCC_PLLCFGR) = pll_m | (PLL_N << 6) | (crystal ? PLLCFGR_HSE : 0u) |
                               PLLCFGR_Q(8u) | PLLCFGR_R(2u); /* field P = 0 divides by 2 */
    edgeq_modify(RCC_CR, CR_PLL_ON, CR_PLL_ON);
    if (EDGEQ_CLOCK_OVERDRIVE != 0u) {
        edgeq_modify(PWR_CR, PWR_OD_ENABLE, PWR_OD_ENABLE);
        (void)edgeq_wait(PWR_CSR, PWR_OD_READY, PWR_OD_READY);
        edgeq_modify(PWR_CR, PWR_OD_SWITCH, PWR_OD_SWITCH);
        (void)edgeq_wait(PWR_CSR, PWR_ODSW_READY, PWR_ODSW_READY);
    }
    if (!edgeq_wait(RCC_CR, CR_PLL_READY, CR_PLL_READY)) {
        return; /* an emulator without RCC */
    }
    edgeq_modify(FLASH_ACR, ACR_LATENCY_MASK, ACR_LATENCY);
    (void)edgeq_wait(FLASH_ACR, ACR_LATENCY_MASK, ACR_LATENCY);
    edgeq_modify(FLASH_ACR, ACR_PREFETCH | ACR_CACHES,
                 ACR_CACHES | (EDGEQ_CLOCK_PREFETCH != 0u ? ACR_PREFETCH : 0u));
    edgeq_modify(RCC_CFGR, CFGR_DIVIDERS, CFGR_APB1_BY_4 | CFGR_APB2_BY_2);
    edgeq_modify(RCC_CFGR, CFGR_SW_MASK, CFGR_SW_PLL);
    (void)edgeq_wait(RCC_CFGR, CFGR_SWS_MASK, CFGR_SWS_PLL);
}
