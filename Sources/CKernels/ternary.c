// IQ1_S and IQ1_M: x = scale * (level ± 0.125) with levels -1, 0, 1, whose vectors are in a codebook. The search is defined
// in TernarySearch.swift, the layouts in IQ1.swift.
#include "codebooks.h"

// The three levels with their shift.
static const float shifted[2][3] = {{-0.875f, 0.125f, 1.125f}, {-1.125f, -0.125f, 0.875f}};

// The order of a block's elements by size, those of equal ones in their own.
INLINE void sort_elements(const float *x, int count, uint8_t *order) {
    for (int i = 0; i < count; i++) {
        int j = i;
        for (; j > 0 && x[i] < x[order[j - 1]]; j--) order[j] = order[j - 1];
        order[j] = (uint8_t)i;
    }
}

// Packed levels: 0 before the first place in the order, 1 before the second, then 2; or the other way round.
INLINE void levels_of(const uint8_t *order, int count, int first, int second, int negated, unsigned *packed) {
    for (int v = 0; v < count / 8; v++) packed[v] = 0;
    for (int j = 0; j < count; j++) {
        unsigned level = j < first ? 0 : j < second ? 1 : 2;
        packed[order[j] / 8] |= (negated ? 2 - level : level) << (order[j] % 8 * 2);
    }
}

// Replaces vectors that the codebook lacks in the lanes that are wanted; the scale follows them. `minus` is -1 where the
// shift of a vector is negative. Leaves places in the codebook.
INLINE void settle(
    const resq_importance *from, const floats *x, const floats *weights, int count, const float x_rows[LANES][32],
    const ints *wanted, const ints *minus, floats *scale, ints *vectors) {
    float weight_rows[LANES][32];
    transpose_to_rows(weights, count, weight_rows);
    ints replaced = 0;
    for (int b = 0; b < LANES; b++) {
        if (!(*wanted)[b]) continue;
        for (int v = 0; v < count / 8; v++) {
            unsigned vector = (unsigned)vectors[v][b];
            unsigned found = nearest_vector(
                from, vector, x_rows[b] + 8 * v, weight_rows[b] + 8 * v, (*scale)[b], 8, 2, 1, minus[v][b] ? -1.125f : -0.875f);
            if (found != vector) replaced[b] = -1;
            vectors[v][b] = (int)found;
        }
    }
    floats qx = 0, q2 = 0;
    for (int i = 0; i < count; i++) {
        floats level = __builtin_convertvector((vectors[i / 8] >> (i % 8 * 2)) & 3, floats);
        floats q = level + SELECT(minus[i / 8], (floats)-1.125f, (floats)-0.875f);
        qx += weights[i] * q * x[i];
        q2 += weights[i] * q * q;
    }
    *scale = SELECT(replaced & (qx > 0) & (q2 > 0), qx / q2, *scale);
    for (int v = 0; v < count / 8; v++) {
        for (int b = 0; b < LANES; b++) vectors[v][b] = (*wanted)[b] ? from->places[vectors[v][b]] : 0;
    }
}

// A group of 32 in each lane.
INLINE void fit_ternary(
    const resq_importance *from, const floats *x, const floats *weights, ints *wanted, floats *scale, ints *minus, ints *places) {
    float rows[LANES][32];
    uint8_t order[LANES][32];
    floats sum_x[33], sum_w[33];
    transpose_to_rows(x, 32, rows);
    sum_x[0] = sum_w[0] = 0;
    for (int b = 0; b < LANES; b++) sort_elements(rows[b], 32, order[b]);
    for (int j = 0; j < 32; j++) {
        floats element, weight;
        for (int b = 0; b < LANES; b++) {
            element[b] = rows[b][order[b][j]];
            weight[b] = weights[order[b][j]][b];
        }
        sum_x[j + 1] = sum_x[j] + weight * element;
        sum_w[j + 1] = sum_w[j] + weight;
    }
    floats quality = -FLT_MAX, best = 0;
    ints best_first = -1, best_second = 0, best_minus = 0;
    for (int i = 0; i <= 32; i++) {
        for (int j = i; j <= 32; j++) {
            floats x0 = sum_x[i] - sum_x[0], x1 = sum_x[j] - sum_x[i], x2 = sum_x[32] - sum_x[j];
            floats w0 = sum_w[i] - sum_w[0], w1 = sum_w[j] - sum_w[i], w2 = sum_w[32] - sum_w[j];
            _Pragma("unroll") for (int shift = 0; shift < 2; shift++) {
                const float *q = shifted[shift];
                floats qx = x0 * q[0] + x1 * q[1] + x2 * q[2];
                floats q2 = w0 * q[0] * q[0] + w1 * q[1] * q[1] + w2 * q[2] * q[2];
                ints win = (q2 > 0) & (qx * qx > quality * q2);
                floats trial = qx / q2;
                best = SELECT(win, trial, best);
                quality = SELECT(win, trial * qx, quality);
                best_first = SELECT(win, (ints)i, best_first);
                best_second = SELECT(win, (ints)j, best_second);
                best_minus = SELECT(win, (ints)-shift, best_minus);
            }
        }
    }
    *wanted &= best_first >= 0;
    ints negated = best < 0;
    *scale = MAGNITUDE(best);
    for (int b = 0; b < LANES; b++) {
        unsigned packed[4] = {0};
        if ((*wanted)[b]) levels_of(order[b], 32, best_first[b], best_second[b], negated[b], packed);
        for (int v = 0; v < 4; v++) places[v][b] = (int)packed[v];
    }
    for (int v = 0; v < 4; v++) minus[v] = best_minus ^ negated;
    settle(from, x, weights, 32, rows, wanted, minus, scale, places);
}

