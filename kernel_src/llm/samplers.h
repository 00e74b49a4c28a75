/* samplers.h: tangled from nbs/llm/27_samplers.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/27_samplers.ipynb § The header ---- */

/* samplers.h: the stages of llama.cpp's sampler chain that are off until a request turns
 * them on: dry, top_n_sigma, typ_p, xtc, temp_ext, mirostat, mirostat_v2, adaptive_p.
 *
 * They join the linker set `sampler` of sampler.h, which also holds their parameters and
 * their state. Pure. llama_dry_breakers_init is called by api/params.c. */
// twin: samplers.c sampler.c tokenizer.c gguf.c ggml-type.c memory.c fmath.c
#pragma once
#include "llm/sampler.h"
#include "llm/tokenizer.h"

#define DRY_BREAKER_BYTES_MAX 40    // a longer breaker is cut off, as upstream
#define DRY_TAIL_MAX          20    // tokens of a breaker behind its first; as upstream
#define DRY_PIECE_MAX         256   // a token with a longer text breaks nothing
#define MIROSTAT_M            100   // mirostat 1 looks at this many candidates

/* The sequence breakers in the vocabulary's terms. One block: kfree it when no sampler
 * uses it any more. NULL: no memory. Empty strings are skipped. */
struct llama_dry_breakers *llama_dry_breakers_init(const struct llama_vocab *v,
                                                   const char *const *text, int32_t n);
