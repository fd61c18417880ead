/* Answers the host's requests; twin of edgeq/stream/protocol.py. */
#include "edgeq_serial.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgeq_app.h"
#include "edgeq_board.h"
#include "edgeq_cycles.h"
#include "edgeq_framing.h"
#include "edgeq_messages.h"
#include "edgeq_platform.h"
#include "model.h"

#define FROM_DEVICE       0x80u
#define INPUT_NBYTES      ((uint32_t)EDGEQ_MODEL_INPUT_NBYTES)
#define OUTPUT_NBYTES     ((uint32_t)EDGEQ_MODEL_OUTPUT_NBYTES)
#define RESULT_HEAD_BYTES 20u
#define RESULT_BODY_BYTES (EDGEQ_FRAME_MAX_PAYLOAD - RESULT_HEAD_BYTES)
#define DIGEST_BYTES      16u
#define IDENTITY_FIXED    22u
#define LISTEN_TICKS      ((uint32_t)EDGEQ_CORE_HZ)

/* The end of IDENTITY. */
static const struct {
    uint8_t digest[DIGEST_BYTES];
    char names[sizeof EDGEQ_MODEL_NAME "\0" EDGEQ_BOARD_NAME "\0" EDGEQ_FIRMWARE_VERSION];
} model_and_board = {
    EDGEQ_MODEL_DIGEST,
    EDGEQ_MODEL_NAME "\0" EDGEQ_BOARD_NAME "\0" EDGEQ_FIRMWARE_VERSION,
};
_Static_assert(IDENTITY_FIXED + sizeof model_and_board <= EDGEQ_FRAME_MAX_PAYLOAD,
               "names of model, board and firmware together are too long for one frame");

static struct {
    uint16_t sequence;
    bool finished;  /* the outputs are those of the run in `result` */
    bool streaming; /* of `stream` */
#ifdef EDGEQ_MODEL_LAYER_COUNT
    bool counts;  /* the core's cycle counter does */
    bool is_real; /* and is no emulator's */
#endif
    uint32_t input_crc;
    struct {
        uint32_t run_id;
        uint32_t ticks[2]; /* lower word first */
        uint32_t output_nbytes;
        uint32_t offset;
    } result; /* what RESULT starts with */
    struct edgeq_frame_receiver receiver;
} line;
_Static_assert(sizeof line.result == RESULT_HEAD_BYTES, "it is sent as it is");

static void send(uint8_t type, const void *head, size_t head_nbytes, const void *body,
                 size_t body_nbytes) {
    edgeq_frame_send(type, line.sequence++, head, head_nbytes, body, body_nbytes);
}

/* LOG and ERROR: one byte, then a text. */
static void send_text(uint8_t first, const char *text, uint8_t type) {
    size_t nbytes = 0;
    while (nbytes < EDGEQ_FRAME_MAX_PAYLOAD - 1u && text[nbytes] != '\0') {
        ++nbytes;
    }
    send(type, &first, 1u, text, nbytes);
}

static void send_error(enum error_code code) {
    const char *text = error_texts;
    while (*text != (char)code) {
        ++text;
    }
    send_text((uint8_t)(code & ERROR_CODE_MASK), text + 1, ERROR);
}

static void send_ack(enum message_type of, uint32_t value) {
    const uint32_t words[] = {(uint32_t)of << 24, value};
    send(ACK, (const uint8_t *)words + 3, 5u, NULL, 0u);
}

/* Not inlined: its words would be on the stack while the model runs. */
__attribute__((noinline)) static void send_identity(void) {
    const uint32_t words[] = {
        EDGEQ_FRAME_MAX_PAYLOAD << 16,
        INPUT_NBYTES,
        OUTPUT_NBYTES,
        (uint32_t)EDGEQ_MODEL_ARENA_NBYTES,
        (uint32_t)EDGEQ_CORE_HZ,
        edgeq_app_sample_count(),
    };
    send(IDENTITY, (const uint8_t *)words + 2, IDENTITY_FIXED, &model_and_board,
         sizeof model_and_board);
}

