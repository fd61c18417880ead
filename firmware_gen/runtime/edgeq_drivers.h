/* Between startup.c, platform.c and the drivers; not for the application. */
#ifndef EDGEQ_DRIVERS_H
#define EDGEQ_DRIVERS_H

#include <stdbool.h>
#include <stdint.h>

#include "edgeq_board.h"
#include "edgeq_platform.h"

/* A 32-bit register at an absolute address. */
#define EDGEQ_REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* How often a ready flag is read before a driver gives up: some 100 ms at 16 MHz, the longest
 * start of a crystal oscillator that ST allows (HSE_STARTUP_TIMEOUT in its device headers). An
 * emulator without the clock registers therefore does not hang the program. */
#define EDGEQ_READY_READS 200000u

/* Reads a register until the bits of `mask` equal `value`; false if they never do. */
static inline bool edgeq_wait(uint32_t address, uint32_t mask, uint32_t value) {
    for (uint32_t reads = 0; reads < EDGEQ_READY_READS; ++reads) {
        if ((EDGEQ_REG32(address) & mask) == value) {
            return true;
        }
    }
    return false;
}

/* Replaces the bits of `mask`; `value` has its bits in place. */
static inline void edgeq_modify(uint32_t address, uint32_t mask, uint32_t value) {
    EDGEQ_REG32(address) = (EDGEQ_REG32(address) & ~mask) | value;
}

void edgeq_clock_init(void); /* clock_<kind>.c: core at EDGEQ_CORE_HZ, memories' wait states */
void edgeq_uart_init(
    void); /* uart_<kind>.c: EDGEQ_UART_BAUD, 8 data bits, no parity, 1 stop bit */
void edgeq_ticks_init(void); /* ticks_<kind>.c: counter from 0 at the core clock */

/* The interrupt handler of a ticks driver; link.ld finds it by its section. Only an image with
 * edgeq_ticks_init, which is to name it with EDGEQ_USE, has the handler: a relocation that
 * changes nothing (Arm IHI0044H, R_ARM_NONE) keeps the linker from dropping it. */
#define EDGEQ_TICKS_HANDLER __attribute__((section(".text.edgeq_ticks_handler")))
#define EDGEQ_USE(function) __asm__ volatile(".reloc ., R_ARM_NONE, " function)

/* Behind edgeq_uart_write of a UART driver: faults are reported with it, unless the program
 * has an edgeq_fault_byte of its own. A second name, since a function that calls it is code. */
#define EDGEQ_UART_REPORTS_FAULTS                                                              \
    __asm__(".weak edgeq_fault_byte\n .type edgeq_fault_byte, %function\n"                     \
            ".thumb_set edgeq_fault_byte, edgeq_uart_write\n")

/* Reports an overflow if the words below the stack have changed; the tick drivers call it. */
void edgeq_check_stack(void);

#endif /* EDGEQ_DRIVERS_H */
