/* params.c: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § From JSON to parameters ---- */

/* params.c: see params.h. Defaults and limits are llama-server's (server-schema). */
#include "api/completion.h"
#include "base/fmath.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/stdlib.h"
#include "base/string.h"

struct reader { const struct json_node *body; struct params_error *err; };

static bool failed(const struct reader *r) { return r->err->status != 0; }

static void refuse(struct reader *r, int status, const char *key, const char *why)
{
    if (failed(r))
        return;
    r->err->status = status;
    r->err->type = status == 501 ? "not_supported_error" : "invalid_request_error";
    snprintf(r->err->message, sizeof r->err->message, "Field '%s': %s", key, why);
}

static void field_int(struct reader *r, const char *key, int64_t min, int64_t max,
                      int32_t *out)
{
    int64_t v = *out;
    char why[80];
    switch (json_get_int(r->body, key, min, max, &v)) {
    case JSON_FIELD_OK: *out = (int32_t)v; break;
    case JSON_FIELD_ABSENT: break;
    case JSON_FIELD_TYPE: refuse(r, 400, key, "Value must be an integer"); break;
    case JSON_FIELD_RANGE:
        snprintf(why, sizeof why, "Value must be between %lld and %lld", (long long)min,
                 (long long)max);
        refuse(r, 400, key, why);
    }
}

static void field_float(struct reader *r, const char *key, double min, double max,
                        float *out)
{
    double v = *out;
    char why[80];
    switch (json_get_double(r->body, key, min, max, &v)) {
    case JSON_FIELD_OK: *out = (float)v; break;
    case JSON_FIELD_ABSENT: break;
    case JSON_FIELD_TYPE: refuse(r, 400, key, "Value must be a number"); break;
    case JSON_FIELD_RANGE:
        snprintf(why, sizeof why, "Value must be between %g and %g", min, max);
        refuse(r, 400, key, why);
    }
}

/* Limits that llama-server clamps to, rather than refuse. */
static void clamped_float(struct reader *r, const char *key, float min, float max,
                          float *out)
{
    field_float(r, key, -1e9, 1e9, out);
    *out = *out < min ? min : *out > max ? max : *out;
}

static void clamped_int(struct reader *r, const char *key, int32_t min, int32_t max,
                        int32_t *out)
{
    field_int(r, key, INT32_MIN, INT32_MAX, out);
    *out = *out < min ? min : *out > max ? max : *out;
}

static void field_bool(struct reader *r, const char *key, bool *out)
{
    if (json_get_bool(r->body, key, out) == JSON_FIELD_TYPE)
        refuse(r, 400, key, "Value must be true or false");
}

static void read_stop(struct reader *r, struct gen_params *p)
{
    const struct json_node *stop = json_get(r->body, "stop");
    size_t bytes = 0;
    if (!stop || json_is(stop, JSON_NULL))
        return;
    if (json_is(stop, JSON_STRING)) {
        p->stop[p->n_stop++] = stop->str;
        bytes = stop->len;
    } else if (!json_is(stop, JSON_ARRAY)) {
        refuse(r, 400, "stop", "Value must be a string or a list of strings");
    }
    for (const struct json_node *s = json_first(stop); s && !failed(r);
         s = json_next(stop, s)) {
        if (!json_is(s, JSON_STRING)) {
            refuse(r, 400, "stop", "Value must be a string or a list of strings");
        } else if (p->n_stop == STOP_MAX) {
            refuse(r, 400, "stop", "more than 16 stop strings");
        } else if (s->len) {
            p->stop[p->n_stop++] = s->str;
            bytes += s->len;
        }
    }
    if (bytes > STOP_BYTES_MAX)
        refuse(r, 400, "stop", "more than 4096 bytes in all");
}

static void add_bias(struct reader *r, struct gen_params *p, int64_t token,
                     const struct json_node *bias)
{
    bool never = json_is(bias, JSON_BOOL) && !bias->boolean;
    if (!never && !json_is(bias, JSON_NUMBER))
        refuse(r, 400, "logit_bias", "a bias must be a number or false");
    else if (p->n_bias == LOGIT_BIAS_MAX)
        refuse(r, 400, "logit_bias", "more than 128 entries");
    else if (token >= 0 && token < kernel_llm.model->hparams.n_vocab)
        p->bias[p->n_bias++] =
            (struct llama_logit_bias){ (int32_t)token, never ? -__builtin_inff()
                                                             : (float)json_number(bias) };
}

