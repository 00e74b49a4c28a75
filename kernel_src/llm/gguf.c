/* gguf.c: tangled from nbs/llm/10_gguf.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/10_gguf.ipynb § Compare with what is left ---- */

/* gguf.c: opens a GGUF file that somebody else wrote.
 *
 * Invariant: every byte is reached through a cursor, and a cursor compares what is wanted
 * with what is left. No size read from the file is ever added to another before that.
 * The second invariant is time: one pass over the header, nothing is sorted or copied. */
#include "llm/gguf.h"
#include "base/stdio.h"
#include "base/string.h"

#define LLU(x) ((unsigned long long)(x))        // for %llu, on 32 and 64 bits

struct gguf_cursor {
    const uint8_t *data;
    size_t size, pos;         // pos <= size, always
    char *err;                // where the sentence goes
    size_t err_cap;
};

static size_t gguf_left(const struct gguf_cursor *c) { return c->size - c->pos; }

/* The next n bytes, or NULL and no movement. n may be anything a file can say. */
static const uint8_t *gguf_take(struct gguf_cursor *c, uint64_t n)
{
    if (n > gguf_left(c))
        return NULL;
    const uint8_t *p = c->data + c->pos;
    c->pos += (size_t)n;
    return p;
}

/* Little-endian loads from any address. gcc turns each into one instruction. */
static uint16_t gguf_le16(const uint8_t *p) { return p[0] | p[1] << 8; }
static uint32_t gguf_le32(const uint8_t *p)
{
    return gguf_le16(p) | (uint32_t)gguf_le16(p + 2) << 16;
}
static uint64_t gguf_le64(const uint8_t *p)
{
    return gguf_le32(p) | (uint64_t)gguf_le32(p + 4) << 32;
}

static bool gguf_take_u32(struct gguf_cursor *c, uint32_t *out)
{
    const uint8_t *p = gguf_take(c, 4);
    if (p)
        *out = gguf_le32(p);
    return p;
}

static bool gguf_take_u64(struct gguf_cursor *c, uint64_t *out)
{
    const uint8_t *p = gguf_take(c, 8);
    if (p)
        *out = gguf_le64(p);
    return p;
}

/* A string is its length in 8 bytes, then the bytes. On refusal the cursor stays put. */
static bool gguf_take_str(struct gguf_cursor *c, const char **s, size_t *len)
{
    size_t start = c->pos;
    uint64_t n;
    const uint8_t *p;
    if (!gguf_take_u64(c, &n) || !(p = gguf_take(c, n))) {
        c->pos = start;
        return false;
    }
    *s = (const char *)p;
    *len = (size_t)n;
    return true;
}

/* FNV-1a. Names are compared by hash first, so that a lookup reads few of their bytes. */
static uint32_t gguf_hash(const char *s, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h;
}

/* ---- nbs/llm/10_gguf.ipynb § Saying what is wrong ---- */

static const char *const gguf_result_names[GGUF_RESULT_COUNT] = {
    [GGUF_OK] = "ok",
    [GGUF_TRUNCATED] = "truncated",
    [GGUF_BAD_MAGIC] = "bad magic",
    [GGUF_BIG_ENDIAN] = "big-endian file",
    [GGUF_BAD_VERSION] = "unsupported version",
    [GGUF_TOO_MANY_KEYS] = "too many keys",
    [GGUF_TOO_MANY_TENSORS] = "too many tensors",
    [GGUF_BAD_KEY] = "bad key",
    [GGUF_DUPLICATE_KEY] = "duplicate key",
    [GGUF_BAD_VALUE_TYPE] = "bad value type",
    [GGUF_NESTED_ARRAY] = "array of arrays",
    [GGUF_BAD_BOOL] = "bad bool",
    [GGUF_BAD_ALIGNMENT] = "bad alignment",
    [GGUF_BAD_NAME] = "bad tensor name",
    [GGUF_DUPLICATE_TENSOR] = "duplicate tensor",
    [GGUF_BAD_DIMS] = "bad dimensions",
    [GGUF_BAD_TENSOR_TYPE] = "bad tensor type",
    [GGUF_BAD_ROW] = "bad row length",
    [GGUF_MISALIGNED] = "misaligned tensor",
    [GGUF_TENSOR_OUTSIDE] = "tensor outside the file",
};

const char *gguf_result_name(enum gguf_result r)
{
    return (unsigned)r < GGUF_RESULT_COUNT ? gguf_result_names[r] : "?";
}

