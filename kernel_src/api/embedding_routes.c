/* embedding_routes.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Embeddings, in llama-server's own words ---- */

/* embedding_routes.c: POST /embedding and /embeddings, llama-server's own shape, and what
 * /v1/embeddings has beyond chapter 18: embd_normalize and inputs of more forms. Facts:
 * handle_embeddings_impl in tools/server/server-context.cpp. */
#include "api/completion.h"
#include "base/fmath.h"
#include "base/memory.h"
#include "base/string.h"

#define EMBD_NORMALIZE_MAX 64      // p of the p-norm

/* Of a vector: by what it is divided. common_embd_normalize in common/common.cpp. */
static double embedding_norm(const float *in, int32_t n, int64_t how)
{
    double sum = 0;
    if (how < 0)
        return 1;
    for (int32_t i = 0; i < n; i++) {
        double x = fabs((double)in[i]);
        if (how == 0)
            sum = sum < x ? x : sum;
        else
            sum += how == 2 ? x * x : pow(x, (double)how);
    }
    if (how == 0)
        return sum / 32760;                    // the range of an int16
    return how == 2 ? sqrt(sum) : pow(sum, 1 / (double)how);
}

static void normalize(const struct completion *c, const float *in, float *out, int32_t n)
{
    int64_t how = 2;
    json_get_int(c->doc.root, "embd_normalize", -1, EMBD_NORMALIZE_MAX, &how);
    double norm = embedding_norm(in, n, how);
    float scale = norm > 0 ? (float)(1 / norm) : 0;
    for (int32_t i = 0; i < n; i++)
        out[i] = in[i] * scale;
}

static void put_vectors(struct json_writer *w, struct completion *c)
{
    int32_t n = kernel_llm.model->hparams.n_embd;
    jw_array(w);
    for (int32_t i = 0; i < c->n_tasks; i++) {
        jw_object(w);
        jw_kint(w, "index", i);
        jw_key(w, "embedding");
        jw_array(w);
        jw_array(w);                           // one vector: the tokens' are pooled
        for (int32_t k = 0; k < n; k++)
            jw_double(w, c->t[i].embedding[k]);
        jw_end(w);
        jw_end(w);
        jw_end(w);
    }
    jw_end(w);
}

static const struct completion_dialect oai = { .normalize = normalize },
                                       native = { .normalize = normalize,
                                                  .answer = put_vectors };

/* {"content": [{"type": "text", "text": …}, …]}: the texts behind each other. false: it
 * is something else; a value is written all the same. */
static bool put_parts(struct json_writer *w, const struct json_node *parts)
{
    bool ok = json_is(parts, JSON_ARRAY);
    size_t len = 0, at = 0;
    for (const struct json_node *p = json_first(parts); p; p = json_next(parts, p)) {
        const struct json_node *t = json_get(p, "text");
        ok &= json_is_str(json_get(p, "type"), "text") && json_is(t, JSON_STRING);
        len += ok ? t->len : 0;
    }
    char *s = ok ? kmalloc(len + 1) : NULL;
    w->failed |= ok && !s;
    for (const struct json_node *p = json_first(parts); s && p; p = json_next(parts, p)) {
        const struct json_node *t = json_get(p, "text");
        memcpy(s + at, t->str, t->len);
        at += t->len;
    }
    jw_str(w, s ? s : "", at);
    kfree(s);
    return ok;
}

static bool put_entry(struct json_writer *w, const struct json_node *entry)
{
    const struct json_node *parts = json_get(entry, "content");
    if (parts)
        return put_parts(w, parts);
    jw_node(w, entry);
    return true;
}

static bool has_numbers(const struct json_node *list)
{
    for (const struct json_node *e = json_first(list); e; e = json_next(list, e))
        if (json_is(e, JSON_NUMBER))
            return true;
    return false;
}

