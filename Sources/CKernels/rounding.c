#include "rounding.h"

#include <math.h>

#include "clones.h"
#include "lanes.h"

typedef int16_t shorts __attribute__((ext_vector_type(16)));

// The nearest integer as a float, halves to even, for any magnitude: beyond 2^23 all numbers are integers.
#define ROUND(V)                                                                                                 \
    ({                                                                                                           \
        floats r_ = (V);                                                                                         \
        floats big_ = FLOATS((BITS(r_) & (int32_t)0x80000000) | 0x4b000000);                                     \
        SELECT(MAGNITUDE(r_) < 8388608.0f, (r_ + big_) - big_, r_);                                              \
    })
#define LOADED(P)                                                                                                \
    ({                                                                                                           \
        floats v_;                                                                                               \
        memcpy(&v_, (P), sizeof v_);                                                                             \
        v_;                                                                                                      \
    })
#define STORED(P, V)                                                                                             \
    ({                                                                                                           \
        floats s_ = (V);                                                                                         \
        memcpy((P), &s_, sizeof s_);                                                                             \
    })

// The level of the entry nearest to a number, and that entry. Of two equally near ones the higher.
INLINE void nearest_entry(const float *codebook, const floats *x, floats *level, floats *entry) {
    floats value = codebook[0], index = 0, v = *x;
    for (int i = 1; i < 16; i++) {
        ints above = v >= (codebook[i - 1] + codebook[i]) * 0.5f;
        value = SELECT(above, (floats)codebook[i], value);
        index = SELECT(above, (floats)(float)i, index);
    }
    *level = index;
    *entry = value;
}

// The level and value nearest to TARGET, against what stands for its group at `at`. Of a scale of 0 the level is that of 0.
#define NEAREST_VALUE(TARGET)                                                                                    \
    ints flat = scale == 0;                                                                                      \
    if (has_codebook) {                                                                                          \
        floats scaled = SELECT(flat, (floats)0, (TARGET) / scale), entry;                                        \
        nearest_entry(codebook, &scaled, &level, &entry);                                                        \
        value = scale * entry;                                                                                   \
    } else {                                                                                                     \
        floats offset = LOADED(offset_at + at);                                                                  \
        floats low = LOADED(low_at + at), high = LOADED(high_at + at);                                           \
        level = ROUND(SELECT(flat, (floats)0, ((TARGET) - offset) / scale));                                     \
        level = MINIMUM(MAXIMUM(level, low), high);                                                              \
        value = scale * level + offset;                                                                          \
    }

// Four vectors of rows together: four independent chains of subtractions hide the latency of each.
enum { WIDE = 4 };

#define ROUND_COLUMNS(COUNT)                                                                                     \
    for (size_t c = first; c < last; c++) {                                                                      \
        floats sum[COUNT];                                                                                       \
        _Pragma("unroll") for (int v = 0; v < COUNT; v++) sum[v] = LOADED(w + c * rows + r + v * LANES);         \
        if (u)                                                                                                   \
            for (size_t k = first; k < c; k++) {                                                                 \
                float factor = u[k * stride + c];                                                                \
                _Pragma("unroll") for (int v = 0; v < COUNT; v++)                                                \
                    sum[v] -= LOADED(error + k * rows + r + v * LANES) * factor;                                 \
            }                                                                                                    \
        float pivot = u ? u[c * stride + c] : 1;                                                                 \
        for (int v = 0; v < COUNT; v++) {                                                                        \
            size_t at = (size_t)group[c] * rows + r + v * LANES;                                                 \
            floats scale = LOADED(scale_at + at), level, value;                                                  \
            NEAREST_VALUE(sum[v])                                                                                \
            if (u) {                                                                                             \
                floats e = (sum[v] - value) / pivot;                                                             \
                STORED(error + c * rows + r + v * LANES, e);                                                     \
                STORED(loss + r + v * LANES, LOADED(loss + r + v * LANES) + e * e);                              \
            }                                                                                                    \
            STORED(w + c * rows + r + v * LANES, value);                                                         \
            shorts whole = __builtin_convertvector(level, shorts);                                               \
            memcpy(levels + c * rows + r + v * LANES, &whole, sizeof whole);                                     \
        }                                                                                                        \
    }

