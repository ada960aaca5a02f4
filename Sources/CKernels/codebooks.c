// IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS and IQ3_S: x = scale * (2 * level + 1) * sign with vectors of levels from a codebook. The
// search is defined in CodebookSearch.swift, the layouts in IQ2.swift and IQ3.swift.
#include "codebooks.h"

// Which vectors are looked for again with the final scale.
enum { OFF_CODEBOOK, ALL_IF_ONE_IS_OFF, ALL };

typedef struct {
    int count, dimension, bits, first_step, last_step, refinement;
    float step_size;
} codebook_search;

// The packed levels nearest to the elements of a vector.
INLINE void round_levels(const codebook_search *search, const floats *x, const floats *inverse, ints *packed) {
    int largest = search->bits == 2 ? 2 : 7;
    ints result = 0;
    for (int i = 0; i < search->dimension; i++) {
        ints level = NEAREST_IN(0.5f * (*inverse * x[i] - 1.0f), 0, largest);
        result |= level << (search->bits * i);
    }
    *packed = result;
}

INLINE void sum_levels(
    const codebook_search *search, const floats *x, const floats *weights, const ints *found, floats *qx, floats *q2) {
    *qx = *q2 = 0;
    for (int i = 0; i < search->count; i++) {
        ints level = (found[i / search->dimension] >> (search->bits * (i % search->dimension))) & ((1 << search->bits) - 1);
        floats q = __builtin_convertvector(2 * level + 1, floats);
        *qx += weights[i] * x[i] * q;
        *q2 += weights[i] * q * q;
    }
}

// Finds the nearest vectors in the lanes that are wanted, and says which the codebook lacks.
INLINE void look_up(
    const resq_importance *from, const codebook_search *search, const ints *packed, const ints *wanted, const float x[LANES][32],
    const float roots[LANES][32], int start, const floats *scale, ints *found, ints *off) {
    for (int b = 0; b < LANES; b++) {
        if (!(*wanted)[b]) continue;
        unsigned vector = (unsigned)(*packed)[b];
        (*off)[b] = from->places[vector] < 0 ? -1 : 0;
        (*found)[b] = (int)nearest_vector(
            from, vector, x[b] + start, roots[b] + start, (*scale)[b], search->dimension, search->bits, 2, 1);
    }
}

// Finds scale and vectors for the magnitudes x in the lanes that are `wanted`.
INLINE void search_codebook(
    const resq_importance *from, const codebook_search *search, const floats *x, const floats *weights, const floats *largest,
    const ints *wanted, floats *scale, ints *found) {
    const int vectors = search->count / search->dimension;
    const float top = search->bits == 2 ? 5 : 15;
    float x_rows[LANES][32], root_rows[LANES][32];
    floats roots[32], quality = 0, qx, q2;
    ints off[8], trial[8], trial_off[8];
    for (int i = 0; i < search->count; i++) roots[i] = __builtin_elementwise_sqrt(weights[i]);
    transpose_to_rows(x, search->count, x_rows);
    transpose_to_rows(roots, search->count, root_rows);
    for (int v = 0; v < vectors; v++) {
        found[v] = trial[v] = trial_off[v] = 0;
        off[v] = search->refinement == ALL_IF_ONE_IS_OFF ? -1 : 0;
    }
    for (int step = search->first_step; step <= search->last_step; step++) {
        floats inverse = (top + (float)step * search->step_size) / *largest, trial_scale = 1.0f / inverse;
        for (int v = 0; v < vectors; v++) {
            ints packed;
            round_levels(search, x + v * search->dimension, &inverse, &packed);
            look_up(
                from, search, &packed, wanted, x_rows, root_rows, v * search->dimension, &trial_scale, &trial[v], &trial_off[v]);
        }
        sum_levels(search, x, weights, trial, &qx, &q2);
        ints win = (q2 > 0) & (qx * qx > quality * q2);
        *scale = SELECT(win, qx / q2, *scale);
        quality = SELECT(win, qx / q2 * qx, quality);
        for (int v = 0; v < vectors; v++) {
            found[v] = SELECT(win, trial[v], found[v]);
            off[v] = SELECT(win, trial_off[v], off[v]);
        }
    }

    ints any = search->refinement == ALL ? (ints)-1 : (ints)0;
    for (int v = 0; v < vectors; v++) any |= off[v];
    any &= *wanted & (*scale > 0);
    floats inverse = 1.0f / *scale;
    for (int v = 0; v < vectors; v++) {
        ints again = search->refinement == OFF_CODEBOOK ? any & off[v] : any, packed, unused;
        round_levels(search, x + v * search->dimension, &inverse, &packed);
        look_up(from, search, &packed, &again, x_rows, root_rows, v * search->dimension, scale, &found[v], &unused);
    }
    sum_levels(search, x, weights, found, &qx, &q2);
    *scale = SELECT(any & (q2 > 0), qx / q2, *scale);
}

