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

LINKER_SET_DECLARE(sampler, struct llama_sampler_stage);

const struct llama_sampler_stage *llama_sampler_find(const char *name)
{
    LINKER_SET_FOREACH(sampler, struct llama_sampler_stage, st)
        if (strcmp(st->name, name) == 0)
            return st;
    return NULL;
}

struct llama_sampler_params llama_sampler_default_params(void)
{
    struct llama_sampler_params p = {
        .seed = LLAMA_DEFAULT_SEED,
        .temp = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .repeat_penalty = 1.0f,
        .repeat_last_n = 64,
        .top_n_sigma = -1.0f,
        .typ_p = 1.0f,
        .xtc_threshold = 0.1f,
        .dynatemp_exponent = 1.0f,
        .mirostat_tau = 5.0f,
        .mirostat_eta = 0.1f,
        .adaptive_target = -1.0f,
        .adaptive_decay = 0.9f,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_penalty_last_n = 64,
    };
    for (int rank = 1; rank <= UINT8_MAX; rank++)
        LINKER_SET_FOREACH(sampler, struct llama_sampler_stage, st)
            if (st->rank == rank && p.n_samplers < LLAMA_SAMPLERS_MAX)
                p.samplers[p.n_samplers++] = st->name;
    return p;
}

bool llama_sampler_chain_add(struct llama_sampler *s, const char *name)
{
    const struct llama_sampler_stage *st = llama_sampler_find(name);
    if (!st || !st->init(s) || s->n_chain == LLAMA_SAMPLERS_MAX)
        return false;
    s->chain[s->n_chain++] = st;
    return true;
}

static void chain_build(struct llama_sampler *s)
{
    const struct llama_sampler_params *p = &s->params;
    const char *last = NULL;
    s->n_chain = 0;
    if (p->mirostat) {
        llama_sampler_chain_add(s, "temperature");
        llama_sampler_chain_add(s, p->mirostat == 1 ? "mirostat" : "mirostat_v2");
        return;
    }
    for (int32_t i = 0; i < p->n_samplers && i < LLAMA_SAMPLERS_MAX; i++) {
        const struct llama_sampler_stage *st = llama_sampler_find(p->samplers[i]);
        if (st && st->last)
            last = st->name;
        else
            llama_sampler_chain_add(s, p->samplers[i]);
    }
    if (last)
        llama_sampler_chain_add(s, last);
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
    chain_build(s);
}

void llama_sampler_accept(struct llama_sampler *s, int32_t token)
{
    s->prev[s->n_prev++ % LLAMA_PENALTY_LAST_N_MAX] = token;
}

int32_t llama_sampler_past(const struct llama_sampler *s, int32_t i)
{
    return s->prev[(s->n_prev - 1 - i) % LLAMA_PENALTY_LAST_N_MAX];
}

/* ---- nbs/llm/15_sampler.ipynb § Penalties ---- */

void token_map_init(struct token_map *m)
{
    memset(m->token, -1, sizeof m->token);  // -1: a free place
}

static uint32_t token_place(const struct token_map *m, int32_t token)
{
    _Static_assert(TOKEN_MAP_SIZE == 1 << 11, "the hash has 11 bits");
    uint32_t i = (uint32_t)token * 2654435769u >> 21; // Knuth's multiplicative hash
    while (m->token[i] != token && m->token[i] != -1)
        i = (i + 1) % TOKEN_MAP_SIZE;
    return i;
}

int16_t *token_map_put(struct token_map *m, int32_t token)
{
    uint32_t i = token_place(m, token);
    if (m->token[i] == -1)
        m->value[i] = 0;
    m->token[i] = token;
    return &m->value[i];
}

int16_t token_map_get(const struct token_map *m, int32_t token)
{
    uint32_t i = token_place(m, token);
    return m->token[i] == -1 ? 0 : m->value[i];
}

static bool penalties_init(struct llama_sampler *s)
{
    const struct llama_sampler_params *p = &s->params;
    return p->repeat_last_n != 0 &&
           !(p->repeat_penalty == 1.0f && p->frequency_penalty == 0.0f &&
             p->presence_penalty == 0.0f);
}

static void penalties_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    const struct llama_sampler_params *p = &s->params;
    int32_t n = s->n_prev < p->repeat_last_n ? s->n_prev : p->repeat_last_n;
    struct token_map counts;
    token_map_init(&counts);
    for (int32_t i = 0; i < n; i++)
        if (llama_sampler_past(s, i) >= 0)
            ++*token_map_put(&counts, llama_sampler_past(s, i));
    for (int32_t i = 0; i < c->size; i++) {
        float count = token_map_get(&counts, c->data[i].id);
        if (count == 0)
            continue;
        float *logit = &c->data[i].logit;
        *logit = *logit <= 0 ? *logit * p->repeat_penalty : *logit / p->repeat_penalty;
        *logit -= count * p->frequency_penalty + p->presence_penalty;
    }
    c->sorted = false;
}
SAMPLER(penalties) = { .name = "penalties", .rank = 10, .init = penalties_init,
                       .apply = penalties_apply };

