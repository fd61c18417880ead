/* The program: answers the serial line for ever. */
#include "edgeq_platform.h"
#include "edgeq_serial.h"

int main(void) {
    edgeq_platform_init();
    edgeq_serial_init();
    for (;;) {
        edgeq_serial_poll();
    }
}
