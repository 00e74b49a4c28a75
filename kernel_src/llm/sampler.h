/* sampler.h: tangled from nbs/llm/15_sampler.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/15_sampler.ipynb § The header ---- */

/* sampler.h: choosing the next token from logits.
 *
 * A chain of stages, each a member of linker set `sampler`. Order and arithmetic follow
 * llama.cpp's, so that a seed gives the same text. One sampler per slot; the candidate
 * array is scratch and may be shared between slots. No allocation. Pure. Called by
 * llm.c. */
// twin: sampler.c fmath.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/kernel.h"

#define LLAMA_DEFAULT_SEED 0xFFFFFFFFu      // "choose one for me"
#define LLAMA_PENALTY_LAST_N_MAX 1024       // repeat_last_n is clamped to this
#define LLAMA_SAMPLERS_MAX 16               // stages in one chain
#define LLAMA_DRY_BREAKERS_MAX 16           // sequence breakers of one request
#define MT19937_N 624

struct mt19937 { uint32_t x[MT19937_N]; int at; };
void mt19937_seed(struct mt19937 *r, uint32_t seed);
uint32_t mt19937_next(struct mt19937 *r);
double mt19937_uniform(struct mt19937 *r);  // [0, 1), from two draws

struct llama_logit_bias { int32_t token; float bias; };

struct llama_sampler_params {
    uint32_t seed;
    int32_t n_samplers;
    const char *samplers[LLAMA_SAMPLERS_MAX]; // stages by name, in their order
    float temp;                             // <= 0: greedy
    int32_t top_k;                          // <= 0: off
    float top_p;                            // >= 1: off
    float min_p;                            // <= 0: off
    float repeat_penalty, frequency_penalty, presence_penalty;
    int32_t repeat_last_n; // 0: off; -1: as far as LLAMA_PENALTY_LAST_N_MAX
    int32_t min_keep;
    int32_t n_logit_bias;
    const struct llama_logit_bias *logit_bias;

    float top_n_sigma;                      // from here on: chapter 27. <= 0: off
    float typ_p;                            // >= 1: off
    float xtc_probability, xtc_threshold;   // <= 0, > 0.5: off
    float dynatemp_range, dynatemp_exponent; // <= 0: off
    int32_t mirostat;                       // 1, 2: instead of the chain
    float mirostat_tau, mirostat_eta;
    float adaptive_target, adaptive_decay;
    float dry_multiplier, dry_base;         // 0, < 1: off
    int32_t dry_allowed_length, dry_penalty_last_n; // ..., 0: off
    const struct llama_dry_breakers *dry_breakers;
};
struct llama_sampler_params llama_sampler_default_params(void);

struct llama_token_data { int32_t id; float logit, p; };
struct llama_token_data_array {
    struct llama_token_data *data;
    int32_t size, selected;                 // selected: index, or -1
    bool sorted;                            // best first
};

struct llama_sampler {
    struct llama_sampler_params params;
    struct mt19937 rng;
    uint32_t seed;                          // the one in use
    int32_t n_vocab, n_chain;
    const struct llama_sampler_stage *chain[LLAMA_SAMPLERS_MAX];
    struct llama_token_data *cand;          // (n_vocab) scratch
    int32_t n_prev, prev[LLAMA_PENALTY_LAST_N_MAX];   // the last tokens, a ring
    struct mt19937 xtc_rng;                 // from here on: state of chapter 27's stages
    float mu, weighted_sum, total_weight;
};

struct llama_sampler_stage {
    const char *name;                       // as in the API's "samplers"
    uint8_t rank;                           // its place in the default chain; 0: none
    bool cut;                               // never removes the most likely candidate
    bool last;                              // chooses the token: instead of the draw
    bool (*init)(struct llama_sampler *s);  // at a request's start; false: it is off
    void (*apply)(struct llama_sampler *s, struct llama_token_data_array *c);
};
#define SAMPLER(id) LINKER_SET(sampler, struct llama_sampler_stage, sampler_##id)
const struct llama_sampler_stage *llama_sampler_find(const char *name); // or NULL

void llama_sampler_init(struct llama_sampler *s, const struct llama_sampler_params *p,
                        int32_t n_vocab, struct llama_token_data *cand, uint32_t entropy);
void llama_sampler_accept(struct llama_sampler *s, int32_t token); // prompt tokens too
int32_t llama_sampler_sample(struct llama_sampler *s, const float *logits);
/* The same on candidates that are there already: afterwards c holds what was left. */
void llama_sampler_apply(struct llama_sampler *s, struct llama_token_data_array *c);

/* ---- what stages are made of ---- */
bool llama_sampler_chain_add(struct llama_sampler *s, const char *name);
int32_t llama_sampler_past(const struct llama_sampler *s, int32_t i); // 0: the last token
float llama_token_data_array_max(const struct llama_token_data_array *c);
/* Keeps the best k >= 1, best first. */
void llama_token_data_array_top(struct llama_token_data_array *c, int32_t k);
/* Fills in p; returns the sum that it was divided by. */
float llama_sampler_softmax(struct llama_token_data_array *c, bool sort);
void llama_sampler_scale(struct llama_token_data_array *c, float temp);

/* A small number for each of the last tokens: open addressing, at most half full. */
#define TOKEN_MAP_SIZE (2 * LLAMA_PENALTY_LAST_N_MAX)
struct token_map { int32_t token[TOKEN_MAP_SIZE]; int16_t value[TOKEN_MAP_SIZE]; };
void token_map_init(struct token_map *m);
int16_t *token_map_put(struct token_map *m, int32_t token); // 0 when it is new
int16_t token_map_get(const struct token_map *m, int32_t token); // 0 when it is absent
