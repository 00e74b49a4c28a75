/* api_v1.c: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § The routes ---- */

/* api_v1.c: the handlers behind the routes. */
#include "api/completion.h"
#include "base/memory.h"
#include "base/string.h"
#include "base/time.h"

static void start(struct http_conn *c, const struct http_request *req,
                  enum completion_shape shape)
{
    struct json_doc doc;
    if (api_has_model(c) && api_body(c, req, &doc))
        completion_start(c, shape, &doc);
}

static void post_completion(struct http_conn *c, const struct http_request *req)
{
    start(c, req, SHAPE_NATIVE);
}
static void post_v1_completions(struct http_conn *c, const struct http_request *req)
{
    start(c, req, SHAPE_OAI);
}
static void post_v1_chat(struct http_conn *c, const struct http_request *req)
{
    start(c, req, SHAPE_CHAT);
}
static void post_v1_embeddings(struct http_conn *c, const struct http_request *req)
{
    if (post_embeddings_oai)
        post_embeddings_oai(c, req);
    else
        start(c, req, SHAPE_EMBEDDING);
}

ROUTE("POST", "/completion", post_completion);
ROUTE("POST", "/completions", post_completion);
ROUTE("POST", "/v1/completions", post_v1_completions);
ROUTE("POST", "/v1/chat/completions", post_v1_chat);
ROUTE("POST", "/chat/completions", post_v1_chat);
ROUTE("POST", "/v1/embeddings", post_v1_embeddings);

static void get_health(struct http_conn *c, const struct http_request *req)
{
    static const char ok[] = "{\"status\":\"ok\"}";
    (void)req;
    if (api_has_model(c))
        http_respond(c, 200, "application/json; charset=utf-8", ok, sizeof ok - 1);
}
ROUTE_OPEN("GET", "/health", get_health);
ROUTE_OPEN("GET", "/v1/health", get_health);

static void put_model(struct json_writer *w, const struct llama_model *m)
{
    jw_object(w);
    jw_kcstr(w, "id", api_model_name());
    jw_key(w, "aliases");
    jw_array(w);
    jw_end(w);
    jw_key(w, "tags");
    jw_array(w);
    jw_end(w);
    jw_kcstr(w, "object", "model");
    jw_kint(w, "created", time_unix());
    jw_kcstr(w, "owned_by", "llamacpp");
    jw_key(w, "meta");
    jw_object(w);
    jw_kint(w, "vocab_type", llama_vocab_type(&kernel_llm.vocab));
    jw_kint(w, "n_vocab", m->hparams.n_vocab);
    jw_kint(w, "n_ctx", kernel_llm.n_ctx_slot);
    jw_kint(w, "n_ctx_train", m->hparams.n_ctx_train);
    jw_kint(w, "n_embd", m->hparams.n_embd);
    jw_kint(w, "n_params", (int64_t)m->n_params);
    jw_kint(w, "size", (int64_t)m->size);
    jw_kcstr(w, "ftype", m->ftype);
    jw_end(w);
    jw_end(w);
}

static void get_models(struct http_conn *c, const struct http_request *req)
{
    struct json_writer w;
    (void)req;
    if (!api_has_model(c))
        return;
    jw_init(&w, API_RESPONSE_MAX);
    jw_object(&w);
    jw_kcstr(&w, "object", "list");
    jw_key(&w, "data");
    jw_array(&w);
    put_model(&w, kernel_llm.model);
    jw_end(&w);
    jw_end(&w);
    api_respond(c, 200, &w);
}
ROUTE("GET", "/v1/models", get_models);
ROUTE("GET", "/models", get_models);

static void put_token_text(struct json_writer *w, const char *key, llama_token t)
{
    size_t len = 0;
    const char *s = t >= 0 ? llama_vocab_get_text(&kernel_llm.vocab, t, &len) : "";
    jw_kstr(w, key, s, len);
}

static void put_memory(struct json_writer *w)
{
    struct heap_stats s = kmem_stats();
    jw_key(w, "memory");
    jw_object(w);
    jw_kint(w, "heap_size", (int64_t)s.size);
    jw_kint(w, "heap_used", (int64_t)s.used);
    jw_kint(w, "heap_peak", (int64_t)s.peak);
    jw_kint(w, "heap_blocks", s.n_blocks);
    jw_kint(w, "heap_refused", s.n_refused);
    jw_kint(w, "region_size", (int64_t)model_region()->cap);
    jw_kint(w, "region_used", (int64_t)model_region()->used);
    jw_end(w);
}

LINKER_SET_DECLARE(api_props, api_props_fn);

static void get_props(struct http_conn *c, const struct http_request *req)
{
    static struct gen_params defaults;
    struct params_error err;
    struct json_writer w;
    (void)req;
    if (!api_has_model(c))
        return;
    gen_params_read(&defaults, NULL, false, &err);
    jw_init(&w, API_RESPONSE_MAX);
    jw_object(&w);
    jw_key(&w, "default_generation_settings");
    jw_object(&w);
    jw_key(&w, "params");
    gen_params_write(&w, &defaults, false);
    jw_kint(&w, "n_ctx", kernel_llm.n_ctx_slot);
    jw_end(&w);
    jw_kint(&w, "total_slots", kernel_llm.n_slots);
    jw_kcstr(&w, "model_alias", api_model_name());
    jw_kcstr(&w, "model_ftype", kernel_llm.model->ftype);
    jw_kcstr(&w, "model_path", kernel_llm.model->name);
    jw_key(&w, "modalities");
    jw_object(&w);
    jw_kbool(&w, "vision", false);
    jw_kbool(&w, "audio", false);
    jw_end(&w);
    jw_kcstr(&w, "chat_template",
             kernel_llm.chat_template ? kernel_llm.chat_template : "");
    put_token_text(&w, "bos_token", llama_vocab_bos(&kernel_llm.vocab));
    put_token_text(&w, "eos_token", llama_vocab_eos(&kernel_llm.vocab));
    jw_kcstr(&w, "build_info", "b1-cllm");
    put_memory(&w);
    LINKER_SET_FOREACH(api_props, api_props_fn, fn)
        (*fn)(&w);
    jw_end(&w);
    api_respond(c, 200, &w);
}
ROUTE("GET", "/props", get_props);

