#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kquants.h"

// Encoding of ggml's block types with an importance matrix. `block_count` blocks stand one after another on both sides;
// the layouts are described in the Swift file of each type.

typedef struct resq_importance {
    // One number per column of a row. Types that have a codebook and can do without may get none.
    const float *columns;
    size_t blocks_per_row;
    // For types with one scale: of every row that is encoded, the sum of its elements' squares over their number.
    const float *row_mean_squares;
    // For types with a codebook; see Codebook.swift.
    const uint16_t *vectors;
    const int32_t *places;
    const uint16_t *candidates;
} resq_importance;

// The mean squares of rows, each summed from its first element to its last.
void resq_row_mean_squares(const float *source, size_t row_count, size_t column_count, float *target);

#define RESQ_WEIGHTED(TYPE)                                                                                      \
    void resq_encode_weighted_##TYPE(                                                                            \
        const float *source, const resq_importance *importance, uint8_t *target, size_t block_count,             \
        resq_level level);
RESQ_WEIGHTED(q4_0)
RESQ_WEIGHTED(q4_1)
RESQ_WEIGHTED(q5_0)
RESQ_WEIGHTED(q5_1)
RESQ_WEIGHTED(q2_K)
RESQ_WEIGHTED(q3_K)
RESQ_WEIGHTED(q4_K)
RESQ_WEIGHTED(q5_K)
RESQ_WEIGHTED(q6_K)
RESQ_WEIGHTED(iq4_nl)
RESQ_WEIGHTED(iq4_xs)
RESQ_WEIGHTED(iq2_xxs)
RESQ_WEIGHTED(iq2_xs)
RESQ_WEIGHTED(iq2_s)
RESQ_WEIGHTED(iq3_xxs)
RESQ_WEIGHTED(iq3_s)
RESQ_WEIGHTED(iq1_s)
RESQ_WEIGHTED(iq1_m)
#undef RESQ_WEIGHTED
