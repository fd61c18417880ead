/* Clock kind "rp2040": 12 MHz crystal, PLL_SYS to EDGEQ_CORE_HZ for core and peripherals; UART0
 * out of reset, on GPIO0 (TX) and GPIO1 (RX).
 * Registers: pico-sdk, hardware_structs and hardware_regs (resets, clocks, xosc, pll); RP2040
 * Datasheet (build 2023-06-14), IO_BANK0. */
#include "edgeq_drivers.h"

#define RESETS_RESET      0x4000c000u
#define RESETS_DONE       0x4000c008u
#define CLK_REF_CTRL      0x40008030u
#define CLK_REF_SELECTED  0x40008038u
#define CLK_SYS_CTRL      0x4000803cu
#define CLK_SYS_SELECTED  0x40008044u
#define CLK_PERI_CTRL     0x40008048u
#define XOSC_CTRL         0x40024000u
#define XOSC_STATUS       0x40024004u
#define XOSC_STARTUP      0x4002400cu
#define PLL_SYS_CS        0x40028000u
#define PLL_SYS_PWR       0x40028004u
#define PLL_SYS_FBDIV     0x40028008u
#define PLL_SYS_PRIM      0x4002800cu
#define IO_GPIO_CTRL(pin) (0x40014004u + 8u * (pin))

#define RESET_IO_BANK0     (1u << 5)
#define RESET_PADS_BANK0   (1u << 8)
#define RESET_PLL_SYS      (1u << 12)
#define RESET_UART0        (1u << 22)
#define RESETS_NEEDED      (RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_PLL_SYS | RESET_UART0)
#define XOSC_1_15_MHZ      0xaa0u
#define XOSC_ENABLE        (0xfabu << 12)
#define XOSC_STABLE        (1u << 31)
#define XOSC_HZ            12000000u
#define XOSC_STARTUP_1_MS  ((XOSC_HZ / 1000u + 255u) / 256u)
#define CLK_REF_XOSC       2u
#define CLK_SYS_AUX        1u         /* with AUXSRC 0: PLL_SYS */
#define CLK_PERI_ENABLE    (1u << 11) /* with AUXSRC 0: clk_sys */
#define PLL_LOCKED         (1u << 31)
#define PLL_PD             (1u << 0)
#define PLL_POSTDIV_PD     (1u << 3)
#define PLL_VCO_PD         (1u << 5)
#define GPIO_FUNCTION_UART 2u
#define UART0_TX_GPIO      0u
#define UART0_RX_GPIO      1u

/* VCO = 12 MHz * FBDIV within 750 .. 1600 MHz (pico-sdk, regs/pll.h); post dividers 6 and 2. */
#define POSTDIV1 6u
#define POSTDIV2 2u
#define FBDIV                                                                                  \
    (EDGEQ_CORE_HZ / XOSC_HZ * POSTDIV1 * POSTDIV2 +                                           \
     EDGEQ_CORE_HZ % XOSC_HZ * POSTDIV1 * POSTDIV2 / XOSC_HZ)

_Static_assert((uint64_t)XOSC_HZ *FBDIV == (uint64_t)EDGEQ_CORE_HZ * POSTDIV1 * POSTDIV2,
               "the PLL must reach the core clock exactly");
_Static_assert(FBDIV >= 63u && FBDIV <= 133u, "the VCO must run within 750 .. 1600 MHz");

void edgeq_clock_init(void) {
    EDGEQ_REG32(XOSC_STARTUP) = XOSC_STARTUP_1_MS;
    EDGEQ_REG32(XOSC_CTRL) = XOSC_1_15_MHZ | XOSC_ENABLE;
    (void)edgeq_wait(XOSC_STATUS, XOSC_STABLE, XOSC_STABLE);

    /* A reset by the debugger may leave the core on the PLL: off it before that changes. */
    edgeq_modify(CLK_SYS_CTRL, 1u, 0u);
    (void)edgeq_wait(CLK_SYS_SELECTED, 1u, 1u);
    EDGEQ_REG32(CLK_REF_CTRL) = CLK_REF_XOSC;
    (void)edgeq_wait(CLK_REF_SELECTED, 1u << CLK_REF_XOSC, 1u << CLK_REF_XOSC);

    edgeq_modify(RESETS_RESET, RESETS_NEEDED, RESETS_NEEDED);
    edgeq_modify(RESETS_RESET, RESETS_NEEDED, 0u);
    (void)edgeq_wait(RESETS_DONE, RESETS_NEEDED & ~RESET_UART0, RESETS_NEEDED & ~RESET_UART0);

    EDGEQ_REG32(PLL_SYS_CS) = 1u; /* reference divided by 1 */
    EDGEQ_REG32(PLL_SYS_FBDIV) = FBDIV;
    edgeq_modify(PLL_SYS_PWR, PLL_PD | PLL_VCO_PD, 0u);
    (void)edgeq_wait(PLL_SYS_CS, PLL_LOCKED, PLL_LOCKED);
    EDGEQ_REG32(PLL_SYS_PRIM) = (POSTDIV1 << 16) | (POSTDIV2 << 12);
    edgeq_modify(PLL_SYS_PWR, PLL_POSTDIV_PD, 0u);

    EDGEQ_REG32(CLK_SYS_CTRL) = 0u; /* AUXSRC first, then the glitchless switch to it */
    EDGEQ_REG32(CLK_SYS_CTRL) = CLK_SYS_AUX;
    (void)edgeq_wait(CLK_SYS_SELECTED, 1u << CLK_SYS_AUX, 1u << CLK_SYS_AUX);
    EDGEQ_REG32(CLK_PERI_CTRL) = CLK_PERI_ENABLE;

    /* UART0 leaves reset only with clk_peri running. */
    (void)edgeq_wait(RESETS_DONE, RESET_UART0, RESET_UART0);
    EDGEQ_REG32(IO_GPIO_CTRL(UART0_TX_GPIO)) = GPIO_FUNCTION_UART;
    EDGEQ_REG32(IO_GPIO_CTRL(UART0_RX_GPIO)) = GPIO_FUNCTION_UART;
}
