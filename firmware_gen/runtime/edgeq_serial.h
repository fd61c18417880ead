/* Answers the host's requests; twin of edgeq/stream/protocol.py, which lists the messages.
 *
 * The receiver is polled, there is no receive interrupt: between two requests the host waits
 * for the answer, and a request that comes while the model runs is lost but for what the UART
 * holds.
 *
 * RUN: if the last finished run has the same run_id and input_crc32 and nothing has been
 * written to the inputs since, its result is sent again and nothing runs. Else the CRC-32 of
 * the bytes that now lie in the inputs must equal input_crc32, or the answer is ERROR "input";
 * since a run may overwrite the inputs, that is the usual answer to a second RUN, and the host
 * sends the inputs again.
 *
 * STREAM: ACK with the number of the first run, then runs number first, first + 1, ... modulo
 * 2**32, each on sample (number modulo samples), until the count is reached or a well-formed
 * request comes. A stream that hears a byte pauses until a frame is complete, at most one
 * second behind the last byte: so a request gets through, the second time it is sent at the
 * latest, though the UART holds only the first byte of one that comes while the model runs.
 *
 * PROFILE, where model.h has EDGEQ_MODEL_LAYER_COUNT: CYCLES of the layers in the RUN that has
 * just finished, from the number in the request on. */
#ifndef EDGEQ_SERIAL_H
#define EDGEQ_SERIAL_H

#ifndef EDGEQ_FIRMWARE_VERSION
#define EDGEQ_FIRMWARE_VERSION "1"
#endif

enum edgeq_log_level {
    EDGEQ_LOG_DEBUG = 0,
    EDGEQ_LOG_INFO = 1,
    EDGEQ_LOG_WARNING = 2,
    EDGEQ_LOG_ERROR = 3,
};

/* Tells the host that the program has started. */
void edgeq_serial_init(void);

/* Takes a byte from the line, or does one run of a stream; returns soon else. */
void edgeq_serial_poll(void);

/* Sends a text to the host, cut at 255 bytes. */
void edgeq_serial_log(enum edgeq_log_level level, const char *text);

#endif /* EDGEQ_SERIAL_H */
