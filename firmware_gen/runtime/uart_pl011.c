/* UART kind "pl011": Arm PrimeCell UART, as in the LM3S6965 and the RP2040. The clock driver of
 * the chip has enabled the UART and its pins.
 * Registers: Arm DDI0183G, PrimeCell UART (PL011) TRM. */
#include "edgeq_drivers.h"

#define DR   (EDGEQ_UART_BASE + 0x00u)
#define ECR  (EDGEQ_UART_BASE + 0x04u) /* any write clears the receive errors */
#define FR   (EDGEQ_UART_BASE + 0x18u)
#define IBRD (EDGEQ_UART_BASE + 0x24u)
#define FBRD (EDGEQ_UART_BASE + 0x28u)
#define LCRH (EDGEQ_UART_BASE + 0x2cu)
#define CR   (EDGEQ_UART_BASE + 0x30u)

#define DR_OVERRUN      (1u << 11)
#define FR_RX_EMPTY     (1u << 4)
#define FR_TX_FULL      (1u << 5)
#define LCRH_FIFOS      (1u << 4)
#define LCRH_EIGHT_BITS (3u << 5)
#define CR_UART_ENABLE  (1u << 0)
#define CR_TX_ENABLE    (1u << 8)
#define CR_RX_ENABLE    (1u << 9)
#define FRACTION_BITS   6u /* the divider of 16 times the baud rate has a 6-bit fraction */
#define SAMPLES_PER_BIT 16u

void edgeq_uart_init(void) {
    const uint32_t divider =
        (uint32_t)((((uint64_t)EDGEQ_UART_CLOCK_HZ << FRACTION_BITS) / SAMPLES_PER_BIT +
                    EDGEQ_UART_BAUD / 2u) /
                   EDGEQ_UART_BAUD);
    EDGEQ_REG32(CR) = 0u;
    EDGEQ_REG32(IBRD) = divider >> FRACTION_BITS;
    EDGEQ_REG32(FBRD) = divider & ((1u << FRACTION_BITS) - 1u);
    EDGEQ_REG32(LCRH) = LCRH_EIGHT_BITS | LCRH_FIFOS; /* this write makes the divider count */
    EDGEQ_REG32(CR) = CR_UART_ENABLE | CR_TX_ENABLE | CR_RX_ENABLE;
}

int edgeq_uart_read(void) {
    if ((EDGEQ_REG32(FR) & FR_RX_EMPTY) != 0u) {
        return -1;
    }
    const uint32_t data = EDGEQ_REG32(DR);
    if ((data & DR_OVERRUN) != 0u) {
        EDGEQ_REG32(ECR) = 0u;
    }
    return (int)(data & 0xffu);
}

void edgeq_uart_write(uint8_t byte) {
    while ((EDGEQ_REG32(FR) & FR_TX_FULL) != 0u) {
    }
    EDGEQ_REG32(DR) = byte;
}
EDGEQ_UART_REPORTS_FAULTS;
