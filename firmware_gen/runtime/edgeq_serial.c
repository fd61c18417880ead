/* Answers the host's requests; twin of edgeq/stream/protocol.py. */
#include "edgeq_serial.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgeq_app.h"
#include "edgeq_board.h"
#include "edgeq_cycles.h"
#include "edgeq_framing.h"
#include "edgeq_platform.h"
#include "model.h"

enum message_type {
    HELLO = 0x01,
    INPUT = 0x02,
    RUN = 0x03,
    STREAM = 0x04,
    STOP = 0x05,
    PROFILE = 0x06,
    IDENTITY = 0x81,
    ACK = 0x82,
    RESULT = 0x83,
    LOG = 0x84,
    ERROR = 0x85,
    CYCLES = 0x86,
};

enum error_code {
    ERROR_FRAME = 1,
    ERROR_VERSION = 2,
    ERROR_TYPE = 3,
    ERROR_PAYLOAD = 4,
    ERROR_RANGE = 5,
    ERROR_INPUT = 6,
    ERROR_SAMPLES = 7,
    ERROR_FAULT = 8,
    ERROR_CYCLES = 9,
};

#define FROM_DEVICE       0x80u
#define INPUT_NBYTES      ((uint32_t)EDGEQ_MODEL_INPUT_NBYTES)
#define OUTPUT_NBYTES     ((uint32_t)EDGEQ_MODEL_OUTPUT_NBYTES)
#define RESULT_HEAD_BYTES 20u
#define RESULT_BODY_BYTES (EDGEQ_FRAME_MAX_PAYLOAD - RESULT_HEAD_BYTES)
#define DIGEST_BYTES      16u
#define IDENTITY_FIXED    22u
#define LISTEN_TICKS      ((uint64_t)EDGEQ_CORE_HZ)

static const uint8_t model_digest[DIGEST_BYTES] = EDGEQ_MODEL_DIGEST;
static const char identity_names[] =
    EDGEQ_MODEL_NAME "\0" EDGEQ_BOARD_NAME "\0" EDGEQ_FIRMWARE_VERSION;
_Static_assert(IDENTITY_FIXED + DIGEST_BYTES + sizeof identity_names <= EDGEQ_FRAME_MAX_PAYLOAD,
               "names of model, board and firmware together are too long for one frame");

static struct {
    struct edgeq_frame_receiver receiver;
    uint16_t sequence;

    bool finished; /* the outputs are those of the run below */
    uint32_t run_id;
    uint32_t input_crc;
    uint64_t run_ticks;

    bool streaming;
    bool endless;
    bool listening; /* a byte came while streaming, at heard_at */
    uint32_t stream_next;
    uint32_t stream_left;
    uint32_t sample;
    uint64_t heard_at;

#ifdef EDGEQ_MODEL_LAYER_COUNT
    bool counts;  /* the core's cycle counter does */
    bool is_real; /* and is no emulator's */
#endif
} line;

static void send(uint8_t type, const uint8_t *head, size_t head_nbytes, const void *body,
                 size_t body_nbytes) {
    edgeq_frame_send(type, line.sequence, head, head_nbytes, body, body_nbytes);
    ++line.sequence;
}

/* LOG and ERROR: one byte, then a text. */
static void send_text(uint8_t type, uint8_t first, const char *text) {
    size_t nbytes = 0;
    while (nbytes < EDGEQ_FRAME_MAX_PAYLOAD - 1u && text[nbytes] != '\0') {
        ++nbytes;
    }
    send(type, &first, 1u, text, nbytes);
}

static void send_error(enum error_code code, const char *text) {
    send_text(ERROR, (uint8_t)code, text);
}

static void send_ack(enum message_type of, uint32_t value) {
    uint8_t head[5] = {(uint8_t)of};
    edgeq_put_u32(head + 1, value);
    send(ACK, head, sizeof head, NULL, 0u);
}

static void send_identity(void) {
    uint8_t head[IDENTITY_FIXED + DIGEST_BYTES];
    edgeq_put_u16(head, EDGEQ_FRAME_MAX_PAYLOAD);
    edgeq_put_u32(head + 2, INPUT_NBYTES);
    edgeq_put_u32(head + 6, OUTPUT_NBYTES);
    edgeq_put_u32(head + 10, (uint32_t)EDGEQ_MODEL_ARENA_NBYTES);
    edgeq_put_u32(head + 14, (uint32_t)EDGEQ_CORE_HZ);
    edgeq_put_u32(head + 18, edgeq_app_sample_count());
    for (size_t i = 0; i < DIGEST_BYTES; ++i) {
        head[IDENTITY_FIXED + i] = model_digest[i];
    }
    send(IDENTITY, head, sizeof head, identity_names, sizeof identity_names);
}

