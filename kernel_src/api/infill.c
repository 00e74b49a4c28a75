/* infill.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Filling in the middle ---- */

/* infill.c: see infill.h. Names and keys: src/llama-vocab.cpp. */
#include "api/infill.h"
#include "base/string.h"

static const struct fim_name { int which; const char *text; } fim_names[] = {
    { 0, "<|fim_prefix|>" },   { 1, "<|fim_suffix|>" },  { 2, "<|fim_middle|>" },
    { 0, "<fim-prefix>" },     { 1, "<fim-suffix>" },    { 2, "<fim-middle>" },
    { 0, "<fim_prefix>" },     { 1, "<fim_suffix>" },    { 2, "<fim_middle>" },
    { 0, "<｜fim▁begin｜>" },  { 1, "<｜fim▁hole｜>" },  { 2, "<｜fim▁end｜>" },
    { 0, "<PRE>" },            { 1, "<SUF>" },           { 2, "<MID>" },
    { 0, "▁<PRE>" },           { 1, "▁<SUF>" },          { 2, "▁<MID>" },
    { 0, "<|code_prefix|>" },  { 1, "<|code_suffix|>" }, { 2, "<|code_middle|>" },
    { 0, "<|prefix|>" },       { 1, "<|suffix|>" },      { 2, "<|middle|>" },
    { 3, "<|fim_pad|>" },      { 3, "<fim-pad>" },       { 3, "<fim_pad>" },
    { 3, "<PAD>" },            { 3, "[PAD]" },           { 4, "<|fim_repo|>" },
    { 4, "<|repo_name|>" },    { 4, "<fim-repo>" },      { 4, "<REPO>" },
    { 4, "<reponame>" },       { 5, "<|file_sep|>" },
};
static const char *const fim_keys[] = {
    "tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id",
    "tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id",
    "tokenizer.ggml.prefix_token_id",  "tokenizer.ggml.suffix_token_id",
    "tokenizer.ggml.middle_token_id",                         // the old names of three
};

void fim_find(struct fim_tokens *f, struct llama_vocab *v, const struct gguf *g)
{
    llama_token *const t[] = { &f->pre, &f->suf, &f->mid, &f->pad, &f->rep, &f->sep };
    for (int i = 0; i < 6; i++)
        *t[i] = LLAMA_TOKEN_NULL;
    for (size_t i = 0; i < sizeof fim_keys / sizeof fim_keys[0]; i++) {
        int64_t id;
        if (gguf_i64(g, fim_keys[i], &id) && id >= 0 && id < v->n_tokens)
            *t[i % 6] = (llama_token)id;
    }
    for (size_t i = 0; i < sizeof fim_names / sizeof fim_names[0]; i++)
        if (*t[fim_names[i].which] == LLAMA_TOKEN_NULL)
            *t[fim_names[i].which] =
                llama_vocab_find(v, fim_names[i].text, strlen(fim_names[i].text));
    for (int i = 0; i < 6; i++) {
        if (*t[i] == LLAMA_TOKEN_NULL)
            continue;
        v->token[*t[i]].type = LLAMA_TOKEN_TYPE_CONTROL;
        v->token[*t[i]].eog |= i >= 3;
    }
}

static int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }
static int32_t most(int32_t a, int32_t b) { return a > b ? a : b; }

static int32_t add(llama_token *out, int32_t at, const llama_token *t, int32_t n)
{
    if (n)
        memcpy(out + at, t, (size_t)n * sizeof *t);
    return at + n;
}

int32_t infill_join(llama_token *out, const struct infill *in, const struct fim_tokens *f,
                    llama_token bos, int32_t n_ctx)
{
    int32_t batch = least(INFILL_BATCH, most(0, n_ctx - 4)), at = 0,
            prefix = least(in->prefix.n, 3 * (batch / 4)),
            suffix = least(in->suffix.n, most(0, batch / 4 - (2 + in->prompt.n))),
            extra = least(in->extra.n, most(0, n_ctx - INFILL_BATCH - 4));
    at = add(out, at, in->extra.t + in->extra.n - extra, extra);
    if (bos != LLAMA_TOKEN_NULL)
        out[at++] = bos;
    out[at++] = f->pre;
    at = add(out, at, in->prefix.t + in->prefix.n - prefix, prefix);
    at = add(out, at, in->prompt.t, in->prompt.n);
    out[at++] = f->suf;
    at = add(out, at, in->suffix.t, suffix);
    out[at++] = f->mid;
    return at;
}
