/* One letter on the serial line, one experiment; each answer ends in a newline. */
#include "edgeq_board.h"
#include "edgeq_platform.h"

#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))

static void put(const char *text) {
    while (*text != '\0') {
        edgeq_uart_write((uint8_t)*text++);
    }
}

static void put_hex(uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4) {
        edgeq_uart_write((uint8_t)"0123456789abcdef"[(value >> shift) & 0xfu]);
    }
    put("\n");
}

static uint32_t get_word(void) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < 4u;) {
        const int byte = edgeq_uart_read();
        if (byte >= 0) {
            value |= (uint32_t)byte << 8u * i++;
        }
    }
    return value;
}

/* 4 + 3 * turns instructions with the return; turns > 0, and returned. */
__attribute__((naked, noinline)) uint32_t counted_loop(__attribute__((unused)) uint32_t turns) {
    __asm__ volatile(".syntax unified\n"
                     "movs r1, #0\n"
                     "movs r2, #1\n"
                     "1: adds r1, r1, r2\n"
                     "subs r0, r0, #1\n"
                     "bne 1b\n"
                     "movs r0, r1\n"
                     "bx lr\n");
}

__attribute__((naked, noinline)) void read_word_at(__attribute__((unused)) uint32_t address) {
    __asm__ volatile("ldr r0, [r0]\n"
                     "bx lr\n");
}

__attribute__((naked, noinline)) void write_word_at(__attribute__((unused)) uint32_t address) {
    __asm__ volatile("str r0, [r0]\n"
                     "bx lr\n");
}

__attribute__((naked, noinline)) void run_undefined(void) {
    __asm__ volatile(".short 0xde00\n"
                     "bx lr\n");
}

/* CBZ, which Armv6-M lacks, then SMUAD r0, r0, r0, which Armv7-M has with the DSP extension. */
__attribute__((naked, noinline)) void run_cbz(void) {
    __asm__ volatile(".short 0xb100\n"
                     "nop\n"
                     "bx lr\n");
}

__attribute__((naked, noinline)) void run_smuad(void) {
    __asm__ volatile(".short 0xfb20, 0xf000\n"
                     "bx lr\n");
}

__attribute__((noinline)) void spin_for_ever(void) {
    for (;;) {
        __asm__ volatile("nop\n nop");
    }
}

__attribute__((noinline)) void stop_here(void) {
    __asm__ volatile("cpsid i");
    for (;;) {
    }
}

/* Reads the tick counter between loops until it has advanced by `ticks`; 1 if it always grew
 * by at least the loop. */
static uint64_t ticks_grow(uint32_t ticks) {
    const uint64_t first = edgeq_ticks();
    uint64_t last = first;
    while (last - first < ticks) {
        counted_loop(1001);
        const uint64_t now = edgeq_ticks();
        if (now - last < 3u * 1001u || now - last > 4u * 1001u) {
            return 0;
        }
        last = now;
    }
    return 1;
}

/* How often the SysTick interrupt comes with a period of 1000 during a loop, in the upper half;
 * in the lower one the loop's own count, which it keeps in a register that the handler uses. */
static uint64_t interrupts_during(uint32_t turns) {
    REG32(0xe000e014u) = 999u;
    REG32(0xe000e018u) = 0u;
    const uint64_t before = edgeq_ticks() >> 24;
    const uint64_t counted = counted_loop(turns);
    const uint64_t after = edgeq_ticks() >> 24;
    REG32(0xe000e014u) = 0xffffffu;
    REG32(0xe000e018u) = 0u;
    return (after - before) << 32 | counted;
}

int main(void) {
    edgeq_platform_init();
    for (;;) {
        const int byte = edgeq_uart_read();
        switch (byte) {
        case 'E': /* echo the bytes of which the number follows */
            for (uint32_t left = get_word(); left > 0u;) {
                const int echoed = edgeq_uart_read();
                if (echoed >= 0) {
                    edgeq_uart_write((uint8_t)echoed);
                    --left;
                }
            }
            break;
        case 'S': /* send as many bytes */
            for (uint32_t i = 0, count = get_word(); i < count; ++i) {
                edgeq_uart_write((uint8_t)(i * 7u));
            }
            break;
        case 'L': { /* ticks of a loop */
            const uint32_t turns = get_word();
            const uint64_t start = edgeq_ticks();
            counted_loop(turns);
            put_hex(edgeq_ticks() - start);
            break;
        }
        case 'G':
            put_hex(ticks_grow(get_word()));
            break;
        case 'I':
            put_hex(interrupts_during(get_word()));
            break;
        case 'R':
            read_word_at(get_word());
            put("read\n");
            break;
        case 'W':
            write_word_at(get_word());
            put("written\n");
            break;
        case 'U':
            run_undefined();
            put("ran\n");
            break;
        case 'C':
            run_cbz();
            put("ran\n");
            break;
        case 'D':
            run_smuad();
            put("ran\n");
            break;
        case 'X':
            spin_for_ever();
            break;
        case 'H':
            stop_here();
            break;
        case 'B': /* reset */
            put("reset\n");
            REG32(0xe000ed0cu) = 0x05fa0004u;
            break;
        default:
            break;
        }
    }
}
