/* From reset to main, and what happens on a fault. For Armv6-M, Armv7-M and Armv8-M; where
 * these differ the compiler's __ARM_ARCH and feature macros decide (Arm IHI0053D, ACLE). The
 * symbols edgeq_data_load and so on come from the linker script. Each image has this code, so
 * most of it is assembly, all 16-bit instructions where there are some. */
#include <stddef.h>
#include <stdint.h>

#include "edgeq_drivers.h"

extern uint32_t edgeq_data_load[], edgeq_data_start[], edgeq_data_end[];
extern uint32_t edgeq_stack_guard[], edgeq_stack_bottom[], edgeq_stack_top[];

void Reset_Handler(void);
void NMI_Handler(void);
void HardFault_Handler(void);
/* The tick driver's interrupt handler; see link.ld. In a vector, bit 0 is set (Thumb). */
extern const char edgeq_ticks_entry[];
extern const char edgeq_text_overflow[];

#define TICKS_ENTRY (void (*)(void))(edgeq_ticks_entry + 1)

/* No external interrupt is enabled but that of a ticks driver, so the table ends there. */
#ifdef EDGEQ_TICKS_IRQ
#define EXTERNAL_INTERRUPTS (EDGEQ_TICKS_IRQ + 1u)
#define ON_SYSTICK          NMI_Handler
#else
#define EXTERNAL_INTERRUPTS 0u
#define ON_SYSTICK          TICKS_ENTRY
#endif

/* DDI0403E, exception numbers. Reset_Handler reads what it needs to know of the memory from
 * the words of exceptions that are reserved on all cores. */
struct edgeq_vectors {
    uint32_t *stack_top;
    void (*reset_to_secure_fault[7])(void);
    uint32_t *data_load, *data_start, *data_end; /* 8 to 10 */
    void (*svcall_and_debug_monitor[2])(void);
    uint32_t *stack_guard; /* 13 */
    void (*pendsv)(void);
    void (*systick)(void);
#ifdef EDGEQ_TICKS_IRQ
    void (*external[EXTERNAL_INTERRUPTS])(void);
#endif
};

__attribute__((section(".vectors"), used)) const struct edgeq_vectors edgeq_vectors = {
    .stack_top = edgeq_stack_top,
    .reset_to_secure_fault =
        {
            Reset_Handler,
            NMI_Handler,
            HardFault_Handler,
            HardFault_Handler, /* MemManage */
            HardFault_Handler, /* BusFault */
            HardFault_Handler, /* UsageFault */
            HardFault_Handler, /* SecureFault */
        },
    .data_load = edgeq_data_load,
    .data_start = edgeq_data_start,
    .data_end = edgeq_data_end,
    .svcall_and_debug_monitor = {NMI_Handler, NMI_Handler},
    .stack_guard = edgeq_stack_guard,
    .pendsv = NMI_Handler,
    .systick = ON_SYSTICK,
#ifdef EDGEQ_TICKS_IRQ
    .external = {[EDGEQ_TICKS_IRQ] = TICKS_ENTRY},
#endif
};
_Static_assert(offsetof(struct edgeq_vectors, data_load) == 32u &&
                   offsetof(struct edgeq_vectors, stack_guard) == 52u,
               "Reset_Handler wants them there");

#if EDGEQ_CORE_HAS_CACHES
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

/* Invalidates and enables what caches there are. DCISW of the M7 (Arm DDI0489F) and the
 * M55: lines of 32 bytes, so the set starts at bit 5; four ways, so the way is bits 31:30. */