CLONES void resq_round_columns(float *w, float *error, int16_t *levels, float *loss, const float *upper, int compensates,
                               size_t n, size_t block, size_t first, size_t last, size_t rows, const float *scale_at,
                               const float *offset_at, const float *low_at, const float *high_at, const float *codebook,
                               int has_codebook, const int32_t *group) {
    const float *u = compensates ? upper + block * n + block : NULL;
    size_t r = 0, stride = n;
    w += block * rows;
    levels += block * rows;
    for (; r + WIDE * LANES <= rows; r += WIDE * LANES) { ROUND_COLUMNS(WIDE) }
    for (; r < rows; r += LANES) { ROUND_COLUMNS(1) }
}

#define COMPENSATE_COLUMNS(COUNT)                                                                                \
    for (size_t c = first; c < last; c++) {                                                                      \
        floats sum[COUNT];                                                                                       \
        _Pragma("unroll") for (int v = 0; v < COUNT; v++) sum[v] = LOADED(w + c * rows + r + v * LANES);         \
        for (size_t k = 0; k < first; k++) {                                                                     \
            float factor = u[k * stride + c];                                                                    \
            _Pragma("unroll") for (int v = 0; v < COUNT; v++)                                                    \
                sum[v] -= LOADED(error + k * rows + r + v * LANES) * factor;                                     \
        }                                                                                                        \
        _Pragma("unroll") for (int v = 0; v < COUNT; v++) STORED(w + c * rows + r + v * LANES, sum[v]);          \
    }

CLONES void resq_compensate_columns(float *w, const float *error, const float *upper, size_t n, size_t block, size_t first,
                                    size_t last, size_t rows) {
    const float *u = upper + block * n + block;
    size_t r = 0, stride = n;
    w += block * rows;
    for (; r + WIDE * LANES <= rows; r += WIDE * LANES) { COMPENSATE_COLUMNS(WIDE) }
    for (; r < rows; r += LANES) { COMPENSATE_COLUMNS(1) }
}

#define DESCEND_COLUMNS(COUNT)                                                                                   \
    for (size_t c = 0; c < columns; c++) {                                                                       \
        floats slope[COUNT];                                                                                     \
        _Pragma("unroll") for (int v = 0; v < COUNT; v++) slope[v] = LOADED(gradient + c * rows + r + v * LANES); \
        for (size_t k = 0; k < c; k++) {                                                                         \
            float factor = h[k * n + c];                                                                         \
            _Pragma("unroll") for (int v = 0; v < COUNT; v++)                                                    \
                slope[v] += LOADED(change + k * rows + r + v * LANES) * factor;                                  \
        }                                                                                                        \
        float curvature = h[c * n + c];                                                                          \
        for (int v = 0; v < COUNT; v++) {                                                                        \
            size_t place = c * rows + r + v * LANES, at = (size_t)group[c] * rows + r + v * LANES;               \
            floats scale = LOADED(scale_at + at), level, value, now = LOADED(w + place);                         \
            floats target = now - slope[v] / curvature;                                                          \
            NEAREST_VALUE(target)                                                                                \
            STORED(change + place, value - now);                                                                 \
            STORED(w + place, value);                                                                            \
            shorts whole = __builtin_convertvector(level, shorts);                                               \
            memcpy(levels + place, &whole, sizeof whole);                                                        \
        }                                                                                                        \
    }

CLONES void resq_descend_columns(float *w, float *change, int16_t *levels, const float *gradient, const float *hessian,
                                 size_t n, size_t first, size_t columns, size_t rows, const float *scale_at,
                                 const float *offset_at, const float *low_at, const float *high_at, const float *codebook,
                                 int has_codebook, const int32_t *group) {
    const float *h = hessian + first * n + first;
    size_t r = 0;
    w += first * rows;
    levels += first * rows;
    for (; r + WIDE * LANES <= rows; r += WIDE * LANES) { DESCEND_COLUMNS(WIDE) }
    for (; r < rows; r += LANES) { DESCEND_COLUMNS(1) }
}

