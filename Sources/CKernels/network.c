#include "network.h"

#include <math.h>

#include "clones.h"
#include "lanes.h"

// Sixteen elements, the rest of the vector filled with `FILL` at the end of a row.
#define LOAD(P, I, N, FILL)                                                                                      \
    ({                                                                                                           \
        floats v_ = (FILL);                                                                                      \
        size_t left_ = (N) - (I);                                                                                \
        if (left_ >= LANES) memcpy(&v_, (P) + (I), sizeof v_);                                                   \
        else                                                                                                     \
            for (size_t l_ = 0; l_ < left_; l_++) v_[l_] = (P)[(I) + l_];                                        \
        v_;                                                                                                      \
    })
#define STORE(P, I, N, V)                                                                                        \
    ({                                                                                                           \
        floats s_ = (V);                                                                                         \
        size_t left_ = (N) - (I);                                                                                \
        if (left_ >= LANES) memcpy((P) + (I), &s_, sizeof s_);                                                   \
        else                                                                                                     \
            for (size_t l_ = 0; l_ < left_; l_++) (P)[(I) + l_] = s_[l_];                                        \
    })
// Lanes added pairwise, in a fixed tree.
#define SUM(V)                                                                                                   \
    ({                                                                                                           \
        floats t_ = (V);                                                                                         \
        float eight_[8], sum_;                                                                                   \
        for (int l_ = 0; l_ < 8; l_++) eight_[l_] = t_[l_] + t_[l_ + 8];                                         \
        for (int l_ = 0; l_ < 4; l_++) eight_[l_] += eight_[l_ + 4];                                             \
        sum_ = (eight_[0] + eight_[2]) + (eight_[1] + eight_[3]);                                                \
        sum_;                                                                                                    \
    })
#define LARGEST(V)                                                                                               \
    ({                                                                                                           \
        floats t_ = (V);                                                                                         \
        float most_ = t_[0];                                                                                     \
        for (int l_ = 1; l_ < LANES; l_++) most_ = t_[l_] > most_ ? t_[l_] : most_;                              \
        most_;                                                                                                   \
    })

// exp(x) = 2^n exp(r), n the nearest integer to x / ln 2 and |r| <= ln 2 / 2; a polynomial of degree 7 in r errs by less
// than 2e-8. ln 2 is subtracted in two parts, the first exact in 16 bits. Below -87 the result is 0 to within 1e-38,
// above 88 it stays at exp(88).
#define EXP(V)                                                                                                   \
    ({                                                                                                           \
        floats x_ = MINIMUM(MAXIMUM((V), (floats)(-87.0f)), (floats)(88.0f));                                    \
        floats shifted_ = x_ * 1.44269504f + 12582912.0f;                                                        \
        floats n_ = shifted_ - 12582912.0f;                                                                      \
        floats r_ = x_ - n_ * 0.693145752f;                                                                      \
        r_ = r_ - n_ * 1.42860677e-6f;                                                                           \
        floats p_ = r_ * 1.98412698e-4f + 1.38888889e-3f;                                                        \
        p_ = p_ * r_ + 8.33333333e-3f;                                                                           \
        p_ = p_ * r_ + 4.16666667e-2f;                                                                           \
        p_ = p_ * r_ + 1.66666667e-1f;                                                                           \
        p_ = p_ * r_ + 0.5f;                                                                                     \
        p_ = p_ * (r_ * r_) + r_ + 1.0f;                                                                         \
        ints power_ = (BITS(shifted_) - 0x4b400000 + 127) << 23;                                                 \
        p_ * FLOATS(power_);                                                                                     \
    })
// tanh(x) = 1 - 2 / (exp(2x) + 1); near zero, where that cancels, the series x - x^3/3 + 2x^5/15 - 17x^7/315.
#define TANH(V)                                                                                                  \
    ({                                                                                                           \
        floats y_ = (V);                                                                                         \
        floats far_ = 1.0f - 2.0f / (EXP(y_ + y_) + 1.0f);                                                       \
        floats q_ = y_ * y_;                                                                                     \
        floats near_ = y_ * (1.0f + q_ * (-0.333333333f + q_ * (0.133333333f - 0.0539682540f * q_)));            \
        SELECT(q_ < 0.01f, near_, far_);                                                                         \
    })

CLONES void resq_rms_norm(const float *x, const float *gain, float epsilon, float *out, size_t n) {
    floats sum = 0;
    for (size_t i = 0; i < n; i += LANES) {
        floats v = LOAD(x, i, n, 0);
        sum += v * v;
    }
    float factor = 1.0f / sqrtf(SUM(sum) / (float)n + epsilon);
    for (size_t i = 0; i < n; i += LANES) {
        floats v = LOAD(x, i, n, 0), g = LOAD(gain, i, n, 0);
        STORE(out, i, n, (v * factor) * g);
    }
}

