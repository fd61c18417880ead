/* From reset to main, and what happens on a fault. For Armv6-M, Armv7-M and Armv8-M; where
 * these differ the compiler's __ARM_ARCH and feature macros decide (Arm IHI0053D, ACLE). The
 * symbols edgeq_data_start and so on come from the linker script. */
#include <stddef.h>
#include <stdint.h>

#include "edgeq_drivers.h"

extern uint32_t edgeq_data_load[], edgeq_data_start[], edgeq_data_end[];
extern uint32_t edgeq_bss_start[], edgeq_bss_end[];
#if EDGEQ_HAS_COPIES
/* Constants of layers that are copied into a ram: link.ld has a row for each ram. */
struct edgeq_copy {
    const uint32_t *from;
    uint32_t *to;
    uint32_t *end;
};
extern const struct edgeq_copy edgeq_copies[], edgeq_copies_end[];
#endif
extern uint32_t edgeq_stack_guard[], edgeq_stack_bottom[], edgeq_stack_top[];

/* System control space: Arm DDI0403E (ARMv7-M), DDI0553B (ARMv8-M). */
#define VTOR  0xe000ed08u
#define CFSR  0xe000ed28u
#define HFSR  0xe000ed2cu
#define MMFAR 0xe000ed34u
#define BFAR  0xe000ed38u
#define CPACR 0xe000ed88u

#define CFSR_MMARVALID    (1u << 7)
#define CFSR_BFARVALID    (1u << 15)
#define CPACR_CP10_CP11   (0xfu << 20) /* floating point and vectors: full access */
#define STACK_GUARD_WORDS 8u
#define STACK_GUARD_VALUE 0x57ac6a4du

/* Caches: Arm DDI0403E, system control and cache identification. */
#define CCR               0xe000ed14u
#define CLIDR             0xe000ed78u
#define CCSIDR            0xe000ed80u
#define CSSELR            0xe000ed84u
#define ICIALLU           0xe000ef50u
#define DCISW             0xe000ef60u
#define CCR_DATA          (1u << 16)
#define CCR_INSTRUCTION   (1u << 17)
#define CLIDR_INSTRUCTION (1u << 0)
#define CLIDR_DATA        (1u << 1)

int main(void);
void Reset_Handler(void);
void NMI_Handler(void);
void HardFault_Handler(void);
void SysTick_Handler(void);
#ifdef EDGEQ_TICKS_IRQ
void edgeq_irq_handler(void); /* of the ticks driver */
#endif
void edgeq_start(void);
void edgeq_early_init(void);
void edgeq_fault_frame(const uint32_t *frame);

/* No external interrupt is enabled but that of a ticks driver, so the table ends there. */
#ifdef EDGEQ_TICKS_IRQ
#define EXTERNAL_INTERRUPTS (EDGEQ_TICKS_IRQ + 1u)
#else
#define EXTERNAL_INTERRUPTS 0u
#endif

struct edgeq_vectors {
    uint32_t *stack_top;
    void (*handlers[15u + EXTERNAL_INTERRUPTS])(void);
};

/* DDI0403E, exception numbers. */
__attribute__((section(".vectors"), used)) const struct edgeq_vectors edgeq_vectors = {
    .stack_top = edgeq_stack_top,
    .handlers =
        {
            Reset_Handler,
            NMI_Handler,
            HardFault_Handler,
            HardFault_Handler, /* MemManage */
            HardFault_Handler, /* BusFault */
            HardFault_Handler, /* UsageFault */
            HardFault_Handler, /* SecureFault */
            0,
            0,
            0,
            NMI_Handler, /* SVCall */
            NMI_Handler, /* DebugMonitor */
            0,
            NMI_Handler, /* PendSV */
            SysTick_Handler,
#ifdef EDGEQ_TICKS_IRQ
            [15 + EDGEQ_TICKS_IRQ] = edgeq_irq_handler,
#endif
        },
};

/* Nothing before edgeq_start may touch a floating point or vector register. */
void Reset_Handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    EDGEQ_REG32(CPACR) = EDGEQ_REG32(CPACR) | CPACR_CP10_CP11;
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
    edgeq_start();
}

#if EDGEQ_CORE_HAS_CACHES
/* Invalidates and enables what caches there are. DCISW of the M7 (Arm DDI0489F) and the
 * M55: lines of 32 bytes, so the set starts at bit 5; four ways, so the way is bits 31:30. */
static void edgeq_enable_caches(void) {
    const uint32_t present = EDGEQ_REG32(CLIDR);
    uint32_t enable = 0u;
    if ((present & CLIDR_INSTRUCTION) != 0u) {
        EDGEQ_REG32(ICIALLU) = 0u;
        enable |= CCR_INSTRUCTION;
    }
    if ((present & CLIDR_DATA) != 0u) {
        EDGEQ_REG32(CSSELR) = 0u; /* the data cache of level 1 */
        __asm__ volatile("dsb" ::: "memory");
        const uint32_t last_set = (EDGEQ_REG32(CCSIDR) >> 13) & 0x7fffu;
        for (uint32_t set = 0; set <= last_set; ++set) {
            for (uint32_t way = 0; way < 4u; ++way) {
                EDGEQ_REG32(DCISW) = (set << 5) | (way << 30);
            }
        }
        enable |= CCR_DATA;
    }
    __asm__ volatile("dsb\n isb" ::: "memory");
    EDGEQ_REG32(CCR) = EDGEQ_REG32(CCR) | enable;
    __asm__ volatile("dsb\n isb" ::: "memory");
}
#endif