// What splitSigns defines: magnitudes in place, and a byte of signs for every eight; the largest magnitude.
INLINE void split_signs(floats *x, const floats *weights, int count, int even, ints *signs, floats *largest) {
    for (int start = 0; start < count; start += 8) {
        ints bits = 0, odd = 0, least = 0;
        floats smallest = weights[start] * x[start] * x[start];
        for (int i = 0; i < 8; i++) {
            floats value = x[start + i], importance = weights[start + i] * value * value;
            ints negative = ~(value >= 0), less = importance < smallest;
            least = SELECT(less, (ints)i, least);
            smallest = SELECT(less, importance, smallest);
            bits |= negative & (1 << i);
            odd ^= negative;
            x[start + i] = SELECT(negative, -value, value);
        }
        if (even) {
            for (int i = 0; i < 8; i++) {
                ints flip = odd & (least == i);
                x[start + i] = SELECT(flip, -x[start + i], x[start + i]);
                bits ^= flip & (1 << i);
            }
            bits &= 127;
        }
        signs[start / 8] = bits;
    }
    floats most = x[0];
    for (int i = 1; i < count; i++) most = SELECT(most > x[i], most, x[i]);
    *largest = most;
}

// One group of each lane: signs, scale (not negative, 0 where there is nothing) and places in the codebook.
INLINE void encode_group(
    const resq_importance *from, const codebook_search *search, size_t lanes, floats *x, const floats *weights, int even,
    float least_magnitude, ints *signs, floats *scale, ints *places, ints *wanted) {
    floats largest;
    split_signs(x, weights, search->count, even, signs, &largest);
    *wanted = least_magnitude == 0 ? ~(largest == 0) : ~(largest < least_magnitude);
    *wanted &= LANE_NUMBERS < (int)lanes;
    if (search->refinement == ALL) {
        // IQ2_XXS starts from a scale that was fitted without the codebook.
        ints codes[32];
        unsigned_search(x, weights, 32, 4, scale, codes);
        largest = *scale * 3.0f;
        *wanted &= ~(largest <= 0);
    } else {
        *scale = largest / (search->bits == 2 ? 5.0f : 15.0f);
    }
    search_codebook(from, search, x, weights, &largest, wanted, scale, places);
    ints negative = *scale < 0;
    for (int v = 0; v < search->count / 8; v++) {
        signs[v] = SELECT(negative, ~signs[v] & (even ? 127 : 255), signs[v]) & *wanted;
    }
    *scale = SELECT(*wanted, MAGNITUDE(*scale), (floats)0);
    for (int v = 0; v < search->count / search->dimension; v++) {
        for (int b = 0; b < LANES; b++) places[v][b] = (*wanted)[b] ? from->places[places[v][b]] : 0;
    }
}

// The scale of the block and the codes of those of its groups, from the largest.
#define FINISH_SCALES(GROUPS, FUDGE)                                                                             \
    floats most = scales[0];                                                                                     \
    for (int group = 1; group < (GROUPS); group++) most = SELECT(most > scales[group], most, scales[group]);     \
    ints live = ~(most == 0);                                                                                    \
    floats unit = most / 31.0f, inverse_unit = 1.0f / unit;                                                      \
    ints half = HALF_BITS(unit * (FUDGE)) & live, codes[GROUPS];                                                 \
    for (int group = 0; group < (GROUPS); group++) {                                                             \
        codes[group] = SCALE_CODE(scales[group], inverse_unit, 15) & live;                                       \
    }

