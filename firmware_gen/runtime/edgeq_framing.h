/* Frames on the serial line; twin of edgeq/stream/framing.py.
 *
 * On the wire: COBS(version u8, type u8, sequence u16, payload, crc32 u32), then one 0x00; a
 * 0x00 before a frame ends whatever came before. COBS: Cheshire and Baker, "Consistent overhead
 * byte stuffing", IEEE/ACM Transactions on Networking 7(2), 1999. The CRC-32 is that of IEEE
 * 802.3 over header and payload. Integers are little endian. */
#ifndef EDGEQ_FRAMING_H
#define EDGEQ_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are sent as they are");

#define EDGEQ_PROTOCOL_VERSION   1u
#define EDGEQ_FRAME_HEADER_BYTES 4u
#define EDGEQ_FRAME_CRC_BYTES    4u
#define EDGEQ_FRAME_MAX_PAYLOAD  256u
#define EDGEQ_FRAME_MAX_BYTES                                                                  \
    (EDGEQ_FRAME_HEADER_BYTES + EDGEQ_FRAME_MAX_PAYLOAD + EDGEQ_FRAME_CRC_BYTES)

enum edgeq_frame_event {
    EDGEQ_FRAME_PENDING, /* no frame has ended */
    EDGEQ_FRAME_GOOD,    /* the receiver holds a frame, until the next byte is given to it */
    EDGEQ_FRAME_BAD,     /* a frame has ended that is not valid; it is dropped */
    EDGEQ_FRAME_NONE,    /* not even a byte has come; edgeq_frame_receive never says it */
};

/* A frame on its way in, COBS already removed; all zero is the state before the first byte. The
 * bytes are last, where the core's short instructions do not reach. */
struct edgeq_frame_receiver {
    uint16_t nbytes;       /* so far; one more than there is room for: the frame is too long */
    uint16_t frame_nbytes; /* header, payload and CRC of the frame that EDGEQ_FRAME_GOOD told */
    uint8_t block_left;    /* bytes up to the next COBS code */
    bool block_ends_zero;  /* the COBS block stands for a zero behind its bytes */
    union {
        uint8_t bytes[EDGEQ_FRAME_MAX_BYTES];
        uint32_t words[EDGEQ_FRAME_MAX_BYTES / 4u];
    };
};

/* Takes one byte from the line. */
enum edgeq_frame_event edgeq_frame_receive(struct edgeq_frame_receiver *receiver, uint8_t byte);

/* Sends one frame, its payload in two parts (either may be empty), with edgeq_uart_write. */
void edgeq_frame_send(uint8_t type, uint16_t sequence, const uint8_t *head, size_t head_nbytes,
                      const uint8_t *body, size_t body_nbytes);

/* CRC-32 of bytes behind those that gave `crc`; 0 for the first. */
uint32_t edgeq_crc32(uint32_t crc, const uint8_t *bytes, size_t nbytes);

#endif /* EDGEQ_FRAMING_H */
