/* edgeq_framing.c for Python: what it sends is kept in a buffer. */
#include "edgeq_framing.h"
#include "edgeq_platform.h"

static uint8_t sent[1024];
static size_t sent_nbytes;

void edgeq_uart_write(uint8_t byte) {
    sent[sent_nbytes++] = byte;
}

size_t shim_send(uint8_t type, uint16_t sequence, const uint8_t *head, size_t head_nbytes,
                 const uint8_t *body, size_t body_nbytes);
size_t shim_send(uint8_t type, uint16_t sequence, const uint8_t *head, size_t head_nbytes,
                 const uint8_t *body, size_t body_nbytes) {
    sent_nbytes = 0;
    edgeq_frame_send(type, sequence, head, head_nbytes, body, body_nbytes);
    return sent_nbytes;
}

const uint8_t *shim_sent(void);
const uint8_t *shim_sent(void) {
    return sent;
}
