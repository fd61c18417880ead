/* The numbers of edgeq/stream/protocol.py and the texts of errors; for edgeq_serial.c alone. */
#ifndef EDGEQ_MESSAGES_H
#define EDGEQ_MESSAGES_H

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
    NO_ERROR = 0,
    ERROR_FRAME = 1,
    ERROR_VERSION = 2,
    ERROR_TYPE = 3,
    ERROR_PAYLOAD = 4,
    ERROR_RANGE = 5,
    ERROR_INPUT = 6,
    ERROR_SAMPLES = 7,
    ERROR_FAULT = 8,
    ERROR_CYCLES = 9,
    /* Further texts of a code, which is in the lower bits. */
    ERROR_LAYERS = 0x15,
    ERROR_NO_RUN = 0x19,
};

#define ERROR_CODE_MASK 0x0fu

/* Behind the code the text; no character of a text is a code. */
static const char error_texts[] = "\001a frame came altered\0"
                                  "\002this device talks protocol version 1\0"
                                  "\003this message type is unknown\0"
                                  "\004the payload has the wrong length\0"
                                  "\005INPUT reaches behind the model's inputs\0"
                                  "\006the inputs are not those of RUN\0"
                                  "\007this firmware has no samples of its own\0"
#ifdef EDGEQ_MODEL_LAYER_COUNT
                                  "\011the core's cycle counter does not count\0"
                                  "\025PROFILE reaches behind the layers\0"
                                  "\031no run has finished since the last input"
#endif
    ;

#ifdef EDGEQ_MODEL_LAYER_COUNT
#define LAST_REQUEST PROFILE
#else
#define LAST_REQUEST STOP
#endif

#endif /* EDGEQ_MESSAGES_H */
