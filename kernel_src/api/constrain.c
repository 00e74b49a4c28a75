/* constrain.c: tangled from nbs/api/29_constrained.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/29_constrained.ipynb § From request to grammar ---- */

/* constrain.c: see constrain.h. */
#include "api/constrain.h"
#include "api/json_schema.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"

static bool PRINTF_LIKE(3, 4) refuse(struct params_error *err, int status,
                                     const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err->status = status;
    err->type = status == 503   ? "unavailable_error"
                : status == 501 ? "not_supported_error"
                                : "invalid_request_error";
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return false;
}

static bool no_memory(struct params_error *err)
{
    return refuse(err, 503, "out of memory for the grammar");
}

static bool set_triggers(struct constrain *k, const char *const *trigger, int32_t n,
                         struct params_error *err)
{
    if (n > CONSTRAIN_TRIGGERS_MAX)
        return refuse(err, 400, "more than %d grammar triggers", CONSTRAIN_TRIGGERS_MAX);
    k->n_triggers = 0;
    for (int32_t i = 0; i < n; i++) {
        size_t len = strlen(trigger[i]);
        if (len == 0 || len > CONSTRAIN_TRIGGER_BYTES_MAX)
            return refuse(err, 400, "a grammar trigger must have 1 to %d bytes",
                          CONSTRAIN_TRIGGER_BYTES_MAX);
        memcpy(k->trigger[k->n_triggers++], trigger[i], len + 1);
    }
    return true;
}

/* Puts text (kmalloc'ed, now ours; NULL: there was no memory for it) into *at. */
static bool take_text(struct constrain **at, char *text, size_t len,
                      struct params_error *err)
{
    if (text && !*at)
        *at = kcalloc(1, sizeof **at);
    if (!text || !*at) {
        kfree(text);
        return no_memory(err);
    }
    kfree((*at)->text);
    (*at)->text = text;
    (*at)->len = len;
    (*at)->n_triggers = 0;
    return true;
}

bool constrain_set(struct constrain **k, const char *gbnf, size_t len,
                   const char *const *trigger, int32_t n, struct params_error *err)
{
    if (len > GRAMMAR_TEXT_MAX)
        return refuse(err, 400, "the grammar is longer than %u bytes", GRAMMAR_TEXT_MAX);
    char *text = kmalloc(len + 1);
    if (text) {
        memcpy(text, gbnf, len);
        text[len] = 0;
    }
    return take_text(k, text, len, err) && set_triggers(*k, trigger, n, err);
}

bool constrain_set_schema(struct constrain **k, const struct json_node *schema,
                          struct params_error *err)
{
    char why[160];
    size_t len = 0;
    char *text = json_schema_to_grammar(schema, &len, why, sizeof why);
    if (!text && strcmp(why, "out of memory") != 0)
        return refuse(err, 400, "\"json_schema\": %s", why);
    return take_text(k, text, len, err);
}

/* A field that is there and not null. */
static const struct json_node *field(const struct json_node *body, const char *key)
{
    const struct json_node *n = json_get(body, key);
    return json_is(n, JSON_NULL) ? NULL : n;
}

/* *schema, *any: what response_format asks for; untouched if that is nothing. */
static bool read_format(const struct json_node *body, const struct json_node **schema,
                        bool *any, struct params_error *err)
{
    const struct json_node *format = field(body, "response_format"),
                           *type = field(format, "type"), *wrapped = NULL;
    if (!format)
        return true;
    if (!json_is(format, JSON_OBJECT))
        return refuse(err, 400, "Field 'response_format': Value must be an object");
    if (!type || json_is_str(type, "text") || json_is_str(type, ""))
        return true;
    if (json_is_str(type, "json_schema") && (wrapped = field(format, "json_schema")) &&
        !json_is(wrapped, JSON_OBJECT))
        return refuse(err, 400,
                      "Field 'response_format': json_schema must be an object");
    if (json_is_str(type, "json_schema"))
        *schema = field(wrapped, "schema");
    else if (!json_is_str(type, "json_object"))
        return refuse(err, 400,
                      "response_format type must be one of \"text\" or \"json_object\", "
                      "but got: %s", json_is(type, JSON_STRING) ? type->str : "no text");
    else if (field(format, "schema") || !*schema)
        *schema = field(format, "schema");
    *any = !*schema;
    return true;
}

