// Q3_K and Q6_K: x = scale * (code - limit). The searches are defined in KQuantSearch.swift (fitSymmetricByDescent and
// fitSymmetric), the layouts in Q3K.swift and Q6K.swift.
#include "lanes.h"

static const float smallest_group_magnitude = 1e-15f;

// What a search found for one group of 16 in each lane, and the inverse scale from which the winning codes came;
// lanes of zeros have scale 0 and code 0.
typedef struct {
    floats scale, inverse;
    ints zeros;
} symmetric_fit;

// One trial: Σ w x l and Σ w l² with w = x² for the codes of an inverse scale.
#define SUMS(INVERSE, LX, L2)                                                                                    \
    do {                                                                                                         \
        LX = 0;                                                                                                  \
        L2 = 0;                                                                                                  \
        for (int i = 0; i < 16; i++) {                                                                           \
            floats level = NEAREST_FLOAT_IN((INVERSE) * x[i], -32, 31);                                          \
            floats w = x[i] * x[i];                                                                              \
            LX += w * x[i] * level;                                                                              \
            L2 += w * level * level;                                                                             \
        }                                                                                                        \
    } while (0)

INLINE void symmetric_search(const floats *x, symmetric_fit *fit) {
    floats largest, magnitude, lx, l2;
    largest_element(x, 16, &largest, &magnitude);
    floats inverse = -32.0f / largest;
    SUMS(inverse, lx, l2);
    floats scale = SELECT(l2 == 0, (floats)0, lx / l2);
    floats quality = scale * lx;
    for (int step = -9; step <= 9; step++) {
        if (step == 0) continue;
        floats trial = -(32.0f + 0.1f * (float)step) / largest;
        SUMS(trial, lx, l2);
        ints win = (l2 > 0) & (lx * lx > quality * l2);
        floats trial_scale = lx / l2;
        inverse = SELECT(win, trial, inverse);
        scale = SELECT(win, trial_scale, scale);
        quality = SELECT(win, trial_scale * lx, quality);
    }
    fit->zeros = magnitude < smallest_group_magnitude;
    fit->scale = SELECT(fit->zeros, (floats)0, scale);
    fit->inverse = inverse;
}

INLINE void resq_encode_q6_K_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], scales[16];
        words block[53];
        symmetric_fit fits[16];
        load_columns(source + first * 256, 256, lanes, x);
        for (int group = 0; group < 16; group++) {
            symmetric_search(x + 16 * group, &fits[group]);
            scales[group] = fits[group].scale;
        }
        floats largest, magnitude;
        largest_element(scales, 16, &largest, &magnitude);
        // Blocks of zeros are zero bytes throughout.
        ints live = ~(magnitude < smallest_group_magnitude);
        floats inverse = -128 / largest;
        ints d = HALF_BITS(1 / inverse) & live;
        floats d_value = HALF_VALUE(d);

        for (int w = 0; w < 4; w++) {
            ints word = 0;
            for (int b = 0; b < 4; b++) {
                int group = 4 * w + b;
                ints scale = MINIMUM(NEAREST(inverse * scales[group]), (ints)127) << 24 >> 24;
                word |= (scale & 0xff) << (8 * b);
                floats group_scale = d_value * __builtin_convertvector(scale, floats);
                ints zero = group_scale == 0;
                floats *part = x + 16 * group;
                for (int i = 0; i < 16; i++) {
                    ints code = NEAREST_IN(part[i] / group_scale, -32, 31) + 32;
                    ints found = (NEAREST_IN(fits[group].inverse * part[i], -32, 31) + 32) & ~fits[group].zeros;
                    part[i] = FLOATS(SELECT(zero, found, code) & live);
                }
            }
            block[48 + w] = (words)(word & live);
        }
        for (int w = 0; w < 32; w++) {
            ints word = 0;
            for (int b = 0; b < 4; b++) {
                int i = w / 16 * 128 + w % 16 * 4 + b;
                word |= ((BITS(x[i]) & 15) | ((BITS(x[i + 64]) & 15) << 4)) << (8 * b);
            }
            block[w] = (words)word;
        }
        for (int w = 0; w < 16; w++) {
            ints word = 0;
            for (int b = 0; b < 4; b++) {
                int i = w / 8 * 128 + w % 8 * 4 + b;
                for (int k = 0; k < 4; k++) word |= (BITS(x[i + 32 * k]) >> 4) << (8 * b + 2 * k);
            }
            block[32 + w] = (words)word;
        }
        block[52] = (words)d;
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
        floats d_value = HALF_VALUE(d);

        ints packed[3] = {0, 0, 0};
        for (int group = 0; group < 16; group++) {
            ints level = NEAREST(inverse * scales[group]) << 24 >> 24;
            ints code = (MAXIMUM(MINIMUM(level, (ints)31), (ints)-32) + 32) & live;
            packed[group / 4 % 2] |= (code & 15) << (group % 4 * 8 + group / 8 * 4);
            packed[2] |= (code >> 4) << (group % 4 * 8 + group / 4 * 2);
            floats group_scale = d_value * __builtin_convertvector(code - 32, floats);
            ints zero = group_scale == 0;
            for (int i = 16 * group; i < 16 * group + 16; i++) {
                ints found = __builtin_convertvector(levels[i], ints) + 4;
                x[i] = FLOATS(SELECT(zero, found, NEAREST_IN(x[i] / group_scale, -4, 3) + 4));
            }
        }
        for (int w = 0; w < 8; w++) {
            ints word = 0;
            for (int b = 0; b < 4; b++) {
                for (int bit = 0; bit < 8; bit++) {
                    word |= (BITS(x[32 * bit + 4 * w + b]) >> 2) << (8 * b + bit);
                }
            }
            block[w] = (words)word;
        }
        for (int w = 0; w < 16; w++) {
            ints word = 0;
            for (int b = 0; b < 4; b++) {
                int i = w / 8 * 128 + w % 8 * 4 + b;
                for (int k = 0; k < 4; k++) word |= (BITS(x[i + 32 * k]) & 3) << (8 * b + 2 * k);
            }
            block[8 + w] = (words)word;
        }
        for (int w = 0; w < 3; w++) block[24 + w] = (words)packed[w];
        block[27] = (words)d;
        store_words(block, 27, target + first * 110, 110, lanes);
        store_half(&block[27], target + first * 110 + 108, 110, lanes);
    }
}
RESQ_KERNEL(resq_encode_q3_K, float, uint8_t)
