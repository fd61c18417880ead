/* Words to or from any address. */
#ifndef EDGEQ_WORDS_H
#define EDGEQ_WORDS_H

#include <stdint.h>

/* Copies words to where none that is read later lies. */
static __attribute__((noinline, cold, unused)) void
edgeq_copy_words(const int8_t *from, int8_t *to, int32_t words) {
    uint32_t a, b, c, d;
    for (int32_t i = words & 3; i > 0; --i) {
        __builtin_memcpy(&a, from, sizeof a);
        __builtin_memcpy(to, &a, sizeof a);
        from += 4;
        to += 4;
    }
    for (int32_t i = words >> 2; i > 0; --i) {
        __builtin_memcpy(&a, from, sizeof a);
        __builtin_memcpy(&b, from + 4, sizeof b);
        __builtin_memcpy(&c, from + 8, sizeof c);
        __builtin_memcpy(&d, from + 12, sizeof d);
        __builtin_memcpy(to, &a, sizeof a);
        __builtin_memcpy(to + 4, &b, sizeof b);
        __builtin_memcpy(to + 8, &c, sizeof c);
        __builtin_memcpy(to + 12, &d, sizeof d);
        from += 16;
        to += 16;
    }
}

/* Fills words, one at least: without memset, which would be linked for it. */
static inline void edgeq_fill_words(uint32_t word, int8_t *to, int32_t words) {
    int8_t *const end = to + 4 * words;
    __asm__("" : "+r"(word)); /* no constant of equal bytes */
    do {
        __builtin_memcpy(to, &word, sizeof word);
        to += 4;
    } while (to != end);
}

#endif /* EDGEQ_WORDS_H */
