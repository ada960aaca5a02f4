// What the types with codebooks share; Codebook.swift and CodebookSearch.swift are the definitions.
#pragma once
#include <float.h>

#include "importance.h"

typedef uint16_t vectors __attribute__((ext_vector_type(16)));

#define LANE_NUMBERS ((ints){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})

// Runs of blocks, and the bytes of each block of one run.
#define EACH_LANES                                                                                               \
    for (size_t first = 0, lanes; lanes = block_count - first < LANES ? block_count - first : LANES,             \
                first < block_count; first += LANES)
#define EACH_BLOCK(SIZE)                                                                                         \
    for (size_t b = 0; b < lanes; b++)                                                                           \
        for (uint8_t *block = target + (first + b) * (SIZE); block; block = NULL)

// Of one block: the vector itself if the codebook has it, else the candidate with the smallest
// sum of weights * (scale * (factor * level + offset) - x)^2, the first of equals.
INLINE unsigned nearest_vector(
    const resq_importance *from, unsigned vector, const float *x, const float *weights, float scale, int dimension, int bits,
    float factor, float offset) {
    int place = from->places[vector];
    if (place >= 0) return vector;
    const uint16_t *list = from->candidates - 1 - place;
    int count = *list++;
    floats smallest = FLT_MAX;
    ints where = 0;
    // Lists are padded with copies of their first vector, which cannot win twice.
    for (int start = 0; start < count; start += LANES) {
        vectors packed;
        memcpy(&packed, list + start, sizeof packed);
        ints candidates = __builtin_convertvector(packed, ints);
        floats sum = 0;
        _Pragma("unroll") for (int i = 0; i < dimension; i++) {
            ints level = (candidates >> (bits * i)) & ((1 << bits) - 1);
            floats difference = scale * (__builtin_convertvector(level, floats) * factor + offset) - x[i];
            sum += weights[i] * difference * difference;
        }
        ints win = sum < smallest;
        smallest = SELECT(win, sum, smallest);
        where = SELECT(win, LANE_NUMBERS + start, where);
    }
    // The sums are not negative, so their bits have their order.
    int least = __builtin_reduce_min(BITS(smallest));
    return list[__builtin_reduce_min(SELECT(BITS(smallest) == least, where, (ints)INT32_MAX))];
}

// Turns elements into weights for them: with importance, or where there is none with `alone` * (mean square) + x^2.
INLINE void weigh(
    const resq_importance *importance, size_t first, size_t lanes, const floats *x, float factor, float alone, floats *weights) {
    if (importance->columns) {
        load_importance(importance, first, 256, lanes, weights);
        weigh_block(x, factor, weights);
        return;
    }
    floats squares = 0;
    for (int i = 0; i < 256; i++) squares += x[i] * x[i];
    floats mean = factor * squares / 256;
    for (int i = 0; i < 256; i++) weights[i] = alone == 0 ? x[i] * x[i] : alone * mean + x[i] * x[i];
}

// One row of numbers for every lane.
INLINE void transpose_to_rows(const floats *columns, int count, float rows[LANES][32]) {
    for (int i = 0; i < count; i++) {
        for (int b = 0; b < LANES; b++) rows[b][i] = columns[i][b];
    }
}

// The four-bit code of a scale, or that of another largest code.
#define SCALE_CODE(SCALE, INVERSE_UNIT, LARGEST) NEAREST_IN(0.5f * ((INVERSE_UNIT) * (SCALE) - 1.0f), 0, LARGEST)

INLINE void put_half(uint8_t *target, int half) {
    uint16_t bits = (uint16_t)half;
    memcpy(target, &bits, sizeof bits);
}

INLINE void add_word(uint8_t *target, uint32_t bits) {
    uint32_t word;
    memcpy(&word, target, sizeof word);
    word |= bits;
    memcpy(target, &word, sizeof word);
}
