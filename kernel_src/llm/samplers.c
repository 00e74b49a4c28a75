/* samplers.c: tangled from nbs/llm/27_samplers.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/27_samplers.ipynb § Top-n-sigma ---- */

/* samplers.c: see samplers.h. Comments name the rule where float or double matters. */
#include "base/fmath.h"
#include "base/memory.h"
#include "base/string.h"
#include "llm/samplers.h"

static bool is_on(struct llama_sampler *s)
{
    (void)s;
    return true;
}

static bool top_n_sigma_init(struct llama_sampler *s)
{
    return s->params.top_n_sigma > 0.0f;
}

/* The logit below which a candidate is noise. Impossible ones do not count. */
static float top_n_sigma_least(const struct llama_token_data_array *c, float n_sigma)
{
    float max = llama_token_data_array_max(c), sum = 0, squares = 0;
    int32_t n = 0;
    for (int32_t i = 0; i < c->size; i++)
        if (c->data[i].logit != -INFINITY) {
            sum += c->data[i].logit;
            n++;
        }
    if (n == 0)
        return -INFINITY;
    float mean = sum / (float)n;
    for (int32_t i = 0; i < c->size; i++)
        if (c->data[i].logit != -INFINITY) {
            double d = c->data[i].logit - mean;            // the difference is a float,
            squares = (float)((double)squares + d * d);    // its square a double
        }
    return max - n_sigma * sqrtf(squares / (float)n);
}

static void top_n_sigma_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    int32_t size = c->size, n = 0;
    if (size <= 1)
        return;
    float least = top_n_sigma_least(c, s->params.top_n_sigma);
    for (int32_t i = 0; i < size; i++)
        if (c->data[i].logit < least)
            c->data[i].logit = -INFINITY;
        else
            n++;
    llama_token_data_array_top(c, n ? n : 1);
    c->size = size;                                        // the impossible stay in
}
SAMPLER(top_n_sigma) = { .name = "top_n_sigma", .rank = 30, .cut = true,
                         .init = top_n_sigma_init, .apply = top_n_sigma_apply };

/* ---- nbs/llm/27_samplers.ipynb § Typical sampling ---- */

static bool typ_p_init(struct llama_sampler *s) { return s->params.typ_p < 1.0f; }

/* Sorts by | -log p - entropy |, the smallest first; ties: the more likely first. */
static void typ_p_sort(struct llama_token_data_array *c, float max, float sum)
{
    float entropy = 0;
    for (int32_t i = 0; i < c->size; i++)
        if (c->data[i].p > 0)
            entropy += -c->data[i].p * logf(c->data[i].p);
    for (int32_t i = 0; i < c->size; i++) {
        float distance = fabsf(-logf(c->data[i].p) - entropy);
        c->data[i].p = c->data[i].logit;
        c->data[i].logit = -distance;
    }
    c->sorted = false;
    llama_token_data_array_top(c, c->size);
    for (int32_t i = 0, end; i < c->size; i = end) {
        float key = c->data[i].logit;
        for (end = i; end < c->size && (end == i || c->data[end].logit == key); end++)
            c->data[end].logit = c->data[end].p;
        struct llama_token_data_array ties = { c->data + i, end - i, -1, false };
        llama_token_data_array_top(&ties, ties.size);
    }
    for (int32_t i = 0; i < c->size; i++)
        c->data[i].p = expf(c->data[i].logit - max) / sum;
    c->sorted = false;                                     // not by logit
}

static void typ_p_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    float cum = 0, sum = llama_sampler_softmax(c, true);
    typ_p_sort(c, c->data[0].logit, sum);
    for (int32_t i = 0; i < c->size; i++) {
        cum += c->data[i].p;
        if (cum > s->params.typ_p && i + 1 >= s->params.min_keep)
            c->size = i + 1;
    }
}
SAMPLER(typ_p) = { .name = "typ_p", .rank = 50, .init = typ_p_init,
                   .apply = typ_p_apply };

/* ---- nbs/llm/27_samplers.ipynb § XTC: exclude top choices ---- */

static float mt19937_uniform_float(struct mt19937 *r)
{
    float u = (float)mt19937_next(r) / 4294967296.0f;
    return u < 1.0f ? u : 0x1.fffffep-1f;
}

static bool xtc_init(struct llama_sampler *s)
{
    mt19937_seed(&s->xtc_rng, s->seed);
    return s->params.xtc_probability > 0.0f && !(s->params.xtc_threshold > 0.5f);
}

