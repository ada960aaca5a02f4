// Decoding of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: a block is two vectors.
#include "blocks.h"
#include "lanes.h"

typedef uint8_t bytes __attribute__((ext_vector_type(16)));
typedef int8_t signed_bytes __attribute__((ext_vector_type(16)));

#define LOAD(TYPE, SOURCE)                                                                                       \
    ({                                                                                                           \
        TYPE loaded_;                                                                                            \
        memcpy(&loaded_, SOURCE, sizeof loaded_);                                                                \
        __builtin_convertvector(loaded_, ints);                                                                  \
    })
#define NUMBERS(CODES) __builtin_convertvector(CODES, floats)
#define STORE(LOW, HIGH)                                                                                         \
    floats low = (LOW), high = (HIGH);                                                                           \
    memcpy(out, &low, sizeof low);                                                                               \
    memcpy(out + LANES, &high, sizeof high);

// The 5-bit codes of a block: four bytes of fifth bits, then sixteen of nibbles.
#define LOAD_FIVE_BITS(SOURCE)                                                                                   \
    uint32_t fifth;                                                                                              \
    memcpy(&fifth, SOURCE, sizeof fifth);                                                                        \
    const ints bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};              \
    ints nibbles = LOAD(bytes, (SOURCE) + 4);                                                                    \
    ints first = (nibbles & 15) | ((((ints)(int)fifth & bit) != 0) & 16);                                        \
    ints second = (nibbles >> 4) | ((((ints)(int)(fifth >> 16) & bit) != 0) & 16);

INLINE void resq_decode_q8_0_body(const uint8_t *block, float *out, size_t count) {
    for (; count > 0; count--, block += 34, out += 32) {
        float d = half_value(block);
        STORE(NUMBERS(LOAD(signed_bytes, block + 2)) * d, NUMBERS(LOAD(signed_bytes, block + 18)) * d)
    }
}
RESQ_KERNEL(resq_decode_q8_0, uint8_t, float)

INLINE void resq_decode_q4_0_body(const uint8_t *block, float *out, size_t count) {
    for (; count > 0; count--, block += 18, out += 32) {
        float d = half_value(block);
        ints nibbles = LOAD(bytes, block + 2);
        STORE(NUMBERS((nibbles & 15) - 8) * d, NUMBERS((nibbles >> 4) - 8) * d)
    }
}
RESQ_KERNEL(resq_decode_q4_0, uint8_t, float)

INLINE void resq_decode_q4_1_body(const uint8_t *block, float *out, size_t count) {
    for (; count > 0; count--, block += 20, out += 32) {
        float d = half_value(block), m = half_value(block + 2);
        ints nibbles = LOAD(bytes, block + 4);
        STORE(NUMBERS(nibbles & 15) * d + m, NUMBERS(nibbles >> 4) * d + m)
    }
}
RESQ_KERNEL(resq_decode_q4_1, uint8_t, float)

INLINE void resq_decode_q5_0_body(const uint8_t *block, float *out, size_t count) {
    for (; count > 0; count--, block += 22, out += 32) {
        float d = half_value(block);
        LOAD_FIVE_BITS(block + 2)
        STORE(NUMBERS(first - 16) * d, NUMBERS(second - 16) * d)
    }
}
RESQ_KERNEL(resq_decode_q5_0, uint8_t, float)

INLINE void resq_decode_q5_1_body(const uint8_t *block, float *out, size_t count) {
    for (; count > 0; count--, block += 24, out += 32) {
        float d = half_value(block), m = half_value(block + 2);
        LOAD_FIVE_BITS(block + 4)
        STORE(NUMBERS(first) * d + m, NUMBERS(second) * d + m)
    }
}
RESQ_KERNEL(resq_decode_q5_1, uint8_t, float)