/* Writes "truncated at byte 24: …" and hands the result back: `return gguf_fail(…)`. */
__attribute__((format(printf, 3, 4)))
static enum gguf_result gguf_fail(const struct gguf_cursor *c, enum gguf_result r,
                                  const char *fmt, ...)
{
    int n = snprintf(c->err, c->err_cap, "%s at byte %llu of %llu: ", gguf_result_name(r),
                     LLU(c->pos), LLU(c->size));
    va_list ap;
    va_start(ap, fmt);
    if (n >= 0 && (size_t)n < c->err_cap)
        vsnprintf(c->err + n, c->err_cap - n, fmt, ap);
    va_end(ap);
    for (char *s = c->err; c->err_cap && *s; s++)      // names are quoted from the file
        if (*s < ' ' || *s > '~')
            *s = '?';
    return r;
}

/* ---- nbs/llm/10_gguf.ipynb § The header ---- */

/* magic, version, tensor count, key count: 24 bytes. */
static enum gguf_result gguf_read_header(struct gguf *g, struct gguf_cursor *c,
                                         uint64_t *n_tensors, uint64_t *n_keys)
{
    uint32_t magic;
    if (!gguf_take_u32(c, &magic))
        return gguf_fail(c, GGUF_TRUNCATED, "4 bytes of magic wanted");
    c->pos = 0;
    if (magic != GGUF_MAGIC)
        return gguf_fail(c, GGUF_BAD_MAGIC, "0x%08x is not 'GGUF'", (unsigned)magic);
    c->pos = 4;
    if (!gguf_take_u32(c, &g->version))
        return gguf_fail(c, GGUF_TRUNCATED, "4 bytes of version wanted");
    c->pos = 4;
    if (g->version != 0 && (g->version & 0xffff) == 0)
        return gguf_fail(c, GGUF_BIG_ENDIAN, "the version reads 0x%08x; convert the file "
                         "to little-endian", (unsigned)g->version);
    if (g->version != 2 && g->version != 3)
        return gguf_fail(c, GGUF_BAD_VERSION, "version %u; 2 and 3 are understood%s",
                         (unsigned)g->version,
                         g->version == 1 ? ", version 1 has 32-bit lengths" : "");
    c->pos = 8;
    if (!gguf_take_u64(c, n_tensors) || !gguf_take_u64(c, n_keys))
        return gguf_fail(c, GGUF_TRUNCATED, "two counts of 8 bytes wanted");
    if (*n_tensors > GGUF_TENSORS_MAX)
        return gguf_fail(c, GGUF_TOO_MANY_TENSORS, "%llu, at most %d",
                         (unsigned long long)*n_tensors, GGUF_TENSORS_MAX);
    if (*n_keys > GGUF_KEYS_MAX)
        return gguf_fail(c, GGUF_TOO_MANY_KEYS, "%llu, at most %d",
                         (unsigned long long)*n_keys, GGUF_KEYS_MAX);
    return GGUF_OK;
}

/* ---- nbs/llm/10_gguf.ipynb § Values ---- */

static const uint8_t gguf_scalar_size[GGUF_TYPE_COUNT] = {    // 0: not a scalar
    [GGUF_TYPE_UINT8]  = 1, [GGUF_TYPE_INT8]  = 1, [GGUF_TYPE_BOOL]    = 1,
    [GGUF_TYPE_UINT16] = 2, [GGUF_TYPE_INT16] = 2,
    [GGUF_TYPE_UINT32] = 4, [GGUF_TYPE_INT32] = 4, [GGUF_TYPE_FLOAT32] = 4,
    [GGUF_TYPE_UINT64] = 8, [GGUF_TYPE_INT64] = 8, [GGUF_TYPE_FLOAT64] = 8,
};

/* n scalars of one type in a row. n * size is never formed: how many fit is compared. */
static enum gguf_result gguf_skip_scalars(struct gguf_cursor *c, uint32_t type,
                                          uint64_t n)
{
    size_t size = gguf_scalar_size[type];
    if (n > gguf_left(c) / size)
        return gguf_fail(c, GGUF_TRUNCATED, "%llu values of %d bytes wanted, %llu bytes "
                         "left", LLU(n), (int)size, LLU(gguf_left(c)));
    const uint8_t *p = gguf_take(c, n * size);
    if (type == GGUF_TYPE_BOOL)
        for (uint64_t i = 0; i < n; i++)
            if (p[i] > 1)
                return gguf_fail(c, GGUF_BAD_BOOL, "a bool is 0 or 1, not %d", p[i]);
    return GGUF_OK;
}

