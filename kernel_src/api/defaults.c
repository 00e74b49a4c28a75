/* defaults.c: tangled from nbs/api/33_page.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/33_page.ipynb § What an operator sets ---- */

/* defaults.c: what a request gets that does not say, where the operator has said.
 *
 * One configuration key a field, with the field's own name: temperature=0.2. A request
 * that names the field has its way. Read once at boot; params.c asks for each request. */
#include "api/params.h"
#include "base/config.h"
#include "base/stdio.h"
#include "base/stdlib.h"
#include "base/string.h"

enum default_type { REAL, INT, SEED, BOOL };

#define DEFAULT_FIELDS(F)                                     \
    F(temperature, sampling.temp, REAL, -1e9, 1e9)            \
    F(top_k, sampling.top_k, INT, INT32_MIN, INT32_MAX)       \
    F(top_p, sampling.top_p, REAL, -1e9, 1e9)                 \
    F(min_p, sampling.min_p, REAL, -1e9, 1e9)                 \
    F(seed, sampling.seed, SEED, -1, UINT32_MAX)              \
    F(n_predict, n_predict, INT, -1, INT32_MAX)               \
    F(ignore_eos, ignore_eos, BOOL, 0, 1)                     \
    F(cache_prompt, cache_prompt, BOOL, 0, 1)                 \
    F(repeat_penalty, sampling.repeat_penalty, REAL, 1e-3, 1e9)          \
    F(repeat_last_n, sampling.repeat_last_n, INT, -1, INT32_MAX)         \
    F(presence_penalty, sampling.presence_penalty, REAL, -1e9, 1e9)      \
    F(frequency_penalty, sampling.frequency_penalty, REAL, -1e9, 1e9)    \
    F(typical_p, sampling.typ_p, REAL, -1e9, 1e9)             \
    F(top_n_sigma, sampling.top_n_sigma, REAL, -1e9, 1e9)     \
    F(xtc_probability, sampling.xtc_probability, REAL, 0, 1)  \
    F(xtc_threshold, sampling.xtc_threshold, REAL, 0, 1)      \
    F(dynatemp_range, sampling.dynatemp_range, REAL, -1e9, 1e9)          \
    F(dynatemp_exponent, sampling.dynatemp_exponent, REAL, -1e9, 1e9)    \
    F(mirostat, sampling.mirostat, INT, 0, 2)                 \
    F(mirostat_tau, sampling.mirostat_tau, REAL, -1e9, 1e9)   \
    F(mirostat_eta, sampling.mirostat_eta, REAL, -1e9, 1e9)   \
    F(adaptive_target, sampling.adaptive_target, REAL, -1e9, 1)          \
    F(adaptive_decay, sampling.adaptive_decay, REAL, 0, 0.99) \
    F(dry_multiplier, sampling.dry_multiplier, REAL, -1e9, 1e9)          \
    F(dry_base, sampling.dry_base, REAL, 1, 1e9)              \
    F(dry_allowed_length, sampling.dry_allowed_length, INT, 0, INT32_MAX) \
    F(dry_penalty_last_n, sampling.dry_penalty_last_n, INT, 0, INT32_MAX)

#define DEFAULT_KEY(key, member, type, min, max) \
    CONFIG_KEY(key, "for requests that do not say");
DEFAULT_FIELDS(DEFAULT_KEY)
CONFIG_KEY(samplers, "for requests that do not say: names with ';' between");

static const struct default_field {
    const char *key;
    size_t at;
    enum default_type type;
    double min, max;
} fields[] = {
#define DEFAULT_FIELD(key, member, type, min, max) \
    { #key, offsetof(struct gen_params, member), type, min, max },
    DEFAULT_FIELDS(DEFAULT_FIELD)
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static double values[N_FIELDS];
static bool given[N_FIELDS];
static const char *chain[LLAMA_SAMPLERS_MAX];
static int32_t n_chain;

static void read_default(const struct default_field *f, double *value, bool *is_given)
{
    const char *text = config_get(f->key);
    char *end;
    if (!text)
        return;
    *value = strtod(text, &end);
    *is_given = end != text && !*end && *value >= f->min && *value <= f->max &&
                (f->type == REAL || *value == (double)(int64_t)*value);
    if (!*is_given)
        kprintf("[api] %s=%.40s ignored: not %s from %g to %g\n", f->key, text,
                f->type == REAL ? "a number" : "an integer", f->min, f->max);
}

static void read_chain(void)
{
    const char *p = config_get("samplers");
    for (; p && *p; p += *p == ';') {
        char name[24];
        size_t n = 0;
        for (; *p && *p != ';'; p++)
            if (n < sizeof name - 1)
                name[n++] = *p;
        name[n] = 0;
        const struct llama_sampler_stage *stage = llama_sampler_find(name);
        if (!stage || n_chain == LLAMA_SAMPLERS_MAX)
            kprintf("[api] samplers: '%s' ignored: %s\n", name,
                    stage ? "too many" : "there is no such sampler");
        else
            chain[n_chain++] = stage->name;
    }
}

static void defaults_init(void)
{
    for (size_t i = 0; i < N_FIELDS; i++)
        read_default(&fields[i], &values[i], &given[i]);
    read_chain();
}
INITCALL(78, defaults_init);

void gen_params_defaults(struct gen_params *p);

void gen_params_defaults(struct gen_params *p)
{
    for (size_t i = 0; i < N_FIELDS; i++) {
        char *at = (char *)p + fields[i].at;
        if (!given[i])
            continue;
        switch (fields[i].type) {
        case REAL: *(float *)at = (float)values[i]; break;
        case INT: *(int32_t *)at = (int32_t)values[i]; break;
        case SEED: *(uint32_t *)at = (uint32_t)(int64_t)values[i]; break;
        case BOOL: *(bool *)at = values[i] != 0; break;
        }
    }
    if (n_chain) {
        memcpy(p->sampling.samplers, chain, sizeof chain);
        p->sampling.n_samplers = n_chain;
    }
}