CLONES void resq_softmax(float *x, size_t n, float scale, float cap) {
    if (n == 0) return;
    floats most = -INFINITY;
    for (size_t i = 0; i < n; i += LANES) {
        floats v = LOAD(x, i, n, -INFINITY) * scale;
        if (cap > 0) {
            v = SELECT(v == v, TANH(v / cap) * cap, v);
            size_t left = n - i;
            if (left < LANES)
                for (size_t l = left; l < LANES; l++) v[l] = -INFINITY;
        }
        STORE(x, i, n, v);
        most = MAXIMUM(most, v);
    }
    float largest = LARGEST(most);
    floats sum = 0;
    for (size_t i = 0; i < n; i += LANES) {
        floats d = LOAD(x, i, n, -INFINITY) - largest;
        // Far below the largest, and in the padding, the weight is nothing.
        floats e = SELECT(d > -87.0f, EXP(d), 0.0f);
        // Not-a-number stays.
        e = SELECT(d == d, e, d);
        STORE(x, i, n, e);
        sum += e;
    }
    float factor = 1.0f / SUM(sum);
    for (size_t i = 0; i < n; i += LANES) STORE(x, i, n, LOAD(x, i, n, 0) * factor);
}

CLONES void resq_silu_times(float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        floats g = LOAD(gate, i, n, 0), u = LOAD(up, i, n, 0);
        floats s = g / (1.0f + EXP(-g));
        STORE(gate, i, n, SELECT(g == g, s, g) * u);
    }
}

CLONES void resq_gelu_times(float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        floats g = LOAD(gate, i, n, 0), u = LOAD(up, i, n, 0);
        floats t = TANH(0.797884561f * (g + 0.044715f * g * g * g));
        floats s = 0.5f * g * (1.0f + t);
        STORE(gate, i, n, SELECT(g == g, s, g) * u);
    }
}

CLONES void resq_soft_cap(float *x, size_t n, float cap) {
    for (size_t i = 0; i < n; i += LANES) {
        floats v = LOAD(x, i, n, 0);
        floats t = TANH(v / cap) * cap;
        STORE(x, i, n, SELECT(v == v, t, v));
    }
}

CLONES void resq_log_sum_exp(const float *x, size_t n, float *largest, size_t *index, double *log_sum) {
    floats most = -INFINITY;
    for (size_t i = 0; i < n; i += LANES) {
        floats v = LOAD(x, i, n, -INFINITY);
        most = MAXIMUM(most, v);
    }
    float top = LARGEST(most);
    *largest = top;
    *index = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] == top) {
            *index = i;
            break;
        }
    double total = 0;
    // Runs of 4096 in single precision, added up in double.
    for (size_t start = 0; start < n; start += 4096) {
        size_t end = n - start < 4096 ? n : start + 4096;
        floats sum = 0;
        for (size_t i = start; i < end; i += LANES) {
            floats d = LOAD(x, i, end, -INFINITY) - top;
            floats e = SELECT(d > -87.0f, EXP(d), 0.0f);
            sum += SELECT(d == d, e, d);
        }
        total += SUM(sum);
    }
    *log_sum = top + log(total);
}

CLONES void resq_divergence(const float *x, const float *y, size_t n, double log_sum_x, double log_sum_y,
                            double *divergence, double *square_difference) {
    double total = 0, squares = 0;
    float shift = (float)(log_sum_y - log_sum_x), base = (float)log_sum_x;
    for (size_t start = 0; start < n; start += 1024) {
        size_t end = n - start < 1024 ? n : start + 1024;
        floats sum = 0, square = 0;
        for (size_t i = start; i < end; i += LANES) {
            floats a = LOAD(x, i, end, -INFINITY), b = LOAD(y, i, end, -INFINITY);
            floats d = a - b;
            floats p = EXP(a - base);
            // Padding, and what has no probability in x, adds nothing.
            ints counts = a > -3.0e38f;
            sum += SELECT(counts, p * (d + shift), 0.0f);
            square += SELECT(counts, d * d, 0.0f);
        }
        total += SUM(sum);
        squares += SUM(square);
    }
    *divergence = total;
    *square_difference = squares;
}

CLONES void resq_rotate_pairs(float *x, size_t heads, size_t stride, size_t half, const float *cosines, const float *sines) {
    for (size_t h = 0; h < heads; h++) {
        float *first = x + h * stride, *second = first + half;
        for (size_t i = 0; i < half; i++) {
            float a = first[i], b = second[i];
            first[i] = a * cosines[i] - b * sines[i];
            second[i] = b * cosines[i] + a * sines[i];
        }
    }
}

CLONES void resq_column_statistics(const float *x, float *max_abs, double *sums, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float m = fabsf(x[i]);
        max_abs[i] = m > max_abs[i] ? m : max_abs[i];
        sums[i] += x[i];
    }
}