static enum gguf_result gguf_skip_strings(struct gguf_cursor *c, uint64_t n)
{
    const char *s;
    size_t len;
    for (uint64_t i = 0; i < n; i++)          // at most size/8 turns: each takes 8 bytes
        if (!gguf_take_str(c, &s, &len))
            return gguf_fail(c, GGUF_TRUNCATED, "string %llu of %llu does not fit in the "
                             "%llu bytes left", LLU(i),
                             LLU(n), LLU(gguf_left(c)));
    return GGUF_OK;
}

/* Moves over one value, checking all of it. Arrays hold scalars or strings, never arrays:
 * the format would allow it, no known file does it, and llama.cpp refuses it as well. */
static enum gguf_result gguf_skip_value(struct gguf_cursor *c, uint32_t type)
{
    if (type >= GGUF_TYPE_COUNT)
        return gguf_fail(c, GGUF_BAD_VALUE_TYPE, "type %u; 0 to 12 exist",
                         (unsigned)type);
    if (type == GGUF_TYPE_STRING)
        return gguf_skip_strings(c, 1);
    if (type != GGUF_TYPE_ARRAY)
        return gguf_skip_scalars(c, type, 1);

    uint32_t of;
    uint64_t n;
    if (!gguf_take_u32(c, &of) || !gguf_take_u64(c, &n))
        return gguf_fail(c, GGUF_TRUNCATED, "an array's type and count wanted");
    if (of >= GGUF_TYPE_COUNT)
        return gguf_fail(c, GGUF_BAD_VALUE_TYPE, "array of type %u; 0 to 12 exist",
                         (unsigned)of);
    if (of == GGUF_TYPE_ARRAY)
        return gguf_fail(c, GGUF_NESTED_ARRAY, "arrays of arrays are not supported");
    return of == GGUF_TYPE_STRING ? gguf_skip_strings(c, n) : gguf_skip_scalars(c, of, n);
}

/* ---- nbs/llm/10_gguf.ipynb § Keys ---- */

static const struct gguf_key *gguf_find_hashed(const struct gguf *g, const char *name,
                                               size_t len, uint32_t hash)
{
    for (int i = 0; i < g->n_keys; i++)
        if (g->keys[i].hash == hash && g->keys[i].name_len == len
            && memcmp(g->keys[i].name, name, len) == 0)
            return &g->keys[i];
    return NULL;
}

/* One key: name, type, value. Appended to the index unless it is there already. */
static enum gguf_result gguf_read_key(struct gguf *g, struct gguf_cursor *c)
{
    struct gguf_key *k = &g->keys[g->n_keys];
    size_t start = c->pos;
    if (!gguf_take_str(c, &k->name, &k->name_len))
        return gguf_fail(c, GGUF_TRUNCATED, "the name of key %d does not fit", g->n_keys);
    if (k->name_len > GGUF_KEY_LEN_MAX || k->name_len == 0) {
        c->pos = start;
        return gguf_fail(c, GGUF_BAD_KEY, "a name of %llu bytes; 1 to %d are allowed",
                         LLU(k->name_len), GGUF_KEY_LEN_MAX);
    }
    k->hash = gguf_hash(k->name, k->name_len);
    if (gguf_find_hashed(g, k->name, k->name_len, k->hash)) {
        c->pos = start;
        return gguf_fail(c, GGUF_DUPLICATE_KEY, "'%.*s'",
                         (int)k->name_len, k->name);
    }
    uint32_t type;
    if (!gguf_take_u32(c, &type))
        return gguf_fail(c, GGUF_TRUNCATED, "the type of key %d wanted", g->n_keys);
    k->type = type;
    k->value = c->data + c->pos;
    enum gguf_result r = gguf_skip_value(c, type);
    if (r == GGUF_OK)
        g->n_keys++;
    return r;
}

/* ---- nbs/llm/10_gguf.ipynb § Tensors ---- */

/* ne[0] * … * ne[3] values in whole blocks, as a number of bytes. False when a dimension
 * is zero or the product leaves 63 bits (ggml counts in int64_t). */
static bool gguf_tensor_size(const uint64_t ne[GGUF_DIMS_MAX], enum ggml_type type,
                             uint64_t *size)
{
    uint64_t room = INT64_MAX / ggml_type_size(type);
    uint64_t n = ne[0] / ggml_blck_size(type);
    for (int i = 0; i < GGUF_DIMS_MAX; i++) {
        uint64_t factor = i == 0 ? n : ne[i];
        if (factor == 0 || factor > room)
            return false;
        room /= factor;       // what the remaining factors may still multiply to
        n = i == 0 ? n : n * factor;
    }
    *size = n * ggml_type_size(type);
    return true;
}

