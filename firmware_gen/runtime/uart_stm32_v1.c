/* UART kind "stm32_v1": USART of the STM32F4.
 * Registers: ST RM0090 (STM32F405) and RM0390 (STM32F446), USART. */
#include "stm32_pins.h"

#define SR  (EDGEQ_UART_BASE + 0x00u)
#define DR  (EDGEQ_UART_BASE + 0x04u)
#define BRR (EDGEQ_UART_BASE + 0x08u)
#define CR1 (EDGEQ_UART_BASE + 0x0cu)
#define CR2 (EDGEQ_UART_BASE + 0x10u)
#define CR3 (EDGEQ_UART_BASE + 0x14u)

#define SR_OVERRUN      (1u << 3) /* cleared by reading SR, then DR */
#define SR_RX_NOT_EMPTY (1u << 5)
#define SR_TX_EMPTY     (1u << 7)
#define CR1_RX_ENABLE   (1u << 2)
#define CR1_TX_ENABLE   (1u << 3)
#define CR1_ENABLE      (1u << 13)

void edgeq_uart_init(void) {
    edgeq_stm32_uart_pins();
    EDGEQ_REG32(CR1) = 0u;
    EDGEQ_REG32(CR2) = 0u;
    EDGEQ_REG32(CR3) = 0u;
    EDGEQ_REG32(BRR) = (EDGEQ_UART_CLOCK_HZ + EDGEQ_UART_BAUD / 2u) / EDGEQ_UART_BAUD;
    EDGEQ_REG32(CR1) = CR1_ENABLE | CR1_TX_ENABLE | CR1_RX_ENABLE;
}

int edgeq_uart_read(void) {
    const uint32_t status = EDGEQ_REG32(SR);
    if ((status & SR_RX_NOT_EMPTY) != 0u) {
        return (int)(EDGEQ_REG32(DR) & 0xffu);
    }
    if ((status & SR_OVERRUN) != 0u) {
        (void)EDGEQ_REG32(DR);
    }
    return -1;
}

void edgeq_uart_write(uint8_t byte) {
    while ((EDGEQ_REG32(SR) & SR_TX_EMPTY) == 0u) {
    }
    EDGEQ_REG32(DR) = byte;
}
EDGEQ_UART_REPORTS_FAULTS;