/* grammar_lazy, grammar_triggers: llama-server's names for what its templates use. */
static bool read_triggers(struct constrain *k, const struct json_node *body,
                          struct params_error *err)
{
    const char *word[CONSTRAIN_TRIGGERS_MAX + 1];
    const struct json_node *list = field(body, "grammar_triggers");
    int32_t n = 0;
    bool lazy = false;
    if (json_get_bool(body, "grammar_lazy", &lazy) == JSON_FIELD_TYPE)
        return refuse(err, 400, "Field 'grammar_lazy': Value must be true or false");
    if (!lazy)
        return true;
    for (const struct json_node *e = json_first(list); e && n <= CONSTRAIN_TRIGGERS_MAX;
         e = json_next(list, e)) {
        const struct json_node *type = json_get(e, "type"), *v = json_get(e, "value");
        if (!json_is(list, JSON_ARRAY) || !json_is(v, JSON_STRING) ||
            !json_is(type, JSON_NUMBER))
            return refuse(err, 400, "Field 'grammar_triggers': Value must be a list of "
                          "{\"type\": 1, \"value\": text}");
        if (json_number(type) != CONSTRAIN_TRIGGER_WORD)
            return refuse(err, 501, "grammar_triggers: only words (type 1) are "
                          "supported, no tokens and no patterns");
        word[n++] = v->str;
    }
    if (n == 0)
        return refuse(err, 400, "Error: no triggers set for lazy grammar!");
    return set_triggers(k, word, n, err);
}

bool constrain_read(struct constrain **k, const struct json_node *body,
                    struct params_error *err)
{
    const struct json_node *grammar = field(body, "grammar"),
                           *schema = field(body, "json_schema");
    bool any = false;
    if (grammar && !json_is(grammar, JSON_STRING))
        return refuse(err, 400, "Field 'grammar': Value must be a string");
    if (!read_format(body, &schema, &any, err))
        return false;
    if (grammar && grammar->len && (schema || any))
        return refuse(err, 400, "Cannot use both json_schema and grammar");
    if (schema || any)
        return constrain_set_schema(k, schema, err);
    if (!grammar || !grammar->len)
        return true;
    return constrain_set(k, grammar->str, grammar->len, NULL, 0, err) &&
           read_triggers(*k, body, err);
}

/* ---- nbs/api/29_constrained.ipynb § From grammar to matcher ---- */

/* Does this text name one token? */
static int32_t find_token(const void *vocab, const char *text, size_t len)
{
    int32_t id[2];
    if (len > LLAMA_TOKENIZE_MAX)
        return LLAMA_TOKEN_NULL;
    int32_t n = llama_tokenize(vocab, text, (int32_t)len, id, 2, false, true);
    if (n == LLAMA_TOKENIZE_FAILED)
        return GRAMMAR_FIND_FAILED;
    return n == 1 ? id[0] : LLAMA_TOKEN_NULL;
}

bool constrain_prepare(struct constrain *k, const struct llama_vocab *vocab,
                       const struct grammar_vocab *pieces, struct params_error *err)
{
    struct grammar_error e;
    k->vocab = vocab;
    k->pieces = pieces;
    enum grammar_result r =
        grammar_parse(&k->grammar, k->text, k->len, find_token, vocab, &e);
    if (r == GRAMMAR_NO_MEMORY)
        return no_memory(err);
    if (r != GRAMMAR_OK)
        return refuse(err, 400,
                      "Failed to initialize samplers: failed to parse grammar: %s",
                      e.text);
    r = grammar_init(&k->spare, &k->grammar);
    if (r == GRAMMAR_NO_MEMORY)
        return no_memory(err);
    if (r != GRAMMAR_OK)
        return refuse(err, 400, "Failed to initialize samplers: the grammar has too many "
                      "readings at its beginning");
    return true;
}

void constrain_free(struct constrain *k)
{
    if (!k)
        return;
    grammar_release(k->spare);
    grammar_free(&k->grammar);
    kfree(k->text);
    kfree(k);
}

void constrain_write(struct json_writer *w, const struct constrain *k)
{
    int32_t n = k ? k->n_triggers : 0;
    jw_kstr(w, "grammar", k ? k->text : "", k ? k->len : 0);
    jw_kbool(w, "grammar_lazy", n > 0);
    jw_key(w, "grammar_triggers");
    jw_array(w);
    for (int32_t i = 0; i < n; i++) {
        jw_object(w);
        jw_kint(w, "type", CONSTRAIN_TRIGGER_WORD);
        jw_kcstr(w, "value", k->trigger[i]);
        jw_end(w);
    }
    jw_end(w);
}

/* ---- nbs/api/29_constrained.ipynb § One answer's place ---- */

/* ---- one answer's place in the grammar ---- */

#define TAIL_MAX (CONSTRAIN_TRIGGER_BYTES_MAX + GRAMMAR_PIECE_MAX)

struct constrain_task {
    struct llm_constraint hook;           // first: a pointer to one is one to the other
    struct constrain *k;
    struct grammar_matcher *m;            // NULL until it is needed
    bool waiting;                         // for a trigger
    uint32_t n_tail, n_ends;              // while waiting: the last bytes of the text,
    char tail[TAIL_MAX];                  // and the tokens that they came in
    struct { int32_t id; uint32_t end; } ends[CONSTRAIN_TRIGGER_BYTES_MAX + 1];
};

