/* Functions whose instructions and cycles test_profile.py counts by hand. */
#include <stdint.h>

#include "edgeq_platform.h"

#define NAKED     __attribute__((naked, noinline, used))
#define ASM(text) __asm__ volatile(".syntax unified\n" text)

void count_down(void);
void chase(void);
void leaf(void);
void three_calls(void);
void ends_in_call(void);
void long_count(void);
void straight(void);
void never_called(void);
void calls_itself(void);
void calls_a_register(void);
void sets_the_stack(void);
void jumps(void);
void jumps_far(void);

NAKED void count_down(void) {
    ASM("movs r0, #10\n"
        "1: subs r0, r0, #1\n"
        "bne 1b\n"
        "bx lr\n");
}

/* Loads that need each other's result, and stores after loads. */
NAKED void chase(void) {
    ASM("push {r4, lr}\n"
        "movs r0, #4\n"
        "sub sp, #8\n"
        "mov r1, sp\n"
        "str r1, [r1]\n"
        "ldr r1, [r1]\n"
        "ldr r1, [r1]\n"
        "ldr r2, [r1]\n"
        "ldr r3, [r1]\n"
        "str r2, [r1, r0]\n"
        "str r2, [r1, r0]\n"
        "muls r2, r0, r2\n"
        "add sp, #8\n"
        "pop {r4, pc}\n");
}

NAKED void leaf(void) {
    ASM("push {r4, r5, r6, r7}\n"
        "pop {r4, r5, r6, r7}\n"
        "bx lr\n");
}

NAKED void three_calls(void) {
    ASM("push {r4, lr}\n"
        "bl count_down\n"
        "bl chase\n"
        "bl leaf\n"
        "pop {r4, pc}\n");
}

NAKED void ends_in_call(void) {
    ASM("push {r4, lr}\n"
        "bl leaf\n"
        "pop {r2, r3}\n"
        "mov lr, r3\n"
        "b leaf\n");
}

/* 2 + 3 * 7000000 + 1 instructions: longer than a period of SysTick. */
NAKED void long_count(void) {
    ASM("ldr r0, =7000000\n"
        "movs r1, #1\n"
        "1: nop\n"
        "subs r0, r0, r1\n"
        "bne 1b\n"
        "bx lr\n"
        ".ltorg\n");
}

/* More than the emulator takes for one basic block. */
NAKED void straight(void) {
    ASM(".rept 700\n"
        "ldr r1, [sp]\n"
        ".endr\n"
        "bx lr\n");
}

NAKED void never_called(void) {
    ASM("bx lr\n");
}

/* The following are only looked at, for what the stack analysis makes of them. */
NAKED void calls_itself(void) {
    ASM("push {r4, lr}\n"
        "bl calls_itself\n"
        "pop {r4, pc}\n");
}

NAKED void calls_a_register(void) {
    ASM("push {r4, lr}\n"
        "blx r4\n"
        "pop {r4, pc}\n");
}

NAKED void sets_the_stack(void) {
    ASM("mov r3, sp\n"
        "mov sp, r3\n"
        "bx lr\n");
}

/* BL within a function is a jump: 8 + 4 bytes. */
NAKED void jumps_far(void) {
    ASM("push {r4, lr}\n"
        "bl 1f\n"
        "sub sp, #100\n"
        "1: push {r4}\n"
        "pop {r4}\n"
        "pop {r4, pc}\n");
}

/* What comes next is behind the jump: 8 + 12 bytes. */
NAKED void jumps(void) {
    ASM("push {r4, lr}\n"
        "mov pc, r4\n"
        "sub sp, #12\n"
        "add sp, #12\n"
        "pop {r4, pc}\n");
}

#if __ARM_ARCH >= 7
void wide_loads(void);
void arithmetic(void);
void skipped(void);
void pops_perhaps(void);

NAKED void wide_loads(void) {
    ASM("mov r3, #3\n"
        "1: mov r1, sp\n"
        "ldr r0, [r1], #4\n"
        "ldr r2, [r1, #4]\n"
        "ldr r12, [r1]\n"
        "ldrd r0, r2, [sp]\n"
        "ldm sp, {r0, r1, r2}\n"
        "subs r3, r3, #1\n"
        "bne 1b\n"
        "bx lr\n");
}

NAKED void arithmetic(void) {
    ASM("mov r0, #3\n"
        "mov r1, #5\n"
        "mul r2, r0, r1\n"
        "mla r2, r0, r1, r2\n"
        "smull r2, r3, r0, r1\n"
        "smlal r2, r3, r0, r1\n"
        "udiv r2, r1, r0\n"
        "ssat r2, #8, r2\n"
        "bx lr\n");
}

NAKED void skipped(void) {
    ASM("movs r0, #0\n"
        "cmp r0, #1\n"
        "ite eq\n"
        "moveq r1, #1\n"
        "movne r1, #2\n"
        "cbz r0, 1f\n"
        "nop\n"
        "1: cbnz r0, 2f\n"
        "nop\n"
        "2: bx lr\n");
}

/* If POP is skipped, PUSH comes on top: 16 bytes. */
NAKED void pops_perhaps(void) {
    ASM("push {r4, lr}\n"
        "cmp r0, #0\n"
        "it eq\n"
        "popeq {r4, pc}\n"
        "push {r4, lr}\n"
        "pop {r4, lr}\n"
        "pop {r4, pc}\n");
}
#endif

int main(void) {
    edgeq_platform_init();
    for (uint32_t i = 0; i < 2u; ++i) {
        count_down();
        chase();
        leaf();
        three_calls();
        ends_in_call();
        straight();
#if __ARM_ARCH >= 7
        wide_loads();
        arithmetic();
        skipped();
#endif
    }
    long_count();
    for (;;) {
        if (edgeq_uart_read() == 'x') {
            never_called();
            calls_itself();
            jumps_far();
            calls_a_register();
            sets_the_stack();
            jumps();
#if __ARM_ARCH >= 7
            pops_perhaps();
#endif
        }
    }
}
