/* sampler.h: tangled from nbs/llm/15_sampler.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/15_sampler.ipynb § The header ---- */

/* sampler.h: choosing the next token from logits.
 *
 * Order and arithmetic follow llama.cpp's default chain, so that a seed gives the same
 * text. One sampler per slot; the candidate array is scratch and may be shared between
 * slots. No allocation. Pure. Called by llm.c. */
// twin: sampler.c fmath.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LLAMA_DEFAULT_SEED 0xFFFFFFFFu      // "choose one for me"
#define LLAMA_PENALTY_LAST_N_MAX 1024       // repeat_last_n is clamped to this
#define MT19937_N 624

struct mt19937 { uint32_t x[MT19937_N]; int at; };
void mt19937_seed(struct mt19937 *r, uint32_t seed);
uint32_t mt19937_next(struct mt19937 *r);
double mt19937_uniform(struct mt19937 *r);  // [0, 1), from two draws

struct llama_logit_bias { int32_t token; float bias; };

struct llama_sampler_params {
    uint32_t seed;
    float temp;                             // <= 0: greedy
    int32_t top_k;                          // <= 0: off
    float top_p;                            // >= 1: off
    float min_p;                            // <= 0: off
    float repeat_penalty, frequency_penalty, presence_penalty;
    int32_t repeat_last_n; // 0: off; -1: as far as LLAMA_PENALTY_LAST_N_MAX
    int32_t min_keep;
    int32_t n_logit_bias;
    const struct llama_logit_bias *logit_bias;
};
struct llama_sampler_params llama_sampler_default_params(void);

struct llama_token_data { int32_t id; float logit, p; };

struct llama_sampler {
    struct llama_sampler_params params;
    struct mt19937 rng;
    uint32_t seed;                          // the one in use
    int32_t n_vocab;
    struct llama_token_data *cand;          // (n_vocab) scratch
    int32_t n_prev, prev[LLAMA_PENALTY_LAST_N_MAX];   // the last tokens, a ring
};

void llama_sampler_init(struct llama_sampler *s, const struct llama_sampler_params *p,
                        int32_t n_vocab, struct llama_token_data *cand, uint32_t entropy);
void llama_sampler_accept(struct llama_sampler *s, int32_t token); // prompt tokens too
int32_t llama_sampler_sample(struct llama_sampler *s, const float *logits);