static enum gguf_result gguf_read_dims(struct gguf_cursor *c, struct gguf_tensor *t)
{
    uint32_t n_dims;
    if (!gguf_take_u32(c, &n_dims))
        return gguf_fail(c, GGUF_TRUNCATED, "a tensor's dimension count wanted");
    if (n_dims > GGUF_DIMS_MAX)
        return gguf_fail(c, GGUF_BAD_DIMS, "'%.*s' has %u dimensions; at most %d",
                         (int)t->name_len, t->name, (unsigned)n_dims, GGUF_DIMS_MAX);
    t->n_dims = (int)n_dims;
    for (unsigned i = 0; i < GGUF_DIMS_MAX; i++) {
        t->ne[i] = 1;
        if (i < n_dims && !gguf_take_u64(c, &t->ne[i]))
            return gguf_fail(c, GGUF_TRUNCATED, "dimension %u of '%.*s' wanted", i,
                             (int)t->name_len, t->name);
    }
    return GGUF_OK;
}

/* Type against shape: whole blocks in a row, and a size that can be said in bytes. */
static enum gguf_result gguf_check_shape(struct gguf_cursor *c, struct gguf_tensor *t)
{
    int len = (int)t->name_len;
    uint64_t size;
    if (!ggml_type_name(t->type))
        return gguf_fail(c, GGUF_BAD_TENSOR_TYPE, "'%.*s' has type %u, which ggml does "
                         "not have", len, t->name, (unsigned)t->type);
    if (t->ne[0] % ggml_blck_size(t->type))
        return gguf_fail(c, GGUF_BAD_ROW, "rows of '%.*s' hold %llu values, not a "
                         "multiple of %s's %d", len, t->name, LLU(t->ne[0]),
                         ggml_type_name(t->type), ggml_blck_size(t->type));
    if (!gguf_tensor_size(t->ne, t->type, &size) || size > SIZE_MAX)
        return gguf_fail(c, GGUF_BAD_DIMS, "'%.*s' is %llu x %llu x %llu x %llu", len,
                         t->name, LLU(t->ne[0]), LLU(t->ne[1]), LLU(t->ne[2]),
                         LLU(t->ne[3]));
    t->size = (size_t)size;
    return GGUF_OK;
}

/* One tensor's entry: name, n_dims, dims, type, offset. Where the data lies is not
 * checked: the data section starts after the last entry, so nobody knows yet. */
static enum gguf_result gguf_read_tensor(struct gguf_cursor *c, struct gguf_tensor *t)
{
    uint32_t type;
    size_t start = c->pos;
    if (!gguf_take_str(c, &t->name, &t->name_len))
        return gguf_fail(c, GGUF_TRUNCATED, "a tensor's name does not fit");
    if (t->name_len > GGUF_NAME_LEN_MAX || t->name_len == 0) {
        c->pos = start;
        return gguf_fail(c, GGUF_BAD_NAME, "a name of %llu bytes; 1 to %d are allowed",
                         LLU(t->name_len), GGUF_NAME_LEN_MAX);
    }
    enum gguf_result r = gguf_read_dims(c, t);
    if (r != GGUF_OK)
        return r;
    if (!gguf_take_u32(c, &type) || !gguf_take_u64(c, &t->offset))
        return gguf_fail(c, GGUF_TRUNCATED, "type and offset of '%.*s' wanted",
                         (int)t->name_len, t->name);
    t->type = (enum ggml_type)type;
    return gguf_check_shape(c, t);
}

static enum gguf_result gguf_index_tensor(struct gguf *g, struct gguf_cursor *c)
{
    size_t start = c->pos;
    struct gguf_tensor t, other;
    enum gguf_result r = gguf_read_tensor(c, &t);
    if (r != GGUF_OK)
        return r;

    uint32_t hash = gguf_hash(t.name, t.name_len);
    for (int i = 0; i < g->n_tensors; i++) {
        if (g->tensors[i].hash != hash)
            continue;
        struct gguf_cursor at = *c;
        at.pos = g->tensors[i].at;
        gguf_read_tensor(&at, &other);
        if (other.name_len == t.name_len && memcmp(other.name, t.name, t.name_len) == 0) {
            c->pos = start;
            return gguf_fail(c, GGUF_DUPLICATE_TENSOR, "'%.*s'", (int)t.name_len, t.name);
        }
    }
    g->tensors[g->n_tensors].hash = hash;
    g->tensors[g->n_tensors].at = start;
    g->n_tensors++;
    return GGUF_OK;
}