void edgeq_enable_caches(void);
void edgeq_enable_caches(void) {
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
#define ENABLE_CACHES "bl edgeq_enable_caches\n ldr r0, =edgeq_vectors\n"
#else
#define ENABLE_CACHES ""
#endif

#if EDGEQ_HAS_COPIES
/* Constants of layers that are copied into a ram: link.ld has a row for each ram. */
struct edgeq_copy {
    const uint32_t *from;
    uint32_t *to;
    uint32_t *end;
};
extern const struct edgeq_copy edgeq_copies[], edgeq_copies_end[];

void edgeq_copy_constants(void);
void edgeq_copy_constants(void) {
    for (const struct edgeq_copy *copy = edgeq_copies; copy < edgeq_copies_end; ++copy) {
        const uint32_t *from = copy->from;
        for (uint32_t *to = copy->to; to < copy->end; ++to) {
            *to = *from++;
            __asm__ volatile("" : "+r"(to)::"memory"); /* no call of memcpy */
        }
    }
}
#define COPY_CONSTANTS "bl edgeq_copy_constants\n"
#else
#define COPY_CONSTANTS ""
#endif

/* What a chip's erratum wants before the ram is read; nothing is in .data and .bss yet. */
#if EDGEQ_HAS_EARLY_INIT
#define EARLY_INIT "bl edgeq_early_init\n ldr r0, =edgeq_vectors\n"
#else
#define EARLY_INIT ""
#endif

/* System control space: Arm DDI0403E (ARMv7-M), DDI0553B (ARMv8-M). */
#define VTOR "0xe000ed08"
#if EDGEQ_CORE_HAS_VTOR
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE) /* floating point, vectors: full access */
#define ENABLE_COPROCESSOR                                                                     \
    "ldr r2, [r1, #0x80]\n" /* CPACR */                                                        \
    "orr r2, r2, #0xf00000\n"                                                                  \
    "str r2, [r1, #0x80]\n"
#else
#define ENABLE_COPROCESSOR ""
#endif
#define SET_VTOR                                                                               \
    "ldr r1, =" VTOR "\n"                                                                      \
    "str r0, [r1]\n" ENABLE_COPROCESSOR "dsb\n"                                                \
    "isb\n"
#else
#define SET_VTOR ""
#endif

#if EDGEQ_CORE_HAS_MSPLIM /* DDI0553B: an access below is a UsageFault, here a HardFault */
#define SET_STACK_LIMIT "msr msplim, r4\n"
#else
#define SET_STACK_LIMIT ""
#endif

/* Texts; \001 becomes the next word on the stack, in hexadecimal digits. */
#define OVERFLOW "fault: stack overflow"
#if EDGEQ_CORE_HAS_FAULT_STATUS
#define FAULT "fault: pc \\001 lr \\001 cfsr \\001 hfsr \\001\\000 address \\001"
#define WORDS "{r1-r4, r7}"
/* r3: CFSR, r4: HFSR, r7: BFAR if bit 15 of CFSR says that it is valid, else MMFAR. r5: CFSR,
 * shifted so that bit 31 says whether r7 is valid (bit 7 for MMFAR); bit 30 is reserved, 0. */
#define READ_FAULT_STATUS                                                                      \
    "ldr r7, =" VTOR "\n"                                                                      \
    "adds r7, #0x20\n" /* CFSR, HFSR, DFSR, MMFAR, BFAR */                                     \
    "ldmia r7, {r3-r7}\n"                                                                      \
    "lsls r5, r3, #16\n"                                                                       \
    "bmi .Lfault_words\n"                                                                      \
    "mov r7, r6\n"                                                                             \
    "lsls r5, r3, #24\n"                                                                       \
    "b .Lfault_words\n"
#define NO_SECOND_PART "movs r5, #0\n"
/* A zero within the text: what is behind it comes too if the highest bit of r5 is set. */
#define SECOND_PART                                                                            \
    "lsls r5, r5, #1\n"                                                                        \
    "bcs 2b\n"
#else
#define FAULT             "fault: pc \\001 lr \\001"
#define WORDS             "{r1, r2}"
#define READ_FAULT_STATUS "b .Lfault\n"
#define NO_SECOND_PART
#define SECOND_PART
#endif
_Static_assert(sizeof OVERFLOW == 22, "HardFault_Handler wants the next text there");

#define FUNCTION(name) ".global " name "\n .type " name ", %function\n .thumb_func\n" name ":\n"
#define END(name)      ".size " name ", . - " name "\n"

