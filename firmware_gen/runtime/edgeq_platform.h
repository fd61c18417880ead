/* What the application needs of the microcontroller; implemented by the startup code and by the
 * clock, UART and ticks drivers that the board's file names. Call from the main program only,
 * not from interrupt handlers. */
#ifndef EDGEQ_PLATFORM_H
#define EDGEQ_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>

/* Sets up the clock tree, the UART and the tick counter, in this order. Call once, first. */
void edgeq_platform_init(void);

/* The next received byte, -1 if none is there; clears an overrun, so that reception goes on. */
int edgeq_uart_read(void);

/* Sends one byte; waits until the transmitter has room. */
void edgeq_uart_write(uint8_t byte);

/* Core clock ticks since edgeq_platform_init. Interrupts must be enabled. */
uint64_t edgeq_ticks(void);

/* Called when the program cannot go on (a fault, an overflown stack), with each byte of a
 * readable text between two zero bytes, which delimit frames; the program stops behind the
 * last. The weak definition is edgeq_uart_write; define another to send a frame. It has the
 * whole stack, must not return to the place of the fault and not use the heap. */
void edgeq_fault_byte(uint8_t byte, bool is_first);

/* Reports `text`, printable characters, with edgeq_fault_byte, then stops for ever. */
_Noreturn void edgeq_fault(const char *text);

#endif /* EDGEQ_PLATFORM_H */
