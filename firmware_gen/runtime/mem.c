/* The functions that both compilers call for copies and fills: C11 section 7.24, and Arm
 * IHI0043E, Run-time ABI, section 4.3.4 (the __aeabi_ names, whose memset has its last two
 * arguments exchanged).
 * The empty asm statements keep a compiler from recognizing a loop as the function that it is
 * in, and calling that. */
#include <stddef.h>
#include <stdint.h>

#define WORD       sizeof(uint32_t)
#define KEEP(x)    __asm__ volatile("" : "+r"(x)::"memory")
#define ALIASED(n) __attribute__((alias(n)))

/* Words that may lie over objects of any type (C11 6.5, paragraph 7). */
typedef uint32_t __attribute__((may_alias)) edgeq_word;

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* From low to high addresses; memmove's areas may overlap, so nothing here is restrict. */
static inline void edgeq_copy_up(uint8_t *d, const uint8_t *s, size_t n) {
    if ((((uintptr_t)d ^ (uintptr_t)s) & (WORD - 1u)) == 0u) {
        for (; n > 0u && ((uintptr_t)d & (WORD - 1u)) != 0u; --n) {
            *d++ = *s++;
            KEEP(d);
        }
        for (; n >= 4u * WORD; n -= 4u * WORD) {
            const edgeq_word *sw = (const edgeq_word *)(const void *)s;
            edgeq_word *dw = (edgeq_word *)(void *)d;
            const uint32_t w0 = sw[0], w1 = sw[1], w2 = sw[2], w3 = sw[3];
            dw[0] = w0;
            dw[1] = w1;
            dw[2] = w2;
            dw[3] = w3;
            s += 4u * WORD;
            d += 4u * WORD;
            KEEP(d);
        }
        for (; n >= WORD; n -= WORD) {
            *(edgeq_word *)(void *)d = *(const edgeq_word *)(const void *)s;
            s += WORD;
            d += WORD;
            KEEP(d);
        }
    }
    for (; n > 0u; --n) {
        *d++ = *s++;
        KEEP(d);
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    edgeq_copy_up(to, from, n);
    return to;
}

void *memmove(void *to, const void *from, size_t n) {
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((uintptr_t)d - (uintptr_t)s >= n) {
        edgeq_copy_up(d, s, n); /* writes nothing that is still to be read */
        return to;
    }
    while (n > 0u) {
        --n;
        d[n] = s[n];
        KEEP(d);
    }
    return to;
}

void *memset(void *to, int value, size_t n) {
    uint8_t *d = to;
    const uint8_t byte = (uint8_t)value;
    const uint32_t word = 0x01010101u * byte;
    for (; n > 0u && ((uintptr_t)d & (WORD - 1u)) != 0u; --n) {
        *d++ = byte;
        KEEP(d);
    }
    for (; n >= WORD; n -= WORD) {
        *(edgeq_word *)(void *)d = word;
        d += WORD;
        KEEP(d);
    }
    for (; n > 0u; --n) {
        *d++ = byte;
        KEEP(d);
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *p = a;
    const uint8_t *q = b;
    for (size_t i = 0; i < n; ++i) {
        if (p[i] != q[i]) {
            return (int)p[i] - (int)q[i];
        }
        KEEP(p);
    }
    return 0;
}

void __aeabi_memcpy(void *to, const void *from, size_t n);
void __aeabi_memcpy(void *to, const void *from, size_t n) {
    (void)memcpy(to, from, n);
}
void __aeabi_memcpy4(void *to, const void *from, size_t n) ALIASED("__aeabi_memcpy");
void __aeabi_memcpy8(void *to, const void *from, size_t n) ALIASED("__aeabi_memcpy");

void __aeabi_memmove(void *to, const void *from, size_t n);
void __aeabi_memmove(void *to, const void *from, size_t n) {
    (void)memmove(to, from, n);
}
void __aeabi_memmove4(void *to, const void *from, size_t n) ALIASED("__aeabi_memmove");
void __aeabi_memmove8(void *to, const void *from, size_t n) ALIASED("__aeabi_memmove");

void __aeabi_memset(void *to, size_t n, int value);
void __aeabi_memset(void *to, size_t n, int value) {
    (void)memset(to, value, n);
}
void __aeabi_memset4(void *to, size_t n, int value) ALIASED("__aeabi_memset");
void __aeabi_memset8(void *to, size_t n, int value) ALIASED("__aeabi_memset");

void __aeabi_memclr(void *to, size_t n);
void __aeabi_memclr(void *to, size_t n) {
    (void)memset(to, 0, n);
}
void __aeabi_memclr4(void *to, size_t n) ALIASED("__aeabi_memclr");
void __aeabi_memclr8(void *to, size_t n) ALIASED("__aeabi_memclr");

/* The compilers' own division routines name the unwinder's personality routines (Arm IHI0038C,
 * Exception handling ABI, section 9.2); nothing unwinds here. */
void __aeabi_unwind_cpp_pr0(void);
void __aeabi_unwind_cpp_pr0(void) {}
void __aeabi_unwind_cpp_pr1(void) ALIASED("__aeabi_unwind_cpp_pr0");
void __aeabi_unwind_cpp_pr2(void) ALIASED("__aeabi_unwind_cpp_pr0");
