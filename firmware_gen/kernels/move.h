/* MOVE; twin of edgeq/ops/move.py. */
#ifndef EDGEQ_MOVE_H
#define EDGEQ_MOVE_H

#include <stdint.h>

/* Words that may lie over bytes (C11 6.5, paragraph 7). */
typedef uint32_t __attribute__((may_alias)) edgeq_move_word;

struct edgeq_move {
    int32_t words; /* whole words, then bytes */
    int32_t bytes;
    int32_t is_upward; /* out lies above x: the last bytes are moved first */
};

/* x and out are aligned to words and may overlap in either direction. */
static inline void edgeq_move(const struct edgeq_move *op, const int8_t *x, int8_t *out) {
    const edgeq_move_word *from = (const edgeq_move_word *)(const void *)x;
    edgeq_move_word *to = (edgeq_move_word *)(void *)out;
    int32_t n = op->words;
    if (!op->is_upward) {
        for (; n >= 4; n -= 4) {
            const uint32_t w0 = from[0], w1 = from[1], w2 = from[2], w3 = from[3];
            to[0] = w0;
            to[1] = w1;
            to[2] = w2;
            to[3] = w3;
            from += 4;
            to += 4;
        }
        for (; n > 0; --n) {
            *to++ = *from++;
        }
        for (int32_t i = 4 * op->words; i < 4 * op->words + op->bytes; ++i) {
            out[i] = x[i];
        }
        return;
    }
    for (int32_t i = 4 * n + op->bytes - 1; i >= 4 * n; --i) {
        out[i] = x[i];
    }
    from += n;
    to += n;
    for (; n >= 4; n -= 4) {
        from -= 4;
        to -= 4;
        const uint32_t w0 = from[0], w1 = from[1], w2 = from[2], w3 = from[3];
        to[3] = w3;
        to[2] = w2;
        to[1] = w1;
        to[0] = w0;
    }
    for (; n > 0; --n) {
        *--to = *--from;
    }
}

#endif /* EDGEQ_MOVE_H */
