/* infill.h: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Filling in the middle ---- */

/* infill.h: the prompt of a model that fills in the middle.
 *
 * Such a model was trained on texts cut in three, with marks between the pieces: it is
 * given what comes before and what comes after, and continues at the mark of the middle.
 * Pure. Called by infill_route.c. */
// twin: infill.c tokenizer.c gguf.c ggml-type.c
#pragma once
#include "llm/tokenizer.h"

#define INFILL_BATCH 2048              // llama-server's n_batch: it divides up the room

struct fim_tokens {                    // LLAMA_TOKEN_NULL: the model has none
    llama_token pre, suf, mid;         // needed
    llama_token pad, rep, sep;         // rep: before a project, sep: before a file
};

/* From the GGUF's keys, else by their names. Those found become control tokens; pad, rep
 * and sep end a generation. */
void fim_find(struct fim_tokens *f, struct llama_vocab *v, const struct gguf *g);

struct infill_part { const llama_token *t; int32_t n; };
struct infill { struct infill_part extra, prefix, suffix, prompt; };

/* The prompt, as far as it fits a context of n_ctx; `prompt` itself is never cut. out has
 * room for all parts and four more. bos: LLAMA_TOKEN_NULL, or what the prompt begins
 * with. Its length. */
int32_t infill_join(llama_token *out, const struct infill *in, const struct fim_tokens *f,
                    llama_token bos, int32_t n_ctx);
