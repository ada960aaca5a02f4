// Q2_K to Q6_K with an importance matrix; see WeightedBlockEncoder.swift and the Swift file of each type.
#include "importance.h"
#include "kquants_affine.h"
#include "kquants_symmetric.h"

// Fits groups of `count` elements whose weights are given, and the scales and minimums of a block.
#define FIT_AFFINE_GROUPS(GROUPS, LARGEST_CODE, LARGEST_SCALE_CODE)                                              \
    affine_fit fits[GROUPS];                                                                                     \
    floats scales[GROUPS], minimums[GROUPS], sums[GROUPS], unit, minimum_unit;                                   \
    ints codes[GROUPS], minimum_codes[GROUPS];                                                                   \
    for (int group = 0; group < (GROUPS); group++) {                                                             \
        const int count = 256 / (GROUPS);                                                                        \
        const floats *part = weights + count * group;                                                            \
        sum_of(part, count, &sums[group]);                                                                       \
        affine_search(x + count * group, part, count, LARGEST_CODE, -0.9f, 0.05f, 36, 0, &fits[group]);          \
        scales[group] = fits[group].scale;                                                                       \
        minimums[group] = fits[group].minimum;                                                                   \
    }                                                                                                            \
    unsigned_search(scales, sums, GROUPS, LARGEST_SCALE_CODE, &unit, codes);                                     \
    unsigned_search(minimums, sums, GROUPS, LARGEST_SCALE_CODE, &minimum_unit, minimum_codes);

INLINE void resq_encode_weighted_q2_K_body(WEIGHTED_PARAMETERS) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], weights[256];
        words block[21];
        load_columns(source + first * 256, 256, lanes, x);
        load_importance(importance, first, 256, lanes, weights);
        weigh_block(x, 1, weights);
        FIT_AFFINE_GROUPS(16, 3, 15)
        ints d = HALF_BITS(unit), dmin = HALF_BITS(minimum_unit);
        store_q2_K(x, fits, &d, codes, &dmin, minimum_codes, block);
        store_words(block, 21, target + first * 84, 84, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q2_K)

INLINE void resq_encode_weighted_q4_K_body(WEIGHTED_PARAMETERS) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], weights[256];
        words block[36];
        load_columns(source + first * 256, 256, lanes, x);
        load_importance(importance, first, 256, lanes, weights);
        weigh_block(x, 2, weights);
        FIT_AFFINE_GROUPS(8, 15, 63)
        store_eight_groups(x, 15, fits, &unit, codes, &minimum_unit, minimum_codes, block);
        pack_q4_K(x, block);
        store_words(block, 36, target + first * 144, 144, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q4_K)

INLINE void resq_encode_weighted_q5_K_body(WEIGHTED_PARAMETERS) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], weights[256];
        words block[44];
        load_columns(source + first * 256, 256, lanes, x);
        load_importance(importance, first, 256, lanes, weights);
        weigh_block(x, 2, weights);
        FIT_AFFINE_GROUPS(8, 31, 63)
        for (int group = 0; group < 8; group++) {
            codes[group] = MINIMUM(codes[group], (ints)63);
            minimum_codes[group] = MINIMUM(minimum_codes[group], (ints)63);
        }
        store_eight_groups(x, 31, fits, &unit, codes, &minimum_unit, minimum_codes, block);
        pack_q5_K(x, block);
        store_words(block, 44, target + first * 176, 176, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q5_K)

// The codes of a fit.
INLINE void symmetric_codes(const floats *x, const symmetric_fit *fit, int count, int limit, ints *codes) {
    for (int i = 0; i < count; i++) {
        codes[i] = (NEAREST_IN(fit->inverse * x[i], -limit, limit - 1) + limit) & ~fit->zeros;
    }
}

INLINE void resq_encode_weighted_q3_K_body(WEIGHTED_PARAMETERS) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], weights[256], scales[16], sums[16];
        ints found[256], codes[16];
        words block[28];
        symmetric_fit fit;
        load_columns(source + first * 256, 256, lanes, x);
        load_importance(importance, first, 256, lanes, weights);
        weigh_block(x, 2, weights);
        for (int group = 0; group < 16; group++) {
            const floats *part = x + 16 * group;
            sum_of(weights + 16 * group, 16, &sums[group]);
            symmetric_search(part, weights + 16 * group, 16, 4, &fit);
            symmetric_codes(part, &fit, 16, 4, found + 16 * group);
            scales[group] = fit.scale;
        }
        symmetric_search(scales, sums, 16, 32, &fit);
        symmetric_codes(scales, &fit, 16, 32, codes);
        ints d = HALF_BITS(fit.scale);
        store_q3_K(x, found, &d, codes, block);
        store_words(block, 27, target + first * 110, 110, lanes);
        store_half(&block[27], target + first * 110 + 108, 110, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q3_K)

INLINE void resq_encode_weighted_q6_K_body(WEIGHTED_PARAMETERS) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], weights[256];
        words block[53];
        symmetric_fit fits[16];
        load_columns(source + first * 256, 256, lanes, x);
        load_importance(importance, first, 256, lanes, weights);
        for (int group = 0; group < 16; group++) {
            symmetric_search(x + 16 * group, weights + 16 * group, 16, 32, &fits[group]);
        }
        store_q6_K(x, fits, block);
        store_words(block, 52, target + first * 210, 210, lanes);
        store_half(&block[52], target + first * 210 + 208, 210, lanes);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_q6_K)
