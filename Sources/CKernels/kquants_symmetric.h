// Q3_K and Q6_K: x = scale * (code - limit). The searches are defined in KQuantSearch.swift (fitSymmetricByDescent and
// fitSymmetric), the layouts in Q3K.swift and Q6K.swift.
#pragma once
#include "lanes.h"

static const float smallest_group_magnitude = 1e-15f;

// What a search found for one group in each lane, and the inverse scale from which the winning codes came;
// lanes of zeros have scale 0 and code 0.
typedef struct {
    floats scale, inverse;
    ints zeros;
} symmetric_fit;

// One trial: Σ w x l and Σ w l² for the codes of an inverse scale. Without weights w = x².
#define SUMS(INVERSE, LX, L2)                                                                                    \
    do {                                                                                                         \
        LX = 0;                                                                                                  \
        L2 = 0;                                                                                                  \
        for (int i = 0; i < count; i++) {                                                                        \
            floats level = NEAREST_FLOAT_IN((INVERSE) * x[i], -limit, limit - 1);                                \
            floats w = weights ? weights[i] : x[i] * x[i];                                                       \
            LX += w * x[i] * level;                                                                              \
            L2 += w * level * level;                                                                             \
        }                                                                                                        \
    } while (0)

INLINE void symmetric_search(const floats *x, const floats *weights, int count, int limit, symmetric_fit *fit) {
    floats largest, magnitude, lx, l2;
    largest_element(x, count, &largest, &magnitude);
    floats inverse = -(float)limit / largest;
    SUMS(inverse, lx, l2);
    floats scale = SELECT(l2 == 0, (floats)0, lx / l2);
    floats quality = scale * lx;
    for (int step = -9; step <= 9; step++) {
        if (step == 0) continue;
        floats trial = -((float)limit + 0.1f * (float)step) / largest;
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

// A whole Q6_K block from the fits of its groups.
INLINE void store_q6_K(floats *x, const symmetric_fit *fits, words *block) {
    floats scales[16];
    for (int group = 0; group < 16; group++) scales[group] = fits[group].scale;
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
}

// A whole Q3_K block. `found` are the codes that the search found, `codes` those of the scales.
INLINE void store_q3_K(floats *x, const ints *found, const ints *d, const ints *codes, words *block) {
    floats d_value = HALF_VALUE(*d);
    ints packed[3] = {0, 0, 0};
    for (int group = 0; group < 16; group++) {
        ints code = codes[group];
        packed[group / 4 % 2] |= (code & 15) << (group % 4 * 8 + group / 8 * 4);
        packed[2] |= (code >> 4) << (group % 4 * 8 + group / 4 * 2);
        floats group_scale = d_value * __builtin_convertvector(code - 32, floats);
        ints zero = group_scale == 0;
        for (int i = 16 * group; i < 16 * group + 16; i++) {
            x[i] = FLOATS(SELECT(zero, found[i], NEAREST_IN(x[i] / group_scale, -4, 3) + 4));
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
    block[27] = (words)*d;
}
