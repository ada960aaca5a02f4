#pragma once
#include <stddef.h>
#include <stdint.h>

// Encoding and decoding of ggml's scale-searching block types. `block_count` blocks stand one after another on both
// sides; the layouts are described in the Swift file of each type.

// The newest instruction set that a kernel may use. Kernels use less where the processor has less, and every choice
// gives the same bits; the lower ones exist to prove that.
typedef enum resq_level { RESQ_BASELINE = 0, RESQ_X86_64_V3 = 1, RESQ_NEWEST = 2 } resq_level;

void resq_encode_q2_K(const float *source, uint8_t *target, size_t block_count, resq_level level);
void resq_encode_q3_K(const float *source, uint8_t *target, size_t block_count, resq_level level);
void resq_encode_q4_K(const float *source, uint8_t *target, size_t block_count, resq_level level);
void resq_encode_q5_K(const float *source, uint8_t *target, size_t block_count, resq_level level);
void resq_encode_q6_K(const float *source, uint8_t *target, size_t block_count, resq_level level);
void resq_encode_iq4_nl(const float *source, uint8_t *target, size_t block_count, resq_level level);
void resq_encode_iq4_xs(const float *source, uint8_t *target, size_t block_count, resq_level level);

void resq_decode_q2_K(const uint8_t *source, float *target, size_t block_count, resq_level level);
void resq_decode_q3_K(const uint8_t *source, float *target, size_t block_count, resq_level level);
void resq_decode_q4_K(const uint8_t *source, float *target, size_t block_count, resq_level level);
void resq_decode_q5_K(const uint8_t *source, float *target, size_t block_count, resq_level level);
void resq_decode_q6_K(const uint8_t *source, float *target, size_t block_count, resq_level level);
void resq_decode_iq4_nl(const uint8_t *source, float *target, size_t block_count, resq_level level);
void resq_decode_iq4_xs(const uint8_t *source, float *target, size_t block_count, resq_level level);
