// IQ4_NL and IQ4_XS: x = scale * level[code]. The search is defined in IQ4Search.swift, the layouts in IQ4NL.swift and
// IQ4XS.swift.
#pragma once
#include "lanes.h"

static const float levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// The middle between two neighbouring levels: from there on the upper one is nearest.
#define MIDDLE(K) ((levels[K] + levels[(K) + 1]) / 2)

// The nearest level itself, and its code. NaN gives the last.
#define NEAREST_LEVEL(V)                                                                                         \
    ({                                                                                                           \
        floats value_ = (V), level_ = levels[0];                                                                 \
        _Pragma("unroll") for (int k = 0; k < 15; k++)                                                           \
            level_ = SELECT(value_ < MIDDLE(k), level_, (floats)levels[k + 1]);                                  \
        level_;                                                                                                  \
    })
#define NEAREST_CODE(V)                                                                                          \
    ({                                                                                                           \
        floats value_ = (V);                                                                                     \
        ints code_ = 15;                                                                                         \
        _Pragma("unroll") for (int k = 0; k < 15; k++) code_ += value_ < MIDDLE(k);                              \
        code_;                                                                                                   \
    })

// The scale of 32 elements in each lane. Without weights w = x².
INLINE void iq4_search(const floats *x, const floats *weights, floats *result) {
    floats largest, magnitude, scale = 0, quality = 0;
    largest_element(x, 32, &largest, &magnitude);
    for (int step = -8; step <= 7; step++) {
        // The first trial is the plain mapping of the largest element to the lowest level; it always counts.
        int plain = step == -8;
        floats inverse = plain ? 1 / (-largest / levels[0]) : ((float)step + levels[0]) / largest;
        floats qx = 0, q2 = 0;
        for (int i = 0; i < 32; i++) {
            floats level = NEAREST_LEVEL(inverse * x[i]);
            floats w = weights ? weights[i] : x[i] * x[i];
            qx += w * level * x[i];
            q2 += w * level * level;
        }
        ints win = q2 > 0;
        if (!plain) win &= qx * qx > quality * q2;
        floats trial = qx / q2;
        scale = SELECT(win, trial, scale);
        quality = SELECT(win, trial * qx, plain ? scale * qx : quality);
    }
    *result = SELECT(magnitude < 1e-15f, (floats)0, scale);
}

// The codes of 32 elements, as four words.
INLINE void iq4_codes(const floats *x, const floats *inverse, words *out) {
    for (int w = 0; w < 4; w++) {
        ints word = 0;
        for (int b = 0; b < 4; b++) {
            int i = 4 * w + b;
            ints low = NEAREST_CODE(*inverse * x[i]), high = NEAREST_CODE(*inverse * x[i + 16]);
            word |= (low | (high << 4)) << (8 * b);
        }
        out[w] = (words)word;
    }
}

// A block of IQ4_NL, the scale in a word of its own.
INLINE void store_iq4_nl(const floats *x, const floats *scale, words *block) {
    floats inverse = SELECT(*scale == 0, (floats)0, 1 / *scale);
    block[0] = (words)HALF_BITS(*scale);
    iq4_codes(x, &inverse, block + 1);
}

// A block of IQ4_XS from the scales of its groups.
INLINE void store_iq4_xs(const floats *x, const floats *scales, words *block) {
    floats largest, magnitude;
    largest_element(scales, 8, &largest, &magnitude);
    floats d = -largest / 32;
    floats d_inverse = SELECT(d == 0, (floats)0, 1 / d);
    ints high = 0, low = 0;
    for (int group = 0; group < 8; group++) {
        ints level = NEAREST_IN(d_inverse * scales[group], -32, 31);
        high |= ((level + 32) >> 4) << (2 * group);
        low |= ((level + 32) & 15) << (4 * group);
        floats scale = d * __builtin_convertvector(level, floats);
        floats inverse = SELECT(scale == 0, (floats)0, 1 / scale);
        iq4_codes(x + 32 * group, &inverse, block + 2 + 4 * group);
    }
    block[0] = (words)(HALF_BITS(d) | (high << 16));
    block[1] = (words)low;
}