static void xtc_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    int32_t last = 0;                       // the least likely of the top choices
    if (c->size < 2 || mt19937_uniform_float(&s->xtc_rng) > s->params.xtc_probability)
        return;
    llama_sampler_softmax(c, true);
    while (last + 1 < c->size && c->data[last + 1].p >= s->params.xtc_threshold)
        last++;
    if (c->size - last < s->params.min_keep)
        return;
    c->data += last;
    c->size -= last;
}
SAMPLER(xtc) = { .name = "xtc", .rank = 80, .init = xtc_init, .apply = xtc_apply };

/* ---- nbs/llm/27_samplers.ipynb § Dynamic temperature ---- */

static void temp_ext_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    const struct llama_sampler_params *p = &s->params;
    float low = fmaxf(0.0f, p->temp - p->dynatemp_range),
          high = p->temp + p->dynatemp_range, entropy = 0;
    if (c->size <= 1)
        return;
    float most = -logf(1.0f / (float)c->size);
    llama_sampler_softmax(c, true);
    for (int32_t i = 0; i < c->size; i++)
        if (c->data[i].p > 0)
            entropy -= c->data[i].p * logf(c->data[i].p);
    float temp = low + (high - low) * powf(entropy / most, p->dynatemp_exponent);
    llama_sampler_scale(c, temp < FLT_MAX ? temp : FLT_MAX);
}
SAMPLER(temp_ext) = { .name = "temp_ext", .init = is_on, .apply = temp_ext_apply };

/* ---- nbs/llm/27_samplers.ipynb § Breakers ---- */

struct dry_tail { int32_t n, token[DRY_TAIL_MAX]; };
struct llama_dry_breakers {
    const struct llama_vocab *vocab;
    int32_t n;
    struct dry_breaker {
        int32_t len;
        char text[DRY_BREAKER_BYTES_MAX];
        struct dry_tail *tail;             // tail[k]: what follows k + 1 bytes of text
    } b[LLAMA_DRY_BREAKERS_MAX];
    struct dry_tail tails[];
};

static int32_t breaker_len(const char *text)
{
    size_t n = strlen(text);
    return (int32_t)(n < DRY_BREAKER_BYTES_MAX ? n : DRY_BREAKER_BYTES_MAX);
}

static bool dry_tail_make(struct dry_tail *t, const struct llama_vocab *v,
                          const char *text, int32_t len)
{
    llama_token token[2 * DRY_BREAKER_BYTES_MAX];
    int32_t n = llama_tokenize(v, text, len, token, 2 * DRY_BREAKER_BYTES_MAX, false,
                               false);
    if (n < 0)
        return false;
    t->n = n < DRY_TAIL_MAX ? n : DRY_TAIL_MAX;
    memcpy(t->token, token, (size_t)t->n * sizeof token[0]);
    return true;
}

struct llama_dry_breakers *llama_dry_breakers_init(const struct llama_vocab *v,
                                                   const char *const *text, int32_t n)
{
    size_t n_tails = 0;
    for (int32_t i = 0; i < n; i++)
        n_tails += (size_t)breaker_len(text[i]);
    struct llama_dry_breakers *d =
        kcalloc(1, sizeof *d + n_tails * sizeof d->tails[0]);
    struct dry_tail *tail = d ? d->tails : NULL;
    if (d)
        d->vocab = v;
    for (int32_t i = 0; d && i < n && d->n < LLAMA_DRY_BREAKERS_MAX; i++) {
        struct dry_breaker *b = &d->b[d->n];
        b->len = breaker_len(text[i]);
        memcpy(b->text, text[i], (size_t)b->len);
        b->tail = tail;
        for (int32_t k = 1; k < b->len; k++)
            if (!dry_tail_make(tail++, v, b->text + k, b->len - k)) {
                kfree(d);
                return NULL;
            }
        d->n += b->len > 0;
    }
    return d;
}

#define DRY_NO_BREAKER (-1)

static bool contains(const char *s, int32_t n, const struct dry_breaker *b)
{
    for (int32_t i = 0; i + b->len <= n; i++)
        if (memcmp(s + i, b->text, (size_t)b->len) == 0)
            return true;
    return false;
}

/* Is the token `i` back followed by these? */
static bool tail_follows(const struct llama_sampler *s, const struct dry_tail *t,
                         int32_t i)
{
    for (int32_t k = 0; k < t->n; k++)
        if (k + 1 > i || t->token[k] != llama_sampler_past(s, i - k - 1))
            return false;
    return true;
}

/* Tokens of the longest breaker that begins with `id`, behind that; tails count if they
 * follow `i` back. */
