/* What the application needs of the microcontroller; implemented by the startup code and by the
 * clock, UART and ticks drivers that the board's file names. Call from the main program only,
 * not from interrupt handlers. */
#ifndef EDGEQ_PLATFORM_H
#define EDGEQ_PLATFORM_H

#include <stdint.h>

/* Sets up the clock tree, the UART and the tick counter, in this order. Call once, first. */
void edgeq_platform_init(void);

/* The next received byte, -1 if none is there; clears an overrun, so that reception goes on. */
int edgeq_uart_read(void);

/* Sends one byte; waits until the transmitter has room. */
void edgeq_uart_write(uint8_t byte);

/* Core clock ticks since edgeq_platform_init. Interrupts must be enabled. */
uint64_t edgeq_ticks(void);

/* Called with a readable text when the program cannot go on (a fault, an overflown stack); the
 * program stops when it returns. The weak definition in startup.c sends the text between two
 * zero bytes, which delimit frames; define another to send a frame. It must not return to the
 * place of the fault, use the heap or take long on the stack. */
void edgeq_fault_report(const char *text);

/* Reports `text` with edgeq_fault_report, then stops for ever. */
_Noreturn void edgeq_fault(const char *text);

#endif /* EDGEQ_PLATFORM_H */
