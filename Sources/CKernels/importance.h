// What the kernels that use an importance matrix share. Lanes are blocks that follow one another, in one row or several;
// each lane looks at the importance of its own columns.
#pragma once
#include "lanes.h"
#include "weighted.h"

// The columns of `columns` elements of each lane's block, transposed, as load_columns does for elements.
INLINE void load_importance(const resq_importance *from, size_t first, size_t columns, size_t lanes, floats *out) {
    float rows[LANES * 256];
    for (size_t b = 0; b < lanes; b++) {
        size_t block = (first + b) % from->blocks_per_row;
        memcpy(rows + b * columns, from->columns + block * columns, columns * sizeof(float));
    }
    load_columns(rows, columns, lanes, out);
}

// The mean square of the row of each lane's block.
INLINE void load_row_mean_squares(const resq_importance *from, size_t first, size_t lanes, floats *out) {
    float values[LANES];
    for (size_t b = 0; b < LANES; b++) {
        values[b] = from->row_mean_squares[(first + (b < lanes ? b : lanes - 1)) / from->blocks_per_row];
    }
    memcpy(out, values, sizeof *out);
}

// Replaces the importance of 256 columns by the weights importance * sqrt(factor * (sum of squares) / 256 + x^2).
INLINE void weigh_block(const floats *x, float factor, floats *importance) {
    floats squares = 0;
    for (int i = 0; i < 256; i++) squares += x[i] * x[i];
    floats mean = factor * squares / 256;
    for (int i = 0; i < 256; i++) importance[i] *= __builtin_elementwise_sqrt(mean + x[i] * x[i]);
}

// The sum of some weights, from the first to the last.
INLINE void sum_of(const floats *weights, int count, floats *sum) {
    floats s = 0;
    for (int i = 0; i < count; i++) s += weights[i];
    *sum = s;
}

// What fitUnsigned in UnsignedSearch.swift defines: the unit, and codes of eight bits.
INLINE void unsigned_search(
    const floats *x, const floats *weights, int count, int largest_code, floats *unit, ints *codes) {
    floats largest = 0;
    for (int i = 0; i < count; i++) largest = SELECT(largest > x[i], largest, x[i]);
    ints zeros = largest < 1e-15f;
    floats inverse = (float)largest_code / largest, scale = 1 / inverse, smallest_error = 0;
    for (int i = 0; i < count; i++) {
        floats level = __builtin_convertvector(NEAREST(inverse * x[i]) & 0xff, floats);
        floats difference = x[i] - scale * level;
        smallest_error += weights[i] * difference * difference;
    }
    for (int step = -4; step <= 4; step++) {
        if (step == 0) continue;
        floats trial = (0.1f * (float)step + (float)largest_code) / largest;
        floats trial_scale = 1 / trial, error = 0;
        for (int i = 0; i < count; i++) {
            ints code = NEAREST(trial * x[i]);
            code = MINIMUM(code, (ints)largest_code);
            floats difference = x[i] - trial_scale * __builtin_convertvector(code, floats);
            error += weights[i] * difference * difference;
        }
        ints win = error < smallest_error;
        smallest_error = SELECT(win, error, smallest_error);
        inverse = SELECT(win, trial, inverse);
    }
    floats lx = 0, l2 = 0;
    for (int i = 0; i < count; i++) {
        ints code = NEAREST(inverse * x[i]);
        code = MINIMUM(code, (ints)largest_code);
        codes[i] = code & 0xff;
        floats level = __builtin_convertvector(code, floats);
        lx += weights[i] * x[i] * level;
        l2 += weights[i] * level * level;
    }
    // A lane that did not change in one round cannot change in the next, so lanes need not stop one by one.
    for (int round = 0; round < 5; round++) {
        ints changed = 0;
        for (int i = 0; i < count; i++) {
            floats w = weights[i], level = __builtin_convertvector(codes[i], floats);
            floats lx_without = lx - w * x[i] * level;
            floats l2_without = l2 - w * level * level;
            ints code = NEAREST(x[i] * l2_without / lx_without);
            code = MINIMUM(code, (ints)largest_code);
            ints moves = (lx_without > 0) & (l2_without > 0) & (code != codes[i]);
            floats next = __builtin_convertvector(code, floats);
            floats new_lx = lx_without + w * x[i] * next;
            floats new_l2 = l2_without + w * next * next;
            moves &= new_lx * new_lx * l2 > lx * lx * new_l2;
            codes[i] = SELECT(moves, code & 0xff, codes[i]);
            lx = SELECT(moves, new_lx, lx);
            l2 = SELECT(moves, new_l2, l2);
            changed |= moves;
        }
        if (__builtin_reduce_or(changed) == 0) break;
    }
    for (int i = 0; i < count; i++) codes[i] = SELECT(zeros, (ints)0, codes[i]);
    *unit = SELECT(~zeros & (l2 > 0), lx / l2, (floats)0);
}

// The same source, compiled for three instruction sets and chosen at run time. `NAME_body` must be INLINE.
#define WEIGHTED_PARAMETERS const float *source, const resq_importance *importance, uint8_t *target, size_t block_count
#if defined(__x86_64__) && defined(__linux__)
#define RESQ_WEIGHTED_KERNEL(NAME)                                                                               \
    __attribute__((target("arch=x86-64-v4"), min_vector_width(512))) static void NAME##_v4(WEIGHTED_PARAMETERS) { \
        NAME##_body(source, importance, target, block_count);                                                    \
    }                                                                                                            \
    __attribute__((target("arch=x86-64-v3"))) static void NAME##_v3(WEIGHTED_PARAMETERS) {                       \
        NAME##_body(source, importance, target, block_count);                                                    \
    }                                                                                                            \
    void NAME(WEIGHTED_PARAMETERS, resq_level level) {                                                           \
        if (level >= RESQ_NEWEST && __builtin_cpu_supports("x86-64-v4")) {                                       \
            NAME##_v4(source, importance, target, block_count);                                                  \
        } else if (level >= RESQ_X86_64_V3 && __builtin_cpu_supports("x86-64-v3")) {                             \
            NAME##_v3(source, importance, target, block_count);                                                  \
        } else {                                                                                                 \
            NAME##_body(source, importance, target, block_count);                                                \
        }                                                                                                        \
    }
#else
#define RESQ_WEIGHTED_KERNEL(NAME)                                                                               \
    void NAME(WEIGHTED_PARAMETERS, resq_level level) {                                                           \
        (void)level;                                                                                             \
        NAME##_body(source, importance, target, block_count);                                                    \
    }
#endif