/* The pieces of one result go out one behind the other, with no other frame between them. */
static void send_result(void) {
    line.result.output_nbytes = OUTPUT_NBYTES;
    uint32_t offset = 0;
    for (size_t tensor = 0; tensor < EDGEQ_MODEL_OUTPUT_COUNT; ++tensor) {
        const uint8_t *from = edgeq_model_output(tensor);
        size_t left = edgeq_model_output_nbytes(tensor);
        while (left > 0u) {
            const size_t nbytes = left < RESULT_BODY_BYTES ? left : RESULT_BODY_BYTES;
            line.result.offset = offset;
            send(RESULT, &line.result, sizeof line.result, from, nbytes);
            from += nbytes;
            left -= nbytes;
            offset += (uint32_t)nbytes;
        }
    }
}

static void timed_run(uint32_t run_id) {
    uint64_t ticks = edgeq_ticks();
    edgeq_model_run();
    ticks = edgeq_ticks() - ticks;
    line.result.run_id = run_id;
    line.result.ticks[0] = (uint32_t)(ticks & 0xffffffffu);
    line.result.ticks[1] = (uint32_t)(ticks >> 32);
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
    for (size_t tensor = 0; tensor < EDGEQ_MODEL_INPUT_COUNT; ++tensor) {
        const size_t tensor_nbytes = edgeq_model_input_nbytes(tensor);
        uint8_t *to = edgeq_model_input(tensor);
        for (; nbytes > 0u && offset < tensor_nbytes; ++offset, --nbytes) {
            to[offset] = *from++;
        }
        offset -= tensor_nbytes; /* 0 or more, unless no bytes are left */
    }
}

/* Streams: of an application without samples, which replaces the two functions below, the image
 * has none of this. */

static struct {
    bool endless;
    bool listening; /* a byte came, at heard_at */
    uint32_t next;
    uint32_t left;
    uint32_t sample;
    uint32_t heard_at; /* modulo 2**32 */
} stream;

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

__attribute__((weak)) bool edgeq_app_start_stream(uint32_t count, uint32_t first) {
    const uint32_t samples = edgeq_app_sample_count();
    if (samples == 0u) {
        return false;
    }
    line.finished = false;
    line.streaming = true;
    stream.left = count;
    stream.endless = count == 0u;
    stream.next = first;
    stream.sample = modulo(first, samples);
    return true;
}

static void step_stream(void) {
    edgeq_app_load_sample(stream.sample);
    timed_run(stream.next);
    send_result();
    ++stream.next;
    ++stream.sample;
    /* Numbers wrap at 2**32, which need not be a multiple of the samples. */
    if (stream.sample == edgeq_app_sample_count() || stream.next == 0u) {
        stream.sample = 0u;
    }
    if (!stream.endless && --stream.left == 0u) {
        line.streaming = false;
    }
}

__attribute__((weak)) void edgeq_app_poll_stream(enum edgeq_frame_event event) {
    if (event != EDGEQ_FRAME_NONE) {
        stream.listening = event != EDGEQ_FRAME_GOOD;
        stream.heard_at = (uint32_t)edgeq_ticks();
        return;
    }
    if (stream.listening && (uint32_t)edgeq_ticks() - stream.heard_at >= LISTEN_TICKS) {
        stream.listening = false;
    }
    if (line.streaming && !stream.listening) {
        step_stream();
    }
}

static enum error_code take_input(size_t nbytes) {
    const uint32_t offset = line.receiver.words[1];
    const uint32_t end = offset + (uint32_t)nbytes;
    if (end > INPUT_NBYTES || end < offset) {
        return ERROR_RANGE;
    }
    line.streaming = false;
    line.finished = false;
    write_inputs(offset, line.receiver.bytes + EDGEQ_FRAME_HEADER_BYTES + 4u, nbytes);
    send_ack(INPUT, end);
    return NO_ERROR;
}

static enum error_code take_run(void) {
    const uint32_t run_id = line.receiver.words[1];
    const uint32_t input_crc = line.receiver.words[2];
    line.streaming = false;
    if (!line.finished || run_id != line.result.run_id || input_crc != line.input_crc) {
        if (crc_of_inputs() != input_crc) {
            return ERROR_INPUT;
        }
        timed_run(run_id);
        line.input_crc = input_crc;
        line.finished = true;
    }
    send_result();
    return NO_ERROR;
}

#ifdef EDGEQ_MODEL_LAYER_COUNT
#define CYCLES_HEAD_BYTES 9u
#define CYCLES_A_FRAME    ((EDGEQ_FRAME_MAX_PAYLOAD - CYCLES_HEAD_BYTES) / 4u)

