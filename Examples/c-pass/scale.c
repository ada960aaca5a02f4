/* A pass in C: multiplies weights by a factor.
 *
 *     cc -std=c11 -O2 -shared -fPIC -I include Examples/c-pass/scale.c -o scale.so
 *     resq passes --plugin ./scale.so
 */
#include "resq_pass.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { float factor; } scale;

static const char description[] =
    "{\"protocol\": 1, \"name\": \"c-example\", \"version\": \"1.0\", \"passes\": [{"
    "\"name\": \"scale\", \"summary\": \"Multiplies every weight by a factor.\", \"options\": [{"
    "\"name\": \"factor\", \"type\": \"number\", \"default\": 2.0, \"summary\": \"What weights are multiplied by.\"}]}]}";

static int describe(resq_emit emit, void *context, char *error, uint64_t capacity) {
    (void)error, (void)capacity;
    return emit(context, 0, description, sizeof description - 1);
}

static int create(const char *pass, const char *options, void **instance, char *error, uint64_t capacity) {
    (void)pass;
    /* resq has checked the options: there is this one, and it is a number. */
    const char *place = strstr(options, "\"factor\":");
    scale *made = place ? malloc(sizeof *made) : NULL;
    if (!made) {
        snprintf(error, capacity, "no factor, or no memory");
        return 1;
    }
    made->factor = strtof(place + strlen("\"factor\":"), NULL);
    *instance = made;
    return 0;
}

/* Emits formatted text. */
static int emit_text(resq_emit emit, void *context, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return count < 0 || count >= (int)sizeof text || emit(context, 0, text, (uint64_t)count);
}

/* One step for each tensor, row by row: the weights arrive as F32 and stay F32. */
static int plan(
    void *instance, const char *model, const resq_tensor *tensors, uint32_t count, resq_emit emit, void *context,
    char *error, uint64_t capacity) {
    (void)instance, (void)model;
    int failed = emit_text(emit, context, "{\"steps\": [");
    for (uint32_t i = 0; i < count && !failed; i++) {
        const resq_tensor *tensor = resq_tensor_at(tensors, i);
        /* Names of tensors that hold quotes or backslashes would have to be escaped. */
        if (strpbrk(tensor->name, "\"\\")) {
            snprintf(error, capacity, "a name with quotes");
            return 1;
        }
        failed = emit_text(
            emit, context, "%s{\"inputs\": [\"%s\"], \"outputs\": [{\"name\": \"%s\", \"dtype\": \"F32\", \"shape\": [",
            i ? ", " : "", tensor->name, tensor->name);
        for (uint32_t d = 0; d < tensor->rank && !failed; d++)
            failed = emit_text(emit, context, "%s%" PRId64, d ? ", " : "", tensor->shape[d]);
        failed = failed || emit_text(emit, context, "]}], \"rows\": true, \"decoded\": true}");
    }
    failed = failed || emit_text(emit, context, "]}");
    if (failed) snprintf(error, capacity, "the plan could not be written");
    return failed;
}

static int apply(
    void *instance, const resq_tensor *inputs, uint32_t input_count, const resq_tensor *outputs, uint32_t output_count,
    resq_emit emit, void *context, char *error, uint64_t capacity) {
    (void)input_count, (void)output_count, (void)error, (void)capacity;
    const scale *pass = instance;
    const float *weights = inputs[0].data;
    float *scaled = (float *)outputs[0].data;
    uint64_t count = outputs[0].byte_count / sizeof(float);
    for (uint64_t i = 0; i < count; i++) scaled[i] = weights[i] * pass->factor;
    return emit(context, 0, scaled, outputs[0].byte_count);
}

static void destroy(void *instance) { free(instance); }

const resq_pass_table *resq_pass_entry(void) {
    static const resq_pass_table table = {RESQ_PASS_ABI, sizeof(resq_pass_table), describe, create, plan, apply, destroy};
    return &table;
}