CLONES void resq_add_multiple(float *sum, const float *x, float factor, size_t n) {
    for (size_t i = 0; i < n; i += LANES) STORED(sum + i, LOADED(sum + i) + LOADED(x + i) * factor);
}

CLONES void resq_row_products(const float *a, const float *b, size_t columns, size_t rows, float *sum) {
    for (size_t r = 0; r < rows; r += LANES) {
        floats total = 0;
        for (size_t c = 0; c < columns; c++) total += LOADED(a + c * rows + r) * LOADED(b + c * rows + r);
        STORED(sum + r, total);
    }
}

CLONES void resq_multiply_rows(float *x, const float *factor, size_t columns, size_t rows) {
    for (size_t c = 0; c < columns; c++)
        for (size_t r = 0; r < rows; r += LANES) STORED(x + c * rows + r, LOADED(x + c * rows + r) * LOADED(factor + r));
}

// |d|^2.4 = d^2 * (d^2)^(1/5). The fifth root: a first guess from a fifth of the exponent, off by less than 5 %, and three
// steps of Newton's method for the inverse root, y <- y (6 - a y^5) / 5, which do not divide; a y^4 is the root. Errs by
// less than 1e-6 relative; squares below 1e-30 count as 0.
#define POWER_2_4(V)                                                                                             \
    ({                                                                                                           \
        floats square_ = (V) * (V);                                                                              \
        floats a_ = MAXIMUM(square_, (floats)1e-30f);                                                            \
        floats y_ = FLOATS(0x4c2dcb6d - __builtin_convertvector(__builtin_convertvector(BITS(a_), floats) * 0.2f, ints)); \
        for (int step_ = 0; step_ < 3; step_++) {                                                                \
            floats two_ = y_ * y_;                                                                               \
            y_ = y_ * (1.2f - 0.2f * a_ * (two_ * two_ * y_));                                                   \
        }                                                                                                        \
        floats pair_ = y_ * y_;                                                                                  \
        SELECT(square_ < 1e-30f, (floats)0, square_ * (a_ * (pair_ * pair_)));                                   \
    })
#define BADNESS(D, NORM) ((NORM) == RESQ_SQUARE ? (D) * (D) : POWER_2_4(D))

CLONES void resq_search_scale(const float *w, size_t columns, size_t rows, const float *importance, const float *factor,
                              size_t trials, float low, float high, const float *codebook, int signed_extreme, int refit,
                              resq_norm norm, float *scale) {
    // The best of the rows before is tried first: what it leaves to beat ends most other trials early.
    size_t guess = 0;
    for (size_t r = 0; r < rows; r += LANES) {
        floats extreme = 0, most = 0;
        for (size_t c = 0; c < columns; c++) {
            floats x = LOADED(w + c * rows + r), m = MAGNITUDE(x);
            ints larger = m > most;
            most = SELECT(larger, m, most);
            extreme = SELECT(larger, signed_extreme ? x : m, extreme);
        }
        floats best = 0, least = INFINITY;
        ints place = 0;
        for (size_t step = 0; step <= trials; step++) {
            size_t t = step == 0 ? guess : step - 1;
            if (step > 0 && t == guess) continue;
            floats trial = extreme * factor[t];
            floats inverse = SELECT(trial == 0, (floats)0, 1.0f / trial);
            floats total = 0, wl = 0, ll = 0, ww = 0;
            for (size_t c = 0; c < columns; c++) {
                // Badness only grows: a trial that is worse in every row by now will not become better.
                if (!refit && c % 32 == 0 && c > 0 && !__builtin_reduce_or(total <= least)) break;
                floats x = LOADED(w + c * rows + r), level, value;
                floats scaled = refit ? x * inverse : SELECT(trial == 0, (floats)0, x / trial);
                if (codebook) nearest_entry(codebook, &scaled, &level, &value);
                else value = MINIMUM(MAXIMUM(ROUND(scaled), (floats)low), (floats)high);
                if (refit) {
                    floats weighted = importance[c] * value;
                    wl += weighted * x;
                    ll += weighted * value;
                    ww += importance[c] * (x * x);
                } else {
                    floats d = trial * value - x;
                    total += importance[c] * BADNESS(d, norm);
                }
            }
            if (refit) {
                ints usable = ll > 0;
                trial = SELECT(usable, wl / ll, (floats)0);
                total = ww - trial * wl;
            }
            ints better = (total < least) | ((total == least) & ((int)t < place));
            least = SELECT(better, total, least);
            best = SELECT(better, trial, best);
            place = SELECT(better, (ints)(int)t, place);
        }
        guess = (size_t)place[0];
        STORED(scale + r, best);
    }
}

