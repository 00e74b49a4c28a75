/* gguf.h: tangled from nbs/llm/10_gguf.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/10_gguf.ipynb § What the parser promises ---- */

/* gguf.h: a bounds-checked view of a GGUF file (version 2 or 3, little-endian) in memory.
 *
 * gguf_open() walks the whole header once and refuses the file with a named reason and an
 * offset if anything in it is not as the format says. After GGUF_OK every lookup is safe,
 * allocates nothing and returns pointers into the caller's bytes, which must outlive the
 * view. Strings are counted, not NUL-terminated. struct gguf is some 13 KB: keep it
 * static.
 * Pure: bytes in, view out. Called by the model and tokenizer loaders. */
// twin: gguf.c ggml-type.c
#pragma once
#include "llm/ggml-type.h"

#define GGUF_MAGIC             0x46554747u   // the bytes 'G' 'G' 'U' 'F'
#define GGUF_DEFAULT_ALIGNMENT 32
#define GGUF_KEYS_MAX          256           // real models have 20 to 60
#define GGUF_TENSORS_MAX       1024          // a 70-billion-parameter llama has 723
#define GGUF_KEY_LEN_MAX       65535         // the specification's own limits
#define GGUF_NAME_LEN_MAX      64
#define GGUF_DIMS_MAX          4

enum gguf_type {
    GGUF_TYPE_UINT8   = 0,
    GGUF_TYPE_INT8    = 1,
    GGUF_TYPE_UINT16  = 2,
    GGUF_TYPE_INT16   = 3,
    GGUF_TYPE_UINT32  = 4,
    GGUF_TYPE_INT32   = 5,
    GGUF_TYPE_FLOAT32 = 6,
    GGUF_TYPE_BOOL    = 7,
    GGUF_TYPE_STRING  = 8,
    GGUF_TYPE_ARRAY   = 9,
    GGUF_TYPE_UINT64  = 10,
    GGUF_TYPE_INT64   = 11,
    GGUF_TYPE_FLOAT64 = 12,
    GGUF_TYPE_COUNT   = 13,
};

enum gguf_result {
    GGUF_OK,
    GGUF_TRUNCATED,           // the file ends inside its own header
    GGUF_BAD_MAGIC,
    GGUF_BIG_ENDIAN,
    GGUF_BAD_VERSION,
    GGUF_TOO_MANY_KEYS,
    GGUF_TOO_MANY_TENSORS,
    GGUF_BAD_KEY,             // longer than the format allows
    GGUF_DUPLICATE_KEY,
    GGUF_BAD_VALUE_TYPE,
    GGUF_NESTED_ARRAY,
    GGUF_BAD_BOOL,
    GGUF_BAD_ALIGNMENT,
    GGUF_BAD_NAME,            // a tensor name longer than the format allows
    GGUF_DUPLICATE_TENSOR,
    GGUF_BAD_DIMS,            // too many, zero, or a product that does not fit
    GGUF_BAD_TENSOR_TYPE,
    GGUF_BAD_ROW,             // row length is not a whole number of blocks
    GGUF_MISALIGNED,
    GGUF_TENSOR_OUTSIDE,      // tensor data not inside the file
    GGUF_RESULT_COUNT,
};
const char *gguf_result_name(enum gguf_result r);   // "truncated", "bad magic", …

struct gguf_array {
    enum gguf_type type;      // of the elements
    uint64_t n;               // how many are left
    const uint8_t *data;      // the first of them; unaligned, little-endian
};

struct gguf_key {
    const char *name;
    size_t name_len;
    uint32_t hash;
    enum gguf_type type;
    const uint8_t *value;     // unaligned, little-endian, checked
};

struct gguf_tensor {
    const char *name;
    size_t name_len;
    int n_dims;
    uint64_t ne[GGUF_DIMS_MAX];   // ne[0] is the row length; unused ones are 1
    enum ggml_type type;
    uint64_t offset;              // from the start of the data section
    const void *data;
    size_t size;                  // bytes
};

struct gguf {
    const uint8_t *data;      // the whole file
    size_t size;
    uint32_t version;
    uint32_t alignment;
    size_t data_offset;       // of the data section
    int n_keys, n_tensors;
    struct gguf_key keys[GGUF_KEYS_MAX];
    struct { uint32_t hash; size_t at; } tensors[GGUF_TENSORS_MAX];   // at: file offset
};

/* GGUF_OK, or the failure and a sentence about it in err; then `g` is not valid. */
enum gguf_result gguf_open(struct gguf *g, const void *data, size_t size,
                           char *err, size_t err_cap);

/* Metadata. false: no such key, or its value is not of that kind or does not fit. */
const struct gguf_key *gguf_find_key(const struct gguf *g, const char *key);   // or NULL
bool gguf_i64(const struct gguf *g, const char *key, int64_t *out);    // any integer type
bool gguf_u32(const struct gguf *g, const char *key, uint32_t *out);
bool gguf_i32(const struct gguf *g, const char *key, int32_t *out);
bool gguf_f32(const struct gguf *g, const char *key, float *out);    // FLOAT32, FLOAT64
bool gguf_bool(const struct gguf *g, const char *key, bool *out);
bool gguf_str(const struct gguf *g, const char *key, const char **s, size_t *len);
bool gguf_str_is(const struct gguf *g, const char *key, const char *expect);

/* Arrays stay where they are. gguf_arr_next_str consumes the array it is given: copy the
 * struct to iterate twice. */
bool gguf_arr(const struct gguf *g, const char *key, struct gguf_array *out);
bool gguf_arr_next_str(struct gguf_array *a, const char **s, size_t *len);
bool gguf_arr_i64(const struct gguf_array *a, uint64_t i, int64_t *out);
bool gguf_arr_f32(const struct gguf_array *a, uint64_t i, float *out);

/* Tensors, in file order or by name. */
bool gguf_tensor_at(const struct gguf *g, int i, struct gguf_tensor *out);
bool gguf_find_tensor(const struct gguf *g, const char *name, struct gguf_tensor *out);
