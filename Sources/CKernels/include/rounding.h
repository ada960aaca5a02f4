#pragma once
#include <stddef.h>
#include <stdint.h>

// Rounding of weights and activations. Weights come in strips: column c of `rows` rows (a multiple of 16) stands at
// w + c * rows, so that lane = row and each row sees its operations in the order of the definition.

// Rounds columns block + first ..< block + last of a strip. Row r of group g = group[c], c counted in the block, is rounded
// to value = scale * level + offset, level an integer in low ... high, these at [g * rows + r]; or, with a codebook of 16
// ascending numbers, to value = scale * codebook[level]. For each column in turn, with U = upper of order n, positions
// counted in the block and k from `first`:
//     w[c] <- w[c] - sum_k error[k] * U[k][c];   w[c] <- its rounding q;   error[c] <- (w[c] - q) / U[c][c]
// and loss[r] gains error^2. If not `compensates`, columns are rounded as they are, and upper, error and loss not touched.
// `error` has room for the columns of a block.
void resq_round_columns(float *w, float *error, int16_t *levels, float *loss, const float *upper, int compensates, size_t n,
                        size_t block, size_t first, size_t last, size_t rows, const float *scale, const float *offset,
                        const float *low, const float *high, const float *codebook, int has_codebook, const int32_t *group);

// w[c] <- w[c] - sum over k = 0 ..< first, ascending, of error[k] * U[k][c], for columns first ..< last of a block.
void resq_compensate_columns(float *w, const float *error, const float *upper, size_t n, size_t block, size_t first,
                             size_t last, size_t rows);

// One step of coordinate descent for columns first ..< first + columns of a strip of values w, whose squared error in the
// metric of `hessian` (order n, symmetric) has half the gradient `gradient`, [columns, rows]. Each column in turn moves to
// the value nearest to its minimum, the others being as they are; change[c], counted from `first`, gets what it moved by.
// Scales, levels and groups as in resq_round_columns, groups counted from `first`. The gradient is not changed.
void resq_descend_columns(float *w, float *change, int16_t *levels, const float *gradient, const float *hessian, size_t n,
                          size_t first, size_t columns, size_t rows, const float *scale, const float *offset,
                          const float *low, const float *high, const float *codebook, int has_codebook,
                          const int32_t *group);

// What descent does with strips, element by element: sum += factor x over n (a multiple of 16); sum[r] = sum over columns of
// a b; x times a factor for each row.
void resq_add_multiple(float *sum, const float *x, float factor, size_t n);
void resq_row_products(const float *a, const float *b, size_t columns, size_t rows, float *sum);
void resq_multiply_rows(float *x, const float *factor, size_t columns, size_t rows);

// How a search judges: sum of importance * |w - value|^2, or ^2.4.
typedef enum resq_norm { RESQ_SQUARE = 0, RESQ_POWER_2_4 = 1 } resq_norm;

// The best of `trials` scales for each row: extreme * factor[t], extreme the element of largest magnitude with its sign
// (signed_extreme) or without. With `refit`, each trial's scale is replaced by the one of least squares for its levels.
// The first of equals wins; rows of zeros get 0.
void resq_search_scale(const float *w, size_t columns, size_t rows, const float *importance, const float *factor,
                       size_t trials, float low, float high, const float *codebook, int signed_extreme, int refit,
                       resq_norm norm, float *scale);

// The best of shrunken ranges for integers 0 ... most with an integer zero point z:
// scale = p (max - min) / most, z = round(-p min / scale), min <= 0 <= max; value = scale * (code - z).
void resq_search_range(const float *w, size_t columns, size_t rows, const float *importance, const float *shrink,
                       size_t trials, float most, resq_norm norm, float *scale, float *zero);

// scale and offset with scale * code + offset close to w, code in 0 ... most: codes from ranges (max - min) /
// (most + widening[t]) above min <= 0, scale and offset by least squares, then twice more with codes for the best.
// With `nonpositive`, offset <= 0.
void resq_search_affine(const float *w, size_t columns, size_t rows, const float *importance, const float *widening,
                        size_t trials, float most, int nonpositive, float *scale, float *offset);

// Rounds one run of n activations in place to 2^bits levels between its extremes, or (symmetric) around zero. Returns
// whether all were finite; if not, nothing is changed.
int resq_round_range(float *x, size_t n, int bits, int include_zero);
int resq_round_symmetric(float *x, size_t n, int bits);
