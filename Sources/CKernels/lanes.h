// Sixteen blocks side by side: lane b of every vector belongs to block b, so that each block sees its own operations in
// the order of the scalar definition, and nothing is ever summed across lanes.
//
// Vectors are passed to functions by pointer only: by value they would need registers that not every variant has.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kquants.h"

// A fused multiply-add rounds once where the definition rounds twice.
#pragma clang fp contract(off)

enum { LANES = 16 };
typedef float floats __attribute__((ext_vector_type(16)));
typedef int32_t ints __attribute__((ext_vector_type(16)));
typedef uint32_t words __attribute__((ext_vector_type(16)));

#define INLINE static inline __attribute__((always_inline))

// The same source, compiled for three instruction sets and chosen at run time. `NAME_body` must be INLINE.
#if defined(__x86_64__) && defined(__linux__)
#define RESQ_KERNEL(NAME, SOURCE, TARGET)                                                                        \
    __attribute__((target("arch=x86-64-v4"), min_vector_width(512))) static void NAME##_v4(const SOURCE *s, TARGET *t, size_t n) {      \
        NAME##_body(s, t, n);                                                                                    \
    }                                                                                                            \
    __attribute__((target("arch=x86-64-v3"))) static void NAME##_v3(const SOURCE *s, TARGET *t, size_t n) {      \
        NAME##_body(s, t, n);                                                                                    \
    }                                                                                                            \
    void NAME(const SOURCE *source, TARGET *target, size_t block_count, resq_level level) {                      \
        if (level >= RESQ_NEWEST && __builtin_cpu_supports("x86-64-v4")) {                                       \
            NAME##_v4(source, target, block_count);                                                              \
        } else if (level >= RESQ_X86_64_V3 && __builtin_cpu_supports("x86-64-v3")) {                             \
            NAME##_v3(source, target, block_count);                                                              \
        } else {                                                                                                 \
            NAME##_body(source, target, block_count);                                                            \
        }                                                                                                        \
    }
#else
#define RESQ_KERNEL(NAME, SOURCE, TARGET)                                                                        \
    void NAME(const SOURCE *source, TARGET *target, size_t block_count, resq_level level) {                      \
        (void)level;                                                                                             \
        NAME##_body(source, target, block_count);                                                                \
    }
#endif

// Comparisons give -1 in lanes where they hold and 0 elsewhere.
#define SELECT(MASK, A, B) ((MASK) ? (A) : (B))
#define BITS(V) ((ints)(V))
#define FLOATS(V) ((floats)(V))
#define MAGNITUDE(V) FLOATS(BITS(V) & 0x7fffffff)
#define MINIMUM(A, B) ({ __typeof__(A) a_ = (A), b_ = (B); a_ < b_ ? a_ : b_; })
#define MAXIMUM(A, B) ({ __typeof__(A) a_ = (A), b_ = (B); a_ > b_ ? a_ : b_; })

// The nearest integer for magnitudes below 2^22: adding 1.5 * 2^23 moves it into the low bits. Beyond, whatever those
// bits say, as in the definition.
#define NEAREST(V) ((BITS((V) + 12582912.0f) & 0x007fffff) - 0x00400000)
#define NEAREST_IN(V, LOW, HIGH) MINIMUM(MAXIMUM(NEAREST(V), (ints)(LOW)), (ints)(HIGH))
// The same as a float. Limiting the bits themselves and subtracting the constant saves an instruction.
#define NEAREST_FLOAT_IN(V, LOW, HIGH)                                                                           \
    (FLOATS(MINIMUM(                                                                                             \
        MAXIMUM((BITS((V) + 12582912.0f) & 0x007fffff) | 0x4b000000, (ints)(0x4b400000 + (LOW))),                \
        (ints)(0x4b400000 + (HIGH))))                                                                            \
     - 12582912.0f)

// IEEE binary16 bits of a number, to nearest even; see Float.halfBits.
#define HALF_BITS(V)                                                                                             \
    ({                                                                                                           \
        ints bits_ = BITS(V), magnitude_ = bits_ & 0x7fffffff;                                                   \
        ints normal_ = (magnitude_ - 0x38000000 + 0xfff + ((magnitude_ >> 13) & 1)) >> 13;                       \
        ints small_ = BITS(FLOATS(magnitude_) + 0.5f) - 0x3f000000;                                              \
        ints half_ = SELECT(magnitude_ < 0x38800000, small_, normal_);                                           \
        half_ = SELECT(magnitude_ >= 0x47800000, (ints)0x7c00, half_);                                           \
        half_ = SELECT(magnitude_ > 0x7f800000, (ints)0x7e00, half_);                                            \
        half_ | ((bits_ >> 16) & 0x8000);                                                                        \
    })
