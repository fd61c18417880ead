/* UART kind "nrf": the UART (without DMA) of the nRF51 and the nRF52 series.
 * Registers: Nordic's device descriptions nrf51.svd and nrf52840.svd; nRF51 Series Reference
 * Manual v3.0 and nRF52840 Product Specification v1.1, UART. Pins are of port P0. */
#include "edgeq_drivers.h"

#define TASKS_STARTRX (EDGEQ_UART_BASE + 0x000u)
#define TASKS_STARTTX (EDGEQ_UART_BASE + 0x008u)
#define EVENTS_RXDRDY (EDGEQ_UART_BASE + 0x108u)
#define EVENTS_TXDRDY (EDGEQ_UART_BASE + 0x11cu)
#define EVENTS_ERROR  (EDGEQ_UART_BASE + 0x124u)
#define ERRORSRC      (EDGEQ_UART_BASE + 0x480u) /* write 1 to clear */
#define ENABLE        (EDGEQ_UART_BASE + 0x500u)
#define PSELRTS       (EDGEQ_UART_BASE + 0x508u)
#define PSELTXD       (EDGEQ_UART_BASE + 0x50cu)
#define PSELCTS       (EDGEQ_UART_BASE + 0x510u)
#define PSELRXD       (EDGEQ_UART_BASE + 0x514u)
#define RXD           (EDGEQ_UART_BASE + 0x518u)
#define TXD           (EDGEQ_UART_BASE + 0x51cu)
#define BAUDRATE      (EDGEQ_UART_BASE + 0x524u)
#define CONFIG        (EDGEQ_UART_BASE + 0x56cu)
#define ENABLE_UART   4u
#define NOT_CONNECTED 0xffffffffu
#define ERRORSRC_ALL  0xfu

/* GPIO port P0: the same in both series (nrf51.svd, nrf52840.svd). */
#define GPIO_OUTSET       0x50000508u
#define GPIO_DIRSET       0x50000518u
#define GPIO_PIN_CNF(pin) (0x50000700u + 4u * (pin))
#define PIN_CNF_INPUT     0u
#define PIN_CNF_PULL_UP   (3u << 2)

/* The baud rate is a fraction of 16 MHz in 1/2**32, of which the hardware takes 20 bits: this
 * gives Nordic's own values, as 0x01d7e000 for 115200. */
#define BAUDRATE_VALUE                                                                         \
    ((uint32_t)(((((uint64_t)EDGEQ_UART_BAUD << 32) / 16000000u) + 0x800u) & 0xfffff000u))

static bool edgeq_uart_sending;

void edgeq_uart_init(void) {
    /* The line is to idle high before the UART takes the pin. */
    EDGEQ_REG32(GPIO_OUTSET) = 1u << EDGEQ_UART_TX_PIN;
    EDGEQ_REG32(GPIO_DIRSET) = 1u << EDGEQ_UART_TX_PIN;
    EDGEQ_REG32(GPIO_PIN_CNF(EDGEQ_UART_RX_PIN)) = PIN_CNF_INPUT | PIN_CNF_PULL_UP;
    EDGEQ_REG32(PSELTXD) = EDGEQ_UART_TX_PIN;
    EDGEQ_REG32(PSELRXD) = EDGEQ_UART_RX_PIN;
    EDGEQ_REG32(PSELRTS) = NOT_CONNECTED;
    EDGEQ_REG32(PSELCTS) = NOT_CONNECTED;
    EDGEQ_REG32(BAUDRATE) = BAUDRATE_VALUE;
    EDGEQ_REG32(CONFIG) = 0u; /* no parity, no flow control */
    EDGEQ_REG32(ENABLE) = ENABLE_UART;
    EDGEQ_REG32(EVENTS_RXDRDY) = 0u;
    EDGEQ_REG32(EVENTS_TXDRDY) = 0u;
    EDGEQ_REG32(TASKS_STARTTX) = 1u;
    EDGEQ_REG32(TASKS_STARTRX) = 1u;
}

int edgeq_uart_read(void) {
    if (EDGEQ_REG32(EVENTS_ERROR) != 0u) {
        EDGEQ_REG32(EVENTS_ERROR) = 0u;
        EDGEQ_REG32(ERRORSRC) = ERRORSRC_ALL;
    }
    if (EDGEQ_REG32(EVENTS_RXDRDY) == 0u) {
        return -1;
    }
    /* The event is cleared first: reading RXD may raise it again for the next byte. */
    EDGEQ_REG32(EVENTS_RXDRDY) = 0u;
    return (int)(EDGEQ_REG32(RXD) & 0xffu);
}

void edgeq_uart_write(uint8_t byte) {
    while (edgeq_uart_sending && EDGEQ_REG32(EVENTS_TXDRDY) == 0u) {
    }
    EDGEQ_REG32(EVENTS_TXDRDY) = 0u;
    EDGEQ_REG32(TXD) = byte;
    edgeq_uart_sending = true;
}
EDGEQ_UART_REPORTS_FAULTS;