/* The pieces of one result go out one behind the other, with no other frame between them. */
static void send_result(uint32_t run_id, uint64_t ticks) {
    uint8_t head[RESULT_HEAD_BYTES];
    edgeq_put_u32(head, run_id);
    edgeq_put_u32(head + 4, (uint32_t)(ticks & 0xffffffffu));
    edgeq_put_u32(head + 8, (uint32_t)(ticks >> 32));
    edgeq_put_u32(head + 12, OUTPUT_NBYTES);
    uint32_t offset = 0;
    for (size_t tensor = 0; tensor < EDGEQ_MODEL_OUTPUT_COUNT; ++tensor) {
        const uint8_t *from = edgeq_model_output(tensor);
        size_t left = edgeq_model_output_nbytes(tensor);
        while (left > 0u) {
            const size_t nbytes = left < RESULT_BODY_BYTES ? left : RESULT_BODY_BYTES;
            edgeq_put_u32(head + 16, offset);
            send(RESULT, head, sizeof head, from, nbytes);
            from += nbytes;
            left -= nbytes;
            offset += (uint32_t)nbytes;
        }
    }
}

static uint64_t timed_run(void) {
    const uint64_t start = edgeq_ticks();
    edgeq_model_run();
    return edgeq_ticks() - start;
}

static uint32_t crc_of_inputs(void) {
    uint32_t crc = 0;
    for (size_t tensor = 0; tensor < EDGEQ_MODEL_INPUT_COUNT; ++tensor) {
        crc = edgeq_crc32(crc, edgeq_model_input(tensor), edgeq_model_input_nbytes(tensor));
    }
    return crc;
}

/* `offset` counts over the inputs one behind the other; offset + nbytes is within them. */
static void write_inputs(size_t offset, const uint8_t *from, size_t nbytes) {
    for (size_t tensor = 0; nbytes > 0u; ++tensor) {
        const size_t tensor_nbytes = edgeq_model_input_nbytes(tensor);
        if (offset >= tensor_nbytes) {
            offset -= tensor_nbytes;
            continue;
        }
        uint8_t *to = edgeq_model_input(tensor);
        for (; nbytes > 0u && offset < tensor_nbytes; ++offset, --nbytes) {
            to[offset] = *from++;
        }
        offset = 0;
    }
}

/* Without a division, which the Cortex-M0 lacks; `modulus` is below 2**31. */
static uint32_t modulo(uint32_t value, uint32_t modulus) {
    uint32_t rest = 0;
    for (uint32_t bit = 0x80000000u; bit != 0u; bit >>= 1) {
        rest = rest << 1 | ((value & bit) != 0u ? 1u : 0u);
        if (rest >= modulus) {
            rest -= modulus;
        }
    }
    return rest;
}

static void take_input(const uint8_t *payload, size_t nbytes) {
    if (nbytes < 5u) {
        send_error(ERROR_PAYLOAD, "INPUT wants an offset and bytes");
        return;
    }
    const uint32_t offset = edgeq_get_u32(payload);
    const uint32_t chunk_nbytes = (uint32_t)nbytes - 4u;
    if (offset > INPUT_NBYTES || chunk_nbytes > INPUT_NBYTES - offset) {
        send_error(ERROR_RANGE, "INPUT reaches behind the model's inputs");
        return;
    }
    line.streaming = false;
    line.finished = false;
    write_inputs(offset, payload + 4, chunk_nbytes);
    send_ack(INPUT, offset + chunk_nbytes);
}

static void take_run(const uint8_t *payload, size_t nbytes) {
    if (nbytes != 8u) {
        send_error(ERROR_PAYLOAD, "RUN wants 8 bytes");
        return;
    }
    const uint32_t run_id = edgeq_get_u32(payload);
    const uint32_t input_crc = edgeq_get_u32(payload + 4);
    line.streaming = false;
    if (!line.finished || run_id != line.run_id || input_crc != line.input_crc) {
        if (crc_of_inputs() != input_crc) {
            send_error(ERROR_INPUT, "the inputs are not those of RUN");
            return;
        }
        line.run_ticks = timed_run();
        line.run_id = run_id;
        line.input_crc = input_crc;
        line.finished = true;
    }
    send_result(line.run_id, line.run_ticks);
}

static void take_stream(const uint8_t *payload, size_t nbytes) {
    if (nbytes != 8u) {
        send_error(ERROR_PAYLOAD, "STREAM wants 8 bytes");
        return;
    }
    const uint32_t samples = edgeq_app_sample_count();
    if (samples == 0u) {
        send_error(ERROR_SAMPLES, "this firmware has no samples of its own");
        return;
    }
    line.finished = false;
    line.streaming = true;
    line.stream_left = edgeq_get_u32(payload);
    line.endless = line.stream_left == 0u;
    line.stream_next = edgeq_get_u32(payload + 4);
    line.sample = modulo(line.stream_next, samples);
    send_ack(STREAM, line.stream_next);
}

static void step_stream(void) {
    edgeq_app_load_sample(line.sample);
    send_result(line.stream_next, timed_run());
    ++line.stream_next;
    ++line.sample;
    /* Numbers wrap at 2**32, which need not be a multiple of the samples. */
    if (line.sample == edgeq_app_sample_count() || line.stream_next == 0u) {
        line.sample = 0u;
    }
    if (!line.endless && --line.stream_left == 0u) {
        line.streaming = false;
    }
}