// The value of binary16 bits; see Float.init(halfBits:).
#define HALF_VALUE(H)                                                                                            \
    ({                                                                                                           \
        ints magnitude_ = (H) & 0x7fff;                                                                          \
        ints finite_ = BITS(FLOATS(magnitude_ << 13) * 0x1p112f);                                                \
        ints value_ = SELECT(magnitude_ >= 0x7c00, 0x7f800000 | ((magnitude_ & 0x3ff) << 13), finite_);          \
        FLOATS(value_ | (((H) & 0x8000) << 16));                                                                 \
    })

// The same for one number, two little-endian bytes.
INLINE float half_value(const uint8_t *bytes) {
    uint32_t half = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
    uint32_t magnitude = half & 0x7fff, bits = magnitude << 13;
    float scaled;
    memcpy(&scaled, &bits, sizeof scaled);
    scaled *= 0x1p112f;
    memcpy(&bits, &scaled, sizeof bits);
    if (magnitude >= 0x7c00) bits = 0x7f800000 | (magnitude & 0x3ff) << 13;
    bits |= (half & 0x8000) << 16;
    memcpy(&scaled, &bits, sizeof scaled);
    return scaled;
}

// Loads columns 0 ..< columns (a multiple of 16) of `lanes` blocks, transposed: out[c] holds column c of every block.
// Missing lanes repeat the last block.
INLINE void load_columns(const float *source, size_t columns, size_t lanes, floats *out) {
    for (size_t c = 0; c < columns; c += LANES) {
        floats r[LANES], t[LANES];
        for (size_t b = 0; b < LANES; b++) {
            memcpy(&r[b], source + (b < lanes ? b : lanes - 1) * columns + c, sizeof(floats));
            // Which of two NaN an operation keeps is up to the compiler, so let there be only one.
            r[b] = SELECT(r[b] == r[b], r[b], (floats)__builtin_nanf(""));
        }
        // Pairs of rows, then pairs of pairs, within each quarter of the vectors: t[4g + k] then holds, in quarter q,
        // column 4q + k of rows 4g ... 4g + 3.
        for (size_t g = 0; g < LANES; g += 4) {
#define ZIP_LOW(A, B) __builtin_shufflevector(A, B, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define ZIP_HIGH(A, B) __builtin_shufflevector(A, B, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define PAIR_LOW(A, B) __builtin_shufflevector(A, B, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define PAIR_HIGH(A, B) __builtin_shufflevector(A, B, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
            floats a = ZIP_LOW(r[g], r[g + 1]), b = ZIP_HIGH(r[g], r[g + 1]);
            floats d = ZIP_LOW(r[g + 2], r[g + 3]), e = ZIP_HIGH(r[g + 2], r[g + 3]);
            t[g] = PAIR_LOW(a, d);
            t[g + 1] = PAIR_HIGH(a, d);
            t[g + 2] = PAIR_LOW(b, e);
            t[g + 3] = PAIR_HIGH(b, e);
        }
        // Then the quarters.
        for (size_t k = 0; k < 4; k++) {
#define HALVES_LOW(A, B) __builtin_shufflevector(A, B, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define HALVES_HIGH(A, B) __builtin_shufflevector(A, B, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#define QUARTERS_EVEN(A, B) __builtin_shufflevector(A, B, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define QUARTERS_ODD(A, B) __builtin_shufflevector(A, B, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
            floats p = HALVES_LOW(t[k], t[4 + k]), q = HALVES_LOW(t[8 + k], t[12 + k]);
            out[c + k] = QUARTERS_EVEN(p, q);
            out[c + 4 + k] = QUARTERS_ODD(p, q);
            p = HALVES_HIGH(t[k], t[4 + k]);
            q = HALVES_HIGH(t[8 + k], t[12 + k]);
            out[c + 8 + k] = QUARTERS_EVEN(p, q);
            out[c + 12 + k] = QUARTERS_ODD(p, q);
        }
    }
}

// Stores `count` 32-bit words of every block, `stride` bytes from block to block.
INLINE void store_words(const words *columns, size_t count, uint8_t *target, size_t stride, size_t lanes) {
    for (size_t b = 0; b < lanes; b++) {
        for (size_t w = 0; w < count; w++) {
            uint32_t word = columns[w][b];
            memcpy(target + b * stride + 4 * w, &word, sizeof word);
        }
    }
}

// Stores 16 bits of every block.
INLINE void store_half(const words *column, uint8_t *target, size_t stride, size_t lanes) {
    for (size_t b = 0; b < lanes; b++) {
        uint16_t half = (uint16_t)(*column)[b];
        memcpy(target + b * stride, &half, sizeof half);
    }
}

// The element of the largest magnitude (the first of equals) and that magnitude.
INLINE void largest_element(const floats *x, size_t count, floats *element, floats *magnitude) {
    floats largest = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        floats m = MAGNITUDE(x[i]);
        ints larger = m > most;
        most = SELECT(larger, m, most);
        largest = SELECT(larger, x[i], largest);
    }
    *element = largest;
    *magnitude = most;
}
