/* logprobs.h: tangled from nbs/api/30_logprobs.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/30_logprobs.ipynb § What a log-probability is ---- */

/* logprobs.h: how likely the model found each token, kept until it is told.
 *
 * A list of records of one size: a token, its log-probability, and the n_top best
 * candidates at its place. Log-probabilities come from the model's own logits, before any
 * sampler; with `post` they are the probabilities that the token was drawn by. Pure, but
 * for kmalloc. Called by logprob_shapes.c. */
// twin: logprobs.c sampler.c memory.c fmath.c
#pragma once
#include "llm/sampler.h"

#define LOGPROBS_BYTES_MAX (1 << 20)   // of one list: the heap is everybody's

struct logprob { int32_t id; float p; };

struct logprob_record {
    struct logprob token;              // p: NAN for the first token of a prompt
    int32_t n_top;
    uint32_t at;                       // the text's bytes before this token
    uint32_t sent_at, sent_len;        // the text that was given out with it
    bool told;                         // it has an entry of its own in llama.cpp's shape
    struct logprob top[];              // the best first
};

struct logprobs {
    int32_t n_top;                     // candidates wanted
    bool post;
    int32_t n, cap;                    // records
    uint8_t *record;                   // kmalloc'ed
};

void logprobs_init(struct logprobs *l, int32_t n_top, bool post);
void logprobs_free(struct logprobs *l);
bool logprobs_reserve(struct logprobs *l, int32_t n); // room for n records in all
struct logprob_record *logprobs_at(const struct logprobs *l, int32_t i);
/* A new record for `token`, with p = NAN and no candidates; NULL: no memory. */
struct logprob_record *logprobs_add(struct logprobs *l, int32_t token);

/* Fill a record in from raw logits (n_vocab) or from what a sampler left. The scratch
 * (n_vocab), and the candidates, are overwritten. */
void logprobs_from_logits(const struct logprobs *l, struct logprob_record *r,
                          const float *logits, int32_t n_vocab,
                          struct llama_token_data *scratch);
void logprobs_from_candidates(const struct logprobs *l, struct logprob_record *r,
                              const struct llama_token_data_array *left);

double log_sum_exp(const float *x, int32_t n); // log(exp(x[0]) + exp(x[1]) + …)
