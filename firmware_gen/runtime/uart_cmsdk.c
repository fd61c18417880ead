/* UART kind "cmsdk": the APB UART of the Cortex-M System Design Kit (MPS2 and MPS3 images).
 * Registers: Arm DDI0479D, Cortex-M System Design Kit TRM, APB UART. */
#include "edgeq_drivers.h"

#define DATA    (EDGEQ_UART_BASE + 0x00u)
#define STATE   (EDGEQ_UART_BASE + 0x04u)
#define CTRL    (EDGEQ_UART_BASE + 0x08u)
#define BAUDDIV (EDGEQ_UART_BASE + 0x10u)

#define STATE_TX_FULL    (1u << 0)
#define STATE_RX_FULL    (1u << 1)
#define STATE_RX_OVERRUN (1u << 3) /* write 1 to clear */
#define CTRL_TX_ENABLE   (1u << 0)
#define CTRL_RX_ENABLE   (1u << 1)
#define BAUDDIV_LEAST    16u

void edgeq_uart_init(void) {
    const uint32_t divider = (EDGEQ_UART_CLOCK_HZ + EDGEQ_UART_BAUD / 2u) / EDGEQ_UART_BAUD;
    EDGEQ_REG32(BAUDDIV) = divider < BAUDDIV_LEAST ? BAUDDIV_LEAST : divider;
    EDGEQ_REG32(CTRL) = CTRL_TX_ENABLE | CTRL_RX_ENABLE;
}

int edgeq_uart_read(void) {
    const uint32_t state = EDGEQ_REG32(STATE);
    if ((state & STATE_RX_OVERRUN) != 0u) {
        EDGEQ_REG32(STATE) = STATE_RX_OVERRUN;
    }
    return (state & STATE_RX_FULL) != 0u ? (int)(EDGEQ_REG32(DATA) & 0xffu) : -1;
}

void edgeq_uart_write(uint8_t byte) {
    while ((EDGEQ_REG32(STATE) & STATE_TX_FULL) != 0u) {
    }
    EDGEQ_REG32(DATA) = byte;
}
EDGEQ_UART_REPORTS_FAULTS;
