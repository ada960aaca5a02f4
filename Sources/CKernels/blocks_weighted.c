// Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL and IQ4_XS with an importance matrix; see WeightedBlockEncoder.swift and the Swift file of
// each type.
#include "importance.h"
#include "iq4.h"
#include "kquants_affine.h"
#include "kquants_symmetric.h"

void resq_row_mean_squares(const float *source, size_t row_count, size_t column_count, float *target) {
    // Several rows at once, because each addition waits for the one before.
    enum { ROWS = 8 };
    for (size_t first = 0; first < row_count; first += ROWS) {
        size_t rows = row_count - first < ROWS ? row_count - first : ROWS;
        float sums[ROWS] = {0};
        for (size_t c = 0; c < column_count; c++) {
            for (size_t r = 0; r < rows; r++) {
                float x = source[(first + r) * column_count + c];
                sums[r] += x * x;
            }
        }
        for (size_t r = 0; r < rows; r++) target[first + r] = sums[r] / (float)column_count;
    }
}

// The elements and weights of 32 columns. `mean` is the mean square.
INLINE void load_weighted(
    const float *source, const resq_importance *importance, size_t first, size_t lanes, floats *x, floats *weights) {
    floats mean;
    load_columns(source + first * 32, 32, lanes, x);
    load_importance(importance, first, 32, lanes, weights);
    load_row_mean_squares(importance, first, lanes, &mean);
    for (int i = 0; i < 32; i++) weights[i] *= __builtin_elementwise_sqrt(mean + x[i] * x[i]);
}

// Four words of nibbles from 32 codes, element l in the low one of byte l, element l + 16 in the high one.
INLINE void pack_nibbles(const ints *codes, words *out) {
    for (int w = 0; w < 4; w++) {
        ints word = 0;
        for (int b = 0; b < 4; b++) {
            word |= ((codes[4 * w + b] & 15) | ((codes[4 * w + b + 16] & 15) << 4)) << (8 * b);
        }
        out[w] = (words)word;
    }
}

// A word of the fifth bits of 32 codes.
INLINE void pack_fifth_bits(const ints *codes, words *out) {
    ints word = 0;
    for (int i = 0; i < 32; i++) word |= (codes[i] >> 4) << i;
    *out = (words)word;
}

INLINE void encode_symmetric(
    const float *source, const resq_importance *importance, size_t first, size_t lanes, int limit, words *half, ints *codes) {
    floats x[32], weights[32];
    symmetric_fit fit;
    load_weighted(source, importance, first, lanes, x, weights);
    symmetric_search(x, weights, 32, limit, &fit);
    for (int i = 0; i < 32; i++) codes[i] = (NEAREST_IN(fit.inverse * x[i], -limit, limit - 1) + limit) & ~fit.zeros;
    *half = (words)HALF_BITS(fit.scale);
}

INLINE void encode_affine(
    const float *source, const resq_importance *importance, size_t first, size_t lanes, int largest_code, words *halves,
    ints *codes) {
    floats x[32], weights[32];
    affine_fit fit;
    load_weighted(source, importance, first, lanes, x, weights);
    affine_search(x, weights, 32, largest_code, -0.9f, 0.05f, 36, 0, &fit);
    for (int i = 0; i < 32; i++) codes[i] = NEAREST_IN(fit.inverse * (x[i] - fit.offset), 0, largest_code);
    floats offset = -fit.minimum;
    *halves = (words)(HALF_BITS(fit.scale) | (HALF_BITS(offset) << 16));
}

#define EACH_LANES                                                                                               \
    for (size_t first = 0, lanes; lanes = block_count - first < LANES ? block_count - first : LANES,             \
                first < block_count; first += LANES)

INLINE void resq_encode_weighted_q4_0_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        ints codes[32];
        words half, packed[4];
        encode_symmetric(source, importance, first, lanes, 8, &half, codes);
        pack_nibbles(codes, packed);
        store_half(&half, target + first * 18, 18, lanes);
        store_words(packed, 4, target + first * 18 + 2, 18, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q4_0)

INLINE void resq_encode_weighted_q5_0_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        ints codes[32];
        words half, packed[5];
        encode_symmetric(source, importance, first, lanes, 16, &half, codes);
        pack_fifth_bits(codes, packed);
        pack_nibbles(codes, packed + 1);
        store_half(&half, target + first * 22, 22, lanes);
        store_words(packed, 5, target + first * 22 + 2, 22, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q5_0)

INLINE void resq_encode_weighted_q4_1_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        ints codes[32];
        words block[5];
        encode_affine(source, importance, first, lanes, 15, block, codes);
        pack_nibbles(codes, block + 1);
        store_words(block, 5, target + first * 20, 20, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q4_1)

INLINE void resq_encode_weighted_q5_1_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        ints codes[32];
        words block[6];
        encode_affine(source, importance, first, lanes, 31, block, codes);
        pack_fifth_bits(codes, block + 1);
        pack_nibbles(codes, block + 2);
        store_words(block, 6, target + first * 24, 24, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q5_1)

INLINE void resq_encode_weighted_iq4_nl_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        floats x[32], weights[32], scale, squares = 0;
        words block[5];
        load_columns(source + first * 32, 32, lanes, x);
        load_importance(importance, first, 32, lanes, weights);
        for (int i = 0; i < 32; i++) squares += x[i] * x[i];
        squares *= 2.0f / 32;
        for (int i = 0; i < 32; i++) weights[i] *= __builtin_elementwise_sqrt(squares + x[i] * x[i]);
        iq4_search(x, weights, &scale);
        store_iq4_nl(x, &scale, block);
        store_half(block, target + first * 18, 18, lanes);
        store_words(block + 1, 4, target + first * 18 + 2, 18, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq4_nl)

INLINE void resq_encode_weighted_iq4_xs_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        floats x[256], weights[256], scales[8], squares = 0;
        words block[34];
        load_columns(source + first * 256, 256, lanes, x);
        load_importance(importance, first, 256, lanes, weights);
        for (int i = 0; i < 256; i++) squares += x[i] * x[i];
        squares *= 2.0f / 256;
        for (int i = 0; i < 256; i++) weights[i] *= __builtin_elementwise_sqrt(squares + x[i] * x[i]);
        for (int group = 0; group < 8; group++) iq4_search(x + 32 * group, weights + 32 * group, &scales[group]);
        store_iq4_xs(x, scales, block);
        store_words(block, 34, target + first * 136, 136, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq4_xs)