INLINE void resq_encode_weighted_iq2_xxs_body(WEIGHTED_PARAMETERS) {
    const codebook_search search = {32, 8, 2, -6, 6, ALL, 0.1f};
    EACH_LANES {
        floats x[256], weights[256], scales[8];
        ints signs[8][4], places[8][4], wanted;
        load_columns(source + first * 256, 256, lanes, x);
        weigh(importance, first, lanes, x, 1, 0, weights);
        for (int group = 0; group < 8; group++) {
            encode_group(
                importance, &search, lanes, x + 32 * group, weights + 32 * group, 1, 1e-15f, signs[group], &scales[group], places[group],
                &wanted);
        }
        FINISH_SCALES(8, 1.0f)
        EACH_BLOCK(66) {
            memset(block, 0, 66);
            put_half(block, half[b]);
            if (!live[b]) continue;
            for (int group = 0; group < 8; group++) {
                uint32_t word = (uint32_t)codes[group][b] << 28;
                for (int l = 0; l < 4; l++) {
                    block[2 + 8 * group + l] = (uint8_t)places[group][l][b];
                    word |= (uint32_t)signs[group][l][b] << (7 * l);
                }
                add_word(block + 6 + 8 * group, word);
            }
        }
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq2_xxs)

INLINE void resq_encode_weighted_iq2_xs_body(WEIGHTED_PARAMETERS) {
    const codebook_search search = {16, 8, 2, -9, 9, OFF_CODEBOOK, 0.1f};
    EACH_LANES {
        floats x[256], weights[256], scales[16];
        ints signs[16][2], places[16][2], wanted;
        load_columns(source + first * 256, 256, lanes, x);
        weigh(importance, first, lanes, x, 1, 0, weights);
        for (int group = 0; group < 16; group++) {
            encode_group(
                importance, &search, lanes, x + 16 * group, weights + 16 * group, 1, 1e-15f, signs[group], &scales[group], places[group],
                &wanted);
        }
        FINISH_SCALES(16, 1.0f)
        EACH_BLOCK(74) {
            memset(block, 0, 74);
            put_half(block, half[b]);
            if (!live[b]) continue;
            for (int group = 0; group < 16; group++) {
                for (int l = 0; l < 2; l++) put_half(block + 2 + 4 * group + 2 * l, places[group][l][b] | signs[group][l][b] << 9);
                block[66 + group / 2] |= (uint8_t)(codes[group][b] << (group % 2 * 4));
            }
        }
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq2_xs)

INLINE void resq_encode_weighted_iq2_s_body(WEIGHTED_PARAMETERS) {
    const codebook_search search = {16, 8, 2, -9, 9, OFF_CODEBOOK, 0.1f};
    EACH_LANES {
        floats x[256], weights[256], scales[16];
        ints signs[16][2], places[16][2], wanted;
        load_columns(source + first * 256, 256, lanes, x);
        weigh(importance, first, lanes, x, 2, 0.25f, weights);
        for (int group = 0; group < 16; group++) {
            encode_group(
                importance, &search, lanes, x + 16 * group, weights + 16 * group, 0, 1e-8f, signs[group], &scales[group], places[group],
                &wanted);
        }
        FINISH_SCALES(16, 0.9875f)
        EACH_BLOCK(82) {
            memset(block, 0, 82);
            put_half(block, half[b]);
            for (int group = 0; group < 16; group++) {
                for (int l = 0; l < 2; l++) {
                    int i = 2 * group + l, place = places[group][l][b];
                    block[2 + i] = (uint8_t)place;
                    block[34 + i] = (uint8_t)signs[group][l][b];
                    block[66 + i / 4] |= (uint8_t)((place >> 8) << (i % 4 * 2));
                }
                block[74 + group / 2] |= (uint8_t)(codes[group][b] << (group % 2 * 4));
            }
        }
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq2_s)

INLINE void resq_encode_weighted_iq3_xxs_body(WEIGHTED_PARAMETERS) {
    const codebook_search search = {32, 4, 3, -15, 15, OFF_CODEBOOK, 0.2f};
    EACH_LANES {
        floats x[256], weights[256], scales[8];
        ints signs[8][4], places[8][8], wanted;
        load_columns(source + first * 256, 256, lanes, x);
        weigh(importance, first, lanes, x, 2, 0, weights);
        for (int group = 0; group < 8; group++) {
            encode_group(
                importance, &search, lanes, x + 32 * group, weights + 32 * group, 1, 1e-8f, signs[group], &scales[group], places[group],
                &wanted);
        }
        FINISH_SCALES(8, 1.0125f)
        EACH_BLOCK(98) {
            memset(block, 0, 98);
            put_half(block, half[b]);
            if (!live[b]) continue;
            for (int group = 0; group < 8; group++) {
                uint32_t word = (uint32_t)codes[group][b] << 28;
                for (int l = 0; l < 8; l++) block[2 + 8 * group + l] = (uint8_t)places[group][l][b];
                for (int l = 0; l < 4; l++) word |= (uint32_t)signs[group][l][b] << (7 * l);
                add_word(block + 66 + 4 * group, word);
            }
        }
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq3_xxs)

INLINE void resq_encode_weighted_iq3_s_body(WEIGHTED_PARAMETERS) {
    const codebook_search search = {32, 4, 3, -9, 9, ALL_IF_ONE_IS_OFF, 0.2f};
    EACH_LANES {
        floats x[256], weights[256], scales[8];
        ints signs[8][4], places[8][8], wanted[8];
        load_columns(source + first * 256, 256, lanes, x);
        weigh(importance, first, lanes, x, 2, 0, weights);
        for (int group = 0; group < 8; group++) {
            encode_group(
                importance, &search, lanes, x + 32 * group, weights + 32 * group, 0, 0, signs[group], &scales[group], places[group],
                &wanted[group]);
        }
        FINISH_SCALES(8, 1.033f)
        EACH_BLOCK(110) {
            memset(block, 0, 110);
            put_half(block, half[b]);
            // Groups of zeros are not stepped over; see IQ3.swift.
            int slot = 0;
            for (int group = 0; group < 8; group++) {
                block[106 + group / 2] |= (uint8_t)(codes[group][b] << (group % 2 * 4));
                if (!wanted[group][b]) continue;
                for (int l = 0; l < 8; l++) {
                    int place = places[group][l][b];
                    block[2 + 8 * slot + l] = (uint8_t)place;
                    block[66 + group] |= (uint8_t)((place >> 8) << l);
                }
                for (int l = 0; l < 4; l++) block[74 + 4 * slot + l] = (uint8_t)signs[group][l][b];
                slot++;
            }
        }
    }
}
RESQ_WEIGHTED_KERNEL(resq_encode_weighted_iq3_s)
