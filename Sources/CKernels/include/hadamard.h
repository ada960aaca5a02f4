#pragma once
#include <stddef.h>

// The Walsh-Hadamard transform of `runs` runs of n = 2^m numbers each, one after another, in place:
// x <- scale * H x, H[i][j] = (-1)^popcount(i & j). The stages go from neighbours to halves; the Swift twin is in
// HadamardTransform.swift.
void resq_walsh_hadamard(float *x, size_t runs, size_t n, float scale);
