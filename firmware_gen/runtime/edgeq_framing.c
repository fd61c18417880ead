/* Frames on the serial line; twin of edgeq/stream/framing.py. Each image has this code, so it
 * is written for size. */
#include "edgeq_framing.h"

#include "edgeq_platform.h"

#define COBS_MAX_RUN 254u /* bytes that one COBS code can announce */

/* IEEE 802.3, 3.2.9, reflected: the CRC of bytes with their own CRC behind them. */
#define CRC_RESIDUE 0x2144df1cu

/* Entry n: the CRC-32 of the nibble n, reflected polynomial 0xedb88320. Bit by bit would be 72
 * bytes less and some four times the cycles, and inputs go through it twice: with an image that
 * is a good part of what its network takes. */
static const uint32_t crc_of_nibble[16] = {
    0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
    0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
    0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
};

uint32_t edgeq_crc32(uint32_t crc, const uint8_t *bytes, size_t nbytes) {
    crc = ~crc;
    for (; nbytes > 0u; --nbytes) {
        crc ^= *bytes++;
        for (int nibble = 2; nibble > 0; --nibble) {
            crc = crc >> 4 ^ crc_of_nibble[crc & 15u];
        }
    }
    return ~crc;
}

enum edgeq_frame_event edgeq_frame_receive(struct edgeq_frame_receiver *receiver,
                                           uint8_t byte) {
    const size_t nbytes = receiver->nbytes;
    if (byte == 0u) {
        enum edgeq_frame_event event = EDGEQ_FRAME_PENDING;
        if (nbytes != 0u || receiver->block_left != 0u || receiver->block_ends_zero) {
            event = EDGEQ_FRAME_BAD;
            if (receiver->block_left == 0u && nbytes <= EDGEQ_FRAME_MAX_BYTES &&
                nbytes >= EDGEQ_FRAME_HEADER_BYTES + EDGEQ_FRAME_CRC_BYTES &&
                edgeq_crc32(0u, receiver->bytes, nbytes) == CRC_RESIDUE) {
                event = EDGEQ_FRAME_GOOD;
            }
        }
        receiver->frame_nbytes = (uint16_t)nbytes;
        receiver->nbytes = 0u;
        receiver->block_left = 0u;
        receiver->block_ends_zero = false;
        return event;
    }
    if (receiver->block_left != 0u) {
        --receiver->block_left;
    } else {
        const bool is_behind_zero = receiver->block_ends_zero;
        receiver->block_left = (uint8_t)(byte - 1u);
        receiver->block_ends_zero = byte <= COBS_MAX_RUN;
        if (!is_behind_zero) {
            return EDGEQ_FRAME_PENDING;
        }
        byte = 0u;
    }
    if (nbytes <= EDGEQ_FRAME_MAX_BYTES) {
        receiver->nbytes = (uint16_t)(nbytes + 1u);
        if (nbytes < EDGEQ_FRAME_MAX_BYTES) {
            receiver->bytes[nbytes] = byte;
        }
    }
    return EDGEQ_FRAME_PENDING;
}

/* A frame's bytes where they lie, so that no copy of the frame needs RAM. */
struct part {
    const void *bytes;
    size_t nbytes;
};

__attribute__((noinline)) static uint8_t byte_at(const struct part *part, size_t index) {
    while (index >= part->nbytes) {
        index -= part->nbytes;
        ++part;
    }
    return ((const uint8_t *)part->bytes)[index];
}

void edgeq_frame_send(uint8_t type, uint16_t sequence, const uint8_t *head, size_t head_nbytes,
                      const uint8_t *body, size_t body_nbytes) {
    const uint32_t header =
        EDGEQ_PROTOCOL_VERSION | (uint32_t)type << 8 | (uint32_t)sequence << 16;
    uint32_t crc = 0;
    const struct part parts[] = {
        {&header, sizeof header},
        {head, head_nbytes},
        {body, body_nbytes},
        {&crc, sizeof crc},
    };
    size_t nbytes = sizeof crc;
    for (const struct part *part = parts; part != parts + 3; ++part) {
        crc = edgeq_crc32(crc, part->bytes, part->nbytes);
        nbytes += part->nbytes;
    }

    edgeq_uart_write(0u);
    for (size_t at = 0;;) {
        size_t run = 0;
        while (at + run < nbytes && run < COBS_MAX_RUN && byte_at(parts, at + run) != 0u) {
            ++run;
        }
        edgeq_uart_write((uint8_t)(run + 1u));
        for (const size_t end = at + run; at != end; ++at) {
            edgeq_uart_write(byte_at(parts, at));
        }
        if (at == nbytes) {
            break;
        }
        if (run < COBS_MAX_RUN) {
            ++at; /* the zero that the code stands for */
        }
    }
    edgeq_uart_write(0u);
}
