/* From reset to main, and what happens on a fault. For Armv6-M, Armv7-M and Armv8-M; where
 * these differ the compiler's __ARM_ARCH and feature macros decide (Arm IHI0053D, ACLE). The
 * symbols edgeq_data_start and so on come from the linker script. */
#include <stddef.h>
#include <stdint.h>

#include "edgeq_drivers.h"

extern uint32_t edgeq_data_load[], edgeq_data_start[], edgeq_data_end[];
extern uint32_t edgeq_bss_end[];
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

#define CFSR_MMARVALID  (1u << 7)
#define CFSR_BFARVALID  (1u << 15)
#define CPACR_CP10_CP11 (0xfu << 20) /* floating point and vectors: full access */

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

/* Compilers neither make a loop one of the functions in mem.c nor its end a formula. */
#define KEEP(x) __asm__ volatile("" : "+r"(x)::"memory")

int main(void);
void Reset_Handler(void);
void NMI_Handler(void);
void HardFault_Handler(void);
void SysTick_Handler(void);
#ifdef EDGEQ_TICKS_IRQ
void edgeq_irq_handler(void); /* of the ticks driver */
#endif
_Noreturn static void edgeq_start(void);
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
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
#define HAS_COPROCESSOR 1
#define BEHIND_RESET    __attribute__((noinline))
#else
#define HAS_COPROCESSOR 0
#define BEHIND_RESET
#endif
void Reset_Handler(void) {
#if HAS_COPROCESSOR
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

_Noreturn BEHIND_RESET static void edgeq_start(void) {
    edgeq_early_init();
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
    /* .data, .bss and the guard below the stack, in this order and what is between: constants
     * that are copied then. Words of the guard hold their own addresses. */
    const uint32_t *from = edgeq_data_load;
    uint32_t *to = edgeq_data_start;
    while (to < edgeq_data_end) {
        *to++ = *from++;
        KEEP(to);
    }
    while (to < edgeq_bss_end) {
        *to++ = 0u;
        KEEP(to);
    }
    while (to < edgeq_stack_bottom) {
        *to = (uint32_t)(uintptr_t)to;
        ++to;
        KEEP(to);
    }
#if EDGEQ_HAS_COPIES
    for (const struct edgeq_copy *copy = edgeq_copies; copy < edgeq_copies_end; ++copy) {
        from = copy->from;
        for (to = copy->to; to < copy->end; ++to) {
            *to = *from++;
            KEEP(to);
        }
    }
#endif
    (void)main();
    edgeq_fault("main returned");
}

void edgeq_check_stack(void) {
    const uint32_t *at = edgeq_stack_bottom;
    do {
        --at;
        if (*at != (uint32_t)(uintptr_t)at) {
            edgeq_fault("stack overflow");
        }
    } while (at > edgeq_stack_guard);
}

__attribute__((weak)) void edgeq_fault_report(const char *text) {
    edgeq_uart_write(0u);
    do {
        edgeq_uart_write((uint8_t)*text);
    } while (*text++ != '\0');
}

_Noreturn void edgeq_fault(const char *text) {
    __asm__ volatile("cpsid i" ::: "memory");
    edgeq_fault_report(text);
    for (;;) {
        __asm__ volatile("wfi");
    }
}

#if EDGEQ_CORE_HAS_FAULT_STATUS
#define FAULT_TEXT "fault: pc % lr % cfsr % hfsr % address %"
#else
#define FAULT_TEXT "fault: pc % lr %"
#endif
#define FAULT_WORDS       5u
#define ADDRESS_LENGTH    17u /* of " address " and its digits */
#define FAULT_TEXT_LENGTH (sizeof FAULT_TEXT + 7u * FAULT_WORDS) /* with the ending zero */

/* `frame`: the registers that the core stacked on the fault, r0-r3, r12, lr, pc, xpsr
 * (DDI0403E, exception entry). Each % of the text becomes eight hexadecimal digits. */
__attribute__((used)) void edgeq_fault_frame(const uint32_t *frame) {
    if (frame < edgeq_stack_bottom || frame >= edgeq_stack_top) {
        edgeq_fault("fault: stack overflow");
    }
    uint32_t words[FAULT_WORDS];
    words[0] = frame[6];
    words[1] = frame[5];
#if EDGEQ_CORE_HAS_FAULT_STATUS
    const uint32_t cfsr = EDGEQ_REG32(CFSR);
    words[2] = cfsr;
    words[3] = EDGEQ_REG32(HFSR);
    words[4] = EDGEQ_REG32(MMFAR + ((cfsr & CFSR_BFARVALID) != 0u ? BFAR - MMFAR : 0u));
#endif
    const uint32_t *word = words;
    char text[FAULT_TEXT_LENGTH];
    char *end = text;
    for (const char *at = FAULT_TEXT; *at != '\0'; ++at) {
        if (*at != '%') {
            *end++ = *at;
            continue;
        }
        uint32_t rest = *word++;
        for (int digits = 8; digits > 0; --digits) {
            const uint32_t digit = rest >> 28;
            *end++ = (char)(digit < 10u ? '0' + digit : 'a' - 10u + digit);
            rest <<= 4;
            KEEP(end);
        }
    }
#if EDGEQ_CORE_HAS_FAULT_STATUS
    if ((cfsr & (CFSR_BFARVALID | CFSR_MMARVALID)) == 0u) {
        end -= ADDRESS_LENGTH;
    }
#endif
    *end = '\0';
    edgeq_fault(text);
}

#if EDGEQ_CORE_HAS_MSPLIM
#define LIFT_STACK_LIMIT "movs r1, #0\n msr msplim, r1\n"
#else
#define LIFT_STACK_LIMIT ""
#endif

#ifdef __ARM_ARCH_6M__ /* B reaches 2 KB */
#define GO_TO(function) "ldr r1, =" function "\n bx r1\n .ltorg\n"
#else
#define GO_TO(function) "b.w " function "\n"
#endif

/* The main stack pointer at entry is the address of the stacked registers. After a stack
 * overflow the report needs what lies below the stack; the program does not go on. */
__attribute__((naked)) void HardFault_Handler(void) {
    __asm__ volatile("mrs r0, msp\n" LIFT_STACK_LIMIT GO_TO("edgeq_fault_frame"));
}

void NMI_Handler(void) {
    edgeq_fault("unexpected exception");
}

__attribute__((weak)) void SysTick_Handler(void) {
    edgeq_fault("unexpected SysTick interrupt");
}
