#include "iq4.h"

INLINE void resq_encode_iq4_nl_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[32], scale;
        words block[5];
        load_columns(source + first * 32, 32, lanes, x);
        iq4_search(x, NULL, &scale);
        store_iq4_nl(x, &scale, block);
        store_half(block, target + first * 18, 18, lanes);
        store_words(block + 1, 4, target + first * 18 + 2, 18, lanes);
    }
}
RESQ_KERNEL(resq_encode_iq4_nl, float, uint8_t)

INLINE void resq_encode_iq4_xs_body(const float *source, uint8_t *target, size_t block_count) {
    for (size_t first = 0; first < block_count; first += LANES) {
        size_t lanes = block_count - first < LANES ? block_count - first : LANES;
        floats x[256], scales[8];
        words block[34];
        load_columns(source + first * 256, 256, lanes, x);
        for (int group = 0; group < 8; group++) iq4_search(x + 32 * group, NULL, &scales[group]);
        store_iq4_xs(x, scales, block);
        store_words(block, 34, target + first * 136, 136, lanes);
    }
}
RESQ_KERNEL(resq_encode_iq4_xs, float, uint8_t)