static int32_t dry_match(const struct llama_sampler *s, int32_t id, int32_t i)
{
    const struct llama_dry_breakers *d = s->params.dry_breakers;
    char piece[DRY_PIECE_MAX];
    int32_t longest = DRY_NO_BREAKER;
    if (!d || d->n == 0)
        return longest;
    int32_t n = llama_detokenize(d->vocab, &id, 1, piece, DRY_PIECE_MAX, false, true);
    for (const struct dry_breaker *b = d->b; b < d->b + d->n; b++) {
        if (contains(piece, n, b)) {
            longest = longest > 0 ? longest : 0;
            continue;
        }
        for (int32_t k = 1; k < b->len && k <= n; k++)
            if (memcmp(piece + n - k, b->text, (size_t)k) == 0 &&
                b->tail[k - 1].n > longest && tail_follows(s, &b->tail[k - 1], i))
                longest = b->tail[k - 1].n;
    }
    return longest;
}

/* ---- nbs/llm/27_samplers.ipynb § The penalty ---- */

#define DRY_FLOAT_MAX_LOG 88.7228391f      // log of the largest float, as upstream

static bool dry_init(struct llama_sampler *s)
{
    struct llama_sampler_params *p = &s->params;
    if (p->dry_penalty_last_n == -1 || p->dry_penalty_last_n > LLAMA_PENALTY_LAST_N_MAX)
        p->dry_penalty_last_n = LLAMA_PENALTY_LAST_N_MAX;
    return p->dry_multiplier != 0.0f && p->dry_base >= 1.0f && p->dry_penalty_last_n > 0;
}

/* How many of the last n tokens lie behind the newest breaker. */
static int32_t dry_limit(const struct llama_sampler *s, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t m = dry_match(s, llama_sampler_past(s, i), i);
        if (m != DRY_NO_BREAKER)
            return i - m;
    }
    return n;
}

/* For each token that would prolong a repetition of the last n: 1 + its length so far.
 * z[k]: how many tokens before k back agree with the last ones (the Z-function). */
static void dry_repeats(const struct llama_sampler *s, int32_t n, int32_t limit,
                        struct token_map *repeat)
{
    int16_t z[LLAMA_PENALTY_LAST_N_MAX];
    int32_t left = 0, right = 0;          // x[left, right) agrees with x[0, right - left)
    for (int32_t k = 1; k < n; k++) {
        int32_t m = 0;
        if (k < right)
            m = z[k - left] < right - k ? z[k - left] : right - k;
        while (k + m < n && llama_sampler_past(s, m) == llama_sampler_past(s, k + m))
            m++;
        z[k] = (int16_t)m;
        if (k + m > right) {
            left = k;
            right = k + m;
        }
        m = m < limit ? m : limit;
        int32_t next = llama_sampler_past(s, k - 1);       // what followed at that time
        if (m < s->params.dry_allowed_length || next < 0)
            continue;
        int16_t *longest = token_map_put(repeat, next);
        *longest = *longest > m + 1 ? *longest : (int16_t)(m + 1);
    }
}

static void dry_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    const struct llama_sampler_params *p = &s->params;
    int32_t n = s->n_prev < p->dry_penalty_last_n ? s->n_prev : p->dry_penalty_last_n;
    if (n <= p->dry_allowed_length)
        return;
    int32_t limit = dry_limit(s, n), max_exponent = 0;
    if (limit < p->dry_allowed_length)
        return;
    if (p->dry_base > 1.000001f)
        max_exponent = (int32_t)(DRY_FLOAT_MAX_LOG / logf(p->dry_base));

    struct token_map repeat;
    token_map_init(&repeat);
    dry_repeats(s, n, limit, &repeat);
    for (int32_t i = 0; i < c->size; i++) {
        int32_t id = c->data[i].id, length = token_map_get(&repeat, id) - 1;
        if (length < 0 || dry_match(s, id, -1) == 0)       // -1: no tail counts
            continue;
        int32_t e = length - p->dry_allowed_length;
        if (max_exponent > 0 && e > max_exponent)
            e = max_exponent;
        float penalty = (float)((double)p->dry_multiplier * pow((double)p->dry_base, e));
        c->data[i].logit -= penalty;
    }
    c->sorted = false;
}
SAMPLER(dry) = { .name = "dry", .rank = 20, .init = dry_init, .apply = dry_apply };

/* ---- nbs/llm/27_samplers.ipynb § Mirostat: aim at a surprise ---- */

/* std::discrete_distribution as libstdc++ has it, over the p of the candidates. */
static int32_t sample_dist(const struct llama_token_data_array *c, struct mt19937 *rng)
{
    double sum = 0, run = 0;
    if (c->size < 2)
        return 0;                          // and no random number is consumed
    for (int32_t i = 0; i < c->size; i++)
        sum += (double)c->data[i].p;
    double u = mt19937_uniform(rng);
    for (int32_t i = 0; i < c->size - 1; i++) {
        run += (double)c->data[i].p / sum;
        if (run >= u)
            return i;
    }
    return c->size - 1;
}