/* clang-format off */
__asm__(
    ".syntax unified\n"
    ".thumb\n"
    ".pushsection .text.edgeq_startup, \"ax\", %progbits\n"
    ".balign 4\n"

    /* The first here: link.ld has edgeq_ticks_entry at it if no tick counter is used. */
    FUNCTION("NMI_Handler")
    "adr   r0, edgeq_text_unexpected\n"
    "b     .Lfault\n"
    END("NMI_Handler")

    /* The stack pointer at entry is the address of the registers that the core stacked,
     * r0-r3, r12, lr, pc, xpsr (DDI0403E, exception entry). */
    FUNCTION("HardFault_Handler")
    "mov   r4, sp\n"
    "adr   r0, edgeq_text_overflow\n"
    "ldr   r1, =edgeq_stack_bottom\n"
    "cmp   r4, r1\n"
    "blo   .Lfault\n"
    "ldr   r1, =edgeq_stack_top\n"
    "cmp   r4, r1\n"
    "bhs   .Lfault\n"
    "adds  r0, #22\n"           /* edgeq_text_fault */
    "ldr   r1, [r4, #24]\n"
    "ldr   r2, [r4, #20]\n"
    READ_FAULT_STATUS
    END("HardFault_Handler")

    FUNCTION("Reset_Handler")
    "ldr   r0, =edgeq_vectors\n"
    SET_VTOR
    EARLY_INIT
    ENABLE_CACHES
    "ldr   r4, =edgeq_stack_bottom\n"
    SET_STACK_LIMIT
    /* .data, .bss and the guard below the stack, in this order, and what is between: constants
     * that are copied then. Words of the guard hold their own addresses. */
    "adds  r0, #32\n"
    "ldmia r0!, {r1-r3}\n"      /* edgeq_data_load, edgeq_data_start, edgeq_data_end */
    "ldr   r5, [r0, #8]\n"      /* edgeq_stack_guard */
    "1:\n"
    "mov   r6, r2\n"
    "cmp   r2, r5\n"
    "bhs   2f\n"
    "movs  r6, #0\n"
    "cmp   r2, r3\n"
    "bhs   2f\n"
    "ldmia r1!, {r6}\n"
    "2:\n"
    "stmia r2!, {r6}\n"
    "cmp   r2, r4\n"
    "blo   1b\n"
    COPY_CONSTANTS
    "bl    main\n"
    "adr   r0, edgeq_text_returned\n"
    END("Reset_Handler")        /* goes on in edgeq_fault */

    /* The program ends here, so the report has the whole stack, which may have overflown. */
    FUNCTION("edgeq_fault")
    ".Lfault:\n"                /* a label that is not global: branches to it are short */
    NO_SECOND_PART
    ".Lfault_words:\n"
    "cpsid i\n"
    "ldr   r6, =edgeq_stack_top\n"
    "msr   msp, r6\n"
    "push  " WORDS "\n"
    "mov   r4, r0\n"            /* the text */
    "movs  r7, #0\n"            /* digits left of a word, with the one that is sent */
    "movs  r0, #0\n"
    "movs  r1, #1\n"
    "1:\n"
    "bl    edgeq_fault_byte\n"
    "movs  r1, #0\n"
    "subs  r7, #1\n"
    "bgt   3f\n"
    "2:\n"
    "ldrb  r0, [r4]\n"
    "adds  r4, #1\n"
    "cmp   r0, #1\n"
    "bhi   1b\n"
    "blo   4f\n"
    "movs  r7, #8\n"
    "pop   {r6}\n"
    "3:\n"
    "lsrs  r0, r6, #28\n"
    "lsls  r6, r6, #4\n"
    "adds  r0, #'0'\n"
    "cmp   r0, #'9'\n"
    "bls   1b\n"
    "adds  r0, #'a' - '9' - 1\n"
    "b     1b\n"
    "4:\n"
    SECOND_PART
    "bl    edgeq_fault_byte\n"
    "5:\n"
    "wfi\n"
    "b     5b\n"
    END("edgeq_fault")

    ".ltorg\n"
    ".balign 4\n"
    "edgeq_text_overflow:   .asciz \"" OVERFLOW "\"\n"
    "edgeq_text_fault:      .asciz \"" FAULT "\"\n"
    ".balign 4\n"
    "edgeq_text_returned:   .asciz \"main returned\"\n"
    ".balign 4\n"
    "edgeq_text_unexpected: .asciz \"unexpected exception\"\n"
    ".balign 2\n"
    ".popsection\n");
/* clang-format on */

void edgeq_check_stack(void) {
    const uint32_t *at = edgeq_stack_bottom;
    do {
        --at;
        if (*at != (uint32_t)(uintptr_t)at) {
            edgeq_fault(edgeq_text_overflow + 7);
        }
    } while (at > edgeq_stack_guard);
}
