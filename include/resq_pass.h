/* A plugin of resq as a shared object: passes in C, or in anything that can export a C function.
 *
 * The object exports one function, resq_pass_entry, which returns a table. docs/plugins.md says what a description and a
 * plan are; tensors come and go as the structs below.
 *
 * - All memory that is handed over, either way, is borrowed for the call only.
 * - Functions return 0, or anything else after writing a sentence into `error`, which has room for `error_capacity` bytes with the
 *   ending zero.
 * - `plan` and `apply` may be called from several threads at once, with one instance too.
 * - The table grows at its end only. It says how large it was when its side was compiled, and nobody looks past that.
 * - The answers for passes go for roundings, metrics and formats too, whose names `create` gets (docs/plugins.md).
 *
 * A shared object runs inside resq: when it crashes, so does resq.
 */
#ifndef RESQ_PASS_H
#define RESQ_PASS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RESQ_PASS_ABI 1

typedef struct resq_tensor {
    uint32_t struct_size;
    uint32_t rank;
    const char *name;
    /* "F32", "BF16", "Q4_K", ... */
    const char *dtype;
    /* What the tensor is in its architecture, e.g. "q" or "norm"; NULL when that is not known. */
    const char *role;
    /* The layer, or -1. */
    int64_t layer;
    /* `rank` dimensions, outermost first. */
    const int64_t *shape;
    uint64_t byte_count;
    /* The bytes of an input of `apply`. For its outputs, memory of `byte_count` bytes that may be written, where an output can be
     * made: what is emitted from there is not copied. NULL elsewhere. */
    const void *data;
} resq_tensor;

/* Takes text or bytes from the plugin, which must come in order; the host copies them before it returns.
 * `output` is the place of the tensor among the outputs of `apply`, and 0 for texts.
 * Returns 0, or anything else when there are more bytes than planned: then the plugin should return. */
typedef int (*resq_emit)(void *context, uint32_t output, const void *data, uint64_t byte_count);

typedef struct resq_pass_table {
    /* RESQ_PASS_ABI */
    uint32_t abi;
    /* sizeof(resq_pass_table) */
    uint32_t struct_size;

    /* Emits the description, as JSON. */
    int (*describe)(resq_emit emit, void *context, char *error, uint64_t error_capacity);

    /* Makes an instance of a pass with the options of a recipe, a JSON object in which defaults are filled in. */
    int (*create)(const char *pass, const char *options, void **instance, char *error, uint64_t error_capacity);

    /* Emits the plan for some tensors, as JSON. `model` is a JSON object: what is known of the model. */
    int (*plan)(
        void *instance, const char *model, const resq_tensor *tensors, uint32_t tensor_count,
        resq_emit emit, void *context, char *error, uint64_t error_capacity);

    /* Emits the bytes of the outputs of one step. The same inputs must always give the same bytes. */
    int (*apply)(
        void *instance, const resq_tensor *inputs, uint32_t input_count, const resq_tensor *outputs, uint32_t output_count,
        resq_emit emit, void *context, char *error, uint64_t error_capacity);

    /* Ends an instance. */
    void (*destroy)(void *instance);
} resq_pass_table;

/* The one function that the object exports. The table lives as long as the object is loaded. */
const resq_pass_table *resq_pass_entry(void);

#ifdef __cplusplus
}
#endif

#endif