// A group of 16 in each lane, each half with its own shift.
INLINE void fit_ternary_halves(
    const resq_importance *from, const floats *x, const floats *weights, ints *wanted, floats *scale, ints *minus, ints *places) {
    float rows[LANES][32];
    uint8_t order[LANES][16];
    floats sum_x[2][17], sum_w[2][17];
    transpose_to_rows(x, 16, rows);
    for (int b = 0; b < LANES; b++) sort_elements(rows[b], 16, order[b]);
    sum_x[0][0] = sum_x[1][0] = sum_w[0][0] = sum_w[1][0] = 0;
    for (int j = 0; j < 16; j++) {
        floats element, weight;
        ints second;
        for (int b = 0; b < LANES; b++) {
            element[b] = rows[b][order[b][j]];
            weight[b] = weights[order[b][j]][b];
            second[b] = order[b][j] < 8 ? 0 : -1;
        }
        floats product = weight * element;
        sum_x[0][j + 1] = SELECT(second, sum_x[0][j], sum_x[0][j] + product);
        sum_x[1][j + 1] = SELECT(second, sum_x[1][j] + product, sum_x[1][j]);
        sum_w[0][j + 1] = SELECT(second, sum_w[0][j], sum_w[0][j] + weight);
        sum_w[1][j + 1] = SELECT(second, sum_w[1][j] + weight, sum_w[1][j]);
    }
    floats quality = -FLT_MAX, best = 0;
    ints best_first = -1, best_second = 0, best_shifts = 0;
    for (int i = 0; i <= 16; i++) {
        for (int j = i; j <= 16; j++) {
            floats qx[2][2], q2[2][2];
            _Pragma("unroll") for (int half = 0; half < 2; half++) {
                floats prefix = sum_x[half][i] + sum_x[half][j];
                _Pragma("unroll") for (int shift = 0; shift < 2; shift++) {
                    const float *q = shifted[shift];
                    qx[half][shift] = sum_x[half][16] * q[2] - prefix;
                    q2[half][shift] = sum_w[half][16] * q[2] * q[2] + sum_w[half][i] * (q[0] * q[0] - q[1] * q[1])
                                      + sum_w[half][j] * (q[1] * q[1] - q[2] * q[2]);
                }
            }
            _Pragma("unroll") for (int shifts = 0; shifts < 4; shifts++) {
                floats lx = qx[0][shifts / 2] + qx[1][shifts % 2], l2 = q2[0][shifts / 2] + q2[1][shifts % 2];
                ints win = (l2 > 0) & (lx * lx > quality * l2);
                floats trial = lx / l2;
                best = SELECT(win, trial, best);
                quality = SELECT(win, trial * lx, quality);
                best_first = SELECT(win, (ints)i, best_first);
                best_second = SELECT(win, (ints)j, best_second);
                best_shifts = SELECT(win, (ints)shifts, best_shifts);
            }
        }
    }
    *wanted &= best_first >= 0;
    ints negated = best < 0;
    *scale = MAGNITUDE(best);
    best_shifts = SELECT(negated, 3 - best_shifts, best_shifts);
    minus[0] = best_shifts >= 2;
    minus[1] = (best_shifts & 1) == 1;
    for (int b = 0; b < LANES; b++) {
        unsigned packed[2] = {0};
        if ((*wanted)[b]) levels_of(order[b], 16, best_first[b], best_second[b], negated[b], packed);
        for (int v = 0; v < 2; v++) places[v][b] = (int)packed[v];
    }
    settle(from, x, weights, 16, rows, wanted, minus, scale, places);
}

// The lanes whose largest magnitude is not below a limit.
INLINE void find_wanted(const floats *x, int count, float limit, size_t lanes, ints *wanted) {
    floats most = 0;
    for (int i = 0; i < count; i++) {
        floats magnitude = MAGNITUDE(x[i]);
        most = SELECT(most > magnitude, most, magnitude);
    }
    *wanted = ~(most < limit) & (LANE_NUMBERS < (int)lanes);
}

