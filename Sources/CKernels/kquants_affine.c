#include "kquants_affine.h"

// Fits eight groups of 32, fills the four words at the head of Q4_K and Q5_K, and replaces the elements by codes.
INLINE void encode_eight_groups(
    floats *x, int largest_code, float first_offset, int last_step, words *head) {
    affine_fit fits[8];
    floats largest_scale = 0, largest_minimum = 0;
    for (int group = 0; group < 8; group++) {
        const floats *part = x + 32 * group;
        floats squares = 0, weights[32];
        for (int i = 0; i < 32; i++) squares += part[i] * part[i];
        floats root_mean_square = __builtin_elementwise_sqrt(squares / 32);
        for (int i = 0; i < 32; i++) weights[i] = root_mean_square + MAGNITUDE(part[i]);
        affine_search(part, weights, 32, largest_code, first_offset, 0.1f, last_step, 0, &fits[group]);
        floats scale = fits[group].scale, minimum = fits[group].minimum;
        largest_scale = SELECT(scale > largest_scale, scale, largest_scale);
        largest_minimum = SELECT(minimum > largest_minimum, minimum, largest_minimum);
    }

    floats inverse_scale = SELECT(largest_scale > 0, 63 / largest_scale, (floats)0);
    floats inverse_minimum = SELECT(largest_minimum > 0, 63 / largest_minimum, (floats)0);
    ints scales[8], minimums[8];
    for (int j = 0; j < 8; j++) {
        scales[j] = MINIMUM(NEAREST(inverse_scale * fits[j].scale) & 0xff, (ints)63);
        minimums[j] = MINIMUM(NEAREST(inverse_minimum * fits[j].minimum) & 0xff, (ints)63);
    }
    floats unit = largest_scale / 63, minimum_unit = largest_minimum / 63;
    store_eight_groups(x, largest_code, fits, &unit, scales, &minimum_unit, minimums, head);
}

INLINE void resq_encode_q4_K_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256];
        words block[36];
        load_columns(source + first * 256, 256, lanes, x);
        encode_eight_groups(x, 15, -1.0f, 20, block);
        pack_q4_K(x, block);
        store_words(block, 36, target + first * 144, 144, lanes);
    }
}
RESQ_KERNEL(resq_encode_q4_K, float, uint8_t)

INLINE void resq_encode_q5_K_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256];
        words block[44];
        load_columns(source + first * 256, 256, lanes, x);
        encode_eight_groups(x, 31, -0.5f, 15, block);
        pack_q5_K(x, block);
        store_words(block, 44, target + first * 176, 176, lanes);
    }
}
RESQ_KERNEL(resq_encode_q5_K, float, uint8_t)

INLINE void resq_encode_q2_K_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256];
        words block[21];
        affine_fit fits[16];
        floats largest_scale = 0, largest_minimum = 0;
        load_columns(source + first * 256, 256, lanes, x);
        for (int group = 0; group < 16; group++) {
            const floats *part = x + 16 * group;
            floats weights[16];
            for (int i = 0; i < 16; i++) weights[i] = MAGNITUDE(part[i]);
            affine_search(part, weights, 16, 3, -0.5f, 0.1f, 15, 1, &fits[group]);
            floats scale = fits[group].scale, minimum = fits[group].minimum;
            largest_scale = SELECT(scale > largest_scale, scale, largest_scale);
            largest_minimum = SELECT(minimum > largest_minimum, minimum, largest_minimum);
        }

        ints any_scale = largest_scale > 0, any_minimum = largest_minimum > 0;
        floats inverse_scale = 15 / largest_scale, inverse_minimum = 15 / largest_minimum;
        ints d = SELECT(any_scale, HALF_BITS(largest_scale / 15), (ints)0);
        ints dmin = SELECT(any_minimum, HALF_BITS(largest_minimum / 15), (ints)0);
        ints scales[16], minimums[16];
        for (int group = 0; group < 16; group++) {
            scales[group] = any_scale & NEAREST(inverse_scale * fits[group].scale);
            minimums[group] = any_minimum & NEAREST(inverse_minimum * fits[group].minimum);
        }
        store_q2_K(x, fits, &d, scales, &dmin, minimums, block);
        store_words(block, 21, target + first * 84, 84, lanes);
    }
}
RESQ_KERNEL(resq_encode_q2_K, float, uint8_t)
