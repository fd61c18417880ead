/* Sends a banner, then each received byte back; "T" is answered with the tick counter. */
#include "edgeq_platform.h"
#include "edgeq_board.h"

static volatile uint8_t count = 3; /* .data is copied: the banner has three marks */
static volatile uint32_t zeros[8]; /* .bss is cleared */

static void put(const char *text) {
    while (*text != '\0') {
        edgeq_uart_write((uint8_t)*text++);
    }
}

static void put_hex(uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4) {
        edgeq_uart_write((uint8_t)"0123456789abcdef"[(value >> shift) & 0xfu]);
    }
}

int main(void) {
    edgeq_platform_init();
    put("edgeq echo " EDGEQ_BOARD_NAME " ");
    for (uint8_t i = 0; i < count; ++i) {
        edgeq_uart_write(zeros[i] == 0u ? '!' : '?');
    }
    put("\n");
    for (;;) {
        const int byte = edgeq_uart_read();
        if (byte == 'T') {
            put_hex(edgeq_ticks());
            put("\n");
        } else if (byte == 'F') {
            /* A fault that every core reports: code that is not Thumb. */
            ((void (*)(void))0x20000000)();
        } else if (byte >= 0) {
            edgeq_uart_write((uint8_t)byte);
        }
    }
}