/* The same bias for every token of a text. */
static void add_text_bias(struct reader *r, struct gen_params *p,
                          const struct json_node *text, const struct json_node *bias)
{
    int32_t t[LOGIT_BIAS_MAX];
    int32_t n = llama_tokenize(&kernel_llm.vocab, text->str, (int32_t)text->len, t,
                               LOGIT_BIAS_MAX, false, false);
    if (n == LLAMA_TOKENIZE_FAILED && text->len <= LLAMA_TOKENIZE_MAX)
        refuse(r, 503, "logit_bias", "out of memory");
    else if (n < 0)
        refuse(r, 400, "logit_bias", "more than 128 entries");
    for (int32_t i = 0; i < n; i++)
        add_bias(r, p, t[i], bias);
}

/* An object's key: "29871" is a token id, anything else a text. */
static void add_key_bias(struct reader *r, struct gen_params *p,
                         const struct json_node *key, const struct json_node *bias)
{
    char *end;
    long token = strtol(key->str, &end, 10);
    if (key->len && *end == 0)
        add_bias(r, p, token, bias);
    else
        add_text_bias(r, p, key, bias);
}

static void read_bias(struct reader *r, struct gen_params *p)
{
    const struct json_node *b = json_get(r->body, "logit_bias");
    if (!b || json_is(b, JSON_NULL))
        return;
    for (const struct json_node *e = json_first(b); e && !failed(r); e = json_next(b, e))
        if (json_is(b, JSON_OBJECT))
            add_key_bias(r, p, e, json_value(e));
        else if (json_count(e) == 2 && json_is(json_at(e, 0), JSON_NUMBER) &&
                 json_at(e, 0)->is_int)
            add_bias(r, p, json_at(e, 0)->i, json_at(e, 1));
        else if (json_count(e) == 2 && json_is(json_at(e, 0), JSON_STRING))
            add_text_bias(r, p, json_at(e, 0), json_at(e, 1));
        else
            refuse(r, 400, "logit_bias", "entries must be [token id or text, bias]");
}

static const struct sampler_name { const char *name, *alias; char letter;
} sampler_names[] = {
    { "penalties", NULL, 'e' },      { "dry", NULL, 'd' },
    { "top_n_sigma", NULL, 's' },    { "top_k", NULL, 'k' },
    { "typ_p", "typ", 'y' },         { "top_p", "nucleus", 'p' },
    { "min_p", NULL, 'm' },          { "xtc", NULL, 'x' },
    { "temperature", "temp", 't' },  { "adaptive_p", NULL, 'a' },
    { "infill", NULL, 'i' },
};
#define SAMPLER_NAMES (sizeof sampler_names / sizeof sampler_names[0])

static bool same_name(const char *a, const char *b)
{
    for (;; a++, b++) {
        while (*a == '_' || *a == '-')
            a++;
        while (*b == '_' || *b == '-')
            b++;
        char lower = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        if (lower != *b)
            return false;
        if (*a == 0)
            return true;
    }
}

static void add_sampler(struct reader *r, struct llama_sampler_params *s,
                        const struct sampler_name *n)
{
    char why[80];
    snprintf(why, sizeof why, "the sampler '%s' is not supported yet", n->name);
    if (!llama_sampler_find(n->name))
        refuse(r, 501, "samplers", why);
    else if (s->n_samplers == LLAMA_SAMPLERS_MAX)
        refuse(r, 400, "samplers", "more than 16 samplers");
    else
        s->samplers[s->n_samplers++] = n->name;
}

static void read_samplers(struct reader *r, struct llama_sampler_params *s)
{
    const struct json_node *list = json_get(r->body, "samplers");
    if (!list || json_is(list, JSON_NULL))
        return;
    s->n_samplers = 0;
    if (!json_is(list, JSON_STRING) && !json_is(list, JSON_ARRAY))
        refuse(r, 400, "samplers", "Value must be a list of names or a text of letters");
    for (uint32_t i = 0; json_is(list, JSON_STRING) && i < list->len && !failed(r); i++)
        for (const struct sampler_name *n = sampler_names;
             n < sampler_names + SAMPLER_NAMES; n++)
            if (n->letter == list->str[i])
                add_sampler(r, s, n);
    if (!json_is(list, JSON_ARRAY))
        return;
    for (const struct json_node *e = json_first(list); e && !failed(r);
         e = json_next(list, e)) {
        if (!json_is(e, JSON_STRING)) {
            refuse(r, 400, "samplers", "Value must be a list of names");
            return;
        }
        for (const struct sampler_name *n = sampler_names;
             n < sampler_names + SAMPLER_NAMES; n++)
            if (same_name(e->str, n->name) || (n->alias && same_name(e->str, n->alias)))
                add_sampler(r, s, n);
    }
}

