#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kquants.h"

// Encoding of ggml's block types with an importance matrix. `block_count` blocks stand one after another on both sides;
// the layouts are described in the Swift file of each type.

// The importance of each column, how many blocks a row is, and, of every row that is encoded, the sum of its elements'
// squares over their number.
typedef struct resq_importance {
    const float *columns;
    size_t blocks_per_row;
    const float *row_mean_squares;
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
#undef RESQ_WEIGHTED