static bool need_matcher(struct constrain_task *t)
{
    if (t->m)
        return true;
    t->m = t->k->spare;
    t->k->spare = NULL;
    if (!t->m && grammar_init(&t->m, &t->k->grammar) != GRAMMAR_OK) {
        t->hook.error = "out of memory for the grammar";
        t->hook.no_memory = true;
    }
    return t->m != NULL;
}

static bool task_allows(struct llm_constraint *hook, int32_t token)
{
    struct constrain_task *t = (struct constrain_task *)hook;
    return t->waiting ||
           (need_matcher(t) && grammar_allows(t->m, t->k->pieces, token));
}

static int32_t task_mask(struct llm_constraint *hook, struct llama_token_data *cand,
                         int32_t n)
{
    struct constrain_task *t = (struct constrain_task *)hook;
    if (t->waiting)
        return n;
    if (!need_matcher(t))
        return 0;
    int32_t left = grammar_mask(t->m, t->k->pieces, cand, n);
    if (left < 0)
        hook->error = "the grammar is too ambiguous to follow here";
    return left;
}

/* ---- nbs/api/29_constrained.ipynb § Lazy grammars ---- */

/* Let go of all but the last bytes, in which a trigger may have begun. */
static void cut_tail(struct constrain_task *t)
{
    uint32_t keep = CONSTRAIN_TRIGGER_BYTES_MAX - 1, n = 0;
    uint32_t cut = t->n_tail > keep ? t->n_tail - keep : 0;
    memmove(t->tail, t->tail + cut, t->n_tail - cut);
    t->n_tail -= cut;
    for (uint32_t i = 0; i < t->n_ends; i++)
        if (t->ends[i].end > cut) {
            t->ends[n].id = t->ends[i].id;
            t->ends[n++].end = t->ends[i].end - cut;
        }
    t->n_ends = n;
}

/* Where in the tail a trigger begins, or n_tail. The first in the list wins. */
static uint32_t find_trigger(const struct constrain_task *t)
{
    for (int32_t i = 0; i < t->k->n_triggers; i++) {
        const char *word = t->k->trigger[i];
        uint32_t len = (uint32_t)strlen(word);
        for (uint32_t at = 0; at + len <= t->n_tail; at++)
            if (memcmp(t->tail + at, word, len) == 0)
                return at;
    }
    return t->n_tail;
}

/* The grammar begins at `start`, which may be inside a token. */
static bool replay(struct constrain_task *t, uint32_t start)
{
    for (uint32_t i = 0, from = 0; i < t->n_ends; from = t->ends[i++].end) {
        uint32_t end = t->ends[i].end, at = from > start ? from : start;
        if (end <= start)
            continue;
        if (at == from && grammar_accept_token(t->m, t->k->pieces, t->ends[i].id))
            continue;
        if (!grammar_accept(t->m, t->tail + at, end - at))
            return false;
    }
    return true;
}

static bool watch(struct constrain_task *t, int32_t token)
{
    cut_tail(t);
    int32_t n = llama_token_to_piece(t->k->vocab, token, t->tail + t->n_tail,
                                     GRAMMAR_PIECE_MAX, 0, true);
    if (n <= 0)
        return true;
    t->n_tail += (uint32_t)n;
    t->ends[t->n_ends].id = token;
    t->ends[t->n_ends++].end = t->n_tail;
    uint32_t start = find_trigger(t);
    if (start == t->n_tail)
        return true;
    if (!need_matcher(t))
        return false;
    t->waiting = !replay(t, start);
    if (t->waiting) {                     // the text goes on otherwise: wait again
        grammar_release(t->m);
        t->m = NULL;
        t->n_tail = t->n_ends = 0;
    }
    return true;
}

static bool task_accept(struct llm_constraint *hook, int32_t token)
{
    struct constrain_task *t = (struct constrain_task *)hook;
    if (t->waiting)
        return watch(t, token);
    return need_matcher(t) && grammar_accept_token(t->m, t->k->pieces, token);
}

struct llm_constraint *constrain_task_new(struct constrain *k)
{
    struct constrain_task *t = kcalloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->hook.allows = task_allows;
    t->hook.mask = task_mask;
    t->hook.accept = task_accept;
    t->k = k;
    t->waiting = k->n_triggers > 0;
    return &t->hook;
}

void constrain_task_free(struct llm_constraint *hook)
{
    struct constrain_task *t = (struct constrain_task *)hook;
    if (t)
        grammar_release(t->m);
    kfree(t);
}
