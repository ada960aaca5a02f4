#pragma once
#include <stddef.h>
#include <stdint.h>

// Row operations of the forward pass. Sums run in sixteen lanes that are added in a fixed order, and exponentials are
// polynomials without fused multiply-add, so that every instruction set gives the same bits.

// out[i] = x[i] / sqrt(mean(x^2) + epsilon) * gain[i]
void resq_rms_norm(const float *x, const float *gain, float epsilon, float *out, size_t n);

// Attention weights of one row in place: x[i] <- softmax(cap * tanh(scale * x[i] / cap)); no cap when cap is 0.
void resq_softmax(float *x, size_t n, float scale, float cap);

// gate[i] <- act(gate[i]) * up[i], with SiLU (x / (1 + exp(-x))) or GELU by its tanh approximation.
void resq_silu_times(float *gate, const float *up, size_t n);
void resq_gelu_times(float *gate, const float *up, size_t n);

// x[i] <- cap * tanh(x[i] / cap)
void resq_soft_cap(float *x, size_t n, float cap);

// The largest element, the index of the first such, and log(sum(exp(x))).
void resq_log_sum_exp(const float *x, size_t n, float *largest, size_t *index, double *log_sum);

// sum(p * (log p - log q)) for logits x and y with the given logarithms of sums; and sum((x - y)^2), of the logits.
void resq_divergence(const float *x, const float *y, size_t n, double log_sum_x, double log_sum_y, double *divergence,
                     double *square_difference);

// Rotates pairs (i, i + half) of each of `heads` heads, `stride` elements apart:
// a' = a cos - b sin, b' = b cos + a sin.
void resq_rotate_pairs(float *x, size_t heads, size_t stride, size_t half, const float *cosines, const float *sines);

// moments of one row: max_abs[i] = max(max_abs[i], |x[i]|), sums[i] += x[i]
void resq_column_statistics(const float *x, float *max_abs, double *sums, size_t n);
