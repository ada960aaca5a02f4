// Encoding of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0. A block is two vectors; the scales of sixteen blocks are computed side by
// side, lane b for block b. Minima and maxima do not depend on the order, so they are found across lanes.
#include "blocks.h"
#include "lanes.h"

typedef uint8_t bytes __attribute__((ext_vector_type(16)));
typedef _Bool flags __attribute__((ext_vector_type(16)));

// MINIMUM or MAXIMUM of all lanes.
#define FOLD(OPERATION, V)                                                                                       \
    ({                                                                                                           \
        floats f_ = (V);                                                                                         \
        f_ = OPERATION(f_, __builtin_shufflevector(f_, f_, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)); \
        f_ = OPERATION(f_, __builtin_shufflevector(f_, f_, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)); \
        f_ = OPERATION(f_, __builtin_shufflevector(f_, f_, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)); \
        f_ = OPERATION(f_, __builtin_shufflevector(f_, f_, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)); \
        f_[0];                                                                                                   \
    })
#define IS_FINITE(V) ((BITS(V) & 0x7f800000) != 0x7f800000)
// Drops the fraction. Of NaN only the low eight bits matter, and they are 0 with every instruction set.
#define TRUNCATED(V) __builtin_convertvector(V, ints)
// LIMIT where V is larger; NaN stays.
#define AT_MOST(LIMIT, V) ({ floats v_ = (V), limit_ = (LIMIT); limit_ < v_ ? limit_ : v_; })

#define LOAD_BLOCK(SOURCE)                                                                                       \
    floats low, high;                                                                                            \
    memcpy(&low, SOURCE, sizeof low);                                                                            \
    memcpy(&high, (SOURCE) + LANES, sizeof high);

INLINE void store_bytes(uint8_t *target, const ints *values) {
    bytes narrow = __builtin_convertvector(*values, bytes);
    memcpy(target, &narrow, sizeof narrow);
}

INLINE void store_bits(uint8_t *target, const ints *mask) {
    flags narrow = __builtin_convertvector(*mask, flags);
    memcpy(target, &narrow, 2);
}

INLINE void resq_encode_q8_0_body(const float *source, uint8_t *target, size_t count) {
    for (size_t lanes; count > 0; count -= lanes, source += lanes * 32, target += lanes * 34) {
        lanes = count < LANES ? count : LANES;
        float largest[LANES] = {0};
        for (size_t b = 0; b < lanes; b++) {
            LOAD_BLOCK(source + b * 32)
            largest[b] = FOLD(MAXIMUM, MAXIMUM(MAGNITUDE(low), MAGNITUDE(high)));
        }
        floats d;
        memcpy(&d, largest, sizeof d);
        d = d / 127.0f;
        // Where a scale is 0, or so small that its inverse is infinite, all codes are 0.
        floats inverse = 1.0f / d;
        inverse = SELECT(IS_FINITE(inverse), inverse, (floats)0.0f);
        ints halves = HALF_BITS(d);
        for (size_t b = 0; b < lanes; b++) {
            LOAD_BLOCK(source + b * 32)
            uint16_t half = (uint16_t)halves[b];
            memcpy(target + b * 34, &half, sizeof half);
            // Half away from zero: with the largest number below 0.5 added, dropping the fraction rounds, and what is
            // just below a tie stays below.
#define ROUNDED_AWAY(V) ({ floats x_ = (V); TRUNCATED(x_ + FLOATS((BITS(x_) & (int)0x80000000) | 0x3effffff)); })
            ints first = ROUNDED_AWAY(low * inverse[b]), second = ROUNDED_AWAY(high * inverse[b]);
            store_bytes(target + b * 34 + 2, &first);
            store_bytes(target + b * 34 + 18, &second);
        }
    }
}
RESQ_KERNEL(resq_encode_q8_0, float, uint8_t)

// The element of the largest magnitude of each block, the first of equals, and 0 in a block of zeros.
INLINE void extremes(const float *source, size_t lanes, floats *result) {
    float smallest[LANES] = {0}, largest[LANES] = {0};
    for (size_t b = 0; b < lanes; b++) {
        LOAD_BLOCK(source + b * 32)
        smallest[b] = FOLD(MINIMUM, MINIMUM(low, high));
        largest[b] = FOLD(MAXIMUM, MAXIMUM(low, high));
    }
    for (size_t b = 0; b < lanes; b++) {
        if (largest[b] < -smallest[b]) {
            largest[b] = smallest[b];
        } else if (largest[b] == -smallest[b]) {
            const float *x = source + b * 32;
            size_t i = 0;
            while (i < 31 && __builtin_fabsf(x[i]) != largest[b]) i++;
            largest[b] = largest[b] == 0 ? 0 : x[i];
        }
    }
    memcpy(result, largest, sizeof *result);
}

// With a scale of 0 every element gets the middle code, and the lowest where the scale's inverse is infinite.
#define SCALES_FROM_EXTREME(LOWEST)                                                                              \
    floats d;                                                                                                    \
    extremes(source, lanes, &d);                                                                                 \
    d = d / (LOWEST);                                                                                            \
    floats inverse = SELECT(d != 0, 1.0f / d, (floats)0.0f);                                                     \
    floats offset = SELECT(IS_FINITE(inverse), (floats)(0.5f - (LOWEST)), (floats)0.0f);                         \
    inverse = SELECT(IS_FINITE(inverse), inverse, (floats)0.0f);                                                 \
    ints halves = HALF_BITS(d);