static bool mirostat_init(struct llama_sampler *s)
{
    s->mu = 2.0f * s->params.mirostat_tau;
    return true;
}

static void mirostat_choose(struct llama_sampler *s, struct llama_token_data_array *c)
{
    llama_sampler_softmax(c, true);
    c->selected = sample_dist(c, &s->rng);
    float error = -log2f(c->data[c->selected].p) - s->params.mirostat_tau;
    s->mu -= s->params.mirostat_eta * error;
}

static void mirostat_v2_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    int32_t n = 0;
    llama_sampler_softmax(c, true);
    if (!isfinite(c->data[0].logit))
        return;                            // sampler.c takes the largest
    while (n < c->size && !(-log2f(c->data[n].p) > s->mu))
        n++;
    c->size = n ? n : 1;
    mirostat_choose(s, c);
}
SAMPLER(mirostat_v2) = { .name = "mirostat_v2", .last = true, .init = mirostat_init,
                         .apply = mirostat_v2_apply };

/* How many candidates to keep: the paper's equation for k, with s from the sorted p. */
static int32_t mirostat_k(const struct llama_sampler *s,
                          const struct llama_token_data_array *c)
{
    float sum_tb = 0, sum_tt = 0;
    for (int32_t i = 0; i < MIROSTAT_M - 1 && i < c->size - 1; i++) {
        float t = logf((float)(i + 2) / (float)(i + 1));
        float b = logf(c->data[i].p / c->data[i + 1].p);
        sum_tb += t * b;
        sum_tt += t * t;
    }
    float s_hat = sum_tb / sum_tt, epsilon = s_hat - 1;
    float k = powf((epsilon * powf(2, s->mu)) / (1 - powf((float)s->n_vocab, -epsilon)),
                   1 / s_hat);
    return k >= 1 && k < 2147483648.0f ? (int32_t)k : 1;
}

static void mirostat_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    llama_sampler_softmax(c, true);
    if (!isfinite(c->data[0].logit))
        return;
    llama_token_data_array_top(c, mirostat_k(s, c));
    mirostat_choose(s, c);
}
SAMPLER(mirostat) = { .name = "mirostat", .last = true, .init = mirostat_init,
                      .apply = mirostat_apply };

/* ---- nbs/llm/27_samplers.ipynb § Adaptive-p ---- */

static bool adaptive_p_init(struct llama_sampler *s)
{
    float decay = fminf(fmaxf(s->params.adaptive_decay, 0.0f), 0.99f);
    s->params.adaptive_decay = decay;
    s->weighted_sum = s->params.adaptive_target / (1.0f - decay);
    s->total_weight = 1.0f / (1.0f - decay);
    return true;
}

static float clamp01(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

/* Afterwards p is the probability to draw with, and logit the original one. */
static void adaptive_p_reshape(const struct llama_sampler *s,
                               struct llama_token_data_array *c)
{
    float target = clamp01(s->params.adaptive_target), sum = 0;
    target = clamp01(2.0f * target - s->weighted_sum / s->total_weight);
    for (int32_t i = 0; i < c->size; i++) {
        float d = fabsf((c->data[i].p - target) * (1.0f / 0.3f));
        if (c->data[i].logit != -INFINITY)
            c->data[i].logit = 5.0f - 10.0f * d * d / (1.0f + d);
    }
    /* As upstream: "sorted" still speaks of the order before, so this may not be the
     * largest. It cancels out, up to rounding. */
    float max = llama_token_data_array_max(c);
    for (int32_t i = 0; i < c->size; i++) {
        float e = expf(c->data[i].logit - max);
        c->data[i].logit = c->data[i].p;
        sum += c->data[i].p = e;
    }
    for (int32_t i = 0; i < c->size; i++)
        c->data[i].p /= sum;
}

static void adaptive_p_apply(struct llama_sampler *s, struct llama_token_data_array *c)
{
    float decay = s->params.adaptive_decay;
    if (!isfinite(llama_token_data_array_max(c)))
        return;                            // sampler.c takes the largest
    llama_sampler_softmax(c, false);
    if (s->params.adaptive_target >= 0.0f)
        adaptive_p_reshape(s, c);
    c->selected = sample_dist(c, &s->rng);
    if (s->params.adaptive_target < 0.0f)
        return;
    s->weighted_sum = c->data[c->selected].logit + decay * s->weighted_sum;
    s->total_weight = 1.0f + decay * s->total_weight;
}
SAMPLER(adaptive_p) = { .name = "adaptive_p", .last = true, .init = adaptive_p_init,
                        .apply = adaptive_p_apply };