/* The request as chapter 18 reads it. false: an input is of no known form. */
static bool put_request(struct json_writer *w, const struct json_node *body,
                        const struct json_node *input)
{
    static const char *const same[] = { "encoding_format", "embd_normalize", "id_slot" };
    bool ok = true;
    jw_object(w);
    jw_key(w, "input");
    if (json_is(input, JSON_ARRAY) && !has_numbers(input)) {
        jw_array(w);
        for (const struct json_node *e = json_first(input); e; e = json_next(input, e))
            ok &= put_entry(w, e);
        jw_end(w);
    } else {
        ok = put_entry(w, input);
    }
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        if (json_get(body, same[i])) {
            jw_key(w, same[i]);
            jw_node(w, json_get(body, same[i]));
        }
    jw_end(w);
    return ok;
}

/* Does this machine give embeddings? false: has answered. */
static bool can_embed(struct http_conn *c, bool is_oai)
{
    bool pooled = kernel_llm.model &&
                  llama_pooling_type(kernel_llm.ctx) != LLAMA_POOLING_TYPE_NONE;
    if (!api_has_model(c))
        return false;
    if (!kernel_llm.params.embeddings)
        api_error(c, 501, "not_supported_error",
                  "This server does not support embeddings. Start it with `--embeddings` "
                  "(embeddings=1)");
    else if (!pooled && is_oai)
        api_invalid(c, "Pooling type 'none' is not OAI compatible. Please use a "
                       "different pooling type");
    else if (!pooled)
        api_error(c, 501, "not_supported_error",
                  "embeddings of each token (pooling none) are not supported");
    return kernel_llm.params.embeddings && pooled;
}

/* NULL, or what is wrong with the fields other than the input. */
static const char *wrong_field(const struct json_node *body)
{
    const struct json_node *format = json_get(body, "encoding_format");
    int64_t how = 2;
    bool known = !format || json_is(format, JSON_NULL) || json_is_str(format, "float") ||
                 json_is_str(format, "base64");
    if (!known)
        return "The format to return the embeddings in. Can be either float or base64";
    switch (json_get_int(body, "embd_normalize", -1, EMBD_NORMALIZE_MAX, &how)) {
    case JSON_FIELD_TYPE:
    case JSON_FIELD_RANGE:
        return "Field 'embd_normalize': Value must be an integer between -1 and 64";
    default: return NULL;
    }
}

static void embed(struct http_conn *c, const struct http_request *req, bool is_oai)
{
    struct json_doc body, doc;
    struct json_writer w;
    size_t len;
    if (!can_embed(c, is_oai) || !api_body(c, req, &body))
        return;
    const struct json_node *input = json_get(body.root, "input");
    const char *wrong = wrong_field(body.root);
    if (!input) {
        input = json_get(body.root, "content");
        is_oai = false;                        // as in llama-server
    }
    if (!input)
        wrong = "\"input\" or \"content\" must be provided";
    else if (json_is(input, JSON_ARRAY) && !json_count(input))
        wrong = "\"input\" must not be empty";
    jw_init(&w, 8 * req->body_len + 256);
    if (!wrong && !put_request(&w, body.root, input))
        wrong = "\"content\" must be a list of texts (images are not supported)";
    json_free(&body);
    char *text = wrong ? NULL : jw_take(&w, &len);
    jw_free(&w);
    if (wrong)
        api_invalid(c, "%s", wrong);
    else if (!text || json_parse(&doc, text, len) != JSON_OK)
        api_no_memory(c);
    else
        completion_start_in(c, SHAPE_EMBEDDING, is_oai ? &oai : &native, &doc);
    kfree(text);
}

void post_embeddings_oai(struct http_conn *c, const struct http_request *req)
{
    embed(c, req, true);
}

static void post_embeddings(struct http_conn *c, const struct http_request *req)
{
    embed(c, req, false);
}
ROUTE("POST", "/embedding", post_embeddings);
ROUTE("POST", "/embeddings", post_embeddings);