/* Of the last finished RUN: the cycles of the layers from number `first` on, as many as one
 * frame has room for. */
static enum error_code take_profile(void) {
    const uint32_t first = line.receiver.words[1];
    line.streaming = false;
    if (first >= EDGEQ_MODEL_LAYER_COUNT) {
        return ERROR_LAYERS;
    }
    if (!line.counts) {
        return ERROR_CYCLES;
    }
    if (!line.finished) {
        return ERROR_NO_RUN;
    }
    const uint32_t words[] = {line.is_real ? 1u << 24 : 0u, EDGEQ_MODEL_LAYER_COUNT, first};
    const uint32_t left = EDGEQ_MODEL_LAYER_COUNT - first;
    send(CYCLES, (const uint8_t *)words + 3, CYCLES_HEAD_BYTES, edgeq_model_cycles + first,
         4u * (left < CYCLES_A_FRAME ? left : CYCLES_A_FRAME));
    return NO_ERROR;
}
#endif

/* Of the payload of each request; of INPUT, at least. */
static const uint8_t payload_nbytes[LAST_REQUEST + 1] = {
    [INPUT] = 5,
    [RUN] = 8,
    [STREAM] = 8,
#ifdef EDGEQ_MODEL_LAYER_COUNT
    [PROFILE] = 4,
#endif
};

static enum error_code take_frame(void) {
    const uint8_t type = line.receiver.bytes[1];
    if ((type & FROM_DEVICE) != 0u) {
        return NO_ERROR; /* our own frame, echoed: to answer it would never end */
    }
    if (line.receiver.bytes[0] != EDGEQ_PROTOCOL_VERSION) {
        return ERROR_VERSION;
    }
    if (type < HELLO || type > LAST_REQUEST) {
        return ERROR_TYPE;
    }
    const size_t wanted = payload_nbytes[type];
    const size_t nbytes =
        line.receiver.frame_nbytes - (EDGEQ_FRAME_HEADER_BYTES + EDGEQ_FRAME_CRC_BYTES);
    if (nbytes < wanted || (nbytes > wanted && type != INPUT)) {
        return ERROR_PAYLOAD;
    }
    /* No switch: of so many cases GCC makes a table, and of its jump no bound of the stack. */
    if (type == INPUT) {
        return take_input(nbytes - 4u);
    }
    if (type == RUN) {
        return take_run();
    }
    if (type == STREAM) {
        const uint32_t first = line.receiver.words[2];
        if (!edgeq_app_start_stream(line.receiver.words[1], first)) {
            return ERROR_SAMPLES;
        }
        send_ack(STREAM, first);
        return NO_ERROR;
    }
#ifdef EDGEQ_MODEL_LAYER_COUNT
    if (type == PROFILE) {
        return take_profile();
    }
#endif
    line.streaming = false;
    if (type == HELLO) {
        send_identity();
    } else {
        send_ack(STOP, 0u);
    }
    return NO_ERROR;
}

void edgeq_serial_init(void) {
#ifdef EDGEQ_MODEL_LAYER_COUNT
    line.counts = edgeq_cycles_start();
    line.is_real = edgeq_cycles_are_real();
#endif
    edgeq_serial_log(EDGEQ_LOG_INFO, "started");
}

void edgeq_serial_log(enum edgeq_log_level level, const char *text) {
    send_text((uint8_t)level, text, LOG);
}

void edgeq_serial_poll(void) {
    const int byte = edgeq_uart_read();
    enum edgeq_frame_event event = EDGEQ_FRAME_NONE;
    if (byte >= 0) {
        event = edgeq_frame_receive(&line.receiver, (uint8_t)byte);
    }
    edgeq_app_poll_stream(event);
    enum error_code error = NO_ERROR;
    if (event == EDGEQ_FRAME_GOOD) {
        error = take_frame();
    } else if (event == EDGEQ_FRAME_BAD) {
        error = ERROR_FRAME;
    }
    if (error != NO_ERROR) {
        send_error(error);
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
        send_text(ERROR_FAULT, (const char *)text->bytes, ERROR);
    } else if (text->nbytes < sizeof text->bytes - 1u) {
        ++text->nbytes;
    }
}