#ifdef EDGEQ_MODEL_LAYER_COUNT
#define CYCLES_HEAD_BYTES 9u
#define CYCLES_A_FRAME    ((EDGEQ_FRAME_MAX_PAYLOAD - CYCLES_HEAD_BYTES) / 4u)

/* Of the last finished RUN: the cycles of the layers from number `first` on, as many as one
 * frame has room for. */
static void take_profile(const uint8_t *payload, size_t nbytes) {
    if (nbytes != 4u) {
        send_error(ERROR_PAYLOAD, "PROFILE wants 4 bytes");
        return;
    }
    const uint32_t first = edgeq_get_u32(payload);
    line.streaming = false;
    if (first >= EDGEQ_MODEL_LAYER_COUNT) {
        send_error(ERROR_RANGE, "PROFILE reaches behind the layers");
        return;
    }
    if (!line.counts || !line.finished) {
        send_error(ERROR_CYCLES, line.counts ? "no run has finished since the last input"
                                             : "the core's cycle counter does not count");
        return;
    }
    uint8_t head[CYCLES_HEAD_BYTES] = {line.is_real ? 1u : 0u};
    uint8_t body[4u * CYCLES_A_FRAME];
    edgeq_put_u32(head + 1, (uint32_t)EDGEQ_MODEL_LAYER_COUNT);
    edgeq_put_u32(head + 5, first);
    size_t used = 0;
    for (uint32_t i = first; i < EDGEQ_MODEL_LAYER_COUNT && used < sizeof body; ++i) {
        edgeq_put_u32(body + used, edgeq_model_cycles[i]);
        used += 4u;
    }
    send(CYCLES, head, sizeof head, body, used);
}
#endif

static void take_frame(const uint8_t *frame, size_t frame_nbytes) {
    const uint8_t *payload = frame + EDGEQ_FRAME_HEADER_BYTES;
    const size_t nbytes = frame_nbytes - EDGEQ_FRAME_HEADER_BYTES - EDGEQ_FRAME_CRC_BYTES;
    const uint8_t type = frame[1];
    if ((type & FROM_DEVICE) != 0u) {
        return; /* our own frame, echoed: to answer it would never end */
    }
    if (frame[0] != EDGEQ_PROTOCOL_VERSION) {
        send_error(ERROR_VERSION, "this device talks protocol version 1");
        return;
    }
    if ((type == HELLO || type == STOP) && nbytes != 0u) {
        send_error(ERROR_PAYLOAD, "HELLO and STOP have no payload");
        return;
    }
#ifdef EDGEQ_MODEL_LAYER_COUNT
    /* Not a case below: of so many GCC makes a table, and of its jump no bound of the stack. */
    if (type == PROFILE) {
        take_profile(payload, nbytes);
        return;
    }
#endif
    switch (type) {
    case HELLO:
        line.streaming = false;
        send_identity();
        break;
    case INPUT:
        take_input(payload, nbytes);
        break;
    case RUN:
        take_run(payload, nbytes);
        break;
    case STREAM:
        take_stream(payload, nbytes);
        break;
    case STOP:
        line.streaming = false;
        send_ack(STOP, 0u);
        break;
    default:
        send_error(ERROR_TYPE, "this message type is unknown");
    }
}

void edgeq_serial_init(void) {
#ifdef EDGEQ_MODEL_LAYER_COUNT
    line.counts = edgeq_cycles_start();
    line.is_real = edgeq_cycles_are_real();
#endif
    edgeq_serial_log(EDGEQ_LOG_INFO, "started");
}

void edgeq_serial_log(enum edgeq_log_level level, const char *text) {
    send_text(LOG, (uint8_t)level, text);
}

void edgeq_serial_poll(void) {
    const int byte = edgeq_uart_read();
    if (byte < 0) {
        if (line.listening && edgeq_ticks() - line.heard_at >= LISTEN_TICKS) {
            line.listening = false;
        }
        if (line.streaming && !line.listening) {
            step_stream();
        }
        return;
    }
    line.listening = true;
    line.heard_at = edgeq_ticks();
    switch (edgeq_frame_receive(&line.receiver, (uint8_t)byte)) {
    case EDGEQ_FRAME_PENDING:
        break;
    case EDGEQ_FRAME_GOOD:
        line.listening = false;
        take_frame(line.receiver.bytes, line.receiver.frame_nbytes);
        break;
    case EDGEQ_FRAME_BAD:
        send_error(ERROR_FRAME, "a frame came altered");
        break;
    }
}

/* Called on a fault, in place of the platform's: the host reads the text as the reason why no
 * answer comes. It is collected where frames are received, which is over. */
void edgeq_fault_byte(uint8_t byte, bool is_first) {
    struct edgeq_frame_receiver *text = &line.receiver;
    if (is_first) {
        text->nbytes = 0u;
        return;
    }
    text->bytes[text->nbytes] = byte;
    if (byte == 0u) {
        send_error(ERROR_FAULT, (const char *)text->bytes);
    } else if (text->nbytes < sizeof text->bytes - 1u) {
        ++text->nbytes;
    }
}
