/* UART kind "stm32_v2": USART and LPUART of the STM32 L4+, H7 and G0, with their FIFOs on.
 * Registers: ST CMSIS device header stm32g0b1xx.h; ST RM0432 (L4+), RM0433 (H7), RM0444 (G0),
 * USART and LPUART. An LPUART's divider counts 1/256 clocks (RM0432): the board's file then
 * sets divider_scale to 256. */
#include "stm32_pins.h"

#define CR1 (EDGEQ_UART_BASE + 0x00u)
#define CR2 (EDGEQ_UART_BASE + 0x04u)
#define CR3 (EDGEQ_UART_BASE + 0x08u)
#define BRR (EDGEQ_UART_BASE + 0x0cu)
#define ISR (EDGEQ_UART_BASE + 0x1cu)
#define ICR (EDGEQ_UART_BASE + 0x20u)
#define RDR (EDGEQ_UART_BASE + 0x24u)
#define TDR (EDGEQ_UART_BASE + 0x28u)

#define CR1_ENABLE       (1u << 0)
#define CR1_RX_ENABLE    (1u << 2)
#define CR1_TX_ENABLE    (1u << 3)
#define CR1_FIFO_ENABLE  (1u << 29)
#define ISR_OVERRUN      (1u << 3) /* cleared by the same bit of ICR */
#define ISR_RX_NOT_EMPTY (1u << 5)
#define ISR_TX_NOT_FULL  (1u << 7)

void edgeq_uart_init(void) {
    const uint64_t scaled_hz = (uint64_t)EDGEQ_UART_CLOCK_HZ * EDGEQ_UART_DIVIDER_SCALE;
    edgeq_stm32_uart_pins();
    EDGEQ_REG32(CR1) = 0u;
    EDGEQ_REG32(CR2) = 0u;
    EDGEQ_REG32(CR3) = 0u;
    EDGEQ_REG32(BRR) = (uint32_t)((scaled_hz + EDGEQ_UART_BAUD / 2u) / EDGEQ_UART_BAUD);
    EDGEQ_REG32(CR1) = CR1_FIFO_ENABLE;
    EDGEQ_REG32(CR1) = CR1_FIFO_ENABLE | CR1_ENABLE | CR1_TX_ENABLE | CR1_RX_ENABLE;
}

int edgeq_uart_read(void) {
    const uint32_t status = EDGEQ_REG32(ISR);
    if ((status & ISR_OVERRUN) != 0u) {
        EDGEQ_REG32(ICR) = ISR_OVERRUN;
    }
    return (status & ISR_RX_NOT_EMPTY) != 0u ? (int)(EDGEQ_REG32(RDR) & 0xffu) : -1;
}

void edgeq_uart_write(uint8_t byte) {
    while ((EDGEQ_REG32(ISR) & ISR_TX_NOT_FULL) == 0u) {
    }
    EDGEQ_REG32(TDR) = byte;
}
EDGEQ_UART_REPORTS_FAULTS;
