#include "hadamard.h"

#include "clones.h"
#include "lanes.h"

// One stage inside a vector: lanes whose bit is set get partner - own, the others own + partner.
#define STAGE(V, FLIPS, ...)                                                                                     \
    (__builtin_shufflevector(V, V, __VA_ARGS__) + FLOATS(BITS(V) ^ (FLIPS)))
#define SIGN ((int32_t)0x80000000)

CLONES void resq_walsh_hadamard(float *x, size_t runs, size_t n, float scale) {
    const ints first = {0, SIGN, 0, SIGN, 0, SIGN, 0, SIGN, 0, SIGN, 0, SIGN, 0, SIGN, 0, SIGN};
    const ints second = {0, 0, SIGN, SIGN, 0, 0, SIGN, SIGN, 0, 0, SIGN, SIGN, 0, 0, SIGN, SIGN};
    const ints third = {0, 0, 0, 0, SIGN, SIGN, SIGN, SIGN, 0, 0, 0, 0, SIGN, SIGN, SIGN, SIGN};
    const ints fourth = {0, 0, 0, 0, 0, 0, 0, 0, SIGN, SIGN, SIGN, SIGN, SIGN, SIGN, SIGN, SIGN};
    if (n < LANES) {
        for (float *run = x; run < x + runs * n; run += n) {
            for (size_t half = 1; half < n; half *= 2) {
                for (size_t i = 0; i < n; i++) {
                    if (i & half) continue;
                    float a = run[i], b = run[i + half];
                    run[i] = a + b;
                    run[i + half] = a - b;
                }
            }
            for (size_t i = 0; i < n; i++) run[i] *= scale;
        }
        return;
    }
    for (float *run = x; run < x + runs * n; run += n) {
        for (size_t i = 0; i < n; i += LANES) {
            floats v;
            memcpy(&v, run + i, sizeof v);
            v = STAGE(v, first, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
            v = STAGE(v, second, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
            v = STAGE(v, third, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
            v = STAGE(v, fourth, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
            if (n == LANES) v *= scale;
            memcpy(run + i, &v, sizeof v);
        }
        // Two stages in one walk over the run; the last walk scales.
        size_t half = LANES;
        for (; half * 4 <= n; half *= 4) {
            float factor = half * 4 == n ? scale : 1;
            for (size_t start = 0; start < n; start += 4 * half) {
                for (size_t i = start; i < start + half; i += LANES) {
                    floats a, b, c, d;
                    memcpy(&a, run + i, sizeof a);
                    memcpy(&b, run + i + half, sizeof b);
                    memcpy(&c, run + i + 2 * half, sizeof c);
                    memcpy(&d, run + i + 3 * half, sizeof d);
                    floats p = a + b, q = a - b, r = c + d, s = c - d;
                    a = (p + r) * factor;
                    b = (q + s) * factor;
                    c = (p - r) * factor;
                    d = (q - s) * factor;
                    memcpy(run + i, &a, sizeof a);
                    memcpy(run + i + half, &b, sizeof b);
                    memcpy(run + i + 2 * half, &c, sizeof c);
                    memcpy(run + i + 3 * half, &d, sizeof d);
                }
            }
        }
        if (half < n) {
            for (size_t i = 0; i < half; i += LANES) {
                floats a, b;
                memcpy(&a, run + i, sizeof a);
                memcpy(&b, run + i + half, sizeof b);
                floats p = (a + b) * scale, q = (a - b) * scale;
                memcpy(run + i, &p, sizeof p);
                memcpy(run + i + half, &q, sizeof q);
            }
        }
    }
}
