#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kquants.h"

// Conversion of 16-bit numbers, and of ggml's block types with one scale. `count` numbers or blocks stand one after
// another on both sides; the layouts are described in the Swift file of each type.

void resq_decode_f16(const uint8_t *source, float *target, size_t count, resq_level level);
void resq_decode_bf16(const uint8_t *source, float *target, size_t count, resq_level level);
void resq_decode_q4_0(const uint8_t *source, float *target, size_t count, resq_level level);
void resq_decode_q4_1(const uint8_t *source, float *target, size_t count, resq_level level);
void resq_decode_q5_0(const uint8_t *source, float *target, size_t count, resq_level level);
void resq_decode_q5_1(const uint8_t *source, float *target, size_t count, resq_level level);
void resq_decode_q8_0(const uint8_t *source, float *target, size_t count, resq_level level);

void resq_encode_f16(const float *source, uint8_t *target, size_t count, resq_level level);
void resq_encode_bf16(const float *source, uint8_t *target, size_t count, resq_level level);
void resq_encode_q4_0(const float *source, uint8_t *target, size_t count, resq_level level);
void resq_encode_q4_1(const float *source, uint8_t *target, size_t count, resq_level level);
void resq_encode_q5_0(const float *source, uint8_t *target, size_t count, resq_level level);
void resq_encode_q5_1(const float *source, uint8_t *target, size_t count, resq_level level);
void resq_encode_q8_0(const float *source, uint8_t *target, size_t count, resq_level level);