static void apply_bias(const struct llama_sampler *s, struct llama_token_data_array *c)
{
    for (int32_t i = 0; i < s->params.n_logit_bias; i++) {
        int32_t t = s->params.logit_bias[i].token;
        if (t >= 0 && t < c->size && c->data[t].id == t)
            c->data[t].logit += s->params.logit_bias[i].bias;
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

void llama_token_data_array_top(struct llama_token_data_array *c, int32_t k)
{
    k = k < c->size ? k : c->size;
    if (!c->sorted)
        partial_sort(c->data, c->size, k);
    c->sorted = true;
    c->size = k;
}

/* ---- nbs/llm/15_sampler.ipynb § Cutting the tail ---- */

float llama_token_data_array_max(const struct llama_token_data_array *c)
{
    float m = c->data[0].logit;
    for (int32_t i = 1; !c->sorted && i < c->size; i++)
        m = c->data[i].logit > m ? c->data[i].logit : m;
    return m;
}

float llama_sampler_softmax(struct llama_token_data_array *c, bool sort)
{
    if (sort)
        llama_token_data_array_top(c, c->size);
    float m = llama_token_data_array_max(c), sum = 0;
    for (int32_t i = 0; i < c->size; i++)
        sum += c->data[i].p = expf(c->data[i].logit - m);
    for (int32_t i = 0; i < c->size; i++)
        c->data[i].p /= sum;
    return sum;
}

static bool top_k_init(struct llama_sampler *s) { return s->params.top_k > 0; }

static void top_k_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    llama_token_data_array_top(c, s->params.top_k);
}
SAMPLER(top_k) = { .name = "top_k", .rank = 40, .cut = true,
                   .init = top_k_init, .apply = top_k_apply };

static bool top_p_init(struct llama_sampler *s) { return s->params.top_p < 1.0f; }

static void top_p_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    const struct llama_sampler_params *p = &s->params;
    float cum = 0;
    llama_sampler_softmax(c, false);
    llama_token_data_array_top(c, c->size);
    for (int32_t i = 0; i < c->size; i++) {
        cum += c->data[i].p;
        if (cum >= p->top_p && i + 1 >= p->min_keep) {
            c->size = i + 1;
            return;
        }
    }
}
SAMPLER(top_p) = { .name = "top_p", .rank = 60, .cut = true,
                   .init = top_p_init, .apply = top_p_apply };

static bool min_p_init(struct llama_sampler *s) { return s->params.min_p > 0.0f; }

static void min_p_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    int32_t n = 0, min_keep = s->params.min_keep;
    float least = llama_token_data_array_max(c) + logf(s->params.min_p);
    for (int32_t i = 0; !c->sorted && i < c->size; i++)
        n += c->data[i].logit >= least;
    if (n >= min_keep && n > 0) {           // unsorted, and enough are left
        n = 0;
        for (int32_t i = 0; i < c->size; i++)
            if (c->data[i].logit >= least)
                c->data[n++] = c->data[i];
        c->size = n;
        return;
    }
    llama_token_data_array_top(c, c->size);
    int32_t i = 1;
    while (i < c->size && !(c->data[i].logit < least && i >= min_keep))
        i++;
    c->size = i;
}
SAMPLER(min_p) = { .name = "min_p", .rank = 70, .cut = true,
                   .init = min_p_init, .apply = min_p_apply };

/* ---- nbs/llm/15_sampler.ipynb § The draw ---- */

static int32_t argmax(const struct llama_token_data_array *c)
{
    int32_t best = 0;
    for (int32_t i = 1; i < c->size; i++)
        if (c->data[i].logit > c->data[best].logit)
            best = i;
    return best;
}

void llama_sampler_scale(struct llama_token_data_array *c, float temp)
{
    if (temp <= 0) {
        c->data[0] = c->data[argmax(c)];
        c->size = 1;
    }
    for (int32_t i = 0; temp > 0 && i < c->size; i++)
        c->data[i].logit /= temp;
}

static bool temperature_init(struct llama_sampler *s)
{
    if (s->params.dynatemp_range > 0 && !s->params.mirostat &&
        llama_sampler_chain_add(s, "temp_ext"))
        return false;                       // chapter 27's stage stands in for this one
    while (s->params.temp <= 0 && s->n_chain > 0 && s->chain[s->n_chain - 1]->cut)
        s->n_chain--;                       // no cut can remove the largest
    return true;
}

static void temperature_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    llama_sampler_scale(c, s->params.temp);
}
SAMPLER(temperature) = { .name = "temperature", .rank = 90,
                         .init = temperature_init, .apply = temperature_apply };

static int32_t draw(struct llama_token_data_array *c, struct mt19937 *rng)
{
    if (c->size == 1) {
        mt19937_uniform(rng); // one number, though none is left to choose
        return 0;
    }
    float m = llama_token_data_array_max(c);
    if (m - m != 0) // infinite: a bias of 1e300, or a temperature of 1e-45
        return argmax(c);
    double sum = 0, run = 0;
    for (int32_t i = 0; i < c->size; i++)
        sum += c->data[i].p = expf(c->data[i].logit - m);
    double target = sum * mt19937_uniform(rng);
    for (int32_t i = 0; i < c->size; i++) {
        run += c->data[i].p;
        if (run >= target)
            return i;
    }
    return c->size - 1;
}

void llama_sampler_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    apply_bias(s, c);
    for (int32_t i = 0; i < s->n_chain; i++)
        s->chain[i]->apply(s, c);
    if (c->selected < 0)
        c->selected = draw(c, &s->rng);
}

int32_t llama_sampler_sample(struct llama_sampler *s, const float *logits)
{
    struct llama_token_data_array c = { s->cand, s->n_vocab, -1, false };
    for (int32_t i = 0; i < c.size; i++)
        c.data[i] = (struct llama_token_data){ i, logits[i], 0 };
    llama_sampler_apply(s, &c);
    return c.data[c.selected].id;
}