static void read_breakers(struct reader *r, struct gen_params *p)
{
    static const char *const defaults[] = { "\n", ":", "\"", "*" };
    const struct json_node *list = json_get(r->body, "dry_sequence_breakers");
    if (!list || json_is(list, JSON_NULL)) {
        p->n_breakers = sizeof defaults / sizeof defaults[0];
        memcpy(p->breaker, defaults, sizeof defaults);
        return;
    }
    if (!json_is(list, JSON_ARRAY) || json_count(list) == 0 ||
        json_count(list) > LLAMA_DRY_BREAKERS_MAX) {
        refuse(r, 400, "dry_sequence_breakers", "Value must be a list of 1..16 strings");
        return;
    }
    for (const struct json_node *e = json_first(list); e; e = json_next(list, e))
        if (json_is(e, JSON_STRING))
            p->breaker[p->n_breakers++] = e->str;
        else
            refuse(r, 400, "dry_sequence_breakers", "Value must be a list of strings");
}

static void read_dry(struct reader *r, struct gen_params *p)
{
    struct llama_sampler_params *s = &p->sampling;
    float base = s->dry_base;
    int32_t n_ctx = kernel_llm.model->hparams.n_ctx_train;
    field_float(r, "dry_multiplier", -1e9, 1e9, &s->dry_multiplier);
    field_float(r, "dry_base", -1e9, 1e9, &s->dry_base);
    if (s->dry_base < 1)                           // llama-server's way with it
        s->dry_base = base;
    field_int(r, "dry_allowed_length", 0, INT32_MAX, &s->dry_allowed_length);
    field_int(r, "dry_penalty_last_n", 0, INT32_MAX, &s->dry_penalty_last_n);
    n_ctx = n_ctx < LLAMA_PENALTY_LAST_N_MAX ? n_ctx : LLAMA_PENALTY_LAST_N_MAX;
    if (s->dry_penalty_last_n > n_ctx)
        s->dry_penalty_last_n = n_ctx;
    read_breakers(r, p);
}

static void read_stages(struct reader *r, struct gen_params *p)
{
    struct llama_sampler_params *s = &p->sampling;
    field_float(r, "typical_p", -1e9, 1e9, &s->typ_p);
    field_float(r, "top_n_sigma", -1e9, 1e9, &s->top_n_sigma);
    clamped_float(r, "xtc_probability", 0, 1, &s->xtc_probability);
    clamped_float(r, "xtc_threshold", 0, 1, &s->xtc_threshold);
    field_float(r, "dynatemp_range", -1e9, 1e9, &s->dynatemp_range);
    field_float(r, "dynatemp_exponent", -1e9, 1e9, &s->dynatemp_exponent);
    clamped_int(r, "mirostat", 0, 2, &s->mirostat);
    field_float(r, "mirostat_tau", -1e9, 1e9, &s->mirostat_tau);
    field_float(r, "mirostat_eta", -1e9, 1e9, &s->mirostat_eta);
    clamped_float(r, "adaptive_target", -FLT_MAX, 1, &s->adaptive_target);
    field_float(r, "adaptive_decay", 0, 0.99, &s->adaptive_decay);
    read_dry(r, p);
    read_samplers(r, s);
    const struct { const char *key, *stage; bool on; } fields[] = {
        { "typical_p", "typ_p", s->typ_p != 1 },
        { "top_n_sigma", "top_n_sigma", s->top_n_sigma != -1 },
        { "xtc_probability", "xtc", s->xtc_probability != 0 },
        { "dynatemp_range", "temp_ext", s->dynatemp_range != 0 },
        { "mirostat", "mirostat", s->mirostat != 0 },
        { "dry_multiplier", "dry", s->dry_multiplier != 0 },
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].on && !llama_sampler_find(fields[i].stage))
            refuse(r, 501, fields[i].key, "this feature is not supported yet");
}

struct llama_dry_breakers *llama_dry_breakers_init(const struct llama_vocab *v,
                                                   const char *const *text, int32_t n)
    __attribute__((weak));                         // llm/samplers.c

bool gen_params_prepare(struct gen_params *p)
{
    if (p->sampling.dry_multiplier == 0 || !llama_dry_breakers_init)
        return true;
    p->sampling.dry_breakers =
        llama_dry_breakers_init(&kernel_llm.vocab, p->breaker, p->n_breakers);
    return p->sampling.dry_breakers != NULL;
}

void gen_params_free(struct gen_params *p)
{
    kfree((void *)p->sampling.dry_breakers);
    p->sampling.dry_breakers = NULL;
}