/* What a chip's erratum wants before the ram is read; its clock driver then defines another.
 * Nothing is in .data and .bss yet. */
__attribute__((weak)) void edgeq_early_init(void) {}

__attribute__((noinline)) void edgeq_start(void) {
    edgeq_early_init();
    for (uint32_t i = 0; i < STACK_GUARD_WORDS; ++i) {
        edgeq_stack_guard[i] = STACK_GUARD_VALUE;
        __asm__ volatile("" ::: "memory");
    }
#if EDGEQ_CORE_HAS_MSPLIM
    /* DDI0553B: an access below the limit is a UsageFault, here a HardFault. */
    __asm__ volatile("msr msplim, %0" ::"r"(edgeq_stack_bottom));
#endif
#if EDGEQ_CORE_HAS_VTOR
    EDGEQ_REG32(VTOR) = (uint32_t)(uintptr_t)&edgeq_vectors;
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
#if EDGEQ_CORE_HAS_CACHES
    edgeq_enable_caches();
#endif
    const uint32_t *from = edgeq_data_load;
    for (uint32_t *to = edgeq_data_start; to < edgeq_data_end; ++to) {
        *to = *from++;
        __asm__ volatile("" ::: "memory");
    }
#if EDGEQ_HAS_COPIES
    for (const struct edgeq_copy *copy = edgeq_copies; copy < edgeq_copies_end; ++copy) {
        from = copy->from;
        for (uint32_t *to = copy->to; to < copy->end; ++to) {
            *to = *from++;
            __asm__ volatile("" ::: "memory");
        }
    }
#endif
    for (uint32_t *to = edgeq_bss_start; to < edgeq_bss_end; ++to) {
        *to = 0u;
        __asm__ volatile("" ::: "memory");
    }
    (void)main();
    edgeq_fault("main returned");
}

void edgeq_check_stack(void) {
    for (uint32_t i = 0; i < STACK_GUARD_WORDS; ++i) {
        if (edgeq_stack_guard[i] != STACK_GUARD_VALUE) {
            edgeq_fault("stack overflow");
        }
    }
}

__attribute__((weak)) void edgeq_fault_report(const char *text) {
    edgeq_uart_write(0u);
    while (*text != '\0') {
        edgeq_uart_write((uint8_t)*text++);
    }
    edgeq_uart_write(0u);
}

_Noreturn void edgeq_fault(const char *text) {
    __asm__ volatile("cpsid i" ::: "memory");
    edgeq_fault_report(text);
    for (;;) {
        __asm__ volatile("wfi");
    }
}

/* Ends a text in eight hexadecimal digits; returns where it ends. */
static char *edgeq_append_hex(char *end, const char *label, uint32_t value) {
    while (*label != '\0') {
        *end++ = *label++;
    }
    for (int shift = 28; shift >= 0; shift -= 4) {
        *end++ = "0123456789abcdef"[(value >> shift) & 0xfu];
    }
    *end = '\0';
    return end;
}

/* `frame`: the registers that the core stacked on the fault, r0-r3, r12, lr, pc, xpsr
 * (DDI0403E, exception entry). */
__attribute__((used)) void edgeq_fault_frame(const uint32_t *frame) {
    char text[96];
    if (frame < edgeq_stack_bottom || frame >= edgeq_stack_top) {
        edgeq_fault("fault: stack overflow");
    }
    char *end = edgeq_append_hex(text, "fault: pc ", frame[6]);
    end = edgeq_append_hex(end, " lr ", frame[5]);
#if EDGEQ_CORE_HAS_FAULT_STATUS
    const uint32_t cfsr = EDGEQ_REG32(CFSR);
    end = edgeq_append_hex(end, " cfsr ", cfsr);
    end = edgeq_append_hex(end, " hfsr ", EDGEQ_REG32(HFSR));
    if ((cfsr & CFSR_BFARVALID) != 0u) {
        end = edgeq_append_hex(end, " address ", EDGEQ_REG32(BFAR));
    } else if ((cfsr & CFSR_MMARVALID) != 0u) {
        end = edgeq_append_hex(end, " address ", EDGEQ_REG32(MMFAR));
    }
#endif
    edgeq_fault(text);
}

#if EDGEQ_CORE_HAS_MSPLIM
#define LIFT_STACK_LIMIT "movs r1, #0\n msr msplim, r1\n"
#else
#define LIFT_STACK_LIMIT ""
#endif

/* The main stack pointer at entry is the address of the stacked registers. After a stack
 * overflow the report needs what lies below the stack; the program does not go on. */
__attribute__((naked)) void HardFault_Handler(void) {
    __asm__ volatile("mrs r0, msp\n" LIFT_STACK_LIMIT "ldr r1, =edgeq_fault_frame\n"
                     "bx r1\n"
                     ".ltorg\n");
}

void NMI_Handler(void) {
    edgeq_fault("unexpected exception");
}

__attribute__((weak)) void SysTick_Handler(void) {
    edgeq_fault("unexpected SysTick interrupt");
}
