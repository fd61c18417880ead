/* Sends a banner, then each received byte back, but for commands: "B" sends the banner again,
 * "T" the tick counter; "M" tries the memory functions, "F" makes a fault, "A" one at an
 * address, "S" overflows the stack, "L" faults where no ram is left below it, "P" raises an
 * exception that nobody expects, "R" returns. */
#include <stdbool.h>
#include <stddef.h>

#include "edgeq_platform.h"
#include "edgeq_drivers.h"

#ifdef __ARM_FEATURE_MVE
#include <arm_mve.h>
#endif

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

extern uint32_t edgeq_data_start[]; /* the lowest address of the ram */
static volatile uint8_t count = 3;  /* .data is copied: the banner has three marks */
static volatile uint32_t zeros[8];  /* .bss is cleared */
static volatile uint64_t factors[2] = {0x123456789abu, 54321u};

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

enum { NBYTES = 80 };

static void fill(uint8_t *bytes) {
    for (size_t i = 0; i < NBYTES; ++i) {
        bytes[i] = (uint8_t)(i * 7u + 1u);
    }
}

/* The function against a loop of single bytes, for all small offsets and lengths. */
static bool memory_functions_work(void) {
    static uint8_t got[NBYTES], want[NBYTES], from[NBYTES];
    for (size_t to = 0; to < 5u; ++to) {
        for (size_t at = 0; at < 5u; ++at) {
            for (size_t n = 0; n < 70u; n += (n < 20u ? 1u : 7u)) {
                fill(got);
                fill(want);
                fill(from);
                for (size_t i = 0; i < n; ++i) {
                    want[to + i] = from[at + i];
                }
                (void)memcpy(got + to, from + at, n);
                if (memcmp(got, want, NBYTES) != 0) {
                    return false;
                }
                fill(got);
                (void)memmove(got + to, got + at, n);
                if (memcmp(got, want, NBYTES) != 0) {
                    return false;
                }
                for (size_t i = 0; i < n; ++i) {
                    want[to + i] = 0xa5u;
                }
                (void)memset(got + to, 0x1a5, n);
                if (memcmp(got, want, NBYTES) != 0) {
                    return false;
                }
            }
        }
    }
    got[3] = 1u;
    want[3] = 255u;
    return memcmp(got, want, NBYTES) < 0 && memcmp(want, got, NBYTES) > 0;
}

/* On the M0 these are calls of the compiler's own library. */
static bool arithmetic_works(void) {
    const uint64_t a = factors[0];
    const uint64_t b = factors[1];
    return a * b == 0xf16d3a06d2f5bbu && a / b == 23029765u && a % b == 31926u &&
           (uint32_t)a / (uint32_t)b == 21435u;
}

#ifdef __ARM_FEATURE_MVE
static bool vectors_work(void) {
    int8_t bytes[16];
    for (int i = 0; i < 16; ++i) {
        bytes[i] = (int8_t)(i - 20 + (int)zeros[0]);
    }
    const int8x16_t v = vldrbq_s8(bytes);
    return vmladavaq_s8(5, v, v) == 2845;
}
#else
static bool vectors_work(void) {
    return true;
}
#endif

static uint32_t __attribute__((noinline)) overflow(uint32_t depth) {
    volatile uint8_t bytes[256];
    for (uint32_t i = 0; i < 256u; ++i) {
        bytes[i] = 0u;
    }
    return (depth > 1u ? overflow(depth - 1u) : 0u) + bytes[depth];
}

static void put_banner(void) {
    put("edgeq echo " EDGEQ_BOARD_NAME " ");
    for (uint8_t i = 0; i < count; ++i) {
        edgeq_uart_write(zeros[i] == 0u ? '!' : '?');
    }
    put("\n");
}

int main(void) {
    edgeq_platform_init();
    put_banner();
    for (;;) {
        const int byte = edgeq_uart_read();
        if (byte == 'B') {
            put_banner();
        } else if (byte == 'T') {
            put_hex(edgeq_ticks());
            put("\n");
        } else if (byte == 'M') {
            const bool works = memory_functions_work() && arithmetic_works() && vectors_work();
            put(works ? "right\n" : "wrong\n");
        } else if (byte == 'F') {
            /* A fault that every core reports: code that is not Thumb. */
            ((void (*)(void))0x20000000)();
        } else if (byte == 'S') {
            zeros[0] = overflow(4096u / 256u);
        } else if (byte == 'A') {
            zeros[0] = EDGEQ_REG32(0xfffffff0u); /* of the vendor, and nothing is there */
        } else if (byte == 'L') {
            __asm__ volatile("msr msp, %0\n udf #0" ::"r"(edgeq_data_start + 12));
        } else if (byte == 'P') {
            EDGEQ_REG32(0xe000ed04u) = 1u << 28; /* ICSR, PENDSVSET: Arm DDI0403E */
        } else if (byte == 'R') {
            return 0;
        } else if (byte >= 0) {
            edgeq_uart_write((uint8_t)byte);
        }
    }
}