LINKER_SET_DECLARE(completion_part, struct completion_part);

/* Does a part of the completion, from a later chapter, see to this field? */
static bool taken_care_of(const char *key)
{
    LINKER_SET_FOREACH(completion_part, struct completion_part, part)
        for (const char *const *f = part->fields; f && *f; f++)
            if (strcmp(*f, key) == 0)
                return true;
    return false;
}

static void refuse_unsupported(struct reader *r)
{
    static const struct { const char *key; double off;
    } numbers[] = {
        { "best_of", 1 }, { "reasoning_budget_tokens", -1 },
    };
    static const char *const others[] = {
        "grammar", "json_schema", "functions", "lora", "suffix", "image_data"
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct json_node *n = json_get(r->body, numbers[i].key);
        if (json_is(n, JSON_NUMBER) && json_number(n) != numbers[i].off &&
            !taken_care_of(numbers[i].key))
            refuse(r, 501, numbers[i].key, "this feature is not supported yet");
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct json_node *n = json_get(r->body, others[i]);
        if (((json_is(n, JSON_STRING) && n->len) || json_count(n)) &&
            !taken_care_of(others[i]))
            refuse(r, 501, others[i], "this feature is not supported yet");
    }
    const struct json_node *format =
        json_get(json_get(r->body, "response_format"), "type");
    if (format && !json_is_str(format, "text") && !taken_care_of("response_format"))
        refuse(r, 501, "response_format", "only {\"type\": \"text\"} is supported yet");
}

/* What chapter 30 brings. */
static void read_reports(struct reader *r, struct gen_params *p, bool chat)
{
    static const char *const keys[] = { "n_probs", "logprobs", "top_logprobs", "echo" };
    if (logprob_params_read && response_fields_read) {
        if (!failed(r) && logprob_params_read(p, r->body, chat, r->err))
            response_fields_read(p, r->body, r->err);
        return;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const struct json_node *n = json_get(r->body, keys[i]);
        if (json_number(n) > 0 || (json_is(n, JSON_BOOL) && n->boolean))
            refuse(r, 501, keys[i], "this feature is not supported yet");
    }
    if (json_count(json_get(r->body, "response_fields")))
        refuse(r, 501, "response_fields", "this feature is not supported yet");
}

void gen_params_defaults(struct gen_params *p) __attribute__((weak)); // the operator's

bool gen_params_read(struct gen_params *p, const struct json_node *body, bool chat,
                     struct params_error *err)
{
    struct reader r = { body, err };
    memset(p, 0, sizeof *p);
    err->status = 0;
    p->sampling = llama_sampler_default_params();
    p->n_predict = p->id_slot = -1;
    p->n = 1;
    p->t_max_predict_ms = -1;
    p->sse_ping_interval = 30;
    p->cache_prompt = true;
    if (gen_params_defaults)
        gen_params_defaults(p);

    field_bool(&r, "stream", &p->stream);
    field_bool(&r, "cache_prompt", &p->cache_prompt);
    field_bool(&r, "ignore_eos", &p->ignore_eos);
    field_bool(&r, "return_tokens", &p->return_tokens);
    field_bool(&r, "timings_per_token", &p->timings_per_token);
    field_bool(&r, "return_progress", &p->return_progress);
    struct reader so = { json_get(body, "stream_options"), err };
    field_bool(&so, "include_usage", &p->include_usage);
    field_int(&r, "max_tokens", -1, INT32_MAX, &p->n_predict);    /* the last wins */
    field_int(&r, "max_completion_tokens", -1, INT32_MAX, &p->n_predict);
    field_int(&r, "n_predict", -1, INT32_MAX, &p->n_predict);
    field_int(&r, "n", 1, kernel_llm.n_slots, &p->n);
    field_int(&r, "n_cmpl", 1, kernel_llm.n_slots, &p->n);
    field_int(&r, "id_slot", -1, kernel_llm.n_slots - 1, &p->id_slot);
    field_int(&r, "n_indent", 0, INT32_MAX, &p->n_indent);
    field_int(&r, "t_max_predict_ms", -1, INT32_MAX, &p->t_max_predict_ms);
    field_int(&r, "sse_ping_interval", -1, INT32_MAX, &p->sse_ping_interval);

