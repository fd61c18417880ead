/* Clock kind "stm32h7": STM32H743 at 400 MHz (voltage scale 1, which all revisions have; 480
 * MHz needs revision V) from HSE, else from the 64 MHz RC oscillator; AXI and AHB at half, the
 * APBs at a quarter of the core clock. Registers: ST CMSIS device header
 * stm32h743xx.h; ST RM0433, RCC, PWR and flash interface. */
#include "edgeq_drivers.h"

#define RCC_CR        0x58024400u
#define RCC_CFGR      0x58024410u
#define RCC_D1CFGR    0x58024418u
#define RCC_D2CFGR    0x5802441cu
#define RCC_D3CFGR    0x58024420u
#define RCC_PLLCKSELR 0x58024428u
#define RCC_PLLCFGR   0x5802442cu
#define RCC_PLL1DIVR  0x58024430u
#define RCC_AHB2ENR   0x580244dcu
#define PWR_CSR1      0x58024804u
#define PWR_CR3       0x5802480cu
#define PWR_D3CR      0x58024818u
#define FLASH_ACR     0x52002000u
#define DBGMCU_IDCODE 0x5c001000u
#define AXI_TARG7_MOD 0x51008108u /* AXI_TARG7_FN_MOD: the AXI SRAM's port */

#define CR_HSE_ON        (1u << 16)
#define CR_HSE_READY     (1u << 17)
#define CR_HSE_BYPASS    (1u << 18)
#define CR_PLL1_ON       (1u << 24)
#define CR_PLL1_READY    (1u << 25)
#define CFGR_SW_MASK     (7u << 0)
#define CFGR_SW_PLL1     (3u << 0)
#define CFGR_SWS_MASK    (7u << 3)
#define CFGR_SWS_PLL1    (3u << 3)
#define D1_HPRE_BY_2     (8u << 0)
#define D1_APB3_BY_2     (4u << 4)
#define D2_APB1_BY_2     (4u << 4)
#define D2_APB2_BY_2     (4u << 8)
#define D3_APB4_BY_2     (4u << 4)
#define CKSELR_SOURCE(s) ((s) << 0) /* 0: HSI, 2: HSE */
#define CKSELR_M_MASK    (0x3fu << 4)
#define CKSELR_SRC_MASK  (3u << 0)
#define PLLCFGR_1_MASK   ((0xfu << 0) | (7u << 16))
#define PLLCFGR_IN_2_4   (1u << 2) /* input within 2 .. 4 MHz; wide VCO, no fraction */
#define PLLCFGR_P_ENABLE (1u << 16)
#define AHB2_SRAM_1_TO_3 (7u << 29)
#define CR3_SUPPLY_MASK  (7u << 0)
#define CR3_LDO          (1u << 1)
#define CSR1_READY       (1u << 13)
#define D3CR_VOS_MASK    (3u << 14)
#define D3CR_VOS_SCALE_1 (3u << 14)
#define D3CR_VOS_READY   (1u << 13)
#define ACR_MASK         0x3fu
#define ACR_200_MHZ      (2u | (2u << 4)) /* wait states, WRHIGHFREQ: ST RM0433 */

#define IDCODE_REV_MASK  0xffff0000u
#define IDCODE_REV_FIXED 0x20000000u /* revision Y has 0x1003, X 0x2001, V 0x2003 */
#define MOD_READ_ISS_ONE (1u << 0)

#define HSI_HZ   64000000u
#define INPUT_HZ 2000000u
#define PLL_P    2u
#define PLL_N    (EDGEQ_CORE_HZ / INPUT_HZ * PLL_P)

_Static_assert(INPUT_HZ / PLL_P * PLL_N == EDGEQ_CORE_HZ, "the PLL must reach the core clock");
_Static_assert(EDGEQ_CORE_HZ <= 400000000u && EDGEQ_CORE_HZ >= 96000000u,
               "voltage scale 1 allows 400 MHz, the wide VCO starts at 192 MHz");
_Static_assert(EDGEQ_CLOCK_HSE_HZ % INPUT_HZ == 0u, "HSE must be a multiple of 2 MHz");

/* Revision Y may read wrong data from the AXI SRAM unless its port takes one read at a time: ST
 * errata sheet ES0392; ST's SystemInit and Zephyr's soc_m7.c do the same, as early. */
void edgeq_early_init(void);
void edgeq_early_init(void) {
    if ((EDGEQ_REG32(DBGMCU_IDCODE) & IDCODE_REV_MASK) < IDCODE_REV_FIXED) {
        EDGEQ_REG32(AXI_TARG7_MOD) = MOD_READ_ISS_ONE;
    }
}

void edgeq_clock_init(void) {
    edgeq_modify(RCC_AHB2ENR, AHB2_SRAM_1_TO_3, AHB2_SRAM_1_TO_3); /* an arena may be there */
    /* The supply is written once after power-on, before the voltage scale may change. */
    edgeq_modify(PWR_CR3, CR3_SUPPLY_MASK, CR3_LDO);
    (void)edgeq_wait(PWR_CSR1, CSR1_READY, CSR1_READY);
    edgeq_modify(PWR_D3CR, D3CR_VOS_MASK, D3CR_VOS_SCALE_1);
    (void)edgeq_wait(PWR_D3CR, D3CR_VOS_READY, D3CR_VOS_READY);

    edgeq_modify(RCC_CR, CR_HSE_BYPASS, EDGEQ_CLOCK_HSE_BYPASS != 0u ? CR_HSE_BYPASS : 0u);
    edgeq_modify(RCC_CR, CR_HSE_ON, CR_HSE_ON);
    /* Either source gives the PLL the same input, so a dead crystal costs precision only. */
    const bool crystal = edgeq_wait(RCC_CR, CR_HSE_READY, CR_HSE_READY);
    const uint32_t pll_m = (crystal ? EDGEQ_CLOCK_HSE_HZ : HSI_HZ) / INPUT_HZ;
    edgeq_modify(RCC_PLLCKSELR, CKSELR_SRC_MASK | CKSELR_M_MASK,
                 CKSELR_SOURCE(crystal ? 2u : 0u) | (pll_m << 4));
    edgeq_modify(RCC_PLLCFGR, PLLCFGR_1_MASK, PLLCFGR_IN_2_4 | PLLCFGR_P_ENABLE);
    EDGEQ_REG32(RCC_PLL1DIVR) = (PLL_N - 1u) | ((PLL_P - 1u) << 9) | (1u << 16) | (1u << 24);
    edgeq_modify(RCC_CR, CR_PLL1_ON, CR_PLL1_ON);
    if (!edgeq_wait(RCC_CR, CR_PLL1_READY, CR_PLL1_READY)) {
        return; /* an emulator without RCC */
    }
    EDGEQ_REG32(RCC_D1CFGR) = D1_HPRE_BY_2 | D1_APB3_BY_2;
    EDGEQ_REG32(RCC_D2CFGR) = D2_APB1_BY_2 | D2_APB2_BY_2;
    EDGEQ_REG32(RCC_D3CFGR) = D3_APB4_BY_2;
    edgeq_modify(FLASH_ACR, ACR_MASK, ACR_200_MHZ);
    (void)edgeq_wait(FLASH_ACR, ACR_MASK, ACR_200_MHZ);
    edgeq_modify(RCC_CFGR, CFGR_SW_MASK, CFGR_SW_PLL1);
    (void)edgeq_wait(RCC_CFGR, CFGR_SWS_MASK, CFGR_SWS_PLL1);
}
