// F16 and BF16 to float and back, in bit operations and exact float operations, so that every processor gives the same.
#include "blocks.h"
#include "lanes.h"

typedef uint16_t shorts __attribute__((ext_vector_type(16)));

// NUMBERS sixteen at a time, the last few by way of a full vector.
#define EACH_SIXTEEN(IN, OUT, CONVERT)                                                                           \
    for (size_t i = 0; i < count; i += LANES) {                                                                  \
        size_t left = count - i;                                                                                 \
        IN in = 0;                                                                                               \
        if (left >= LANES) {                                                                                     \
            memcpy(&in, source + i * (sizeof(in[0]) / sizeof(*source)), sizeof in);                              \
            OUT out = CONVERT(in);                                                                               \
            memcpy(target + i * (sizeof(out[0]) / sizeof(*target)), &out, sizeof out);                           \
        } else {                                                                                                 \
            memcpy(&in, source + i * (sizeof(in[0]) / sizeof(*source)), left * sizeof(in[0]));                   \
            OUT out = CONVERT(in);                                                                               \
            memcpy(target + i * (sizeof(out[0]) / sizeof(*target)), &out, left * sizeof(out[0]));                \
        }                                                                                                        \
    }

#define FROM_HALF(H) HALF_VALUE(__builtin_convertvector(H, ints))
#define TO_HALF(V) __builtin_convertvector(HALF_BITS(V), shorts)
#define FROM_BRAIN(H) FLOATS(__builtin_convertvector(H, ints) << 16)
#define TO_BRAIN(V)                                                                                              \
    ({                                                                                                           \
        words word_ = (words)(V), upper_ = word_ >> 16;                                                          \
        words nearest_ = (word_ + 0x7fff + (upper_ & 1)) >> 16;                                                  \
        ints nan_ = (ints)(word_ & 0x7fffffff) > 0x7f800000;                                                     \
        __builtin_convertvector((words)SELECT(nan_, (ints)(upper_ | 0x40), (ints)nearest_), shorts);             \
    })

INLINE void resq_decode_f16_body(const uint8_t *source, float *target, size_t count) {
    EACH_SIXTEEN(shorts, floats, FROM_HALF)
}
INLINE void resq_encode_f16_body(const float *source, uint8_t *target, size_t count) {
    EACH_SIXTEEN(floats, shorts, TO_HALF)
}
INLINE void resq_decode_bf16_body(const uint8_t *source, float *target, size_t count) {
    EACH_SIXTEEN(shorts, floats, FROM_BRAIN)
}
INLINE void resq_encode_bf16_body(const float *source, uint8_t *target, size_t count) {
    EACH_SIXTEEN(floats, shorts, TO_BRAIN)
}

RESQ_KERNEL(resq_decode_f16, uint8_t, float)
RESQ_KERNEL(resq_encode_f16, float, uint8_t)
RESQ_KERNEL(resq_decode_bf16, uint8_t, float)
RESQ_KERNEL(resq_encode_bf16, float, uint8_t)