    struct llama_sampler_params *s = &p->sampling;
    int64_t seed;
    switch (json_get_int(body, "seed", INT64_MIN, INT64_MAX, &seed)) {
    case JSON_FIELD_OK: s->seed = (uint32_t)seed; break;     /* its lower half */
    case JSON_FIELD_ABSENT: break;
    default: refuse(&r, 400, "seed", "Value must be an integer of at most 64 bits");
    }
    field_float(&r, "temperature", -1e9, 1e9, &s->temp);
    field_int(&r, "top_k", INT32_MIN, INT32_MAX, &s->top_k);
    field_float(&r, "top_p", -1e9, 1e9, &s->top_p);
    field_float(&r, "min_p", -1e9, 1e9, &s->min_p);
    field_float(&r, "repeat_penalty", -1e9, 1e9, &s->repeat_penalty);
    field_float(&r, "frequency_penalty", -1e9, 1e9, &s->frequency_penalty);
    field_float(&r, "presence_penalty", -1e9, 1e9, &s->presence_penalty);
    field_int(&r, "repeat_last_n", -1, INT32_MAX, &s->repeat_last_n);
    field_int(&r, "min_keep", 0, INT32_MAX, &s->min_keep);
    if (s->repeat_penalty == 0.0f)
        refuse(&r, 400, "repeat_penalty", "Value must not be 0");
    read_stages(&r, p);
    read_stop(&r, p);
    read_bias(&r, p);
    read_reports(&r, p, chat);
    refuse_unsupported(&r);
    return !failed(&r);
}

static void write_strings(struct json_writer *w, const char *key, const char *const *s,
                          int n)
{
    jw_key(w, key);
    jw_array(w);
    for (int i = 0; i < n; i++)
        jw_cstr(w, s[i]);
    jw_end(w);
}

static void write_stages(struct json_writer *w, const struct gen_params *p,
                         bool only_metrics)
{
    const struct llama_sampler_params *s = &p->sampling;
    jw_kdouble(w, "dry_multiplier", s->dry_multiplier);
    jw_kdouble(w, "dry_base", s->dry_base);
    jw_kint(w, "dry_allowed_length", s->dry_allowed_length);
    jw_kint(w, "dry_penalty_last_n", s->dry_penalty_last_n);
    if (!only_metrics)
        write_strings(w, "dry_sequence_breakers", p->breaker, p->n_breakers);
    jw_kint(w, "mirostat", s->mirostat);
    jw_kdouble(w, "mirostat_tau", s->mirostat_tau);
    jw_kdouble(w, "mirostat_eta", s->mirostat_eta);
    jw_kdouble(w, "adaptive_target", s->adaptive_target);
    jw_kdouble(w, "adaptive_decay", s->adaptive_decay);
}

void gen_params_write(struct json_writer *w, const struct gen_params *p,
                      bool only_metrics)
{
    const struct llama_sampler_params *s = &p->sampling;
    jw_object(w);
    jw_kint(w, "seed", s->seed);
    jw_kdouble(w, "temperature", s->temp);
    jw_kdouble(w, "dynatemp_range", s->dynatemp_range);
    jw_kdouble(w, "dynatemp_exponent", s->dynatemp_exponent);
    jw_kint(w, "top_k", s->top_k);
    jw_kdouble(w, "top_p", s->top_p);
    jw_kdouble(w, "min_p", s->min_p);
    jw_kdouble(w, "top_n_sigma", s->top_n_sigma);
    jw_kdouble(w, "xtc_probability", s->xtc_probability);
    jw_kdouble(w, "xtc_threshold", s->xtc_threshold);
    jw_kdouble(w, "typical_p", s->typ_p);
    jw_kint(w, "repeat_last_n", s->repeat_last_n);
    jw_kdouble(w, "repeat_penalty", s->repeat_penalty);
    jw_kdouble(w, "presence_penalty", s->presence_penalty);
    jw_kdouble(w, "frequency_penalty", s->frequency_penalty);
    write_stages(w, p, only_metrics);
    jw_kint(w, "min_keep", s->min_keep);
    jw_kint(w, "n_probs", p->n_probs);
    jw_kbool(w, "post_sampling_probs", p->post_sampling_probs);
    jw_kbool(w, "timings_per_token", p->timings_per_token);
    jw_kint(w, "max_tokens", p->n_predict);
    jw_kint(w, "n_predict", p->n_predict);
    jw_kbool(w, "ignore_eos", p->ignore_eos);
    jw_kbool(w, "stream", p->stream);
    if (!only_metrics)
        write_strings(w, "stop", p->stop, p->n_stop);
    LINKER_SET_FOREACH(completion_part, struct completion_part, part)
        if (part->settings && !only_metrics)
            part->settings(w, p);
    write_strings(w, "samplers", s->samplers, s->n_samplers);
    jw_end(w);
}
