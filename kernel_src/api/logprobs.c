/* logprobs.c: tangled from nbs/api/30_logprobs.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/30_logprobs.ipynb § What a log-probability is ---- */

/* logprobs.c: see logprobs.h. */
#include "api/logprobs.h"
#include "base/fmath.h"
#include "base/memory.h"
#include "base/string.h"

double log_sum_exp(const float *x, int32_t n)
{
    float max = -INFINITY;
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    if (isinf(max))
        return max;
    for (int32_t i = 0; i < n; i++)
        sum += expf(x[i] - max);
    return max + log(sum);
}

/* ---- nbs/api/30_logprobs.ipynb § Records ---- */

void logprobs_init(struct logprobs *l, int32_t n_top, bool post)
{
    *l = (struct logprobs){ .n_top = n_top, .post = post };
}

void logprobs_free(struct logprobs *l)
{
    kfree(l->record);
    l->record = NULL;
    l->n = l->cap = 0;
}

static size_t record_size(const struct logprobs *l)
{
    return sizeof(struct logprob_record) + (size_t)l->n_top * sizeof(struct logprob);
}

bool logprobs_reserve(struct logprobs *l, int32_t n)
{
    if (n <= l->cap)
        return true;
    if ((size_t)n > LOGPROBS_BYTES_MAX / record_size(l))
        return false;
    uint8_t *p = krealloc(l->record, (size_t)n * record_size(l));
    if (!p)
        return false;
    l->record = p;
    l->cap = n;
    return true;
}

struct logprob_record *logprobs_at(const struct logprobs *l, int32_t i)
{
    return (struct logprob_record *)(l->record + (size_t)i * record_size(l));
}

struct logprob_record *logprobs_add(struct logprobs *l, int32_t token)
{
    if (l->n == l->cap && !logprobs_reserve(l, l->cap + l->cap / 2 + 16) &&
        !logprobs_reserve(l, l->n + 1))
        return NULL;
    struct logprob_record *r = logprobs_at(l, l->n++);
    *r = (struct logprob_record){ .token = { token, NAN } };
    return r;
}

/* ---- nbs/api/30_logprobs.ipynb § From the model's logits ---- */

static void take_top(struct logprob_record *r, struct llama_token_data_array *c,
                     int32_t n)
{
    n = n < c->size ? n : c->size;
    if (n > 0)
        llama_token_data_array_top(c, n);
    for (int32_t i = 0; i < n; i++)
        r->top[i] = (struct logprob){ c->data[i].id, c->data[i].logit };
    r->n_top = n;
}

void logprobs_from_logits(const struct logprobs *l, struct logprob_record *r,
                          const float *logits, int32_t n_vocab,
                          struct llama_token_data *scratch)
{
    struct llama_token_data_array c = { scratch, n_vocab, -1, false };
    double all = log_sum_exp(logits, n_vocab);
    for (int32_t i = 0; l->n_top > 0 && i < n_vocab; i++)
        scratch[i] = (struct llama_token_data){ i, logits[i], 0 };
    take_top(r, &c, l->n_top);
    for (int32_t i = 0; i < r->n_top; i++)
        r->top[i].p = (float)(r->top[i].p - all);
    r->token.p = (float)(logits[r->token.id] - all);
}

/* ---- nbs/api/30_logprobs.ipynb § From what the samplers left ---- */

/* The probabilities of the candidates, into their logits. A stage of the chain that
 * chooses has normalised them; the plain draw leaves them relative to the largest, and
 * does not look at a single candidate, nor at infinite logits. */
static void probabilities(struct llama_token_data_array *c, int32_t token)
{
    float max = 0;
    double sum = 0;
    for (int32_t i = 0; i < c->size; i++) {
        sum += c->data[i].p;
        max = c->data[i].p > max ? c->data[i].p : max;
    }
    bool known = c->size > 1 && sum > 0 && isfinite(sum);
    for (int32_t i = 0; i < c->size; i++)
        c->data[i].logit = !known        ? c->data[i].id == token
                           : max == 1.0f ? (float)(c->data[i].p / sum)
                                         : c->data[i].p;
    c->sorted = false;
}

void logprobs_from_candidates(const struct logprobs *l, struct logprob_record *r,
                              const struct llama_token_data_array *left)
{
    struct llama_token_data_array c = *left;
    probabilities(&c, r->token.id);
    for (int32_t i = 0; i < c.size; i++)
        if (c.data[i].id == r->token.id)
            r->token.p = c.data[i].logit;
    take_top(r, &c, l->n_top);
    while (r->n_top > 0 && r->top[r->n_top - 1].p == 0)    // as llama-server: these are
        r->n_top--;                                        // not in the running
}
