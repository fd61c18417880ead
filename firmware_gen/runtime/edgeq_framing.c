/* Frames on the serial line; twin of edgeq/stream/framing.py. */
#include "edgeq_framing.h"

#include "edgeq_platform.h"

#define COBS_MAX_RUN 254u /* bytes that one COBS code can announce */

/* Entry n: the CRC-32 of the nibble n, reflected polynomial 0xedb88320 (IEEE 802.3, 3.2.9). */
static const uint32_t crc_of_nibble[16] = {
    0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
    0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
    0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
};

uint32_t edgeq_crc32(uint32_t crc, const uint8_t *bytes, size_t nbytes) {
    crc = ~crc;
    for (size_t i = 0; i < nbytes; ++i) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ crc_of_nibble[crc & 15u];
        crc = crc >> 4 ^ crc_of_nibble[crc & 15u];
    }
    return ~crc;
}

static void append(struct edgeq_frame_receiver *receiver, uint8_t byte) {
    if (receiver->nbytes == EDGEQ_FRAME_MAX_BYTES) {
        receiver->overlong = true;
        return;
    }
    receiver->bytes[receiver->nbytes++] = byte;
}

static bool frame_is_valid(const struct edgeq_frame_receiver *receiver) {
    if (receiver->overlong || receiver->block_left != 0u ||
        receiver->nbytes < EDGEQ_FRAME_HEADER_BYTES + EDGEQ_FRAME_CRC_BYTES) {
        return false;
    }
    const size_t checked_nbytes = receiver->nbytes - EDGEQ_FRAME_CRC_BYTES;
    return edgeq_crc32(0u, receiver->bytes, checked_nbytes) ==
           edgeq_get_u32(receiver->bytes + checked_nbytes);
}

enum edgeq_frame_event edgeq_frame_receive(struct edgeq_frame_receiver *receiver,
                                           uint8_t byte) {
    if (byte == 0u) {
        enum edgeq_frame_event event = EDGEQ_FRAME_PENDING;
        if (receiver->started) {
            event = frame_is_valid(receiver) ? EDGEQ_FRAME_GOOD : EDGEQ_FRAME_BAD;
        }
        receiver->frame_nbytes = receiver->nbytes;
        receiver->nbytes = 0u;
        receiver->block_left = 0u;
        receiver->block_ends_zero = false;
        receiver->started = false;
        receiver->overlong = false;
        return event;
    }
    receiver->started = true;
    if (receiver->block_left != 0u) {
        --receiver->block_left;
        append(receiver, byte);
        return EDGEQ_FRAME_PENDING;
    }
    if (receiver->block_ends_zero) {
        append(receiver, 0u);
    }
    receiver->block_left = (uint8_t)(byte - 1u);
    receiver->block_ends_zero = byte <= COBS_MAX_RUN;
    return EDGEQ_FRAME_PENDING;
}

/* A frame's bytes where they lie, so that no copy of the frame needs RAM. */
struct parts {
    const uint8_t *bytes[4];
    size_t nbytes[4];
};

static uint8_t byte_at(const struct parts *parts, size_t index) {
    size_t part = 0;
    while (index >= parts->nbytes[part]) {
        index -= parts->nbytes[part];
        ++part;
    }
    return parts->bytes[part][index];
}

void edgeq_frame_send(uint8_t type, uint16_t sequence, const uint8_t *head, size_t head_nbytes,
                      const uint8_t *body, size_t body_nbytes) {
    uint8_t header[EDGEQ_FRAME_HEADER_BYTES] = {EDGEQ_PROTOCOL_VERSION, type};
    edgeq_put_u16(header + 2, sequence);
    uint32_t crc = edgeq_crc32(0u, header, sizeof header);
    crc = edgeq_crc32(crc, head, head_nbytes);
    crc = edgeq_crc32(crc, body, body_nbytes);
    uint8_t trailer[EDGEQ_FRAME_CRC_BYTES];
    edgeq_put_u32(trailer, crc);
    const struct parts parts = {
        .bytes = {header, head, body, trailer},
        .nbytes = {sizeof header, head_nbytes, body_nbytes, sizeof trailer},
    };
    const size_t nbytes = sizeof header + head_nbytes + body_nbytes + sizeof trailer;

    edgeq_uart_write(0u);
    for (size_t start = 0;;) {
        size_t run = 0;
        while (start + run < nbytes && run < COBS_MAX_RUN &&
               byte_at(&parts, start + run) != 0u) {
            ++run;
        }
        edgeq_uart_write((uint8_t)(run + 1u));
        for (size_t i = 0; i < run; ++i) {
            edgeq_uart_write(byte_at(&parts, start + i));
        }
        start += run;
        if (start == nbytes) {
            break;
        }
        if (run < COBS_MAX_RUN) {
            ++start; /* the zero that the code stands for */
        }
    }
    edgeq_uart_write(0u);
}
