/* A plugin of resq as a shared object: passes in C, or in anything that can export a C function.
 *
 * The object exports one function, resq_pass_entry, which returns a table. docs/plugins.md says what a description and a
 * plan are; tensors come and go as the structs below.
 *
 * - All memory that is handed over, either way, is borrowed for the call only. `emit` and its `context` too: they are called inside
 *   the call that got them, by its thread.
 * - Functions return 0, or anything else after writing a sentence into `error`, which has room for `error_capacity` bytes with the
 *   ending zero: 1024 or more. Inputs are read only.
 * - `plan` and `apply` may be called from several threads at once, with one instance too.
 * - The table grows at its end only. It says how large it was when its side was compiled, and nobody looks past that. So do tensors:
 *   in an array, the next one begins `struct_size` bytes after the one before, which may be more than sizeof(resq_tensor).
 *   resq_tensor_at looks there.
 * - No exception may leave a function, and none may call `exit`.
 * - Only resq_pass_entry is called from outside: compile with -fvisibility=hidden.
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

/* 2: tensors have `rounded_to`. Objects of another version are refused, and compiled again. */
#define RESQ_PASS_ABI 2

typedef struct resq_tensor {
    uint32_t struct_size;
    uint32_t rank;
    const char *name;
    /* "F32", "BF16", "Q4_K", ... */
    const char *dtype;
    /* What the tensor is in its architecture, e.g. "q" or "attention-norm" (docs/plugins.md lists them); NULL when that is not known.
     * Known in `plan`, and in `apply` of passes where the tensor has the name of one that was planned for. */
    const char *role;
    /* The layer, or -1; known where the role is. */
    int64_t layer;
    /* `rank` dimensions, outermost first. */
    const int64_t *shape;
    uint64_t byte_count;
    /* The bytes of an input of `apply`, at a multiple of 16. For its outputs, memory of `byte_count` bytes at a multiple of 64 that may
     * be written, where an output can be made: what is emitted from there is not copied. The plugin stores numbers as `dtype` itself.
     * NULL in `plan`; never NULL in `apply`, unless `byte_count` is 0. */
    const void *data;
    /* Of what a rounding with "values" gives: the type that the numbers will be stored in. NULL elsewhere. */
    const char *rounded_to;
} resq_tensor;

/* The tensor at a place of an array. */
static inline const resq_tensor *resq_tensor_at(const resq_tensor *tensors, uint32_t place) {
    return (const resq_tensor *)(const void *)((const char *)tensors + (uint64_t)place * tensors->struct_size);
}

/* Takes text or bytes from the plugin, in as many pieces as it likes, which must come in order within each output; the host copies
 * them before it returns. `output` is the place of the tensor among the outputs of `apply`, and 0 for texts.
 * Returns 0, or anything else when the bytes were not taken (more than planned, no such output, NULL): then the plugin should return,
 * and the user is told why. */
typedef int (*resq_emit)(void *context, uint32_t output, const void *data, uint64_t byte_count);

typedef struct resq_pass_table {
    /* RESQ_PASS_ABI */
    uint32_t abi;
    /* sizeof(resq_pass_table) */
    uint32_t struct_size;

    /* Emits the description, as JSON. */
    int (*describe)(resq_emit emit, void *context, char *error, uint64_t error_capacity);

    /* Makes an instance of a pass with the options of a recipe, a JSON object in which defaults are filled in. It is one line of JSON
     * like any other: `"name":` and perhaps a space before the value, numbers as 2, 2.5 or 1e-05, texts escaped, null for an option
     * without a value. Nothing is promised of its order. */
    int (*create)(const char *pass, const char *options, void **instance, char *error, uint64_t error_capacity);

    /* Emits the plan for some tensors, as JSON. `model` is a JSON object: what is known of the model. */
    int (*plan)(
        void *instance, const char *model, const resq_tensor *tensors, uint32_t tensor_count,
        resq_emit emit, void *context, char *error, uint64_t error_capacity);

    /* Emits the bytes of the outputs of one step. The same inputs must always give the same bytes. */
    int (*apply)(
        void *instance, const resq_tensor *inputs, uint32_t input_count, const resq_tensor *outputs, uint32_t output_count,
        resq_emit emit, void *context, char *error, uint64_t error_capacity);

    /* Ends an instance, once for each that `create` made, when nobody asks it any more. A run that fails may end without. */
    void (*destroy)(void *instance);
} resq_pass_table;

/* The one function that the object exports, whatever -fvisibility says. The table lives as long as the object is loaded. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const resq_pass_table *resq_pass_entry(void);

#ifdef __cplusplus
}
#endif

#endif