static bool is_utf8(const char *s, int32_t n)
{
    for (int32_t i = 0; i < n;) {
        uint8_t c = (uint8_t)s[i];
        int32_t len = c < 0x80                ? 1
                      : c >= 0xC2 && c < 0xE0 ? 2
                      : c >= 0xE0 && c < 0xF0 ? 3
                      : c >= 0xF0 && c < 0xF5 ? 4
                                              : 0;
        if (!len || len > n - i)
            return false;
        for (int32_t k = 1; k < len; k++)
            if (((uint8_t)s[i + k] & 0xC0) != 0x80)
                return false;
        i += len;
    }
    return true;
}

static void put_piece(struct json_writer *w, int32_t token)
{
    struct llm *l = &kernel_llm;
    int32_t n = llama_token_to_piece(&l->vocab, token, l->piece, l->piece_cap, 0, true);
    jw_object(w);
    jw_kint(w, "id", token);
    if (n >= 0 && is_utf8(l->piece, n)) {
        jw_kstr(w, "piece", l->piece, (size_t)n);
    } else {
        jw_key(w, "piece");
        jw_array(w);
        for (int32_t i = 0; i < n; i++)
            jw_int(w, (uint8_t)l->piece[i]);
        jw_end(w);
    }
    jw_end(w);
}

static void post_tokenize(struct http_conn *c, const struct http_request *req)
{
    struct json_doc doc;
    struct json_writer w;
    bool add_special = false, parse_special = true, with_pieces = false;
    int32_t *tokens = NULL, n = 0;
    if (!api_has_model(c) || !api_body(c, req, &doc))
        return;
    json_get_bool(doc.root, "add_special", &add_special);
    json_get_bool(doc.root, "parse_special", &parse_special);
    json_get_bool(doc.root, "with_pieces", &with_pieces);
    const struct json_node *content = json_get(doc.root, "content");
    enum prompt_result r =
        content ? prompt_tokens(content, add_special, parse_special, &tokens, &n)
                : PROMPT_OK;
    json_free(&doc);
    if (r == PROMPT_NO_MEMORY) {
        api_no_memory(c);
        return;
    }
    if (r != PROMPT_OK) {
        api_invalid(c, "\"content\" must be a string of at most %d bytes",
                    LLAMA_TOKENIZE_MAX);
        return;
    }
    jw_init(&w, API_RESPONSE_MAX);
    jw_object(&w);
    jw_key(&w, "tokens");
    jw_array(&w);
    for (int32_t i = 0; i < n; i++)
        if (with_pieces && tokens[i] < llama_vocab_n_tokens(&kernel_llm.vocab))
            put_piece(&w, tokens[i]);
        else
            jw_int(&w, tokens[i]);
    jw_end(&w);
    jw_end(&w);
    kfree(tokens);
    api_respond(c, 200, &w);
}
ROUTE("POST", "/tokenize", post_tokenize);

static void post_detokenize(struct http_conn *c, const struct http_request *req)
{
    struct json_doc doc;
    struct json_writer w;
    int32_t *tokens = NULL, n = 0;
    if (!api_has_model(c) || !api_body(c, req, &doc))
        return;
    const struct json_node *list = json_get(doc.root, "tokens");
    enum prompt_result r = json_is(list, JSON_ARRAY)
                               ? prompt_tokens(list, false, true, &tokens, &n)
                               : PROMPT_BAD;
    json_free(&doc);
    if (r == PROMPT_BAD || r == PROMPT_TOO_LONG) {
        api_invalid(c, "\"tokens\" must be a list of token ids");
        return;
    }
    int32_t len = r == PROMPT_OK ? -llama_detokenize(&kernel_llm.vocab, tokens, n, NULL,
                                                     0, false, true)
                                 : 0;
    char *text = r == PROMPT_OK ? kmalloc((size_t)len + 1) : NULL;
    if (text) {
        llama_detokenize(&kernel_llm.vocab, tokens, n, text, len, false, true);
        jw_init(&w, API_RESPONSE_MAX);
        jw_object(&w);
        jw_kstr(&w, "content", text, (size_t)len);
        jw_end(&w);
        api_respond(c, 200, &w);
    } else {
        api_no_memory(c);
    }
    kfree(text);
    kfree(tokens);
}
ROUTE("POST", "/detokenize", post_detokenize);

static void post_apply_template(struct http_conn *c, const struct http_request *req)
{
    struct json_doc doc;
    struct json_writer w;
    char *text;
    size_t len;
    if (!api_has_model(c) || !api_body(c, req, &doc))
        return;
    if (prompt_chat(c, doc.root, NULL, &text, &len)) {
        jw_init(&w, API_RESPONSE_MAX);
        jw_object(&w);
        jw_kstr(&w, "prompt", text, len);
        jw_end(&w);
        api_respond(c, 200, &w);
        kfree(text);
    }
    json_free(&doc);
}
ROUTE("POST", "/apply-template", post_apply_template);
