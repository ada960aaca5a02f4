// Decoding of Q2_K to Q6_K, IQ4_NL and IQ4_XS, in the order of operations of the Swift files of the types. Every element
// is computed on its own, so plain loops vectorize.
#include "lanes.h"

INLINE void resq_decode_q2_K_body(const uint8_t *block, float *out, size_t block_count) {
    for (; block_count > 0; block_count--, block += 84, out += 256) {
        float d = half_value(block + 80), dmin = half_value(block + 82);
        for (int group = 0; group < 16; group++) {
            const uint8_t *q = block + 16 + group / 8 * 32 + group % 2 * 16;
            int shift = group % 8 / 2 * 2;
            float scale = d * (float)(block[group] & 15), minimum = dmin * (float)(block[group] >> 4);
            for (int i = 0; i < 16; i++) out[16 * group + i] = scale * (float)(q[i] >> shift & 3) - minimum;
        }
    }
}
RESQ_KERNEL(resq_decode_q2_K, uint8_t, float)

INLINE void resq_decode_q3_K_body(const uint8_t *block, float *out, size_t block_count) {
    for (; block_count > 0; block_count--, block += 110, out += 256) {
        float d = half_value(block + 108);
        for (int group = 0; group < 16; group++) {
            const uint8_t *h = block + group % 2 * 16, *q = block + 32 + group / 8 * 32 + group % 2 * 16;
            int shift = group % 8 / 2 * 2, bit = group / 2;
            int low = block[96 + group % 8] >> (group / 8 * 4) & 15, high = block[104 + group % 4] >> (group / 4 * 2) & 3;
            float scale = d * (float)((low | high << 4) - 32);
            for (int i = 0; i < 16; i++) {
                out[16 * group + i] = scale * (float)(((q[i] >> shift & 3) | (h[i] >> bit & 1) << 2) - 4);
            }
        }
    }
}
RESQ_KERNEL(resq_decode_q3_K, uint8_t, float)

// The factors of group j of eight, from the head that Q4_K and Q5_K share.
#define EIGHT_GROUPS_FACTORS                                                                                     \
    float d = half_value(block), dmin = half_value(block + 2), scales[8], minimums[8];                           \
    for (int j = 0; j < 4; j++) {                                                                                \
        int a = block[4 + j], b = block[8 + j], c = block[12 + j];                                               \
        scales[j] = d * (float)(a & 63);                                                                         \
        minimums[j] = dmin * (float)(b & 63);                                                                    \
        scales[4 + j] = d * (float)((c & 15) | a >> 6 << 4);                                                     \
        minimums[4 + j] = dmin * (float)(c >> 4 | b >> 6 << 4);                                                  \
    }

INLINE void resq_decode_q4_K_body(const uint8_t *block, float *out, size_t block_count) {
    for (; block_count > 0; block_count--, block += 144, out += 256) {
        EIGHT_GROUPS_FACTORS
        for (int j = 0; j < 8; j++) {
            const uint8_t *q = block + 16 + j / 2 * 32;
            float scale = scales[j], minimum = minimums[j];
            int shift = j % 2 * 4;
            for (int i = 0; i < 32; i++) out[32 * j + i] = scale * (float)(q[i] >> shift & 15) - minimum;
        }
    }
}
RESQ_KERNEL(resq_decode_q4_K, uint8_t, float)

INLINE void resq_decode_q5_K_body(const uint8_t *block, float *out, size_t block_count) {
    for (; block_count > 0; block_count--, block += 176, out += 256) {
        EIGHT_GROUPS_FACTORS
        for (int j = 0; j < 8; j++) {
            const uint8_t *h = block + 16, *q = block + 48 + j / 2 * 32;
            float scale = scales[j], minimum = minimums[j];
            int shift = j % 2 * 4;
            for (int i = 0; i < 32; i++) {
                out[32 * j + i] = scale * (float)((q[i] >> shift & 15) | (h[i] >> j & 1) << 4) - minimum;
            }
        }
    }
}
RESQ_KERNEL(resq_decode_q5_K, uint8_t, float)

INLINE void resq_decode_q6_K_body(const uint8_t *block, float *out, size_t block_count) {
    for (; block_count > 0; block_count--, block += 210, out += 256) {
        float d = half_value(block + 208);
        for (int group = 0; group < 16; group++) {
            const uint8_t *l = block + group / 8 * 64 + group % 4 * 16, *h = block + 128 + group / 8 * 32 + group % 2 * 16;
            int low_shift = group % 8 / 4 * 4, high_shift = group % 8 / 2 * 2;
            float scale = d * (float)(int8_t)block[192 + group];
            for (int i = 0; i < 16; i++) {
                int code = (l[i] >> low_shift & 15) | (h[i] >> high_shift & 3) << 4;
                out[16 * group + i] = scale * (float)(code - 32);
            }
        }
    }
}
RESQ_KERNEL(resq_decode_q6_K, uint8_t, float)

static const float levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

INLINE void decode_iq4(const uint8_t *q, float scale, float *out) {
    float products[16];
    for (int k = 0; k < 16; k++) products[k] = scale * levels[k];
    for (int i = 0; i < 16; i++) {
        out[i] = products[q[i] & 15];
        out[i + 16] = products[q[i] >> 4];
    }
}

INLINE void resq_decode_iq4_nl_body(const uint8_t *block, float *out, size_t block_count) {
    for (; block_count > 0; block_count--, block += 18, out += 32) decode_iq4(block + 2, half_value(block), out);
}
RESQ_KERNEL(resq_decode_iq4_nl, uint8_t, float)

INLINE void resq_decode_iq4_xs_body(const uint8_t *block, float *out, size_t block_count) {
    for (; block_count > 0; block_count--, block += 136, out += 256) {
        float d = half_value(block);
        for (int j = 0; j < 8; j++) {
            int low = block[4 + j / 2] >> (j % 2 * 4) & 15, high = block[2 + j / 4] >> (j % 4 * 2) & 3;
            decode_iq4(block + 8 + 16 * j, d * (float)((low | high << 4) - 32), out + 32 * j);
        }
    }
}
RESQ_KERNEL(resq_decode_iq4_xs, uint8_t, float)