CLONES void resq_search_range(const float *w, size_t columns, size_t rows, const float *importance, const float *shrink,
                              size_t trials, float most, resq_norm norm, float *scale, float *zero) {
    for (size_t r = 0; r < rows; r += LANES) {
        floats smallest = 0, largest = 0;
        for (size_t c = 0; c < columns; c++) {
            floats x = LOADED(w + c * rows + r);
            smallest = MINIMUM(smallest, x);
            largest = MAXIMUM(largest, x);
        }
        floats best = 0, best_zero = 0, least = INFINITY;
        for (size_t t = 0; t < trials; t++) {
            floats trial = shrink[t] * (largest - smallest) / most;
            ints flat = trial == 0;
            // A subnormal step may be far smaller than the range asks for.
            floats z = SELECT(flat, (floats)0, MINIMUM(ROUND(-(shrink[t] * smallest) / trial), (floats)most));
            floats total = 0;
            if (trials > 1)
                for (size_t c = 0; c < columns; c++) {
                    if (c % 32 == 0 && c > 0 && !__builtin_reduce_or(total < least)) break;
                    floats x = LOADED(w + c * rows + r);
                    floats code = SELECT(flat, (floats)0, ROUND(x / trial) + z);
                    floats d = trial * (MINIMUM(MAXIMUM(code, (floats)0), (floats)most) - z) - x;
                    total += importance[c] * BADNESS(d, norm);
                }
            ints better = total < least;
            least = SELECT(better, total, least);
            best = SELECT(better, trial, best);
            best_zero = SELECT(better, z, best_zero);
        }
        STORED(scale + r, best);
        STORED(zero + r, best_zero);
    }
}

// Sums of one trial, from which least squares and its error follow.
#define AFFINE_TRIAL(INVERSE, BASE)                                                                              \
    floats sum_l = 0, sum_ll = 0, sum_lx = 0;                                                                    \
    for (size_t c = 0; c < columns; c++) {                                                                       \
        floats x = LOADED(w + c * rows + r);                                                                     \
        floats code = MINIMUM(MAXIMUM(ROUND((x - (BASE)) * (INVERSE)), (floats)0), (floats)most);                \
        floats weighted = importance[c] * code;                                                                  \
        sum_l += weighted;                                                                                       \
        sum_ll += weighted * code;                                                                               \
        sum_lx += weighted * x;                                                                                  \
    }                                                                                                            \
    floats determinant = sum_w * sum_ll - sum_l * sum_l;                                                         \
    ints usable = determinant > 0;                                                                               \
    floats s = SELECT(usable, (sum_w * sum_lx - sum_x * sum_l) / determinant, (floats)0);                        \
    floats o = SELECT(usable, (sum_ll * sum_x - sum_l * sum_lx) / determinant, sum_x / sum_w);                   \
    if (nonpositive) {                                                                                           \
        ints positive = o > 0;                                                                                   \
        o = SELECT(positive, (floats)0, o);                                                                      \
        s = SELECT(positive, SELECT(sum_ll > 0, sum_lx / sum_ll, (floats)0), s);                                 \
    }                                                                                                            \
    floats total = sum_xx + s * (s * sum_ll + 2 * (o * sum_l - sum_lx)) + o * (o * sum_w - 2 * sum_x);           \
    ints better = (total < least) & (s >= 0);                                                                    \
    least = SELECT(better, total, least);                                                                        \
    best = SELECT(better, s, best);                                                                              \
    best_offset = SELECT(better, o, best_offset);

