/* An example of the model's three functions: runs the self-test and says PASS or FAIL on the
 * UART, one line a vector. */
#include <stdint.h>

#include "edgeq_platform.h"
#include "model.h"
#include "self_test.h"

static void print(const char *text) {
    while (*text != '\0') {
        edgeq_uart_write((uint8_t)*text++);
    }
}

/* Decimal digits by subtraction: some cores have no division. */
static void print_number(uint32_t value) {
    static const uint32_t powers[] = {1000000000u, 100000000u, 10000000u, 1000000u, 100000u,
                                      10000u,      1000u,      100u,      10u,      1u};
    uint32_t started = 0;
    for (uint32_t i = 0; i < sizeof powers / sizeof powers[0]; ++i) {
        uint32_t digit = 0;
        while (value >= powers[i]) {
            value -= powers[i];
            ++digit;
        }
        started |= digit;
        if (started != 0u || powers[i] == 1u) {
            edgeq_uart_write((uint8_t)('0' + digit));
        }
    }
}

int main(void) {
    uint32_t failed = 0;
    edgeq_platform_init();
    print("model " EDGEQ_MODEL_NAME "\r\n");
    for (uint32_t i = 0; i < edgeq_self_test_count(); ++i) {
        const uint64_t start = edgeq_ticks();
        const uint32_t differences = edgeq_self_test_run(i);
        const uint32_t ticks = (uint32_t)(edgeq_ticks() - start);
        failed += differences != 0u ? 1u : 0u;
        print("vector ");
        print_number(i);
        print(": ");
        print_number(differences);
        print(" bytes differ, ");
        print_number(ticks);
        print(" ticks\r\n");
    }
    print(failed == 0u ? "PASS\r\n" : "FAIL\r\n");
    for (;;) {
    }
}
