/* sampler.c: tangled from nbs/llm/15_sampler.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/15_sampler.ipynb § The generator ---- */

/* sampler.c: see sampler.h. Comments name the rule where float or double matters. */
#include "base/fmath.h"
#include "base/string.h"
#include "llm/sampler.h"

void mt19937_seed(struct mt19937 *r, uint32_t seed)
{
    r->x[0] = seed;
    for (uint32_t i = 1; i < MT19937_N; i++)
        r->x[i] = 1812433253u * (r->x[i - 1] ^ (r->x[i - 1] >> 30)) + i;
    r->at = MT19937_N;
}

static void mt19937_refill(struct mt19937 *r)
{
    for (int i = 0; i < MT19937_N; i++) {
        uint32_t y = (r->x[i] & 0x80000000u) | (r->x[(i + 1) % MT19937_N] & 0x7FFFFFFFu);
        r->x[i] = r->x[(i + 397) % MT19937_N] ^ (y >> 1) ^ (y & 1 ? 0x9908B0DFu : 0);
    }
    r->at = 0;
}

uint32_t mt19937_next(struct mt19937 *r)
{
    if (r->at == MT19937_N)
        mt19937_refill(r);
    uint32_t y = r->x[r->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

double mt19937_uniform(struct mt19937 *r)
{
    double lo = mt19937_next(r), hi = mt19937_next(r);
    double u = (lo + hi * 4294967296.0) / 18446744073709551616.0;
    return u < 1.0 ? u : 0x1.fffffffffffffp-1;
}

/* ---- nbs/llm/15_sampler.ipynb § Parameters and the past ---- */

struct llama_sampler_params llama_sampler_default_params(void)
{
    return (struct llama_sampler_params){
        .seed = LLAMA_DEFAULT_SEED,
        .temp = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .repeat_penalty = 1.0f,
        .repeat_last_n = 64,
    };
}

void llama_sampler_init(struct llama_sampler *s, const struct llama_sampler_params *p,
                        int32_t n_vocab, struct llama_token_data *cand, uint32_t entropy)
{
    s->params = *p;
    if (p->repeat_last_n < 0 || p->repeat_last_n > LLAMA_PENALTY_LAST_N_MAX)
        s->params.repeat_last_n = LLAMA_PENALTY_LAST_N_MAX;
    s->seed = p->seed == LLAMA_DEFAULT_SEED ? entropy : p->seed;
    mt19937_seed(&s->rng, s->seed);
    s->n_vocab = n_vocab;
    s->cand = cand;
    s->n_prev = 0;
}

void llama_sampler_accept(struct llama_sampler *s, int32_t token)
{
    s->prev[s->n_prev++ % LLAMA_PENALTY_LAST_N_MAX] = token;
}

/* ---- nbs/llm/15_sampler.ipynb § Penalties ---- */

static void apply_penalties(const struct llama_sampler *s, struct llama_token_data *c)
{
    const struct llama_sampler_params *p = &s->params;
    if (p->repeat_penalty == 1.0f && p->frequency_penalty == 0.0f &&
        p->presence_penalty == 0.0f)
        return;
    int32_t n = s->n_prev < p->repeat_last_n ? s->n_prev : p->repeat_last_n;
    for (int32_t i = 0; i < n; i++) {
        int32_t token = s->prev[(s->n_prev - 1 - i) % LLAMA_PENALTY_LAST_N_MAX];
        if (token >= 0 && token < s->n_vocab)
            c[token].p++; // not yet in use: counts the token's occurrences
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t token = s->prev[(s->n_prev - 1 - i) % LLAMA_PENALTY_LAST_N_MAX];
        if (token < 0 || token >= s->n_vocab || c[token].p == 0)
            continue;
        float count = c[token].p;
        c[token].p = 0;                                // once is enough
        float *logit = &c[token].logit;
        *logit = *logit <= 0 ? *logit * p->repeat_penalty : *logit / p->repeat_penalty;
        *logit -= count * p->frequency_penalty + p->presence_penalty;
    }
}

static void apply_bias(const struct llama_sampler *s, struct llama_token_data *c)
{
    for (int32_t i = 0; i < s->params.n_logit_bias; i++) {
        int32_t t = s->params.logit_bias[i].token;
        if (t >= 0 && t < s->n_vocab)
            c[t].logit += s->params.logit_bias[i].bias;
    }
}

/* ---- nbs/llm/15_sampler.ipynb § The best k, without sorting the rest ---- */

static bool better(const struct llama_token_data *a, const struct llama_token_data *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* c[0, n) is a heap with the worst on top, except that c[i] may be too good for its
 * place. */
static void sift_down(struct llama_token_data *c, int32_t n, int32_t i)
{
    struct llama_token_data x = c[i];
    for (int32_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && better(&c[k], &c[k + 1]))
            k++;
        if (!better(&x, &c[k]))
            break;
        c[i] = c[k];
    }
    c[i] = x;
}

/* Afterwards c[0, k) are the best k of n, best first. */
static void partial_sort(struct llama_token_data *c, int32_t n, int32_t k)
{
    struct llama_token_data t;
    for (int32_t i = k / 2 - 1; i >= 0; i--)
        sift_down(c, k, i);
    for (int32_t i = k; i < n; i++)
        if (better(&c[i], &c[0])) {
            t = c[i], c[i] = c[0], c[0] = t;
            sift_down(c, k, 0);
        }
    for (int32_t i = k - 1; i > 0; i--) {
        t = c[i], c[i] = c[0], c[0] = t;
        sift_down(c, i, 0);
    }
}

/* ---- nbs/llm/15_sampler.ipynb § Cutting the tail ---- */

struct cands { struct llama_token_data *d; int32_t n; bool sorted; };

static float max_logit(const struct cands *c)
{
    float m = c->d[0].logit;
    for (int32_t i = 1; !c->sorted && i < c->n; i++)
        m = c->d[i].logit > m ? c->d[i].logit : m;
    return m;
}

static void top_k(struct cands *c, int32_t k)
{
    if (k <= 0)
        return;
    k = k < c->n ? k : c->n;
    if (!c->sorted)
        partial_sort(c->d, c->n, k);
    c->sorted = true;
    c->n = k;
}

static void top_p(struct cands *c, float p, int32_t min_keep)
{
    if (p >= 1.0f)
        return;
    float m = max_logit(c), sum = 0, cum = 0;
    for (int32_t i = 0; i < c->n; i++)
        sum += c->d[i].p = expf(c->d[i].logit - m);
    for (int32_t i = 0; i < c->n; i++)
        c->d[i].p /= sum;
    if (!c->sorted)
        partial_sort(c->d, c->n, c->n);
    c->sorted = true;
    for (int32_t i = 0; i < c->n; i++) {
        cum += c->d[i].p;
        if (cum >= p && i + 1 >= min_keep) {
            c->n = i + 1;
            return;
        }
    }
}

static void min_p(struct cands *c, float p, int32_t min_keep)
{
    if (p <= 0.0f)
        return;
    float least = max_logit(c) + logf(p);
    if (!c->sorted) {
        int32_t n = 0;
        for (int32_t i = 0; i < c->n; i++)
            n += c->d[i].logit >= least;
        if (n >= min_keep && n > 0) {
            n = 0;
            for (int32_t i = 0; i < c->n; i++)
                if (c->d[i].logit >= least)
                    c->d[n++] = c->d[i];
            c->n = n;
            return;
        }
        partial_sort(c->d, c->n, c->n);
        c->sorted = true;
    }
    int32_t i = 1;
    while (i < c->n && !(c->d[i].logit < least && i >= min_keep))
        i++;
    c->n = i;
}

/* ---- nbs/llm/15_sampler.ipynb § The draw ---- */

static int32_t argmax(const struct llama_token_data *c, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (c[i].logit > c[best].logit)
            best = i;
    return c[best].id;
}

static int32_t draw(struct cands *c, struct mt19937 *rng)
{
    if (c->n == 1)
        return c->d[0].id;
    float m = max_logit(c);
    if (m - m != 0) // infinite: a bias of 1e300, or a temperature of 1e-45
        return argmax(c->d, c->n);
    double sum = 0, run = 0;
    for (int32_t i = 0; i < c->n; i++)
        sum += c->d[i].p = expf(c->d[i].logit - m);
    double target = sum * mt19937_uniform(rng);
    for (int32_t i = 0; i < c->n; i++) {
        run += c->d[i].p;
        if (run >= target)
            return c->d[i].id;
    }
    return c->d[c->n - 1].id;
}

int32_t llama_sampler_sample(struct llama_sampler *s, const float *logits)
{
    const struct llama_sampler_params *p = &s->params;
    struct cands c = { s->cand, s->n_vocab, false };
    for (int32_t i = 0; i < c.n; i++)
        c.d[i] = (struct llama_token_data){ i, logits[i], 0 };
    apply_bias(s, c.d);
    apply_penalties(s, c.d);
    if (p->temp <= 0)
        return argmax(c.d, c.n);           // no cut can remove the largest
    top_k(&c, p->top_k);
    top_p(&c, p->top_p, p->min_keep);
    min_p(&c, p->min_p, p->min_keep);
    for (int32_t i = 0; i < c.n; i++)
        c.d[i].logit /= p->temp;
    return draw(&c, &s->rng);
}