CLONES void resq_search_affine(const float *w, size_t columns, size_t rows, const float *importance, const float *widening,
                               size_t trials, float most, int nonpositive, float *scale, float *offset) {
    for (size_t r = 0; r < rows; r += LANES) {
        floats smallest = LOADED(w + r), largest = smallest;
        floats sum_w = 0, sum_x = 0, sum_xx = 0;
        for (size_t c = 0; c < columns; c++) {
            floats x = LOADED(w + c * rows + r), weighted = importance[c] * x;
            smallest = MINIMUM(smallest, x);
            largest = MAXIMUM(largest, x);
            sum_w += importance[c];
            sum_x += weighted;
            sum_xx += weighted * x;
        }
        if (nonpositive) smallest = MINIMUM(smallest, (floats)0);
        floats best = 0, best_offset = SELECT(sum_x / sum_w > 0, nonpositive ? (floats)0 : sum_x / sum_w, sum_x / sum_w);
        floats least = INFINITY, range = largest - smallest;
        for (size_t t = 0; t < trials; t++) {
            floats inverse = SELECT(range > 0, (most + widening[t]) / range, (floats)0);
            AFFINE_TRIAL(inverse, smallest)
        }
        for (int round = 0; round < 2; round++) {
            floats inverse = SELECT(best > 0, 1.0f / best, (floats)0), base = best_offset;
            AFFINE_TRIAL(inverse, base)
        }
        STORED(scale + r, best);
        STORED(offset + r, best_offset);
    }
}

// Extremes of a run; the vectors of a shorter end are filled with its first element.
INLINE int extremes(const float *x, size_t n, float *smallest, float *largest) {
    floats low = x[0], high = x[0], bad = 0;
    for (size_t i = 0; i < n; i += LANES) {
        floats v = x[0];
        size_t left = n - i;
        memcpy(&v, x + i, (left < LANES ? left : LANES) * sizeof(float));
        low = MINIMUM(low, v);
        high = MAXIMUM(high, v);
        bad += v - v;  // 0, or NaN where v is not finite
    }
    float least = low[0], most = high[0], sum = 0;
    for (int l = 0; l < LANES; l++) {
        least = low[l] < least ? low[l] : least;
        most = high[l] > most ? high[l] : most;
        sum += bad[l];
    }
    *smallest = least;
    *largest = most;
    return sum == 0;
}

#define EACH_VECTOR(BODY)                                                                                        \
    for (size_t i = 0; i < n; i += LANES) {                                                                      \
        size_t left = n - i, bytes = (left < LANES ? left : LANES) * sizeof(float);                              \
        floats v = 0;                                                                                            \
        memcpy(&v, x + i, bytes);                                                                                \
        BODY;                                                                                                    \
        memcpy(x + i, &v, bytes);                                                                                \
    }

CLONES int resq_round_range(float *x, size_t n, int bits, int include_zero) {
    float smallest, largest, most = (float)((1 << bits) - 1);
    if (n == 0) return 1;
    if (!extremes(x, n, &smallest, &largest)) return 0;
    if (include_zero || smallest == largest) {
        smallest = smallest < 0 ? smallest : 0;
        largest = largest > 0 ? largest : 0;
    }
    float scale = (largest - smallest) / most;
    // A range of zero, or one so small that the scale is lost below the smallest float, is kept as it is.
    if (!(scale > 0) || isinf(scale)) return 1;
    floats zero = ROUND((floats)(-smallest / scale));
    EACH_VECTOR({
        floats code = ROUND(v / scale) + zero;
        v = scale * (MINIMUM(MAXIMUM(code, (floats)0), (floats)most) - zero);
    })
    return 1;
}

CLONES int resq_round_symmetric(float *x, size_t n, int bits) {
    float smallest, largest, most = (float)((1 << (bits - 1)) - 1);
    if (n == 0) return 1;
    if (!extremes(x, n, &smallest, &largest)) return 0;
    float scale = (largest > -smallest ? largest : -smallest) / most;
    if (!(scale > 0)) return 1;
    EACH_VECTOR(v = scale * MINIMUM(MAXIMUM(ROUND(v / scale), (floats)(-most - 1)), (floats)most))
    return 1;
}
