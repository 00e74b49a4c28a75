/* params.h: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § From JSON to parameters ---- */

/* params.h: the fields of a completion request, read and checked. Called by completion.c.
 */
#pragma once
#include "api/api.h"

#define STOP_MAX       16        // stop strings in a request
#define STOP_BYTES_MAX 4096      // in all of them: each new token is compared with each
#define LOGIT_BIAS_MAX 128

struct gen_params {
    struct llama_sampler_params sampling;
    int32_t n_predict, n, id_slot;
    int32_t n_indent, t_max_predict_ms, sse_ping_interval;
    bool stream, include_usage, cache_prompt, ignore_eos, return_tokens;
    int n_stop;
    const char *stop[STOP_MAX];                  // into the JSON document
    int n_bias;
    struct llama_logit_bias bias[LOGIT_BIAS_MAX];
    int n_breakers;                              // DRY's
    const char *breaker[LLAMA_DRY_BREAKERS_MAX]; // into the JSON document, or defaults
    bool timings_per_token, return_progress;     // in each piece of a stream
    int32_t n_probs;                             // from here on: chapter 30
    bool logprobs, post_sampling_probs, echo, echo_logprobs;
    const struct json_node *response_fields;
    struct constrain *constrain;                 // chapter 29's; NULL: none
};

/* false: status and message say what to answer. */
struct params_error { int status; const char *type; char message[300]; };
bool gen_params_read(struct gen_params *p, const struct json_node *body, bool chat,
                     struct params_error *err);
/* generation_settings; only_metrics: without what points into the request. */
void gen_params_write(struct json_writer *w, const struct gen_params *p,
                      bool only_metrics);
/* What sampling needs and the heap must hold. false: no memory. Free it in any case. */
bool gen_params_prepare(struct gen_params *p);
void gen_params_free(struct gen_params *p);

/* Chapter 30, if it is linked. */
bool logprob_params_read(struct gen_params *p, const struct json_node *body, bool chat,
                         struct params_error *err) __attribute__((weak));
bool response_fields_read(struct gen_params *p, const struct json_node *body,
                          struct params_error *err) __attribute__((weak));
