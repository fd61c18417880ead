/* The UART's clock and pins on an STM32. The GPIO ports are alike in all series: ST RM0090
 * (F4), RM0432 (L4+), RM0433 (H7), RM0444 (G0), GPIO.
 * Where RCC enables a port and a UART is in the board's file. */
#ifndef EDGEQ_STM32_PINS_H
#define EDGEQ_STM32_PINS_H

#include "edgeq_drivers.h"

#define STM32_GPIO_MODER     (EDGEQ_UART_GPIO_BASE + 0x00u) /* 2 bits a pin */
#define STM32_GPIO_PUPDR     (EDGEQ_UART_GPIO_BASE + 0x0cu) /* 2 bits a pin */
#define STM32_GPIO_AFR(pin)  (EDGEQ_UART_GPIO_BASE + 0x20u + 4u * ((pin) / 8u)) /* 4 bits */
#define STM32_MODE_ALTERNATE 2u
#define STM32_PULL_UP        1u

static inline void edgeq_stm32_pin(uint32_t pin) {
    edgeq_modify(STM32_GPIO_AFR(pin), 0xfu << (pin % 8u * 4u),
                 EDGEQ_UART_ALTERNATE_FUNCTION << (pin % 8u * 4u));
    edgeq_modify(STM32_GPIO_PUPDR, 3u << (pin * 2u), STM32_PULL_UP << (pin * 2u));
    edgeq_modify(STM32_GPIO_MODER, 3u << (pin * 2u), STM32_MODE_ALTERNATE << (pin * 2u));
}

static inline void edgeq_stm32_enable(uint32_t offset, uint32_t bit) {
    edgeq_modify(EDGEQ_UART_RCC_BASE + offset, 1u << bit, 1u << bit);
    /* Two bus cycles pass before an enabled peripheral answers (ST RM0390). */
    (void)EDGEQ_REG32(EDGEQ_UART_RCC_BASE + offset);
    (void)EDGEQ_REG32(EDGEQ_UART_RCC_BASE + offset);
}

static inline void edgeq_stm32_uart_pins(void) {
    edgeq_stm32_enable(EDGEQ_UART_RCC_GPIO_OFFSET, EDGEQ_UART_RCC_GPIO_BIT);
    edgeq_stm32_enable(EDGEQ_UART_RCC_UART_OFFSET, EDGEQ_UART_RCC_UART_BIT);
    edgeq_stm32_pin(EDGEQ_UART_TX_PIN);
    edgeq_stm32_pin(EDGEQ_UART_RX_PIN);
}

#endif /* EDGEQ_STM32_PINS_H */
