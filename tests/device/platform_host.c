/* The platform on the host: the UART is standard input and output. A read that finds nothing
 * sleeps a little if the one before found nothing either, so that an idle device takes no time.
 * FIFO_BYTES: what of the bytes that came while the program did not read the UART has kept. */
#define _POSIX_C_SOURCE 200809L
#include "edgeq_platform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint8_t received[4096];
static size_t received_at, received_nbytes;
static uint8_t sent[4096];
static size_t sent_nbytes;
static int idle_reads;
static int deaf; /* the program has done something else since its last read */

void edgeq_platform_init(void) {
    (void)fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
}

static void flush(void) {
    size_t at = 0;
    while (at < sent_nbytes) {
        struct pollfd line = {.fd = 1, .events = POLLOUT};
        (void)poll(&line, 1, -1);
        const ssize_t n = write(1, sent + at, sent_nbytes - at);
        if ((line.revents & (POLLHUP | POLLERR)) != 0 || (n < 0 && errno != EAGAIN)) {
            exit(0); /* the other end has gone */
        }
        at += n > 0 ? (size_t)n : 0u;
    }
    sent_nbytes = 0;
}

int edgeq_uart_read(void) {
    if (received_at == received_nbytes) {
        flush();
        struct pollfd line = {.fd = 0, .events = POLLIN};
        received_at = received_nbytes = 0;
        if (poll(&line, 1, idle_reads < 2 ? 0 : 2) > 0) {
            const ssize_t n = read(0, received, sizeof received);
            if (n < 0 && errno == EAGAIN) {
                return -1;
            }
            if (n <= 0) {
                exit(0);
            }
            received_nbytes = (size_t)n;
#ifdef FIFO_BYTES
            if (deaf && received_nbytes > FIFO_BYTES) {
                received_nbytes = FIFO_BYTES;
            }
#endif
        }
    }
    deaf = 0;
    if (received_at == received_nbytes) {
        ++idle_reads;
        return -1;
    }
    idle_reads = 0;
    return received[received_at++];
}

void edgeq_uart_write(uint8_t byte) {
    deaf = 1;
    idle_reads = 0;
    sent[sent_nbytes++] = byte;
    if (sent_nbytes == sizeof sent) {
        flush();
    }
}

uint64_t edgeq_ticks(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}
