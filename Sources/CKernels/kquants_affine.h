// Q2_K, Q4_K and Q5_K: x = scale * code - minimum. The search is defined in KQuantSearch.swift (AffineSearch), the
// layouts in Q2K.swift, Q4K.swift, Q5K.swift and KQuantScales.swift.
#pragma once
#include "lanes.h"

// What a search found for one group in each lane. `inverse` and `offset` are those from which the winning codes came:
// code = nearest(inverse * (x - offset)).
typedef struct {
    floats scale, minimum, inverse, offset;
} affine_fit;

INLINE void affine_search(
    const floats *x, const floats *weights, int count, int largest_code, float first_offset, float step_size, int last_step,
    int absolute_error, affine_fit *fit) {
    floats offset = x[0], largest = x[0];
    floats sum_w = weights[0], sum_wx = sum_w * x[0];
    for (int i = 1; i < count; i++) {
        offset = SELECT(x[i] < offset, x[i], offset);
        largest = SELECT(x[i] > largest, x[i], largest);
        sum_w += weights[i];
        sum_wx += weights[i] * x[i];
    }
    offset = SELECT(offset > 0, (floats)0, offset);
    // Lanes whose elements are all equal get scale 0, codes 0 and this minimum.
    ints flat = largest == offset;
    floats flat_minimum = -offset;

#define ERROR(LEVEL, SCALE, OFFSET, I)                                                                           \
    ({                                                                                                           \
        floats difference_ = (SCALE) * (LEVEL) + (OFFSET) - x[I];                                                \
        weights[I] * (absolute_error ? MAGNITUDE(difference_) : difference_ * difference_);                      \
    })

    floats inverse = (float)largest_code / (largest - offset);
    floats scale = 1.0f / inverse, best_inverse = inverse, best_offset = offset, smallest_error = 0;
    for (int i = 0; i < count; i++) {
        floats level = NEAREST_FLOAT_IN(inverse * (x[i] - offset), 0, largest_code);
        smallest_error += ERROR(level, scale, offset, i);
    }

    for (int step = 0; step <= last_step; step++) {
        floats levels[32];
        floats sum_wl = 0, sum_wll = 0, sum_wlx = 0;
        inverse = (first_offset + step_size * (float)step + (float)largest_code) / (largest - offset);
        for (int i = 0; i < count; i++) {
            floats level = NEAREST_FLOAT_IN(inverse * (x[i] - offset), 0, largest_code);
            levels[i] = level;
            floats wl = weights[i] * level;
            sum_wl += wl;
            sum_wll += wl * level;
            sum_wlx += wl * x[i];
        }
        floats determinant = sum_w * sum_wll - sum_wl * sum_wl;
        floats trial_scale = (sum_w * sum_wlx - sum_wx * sum_wl) / determinant;
        floats trial_offset = (sum_wll * sum_wx - sum_wl * sum_wlx) / determinant;
        ints positive = trial_offset > 0;
        trial_offset = SELECT(positive, (floats)0, trial_offset);
        trial_scale = SELECT(positive, sum_wlx / sum_wll, trial_scale);
        floats error = 0;
        for (int i = 0; i < count; i++) error += ERROR(levels[i], trial_scale, trial_offset, i);
        ints win = (determinant > 0) & (error < smallest_error);
        smallest_error = SELECT(win, error, smallest_error);
        scale = SELECT(win, trial_scale, scale);
        best_inverse = SELECT(win, inverse, best_inverse);
        best_offset = SELECT(win, offset, best_offset);
        offset = SELECT(win, trial_offset, offset);
    }
#undef ERROR

    fit->scale = SELECT(flat, (floats)0, scale);
    fit->minimum = SELECT(flat, flat_minimum, -offset);
    fit->inverse = SELECT(flat, (floats)0, best_inverse);
    fit->offset = SELECT(flat, (floats)0, best_offset);
}

// Replaces `count` elements by their codes for a scale and minimum as stored; where that scale is 0, by the codes that
// the search had found.
INLINE void affine_codes(
    floats *x, int count, int largest_code, const floats *scale, const floats *minimum, const affine_fit *fit) {
    ints zero = *scale == 0;
    for (int i = 0; i < count; i++) {
        ints code = NEAREST_IN((x[i] + *minimum) / *scale, 0, largest_code);
        ints found = NEAREST_IN(fit->inverse * (x[i] - fit->offset), 0, largest_code);
        x[i] = FLOATS(SELECT(zero, found, code));
    }
}