#define FIND_UNIT(GROUPS)                                                                                        \
    floats most = scales[0];                                                                                     \
    for (int group = 1; group < (GROUPS); group++) most = SELECT(most > scales[group], most, scales[group]);     \
    ints live = ~(most == 0);                                                                                    \
    floats unit = most / 15.0f, inverse_unit = 1.0f / unit;                                                      \
    ints codes[GROUPS];                                                                                          \
    for (int group = 0; group < (GROUPS); group++) codes[group] = SCALE_CODE(scales[group], inverse_unit, 7) & live;

INLINE void resq_encode_weighted_iq1_s_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        floats x[256], weights[256], scales[8];
        ints minus[8][4], places[8][4], wanted;
        load_columns(source + first * 256, 256, lanes, x);
        weigh(importance, first, lanes, x, 2, 0, weights);
        for (int group = 0; group < 8; group++) {
            const floats *part = x + 32 * group;
            find_wanted(part, 32, 1e-12f, lanes, &wanted);
            fit_ternary(importance, part, weights + 32 * group, &wanted, &scales[group], minus[group], places[group]);
            scales[group] = SELECT(wanted, scales[group], (floats)0);
            minus[group][0] &= wanted;
        }
        FIND_UNIT(8)
        ints half = HALF_BITS(unit * 1.125f) & live;
        EACH_BLOCK(50) {
            memset(block, 0, 50);
            put_half(block, half[b]);
            for (int group = 0; group < 8; group++) {
                int high = live[b] ? (codes[group][b] | (minus[group][0][b] & 8)) << 12 : 0;
                for (int l = 0; l < 4; l++) {
                    int place = places[group][l][b];
                    block[2 + 4 * group + l] = (uint8_t)place;
                    high |= (place >> 8) << (3 * l);
                }
                put_half(block + 34 + 2 * group, high);
            }
        }
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq1_s)

// Three bits of index of two vectors and the signs of their shifts; the codes of scales in four words, and above them the
// bits of the unit.
INLINE void store_iq1_m(
    const ints (*minus)[2], const ints (*places)[2], const ints *codes, const ints *unit, const ints *live, size_t b, uint8_t *block) {
    memset(block, 0, 56);
    for (int group = 0; group < 16; group++) {
        int high = 0;
        for (int l = 0; l < 2; l++) {
            int place = places[group][l][b];
            block[2 * group + l] = (uint8_t)place;
            high |= ((place >> 8) | ((*live)[b] & minus[group][l][b] & 8)) << (4 * l);
        }
        block[32 + group] = (uint8_t)high;
    }
    for (int word = 0; word < 4; word++) {
        int bits = (((*unit)[b] >> (4 * word)) & 15) << 12;
        for (int k = 0; k < 4; k++) bits |= codes[4 * word + k][b] << (3 * k);
        put_half(block + 48 + 2 * word, bits);
    }
}

INLINE void resq_encode_weighted_iq1_m_body(WEIGHTED_PARAMETERS) {
    EACH_LANES {
        floats x[256], weights[256], scales[16];
        ints minus[16][2], places[16][2], wanted;
        load_columns(source + first * 256, 256, lanes, x);
        weigh(importance, first, lanes, x, 2, 0, weights);
        for (int group = 0; group < 16; group++) {
            const floats *part = x + 16 * group;
            find_wanted(part, 16, 1e-7f, lanes, &wanted);
            fit_ternary_halves(importance, part, weights + 16 * group, &wanted, &scales[group], minus[group], places[group]);
            scales[group] = SELECT(wanted, scales[group], (floats)0);
            for (int l = 0; l < 2; l++) minus[group][l] &= wanted;
        }
        FIND_UNIT(16)
        // The unit is fitted once more, to the codes of the scales.
        floats qx = 0, q2 = 0;
        for (int i = 0; i < 256; i++) {
            int group = i / 16, l = i % 16 / 8;
            ints level;
            for (int b = 0; b < LANES; b++) level[b] = (importance->vectors[places[group][l][b]] >> (i % 8 * 2)) & 3;
            floats q = __builtin_convertvector(level, floats) + SELECT(minus[group][l], (floats)-1.125f, (floats)-0.875f);
            q *= __builtin_convertvector(2 * codes[group] + 1, floats);
            qx += weights[i] * q * x[i];
            q2 += weights[i] * q * q;
        }
        unit = SELECT(q2 > 0, qx / q2, unit);
        ints half = HALF_BITS(unit * 1.1125f) & live;
        EACH_BLOCK(56) store_iq1_m(minus, places, codes, &half, &live, b, block);
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq1_m)
