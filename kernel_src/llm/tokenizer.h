/* tokenizer.h: tangled from nbs/llm/14_tokenizer.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/14_tokenizer.ipynb § What is a vocabulary? ---- */

/* tokenizer.h: text to token ids and back, by the vocabulary in a GGUF (SentencePiece
 * "SPM").
 *
 * The vocabulary points into the file's bytes, which must outlive it. Tokenizing takes
 * scratch memory from kmalloc and gives it back. Text may hold any bytes, also what is
 * not UTF-8. Called by llm.c and api/. */
// twin: tokenizer.c gguf.c ggml-type.c
#pragma once
#include "base/memory.h"
#include "llm/gguf.h"

typedef int32_t llama_token;
#define LLAMA_TOKEN_NULL (-1)

#define LLAMA_TOKENIZE_MAX     65536          // bytes of text in one call
#define LLAMA_TOKEN_BYTES_MAX  1024           // of one piece: a longer one is refused
#define LLAMA_SPECIAL_MAX \
    1024 // control and user-defined tokens that are looked for in text
#define LLAMA_TOKENIZE_FAILED  INT32_MIN      // text too long, or no memory

enum llama_token_type { // as in tokenizer.ggml.token_type
    LLAMA_TOKEN_TYPE_UNDEFINED,
    LLAMA_TOKEN_TYPE_NORMAL,
    LLAMA_TOKEN_TYPE_UNKNOWN,
    LLAMA_TOKEN_TYPE_CONTROL,
    LLAMA_TOKEN_TYPE_USER_DEFINED,
    LLAMA_TOKEN_TYPE_UNUSED,
    LLAMA_TOKEN_TYPE_BYTE,
};
enum llama_vocab_type { LLAMA_VOCAB_TYPE_NONE, LLAMA_VOCAB_TYPE_SPM };

struct llama_vocab_token {
    const char *text;
    uint32_t len;
    float score;
    uint8_t type;
    bool eog;
};

struct llama_vocab {
    enum llama_vocab_type type;
    int32_t n_tokens;
    struct llama_vocab_token *token;          // (n_tokens)
    int32_t *hash; // (n_hash, a power of two) token ids, open addressing; -1: empty
    uint32_t n_hash;
    llama_token byte_token[256];              // <0x00> … <0xFF>, or LLAMA_TOKEN_NULL
    llama_token special[LLAMA_SPECIAL_MAX];   // longest first
    int32_t n_special;
    llama_token bos, eos, eot, unk;
    bool add_bos, add_eos, add_space_prefix;
};

bool llama_vocab_load(struct llama_vocab *v, const struct gguf *g, struct arena *a,
                      char *err, size_t err_cap);

/* Number of tokens, or -(number) when they do not fit n_max, or LLAMA_TOKENIZE_FAILED.
 * add_special: BOS/EOS as the model wants. parse_special: "<s>" in the text means the
 * token. */
int32_t llama_tokenize(const struct llama_vocab *v, const char *text, int32_t len,
                       llama_token *tokens, int32_t n_max, bool add_special,
                       bool parse_special);

/* Bytes written, or -(bytes needed). lstrip: leading spaces to leave out. special: show
 * control tokens. */
int32_t llama_token_to_piece(const struct llama_vocab *v, llama_token id, char *buf,
                             int32_t cap, int32_t lstrip, bool special);
int32_t llama_detokenize(const struct llama_vocab *v, const llama_token *tokens,
                         int32_t n, char *buf, int32_t cap, bool remove_special,
                         bool unparse_special);

const char *llama_vocab_get_text(const struct llama_vocab *v, llama_token id,
                                 size_t *len); // the piece as stored
llama_token llama_vocab_find(const struct llama_vocab *v, const char *text,
                             size_t len); // or LLAMA_TOKEN_NULL
bool llama_vocab_is_eog(const struct llama_vocab *v, llama_token id);
bool llama_vocab_is_control(const struct llama_vocab *v, llama_token id);
static inline int32_t llama_vocab_n_tokens(const struct llama_vocab *v)
{
    return v->n_tokens;
}
static inline llama_token llama_vocab_bos(const struct llama_vocab *v) { return v->bos; }
static inline llama_token llama_vocab_eos(const struct llama_vocab *v) { return v->eos; }
static inline llama_token llama_vocab_eot(const struct llama_vocab *v) { return v->eot; }
static inline bool llama_vocab_get_add_bos(const struct llama_vocab *v)
{
    return v->add_bos;
}
static inline int llama_vocab_type(const struct llama_vocab *v) { return (int)v->type; }