// Fills the four words at the head of Q4_K and Q5_K, and replaces the elements by codes for scales and minimums as stored.
INLINE void store_eight_groups(
    floats *x, int largest_code, const affine_fit *fits, const floats *unit, const ints *scales, const floats *minimum_unit,
    const ints *minimums, words *head) {
    ints d = HALF_BITS(*unit), dmin = HALF_BITS(*minimum_unit);
    floats d_value = HALF_VALUE(d), dmin_value = HALF_VALUE(dmin);
    ints packed[3] = {0, 0, 0};
    for (int j = 0; j < 4; j++) {
        packed[0] |= ((scales[j] | (scales[j + 4] >> 4 << 6)) & 0xff) << (8 * j);
        packed[1] |= ((minimums[j] | (minimums[j + 4] >> 4 << 6)) & 0xff) << (8 * j);
        packed[2] |= ((scales[j + 4] & 15) | ((minimums[j + 4] & 15) << 4)) << (8 * j);
    }
    head[0] = (words)(d | (dmin << 16));
    for (int w = 0; w < 3; w++) head[w + 1] = (words)packed[w];

    for (int j = 0; j < 8; j++) {
        // What the bits say: codes beyond six bits have been cut, or have run into others.
        ints scale_code, minimum_code;
        if (j < 4) {
            scale_code = (packed[0] >> (8 * j)) & 63;
            minimum_code = (packed[1] >> (8 * j)) & 63;
        } else {
            scale_code = ((packed[2] >> (8 * (j - 4))) & 15) | (((packed[0] >> (8 * (j - 4) + 6)) & 3) << 4);
            minimum_code = ((packed[2] >> (8 * (j - 4) + 4)) & 15) | (((packed[1] >> (8 * (j - 4) + 6)) & 3) << 4);
        }
        floats scale = d_value * __builtin_convertvector(scale_code, floats);
        floats minimum = dmin_value * __builtin_convertvector(minimum_code, floats);
        affine_codes(x + 32 * j, 32, largest_code, &scale, &minimum, &fits[j]);
    }
}

// The codes of a Q4_K block, behind the four words of its head.
INLINE void pack_q4_K(const floats *x, words *block) {
    for (int w = 0; w < 32; w++) {
        ints word = 0;
        for (int b = 0; b < 4; b++) {
            int i = w / 8 * 64 + w % 8 * 4 + b;
            word |= (BITS(x[i]) | (BITS(x[i + 32]) << 4)) << (8 * b);
        }
        block[4 + w] = (words)word;
    }
}

// The same for Q5_K.
INLINE void pack_q5_K(const floats *x, words *block) {
    for (int w = 0; w < 8; w++) {
        ints word = 0;
        for (int b = 0; b < 4; b++) {
            for (int bit = 0; bit < 8; bit++) {
                word |= (BITS(x[32 * bit + 4 * w + b]) >> 4) << (8 * b + bit);
            }
        }
        block[4 + w] = (words)word;
    }
    for (int w = 0; w < 32; w++) {
        ints word = 0;
        for (int b = 0; b < 4; b++) {
            int i = w / 8 * 64 + w % 8 * 4 + b;
            word |= ((BITS(x[i]) & 15) | ((BITS(x[i + 32]) & 15) << 4)) << (8 * b);
        }
        block[12 + w] = (words)word;
    }
}

// A whole Q2_K block from scale and minimum codes, of which only the low bits count where they are packed.
INLINE void store_q2_K(
    floats *x, const affine_fit *fits, const ints *d, const ints *scales, const ints *dmin, const ints *minimums, words *block) {
    floats d_value = HALF_VALUE(*d), dmin_value = HALF_VALUE(*dmin);
    for (int w = 0; w < 4; w++) {
        ints word = 0;
        for (int b = 0; b < 4; b++) {
            int group = 4 * w + b;
            ints packed = (scales[group] | (minimums[group] << 4)) & 0xff;
            word |= packed << (8 * b);
            floats group_scale = d_value * __builtin_convertvector(packed & 15, floats);
            floats group_minimum = dmin_value * __builtin_convertvector(packed >> 4, floats);
            affine_codes(x + 16 * group, 16, 3, &group_scale, &group_minimum, &fits[group]);
        }
        block[w] = (words)word;
    }
    for (int w = 0; w < 16; w++) {
        ints word = 0;
        for (int b = 0; b < 4; b++) {
            int i = w / 8 * 128 + w % 8 * 4 + b;
            for (int k = 0; k < 4; k++) word |= BITS(x[i + 32 * k]) << (8 * b + 2 * k);
        }
        block[4 + w] = (words)word;
    }
    block[20] = (words)(*d | (*dmin << 16));
}