/* ---- nbs/llm/10_gguf.ipynb § The data section ---- */

static enum gguf_result gguf_read_alignment(struct gguf *g, struct gguf_cursor *c)
{
    const struct gguf_key *k = gguf_find_key(g, "general.alignment");
    g->alignment = GGUF_DEFAULT_ALIGNMENT;
    if (!k)
        return GGUF_OK;
    c->pos = (size_t)(k->value - g->data);
    if (k->type != GGUF_TYPE_UINT32)
        return gguf_fail(c, GGUF_BAD_ALIGNMENT, "general.alignment must be a uint32");
    uint32_t a = gguf_le32(k->value);
    if (a < 8 || (a & (a - 1)))
        return gguf_fail(c, GGUF_BAD_ALIGNMENT, "%u is not a power of two from 8 up",
                         (unsigned)a);
    g->alignment = a;
    return GGUF_OK;
}

/* The data section starts at the next multiple of the alignment; each tensor must lie in
 * it, aligned. A file without tensors (a vocabulary) may end before the padding. */
static enum gguf_result gguf_check_data(struct gguf *g, struct gguf_cursor *c)
{
    size_t end = c->pos, pad = -end & (size_t)(g->alignment - 1);
    if (pad > gguf_left(c)) {
        if (g->n_tensors)
            return gguf_fail(c, GGUF_TRUNCATED, "no data section");
        pad = gguf_left(c);
    }
    g->data_offset = end + pad;
    size_t room = g->size - g->data_offset;
    for (int i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor t;
        c->pos = g->tensors[i].at;
        gguf_read_tensor(c, &t);
        c->pos = g->tensors[i].at;
        if (t.offset & (g->alignment - 1))
            return gguf_fail(c, GGUF_MISALIGNED, "'%.*s' at offset %llu, alignment %u",
                             (int)t.name_len, t.name, LLU(t.offset),
                             (unsigned)g->alignment);
        if (t.offset > room || t.size > room - (size_t)t.offset)
            return gguf_fail(c, GGUF_TENSOR_OUTSIDE, "'%.*s' wants %llu bytes at offset "
                             "%llu of a data section of %llu", (int)t.name_len, t.name,
                             LLU(t.size), LLU(t.offset), LLU(room));
    }
    return GGUF_OK;
}

enum gguf_result gguf_open(struct gguf *g, const void *data, size_t size,
                           char *err, size_t err_cap)
{
    struct gguf_cursor c = { .data = data, .size = size, .err = err, .err_cap = err_cap };
    uint64_t n_tensors, n_keys;

    if (err_cap)
        err[0] = 0;
    g->data = data;
    g->size = size;
    g->n_keys = g->n_tensors = 0;

    enum gguf_result r = gguf_read_header(g, &c, &n_tensors, &n_keys);
    for (uint64_t i = 0; r == GGUF_OK && i < n_keys; i++)
        r = gguf_read_key(g, &c);
    for (uint64_t i = 0; r == GGUF_OK && i < n_tensors; i++)
        r = gguf_index_tensor(g, &c);

    size_t end = c.pos;
    if (r == GGUF_OK)
        r = gguf_read_alignment(g, &c);
    if (r == GGUF_OK) {
        c.pos = end;
        r = gguf_check_data(g, &c);
    }
    return r;
}

/* ---- nbs/llm/10_gguf.ipynb § Looking things up ---- */

const struct gguf_key *gguf_find_key(const struct gguf *g, const char *key)
{
    size_t len = strlen(key);
    return gguf_find_hashed(g, key, len, gguf_hash(key, len));
}

/* Any integer type as int64_t; a UINT64 beyond it does not fit. */
static bool gguf_read_i64(enum gguf_type type, const uint8_t *p, int64_t *out)
{
    switch (type) {
    case GGUF_TYPE_UINT8:  *out = *p; return true;
    case GGUF_TYPE_INT8:   *out = (int8_t)*p; return true;
    case GGUF_TYPE_UINT16: *out = gguf_le16(p); return true;
    case GGUF_TYPE_INT16:  *out = (int16_t)gguf_le16(p); return true;
    case GGUF_TYPE_UINT32: *out = gguf_le32(p); return true;
    case GGUF_TYPE_INT32:  *out = (int32_t)gguf_le32(p); return true;
    case GGUF_TYPE_INT64:  *out = (int64_t)gguf_le64(p); return true;
    case GGUF_TYPE_UINT64: *out = (int64_t)gguf_le64(p); return *out >= 0;
    default: return false;
    }
}

