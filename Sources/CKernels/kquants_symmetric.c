#include "kquants_symmetric.h"

INLINE void resq_encode_q6_K_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256];
        words block[53];
        symmetric_fit fits[16];
        load_columns(source + first * 256, 256, lanes, x);
        for (int group = 0; group < 16; group++) symmetric_search(x + 16 * group, NULL, 16, 32, &fits[group]);
        store_q6_K(x, fits, block);
        store_words(block, 52, target + first * 210, 210, lanes);
        store_half(&block[52], target + first * 210 + 208, 210, lanes);
    }
}
RESQ_KERNEL(resq_encode_q6_K, float, uint8_t)

// Four groups of 16 at once, because each step of the descent waits for the one before. Leaves code - 4 in `levels`.
INLINE void descent_search(const floats *x, floats *levels, floats *scales) {
    enum { GROUPS = 4 };
    floats lx[GROUPS], l2[GROUPS];
    ints zeros[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        floats largest, magnitude;
        largest_element(x + 16 * g, 16, &largest, &magnitude);
        zeros[g] = magnitude < smallest_group_magnitude;
        floats inverse = -4.0f / largest;
        lx[g] = l2[g] = 0;
        for (int i = 16 * g; i < 16 * g + 16; i++) {
            floats level = NEAREST_FLOAT_IN(inverse * x[i], -4, 3), w = x[i] * x[i];
            levels[i] = level;
            lx[g] += w * x[i] * level;
            l2[g] += w * level * level;
        }
    }
    // A lane that did not change in one round cannot change in the next, so lanes need not stop one by one.
    for (int round = 0; round < 5; round++) {
        ints changed = 0;
        for (int i = 0; i < 16; i++) {
            _Pragma("unroll") for (int g = 0; g < GROUPS; g++) {
                floats value = x[16 * g + i], level = levels[16 * g + i], w = value * value, wx = w * value;
                floats lx_without = lx[g] - wx * level;
                floats l2_without = l2[g] - w * level * level;
                floats next = NEAREST_FLOAT_IN(value * l2_without / lx_without, -4, 3);
                ints moves = (lx_without > 0) & (next != level);
                floats new_lx = lx_without + wx * next;
                floats new_l2 = l2_without + w * next * next;
                moves &= (new_l2 > 0) & (new_lx * new_lx * l2[g] > lx[g] * lx[g] * new_l2);
                levels[16 * g + i] = SELECT(moves, next, level);
                lx[g] = SELECT(moves, new_lx, lx[g]);
                l2[g] = SELECT(moves, new_l2, l2[g]);
                changed |= moves;
            }
        }
        if (__builtin_reduce_or(changed) == 0) break;
    }
    for (int g = 0; g < GROUPS; g++) {
        // Groups of zeros have code 0, which is level -4.
        for (int i = 16 * g; i < 16 * g + 16; i++) levels[i] = SELECT(zeros[g], (floats)-4, levels[i]);
        scales[g] = SELECT(~zeros[g] & (l2[g] > 0), lx[g] / l2[g], (floats)0);
    }
}

INLINE void resq_encode_q3_K_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], scales[16], largest, magnitude;
        floats levels[256];
        words block[28];
        load_columns(source + first * 256, 256, lanes, x);
        for (int group = 0; group < 16; group += 4) {
            descent_search(x + 16 * group, levels + 16 * group, scales + group);
        }
        largest_element(scales, 16, &largest, &magnitude);
        ints live = ~(largest == 0);
        floats inverse = -32 / largest;
        ints d = HALF_BITS(1 / inverse) & live;
        ints codes[16], found[256];
        for (int group = 0; group < 16; group++) {
            ints level = NEAREST(inverse * scales[group]) << 24 >> 24;
            codes[group] = (MAXIMUM(MINIMUM(level, (ints)31), (ints)-32) + 32) & live;
        }
        for (int i = 0; i < 256; i++) found[i] = __builtin_convertvector(levels[i], ints) + 4;
        store_q3_K(x, found, &d, codes, block);
        store_words(block, 27, target + first * 110, 110, lanes);
        store_half(&block[27], target + first * 110 + 108, 110, lanes);
    }
}
RESQ_KERNEL(resq_encode_q3_K, float, uint8_t)