INLINE void resq_encode_q4_0_body(const float *source, uint8_t *target, size_t count) {
    for (size_t lanes; count > 0; count -= lanes, source += lanes * 32, target += lanes * 18) {
        lanes = count < LANES ? count : LANES;
        SCALES_FROM_EXTREME(-8.0f)
        for (size_t b = 0; b < lanes; b++) {
            LOAD_BLOCK(source + b * 32)
            uint16_t half = (uint16_t)halves[b];
            memcpy(target + b * 18, &half, sizeof half);
            ints first = TRUNCATED(AT_MOST(15.0f, low * inverse[b] + offset[b]));
            ints second = TRUNCATED(AT_MOST(15.0f, high * inverse[b] + offset[b]));
            first |= second << 4;
            store_bytes(target + b * 18 + 2, &first);
        }
    }
}
RESQ_KERNEL(resq_encode_q4_0, float, uint8_t)

// Stores 32 codes of five bits: fifth bits, then nibbles.
#define STORE_FIVE_BITS(TARGET)                                                                                  \
    ints first_fifth = (first & 16) != 0, second_fifth = (second & 16) != 0;                                     \
    store_bits(TARGET, &first_fifth);                                                                            \
    store_bits((TARGET) + 2, &second_fifth);                                                                     \
    first = (first & 15) | (second & 15) << 4;                                                                   \
    store_bytes((TARGET) + 4, &first);

INLINE void resq_encode_q5_0_body(const float *source, uint8_t *target, size_t count) {
    for (size_t lanes; count > 0; count -= lanes, source += lanes * 32, target += lanes * 22) {
        lanes = count < LANES ? count : LANES;
        SCALES_FROM_EXTREME(-16.0f)
        for (size_t b = 0; b < lanes; b++) {
            LOAD_BLOCK(source + b * 32)
            uint16_t half = (uint16_t)halves[b];
            memcpy(target + b * 22, &half, sizeof half);
            ints first = TRUNCATED(AT_MOST(31.0f, low * inverse[b] + offset[b]));
            ints second = TRUNCATED(AT_MOST(31.0f, high * inverse[b] + offset[b]));
            STORE_FIVE_BITS(target + b * 22 + 2)
        }
    }
}
RESQ_KERNEL(resq_encode_q5_0, float, uint8_t)

// The smallest and the largest element of each block. Of zeros of both signs the first counts.
INLINE void bounds(const float *source, size_t lanes, floats *minimum, floats *maximum) {
    float smallest[LANES] = {0}, largest[LANES] = {0};
    for (size_t b = 0; b < lanes; b++) {
        LOAD_BLOCK(source + b * 32)
        smallest[b] = FOLD(MINIMUM, MINIMUM(low, high));
        largest[b] = FOLD(MAXIMUM, MAXIMUM(low, high));
    }
    for (size_t b = 0; b < lanes; b++) {
        if (smallest[b] == 0) {
            const float *x = source + b * 32;
            size_t i = 0;
            while (i < 31 && x[i] != 0) i++;
            smallest[b] = x[i];
        }
    }
    memcpy(minimum, smallest, sizeof *minimum);
    memcpy(maximum, largest, sizeof *maximum);
}

// The difference of two zeros is +0, whatever their signs. Where the scale or its inverse is 0 or infinite, all codes
// are 0.
#define SCALES_FROM_BOUNDS(HIGHEST)                                                                              \
    floats minimum, maximum;                                                                                     \
    bounds(source, lanes, &minimum, &maximum);                                                                   \
    floats d = (maximum - minimum) / (HIGHEST) + 0.0f;                                                           \
    floats inverse = 1.0f / d;                                                                                   \
    ints usable = IS_FINITE(d) & IS_FINITE(inverse);                                                             \
    inverse = SELECT(usable, inverse, (floats)0.0f);                                                             \
    floats start = SELECT(usable, minimum, (floats)0.0f);                                                        \
    ints halves = HALF_BITS(d), minimum_halves = HALF_BITS(minimum);

#define STORE_SCALES(TARGET)                                                                                     \
    uint16_t half = (uint16_t)halves[b];                                                                         \
    memcpy(TARGET, &half, sizeof half);                                                                          \
    half = (uint16_t)minimum_halves[b];                                                                          \
    memcpy((TARGET) + 2, &half, sizeof half);

INLINE void resq_encode_q4_1_body(const float *source, uint8_t *target, size_t count) {
    for (size_t lanes; count > 0; count -= lanes, source += lanes * 32, target += lanes * 20) {
        lanes = count < LANES ? count : LANES;
        SCALES_FROM_BOUNDS(15.0f)
        for (size_t b = 0; b < lanes; b++) {
            LOAD_BLOCK(source + b * 32)
            STORE_SCALES(target + b * 20)
            ints first = TRUNCATED(AT_MOST(15.0f, (low - start[b]) * inverse[b] + 0.5f));
            ints second = TRUNCATED(AT_MOST(15.0f, (high - start[b]) * inverse[b] + 0.5f));
            first |= second << 4;
            store_bytes(target + b * 20 + 4, &first);
        }
    }
}
RESQ_KERNEL(resq_encode_q4_1, float, uint8_t)

INLINE void resq_encode_q5_1_body(const float *source, uint8_t *target, size_t count) {
    for (size_t lanes; count > 0; count -= lanes, source += lanes * 32, target += lanes * 24) {
        lanes = count < LANES ? count : LANES;
        SCALES_FROM_BOUNDS(31.0f)
        for (size_t b = 0; b < lanes; b++) {
            LOAD_BLOCK(source + b * 32)
            STORE_SCALES(target + b * 24)
            ints first = TRUNCATED((low - start[b]) * inverse[b] + 0.5f);
            ints second = TRUNCATED((high - start[b]) * inverse[b] + 0.5f);
            STORE_FIVE_BITS(target + b * 24 + 4)
        }
    }
}
RESQ_KERNEL(resq_encode_q5_1, float, uint8_t)