static bool gguf_read_f32(enum gguf_type type, const uint8_t *p, float *out)
{
    union { uint32_t u; float f; } w = { 0 };
    union { uint64_t u; double f; } d = { 0 };
    switch (type) {
    case GGUF_TYPE_FLOAT32: w.u = gguf_le32(p); *out = w.f; return true;
    case GGUF_TYPE_FLOAT64: d.u = gguf_le64(p); *out = (float)d.f; return true;
    default: return false;
    }
}

bool gguf_i64(const struct gguf *g, const char *key, int64_t *out)
{
    const struct gguf_key *k = gguf_find_key(g, key);
    return k && gguf_read_i64(k->type, k->value, out);
}

bool gguf_u32(const struct gguf *g, const char *key, uint32_t *out)
{
    int64_t v;
    if (!gguf_i64(g, key, &v) || v < 0 || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

bool gguf_i32(const struct gguf *g, const char *key, int32_t *out)
{
    int64_t v;
    if (!gguf_i64(g, key, &v) || v < INT32_MIN || v > INT32_MAX)
        return false;
    *out = (int32_t)v;
    return true;
}

bool gguf_f32(const struct gguf *g, const char *key, float *out)
{
    const struct gguf_key *k = gguf_find_key(g, key);
    return k && gguf_read_f32(k->type, k->value, out);
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct gguf_key *k = gguf_find_key(g, key);
    if (!k || k->type != GGUF_TYPE_BOOL)
        return false;
    *out = *k->value;
    return true;
}

bool gguf_str(const struct gguf *g, const char *key, const char **s, size_t *len)
{
    const struct gguf_key *k = gguf_find_key(g, key);
    if (!k || k->type != GGUF_TYPE_STRING)
        return false;
    *len = (size_t)gguf_le64(k->value);
    *s = (const char *)k->value + 8;
    return true;
}

bool gguf_str_is(const struct gguf *g, const char *key, const char *expect)
{
    const char *s;
    size_t len;
    return gguf_str(g, key, &s, &len) && len == strlen(expect)
        && memcmp(s, expect, len) == 0;
}

bool gguf_arr(const struct gguf *g, const char *key, struct gguf_array *out)
{
    const struct gguf_key *k = gguf_find_key(g, key);
    if (!k || k->type != GGUF_TYPE_ARRAY)
        return false;
    out->type = gguf_le32(k->value);
    out->n = gguf_le64(k->value + 4);
    out->data = k->value + 12;
    return true;
}

/* gguf_open has walked these strings: their lengths can be believed. */
bool gguf_arr_next_str(struct gguf_array *a, const char **s, size_t *len)
{
    if (a->type != GGUF_TYPE_STRING || a->n == 0)
        return false;
    *len = (size_t)gguf_le64(a->data);
    *s = (const char *)a->data + 8;
    a->data += 8 + *len;
    a->n--;
    return true;
}

bool gguf_arr_i64(const struct gguf_array *a, uint64_t i, int64_t *out)
{
    size_t size = gguf_scalar_size[a->type];
    return i < a->n && size && gguf_read_i64(a->type, a->data + (size_t)i * size, out);
}

bool gguf_arr_f32(const struct gguf_array *a, uint64_t i, float *out)
{
    size_t size = gguf_scalar_size[a->type];
    return i < a->n && size && gguf_read_f32(a->type, a->data + (size_t)i * size, out);
}

bool gguf_tensor_at(const struct gguf *g, int i, struct gguf_tensor *out)
{
    if (i < 0 || i >= g->n_tensors)
        return false;
    struct gguf_cursor c = { .data = g->data, .size = g->size, .pos = g->tensors[i].at };
    gguf_read_tensor(&c, out);                      // has succeeded before
    out->data = g->data + g->data_offset + (size_t)out->offset;
    return true;
}

bool gguf_find_tensor(const struct gguf *g, const char *name, struct gguf_tensor *out)
{
    size_t len = strlen(name);
    uint32_t hash = gguf_hash(name, len);
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].hash == hash && gguf_tensor_at(g, i, out)
            && out->name_len == len && memcmp(out->name, name, len) == 0)
            return true;
    return false;
}
