/* Ticks kind "nrf_timer": a 32-bit TIMER at 16 MHz, the core clock of the nRF51, whose
 * Cortex-M0 has no SysTick.
 * Registers: nrf51.svd; nRF51 Series Reference Manual v3.0, TIMER; the timer must have 32
 * bits, as TIMER0 has. */
#include "edgeq_drivers.h"

#define TASKS_START       (EDGEQ_TICKS_BASE + 0x000u)
#define TASKS_STOP        (EDGEQ_TICKS_BASE + 0x004u)
#define TASKS_CLEAR       (EDGEQ_TICKS_BASE + 0x00cu)
#define TASKS_CAPTURE(i)  (EDGEQ_TICKS_BASE + 0x040u + 4u * (i))
#define EVENTS_COMPARE(i) (EDGEQ_TICKS_BASE + 0x140u + 4u * (i))
#define INTENSET          (EDGEQ_TICKS_BASE + 0x304u)
#define MODE              (EDGEQ_TICKS_BASE + 0x504u)
#define BITMODE           (EDGEQ_TICKS_BASE + 0x508u)
#define PRESCALER         (EDGEQ_TICKS_BASE + 0x510u)
#define CC(i)             (EDGEQ_TICKS_BASE + 0x540u + 4u * (i))

#define MODE_TIMER          0u
#define BITMODE_32          3u
#define INTENSET_COMPARE(i) (1u << (16u + (i)))
#define NVIC_ISER           0xe000e100u /* Arm DDI0419E */

/* Compare register 0 takes the captured count; 1 and 2 ask for an interrupt each half turn. */
enum { NOW = 0, HALF = 1, FULL = 2 };

static uint32_t edgeq_timer_turns;
static uint32_t edgeq_timer_last;

/* Must run at least once a turn, not interrupted by itself. */
static uint64_t edgeq_timer_advance(void) {
    EDGEQ_REG32(TASKS_CAPTURE(NOW)) = 1u;
    const uint32_t now = EDGEQ_REG32(CC(NOW));
    if (now < edgeq_timer_last) {
        edgeq_timer_turns += 1u;
    }
    edgeq_timer_last = now;
    return ((uint64_t)edgeq_timer_turns << 32) | now;
}

void edgeq_irq_handler(void);
EDGEQ_TICKS_HANDLER void edgeq_irq_handler(void) {
    EDGEQ_REG32(EVENTS_COMPARE(HALF)) = 0u;
    EDGEQ_REG32(EVENTS_COMPARE(FULL)) = 0u;
    (void)edgeq_timer_advance();
    edgeq_check_stack();
}

void edgeq_ticks_init(void) {
    EDGEQ_USE("edgeq_irq_handler");
    EDGEQ_REG32(TASKS_STOP) = 1u;
    EDGEQ_REG32(MODE) = MODE_TIMER;
    EDGEQ_REG32(BITMODE) = BITMODE_32;
    EDGEQ_REG32(PRESCALER) = 0u;
    EDGEQ_REG32(TASKS_CLEAR) = 1u;
    EDGEQ_REG32(CC(HALF)) = 0x80000000u;
    EDGEQ_REG32(CC(FULL)) = 0u;
    EDGEQ_REG32(EVENTS_COMPARE(HALF)) = 0u;
    EDGEQ_REG32(EVENTS_COMPARE(FULL)) = 0u;
    EDGEQ_REG32(INTENSET) = INTENSET_COMPARE(HALF) | INTENSET_COMPARE(FULL);
    EDGEQ_REG32(NVIC_ISER) = 1u << EDGEQ_TICKS_IRQ;
    EDGEQ_REG32(TASKS_START) = 1u;
}

uint64_t edgeq_ticks(void) {
    __asm__ volatile("cpsid i" ::: "memory");
    const uint64_t ticks = edgeq_timer_advance();
    __asm__ volatile("cpsie i" ::: "memory");
    return ticks;
}
