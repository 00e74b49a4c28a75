/* other_routes.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Routes that say no ---- */

/* other_routes.c: routes of llama-server that answer without doing anything here: they
 * say what is missing, as llama-server says it where that part is not switched on. */
#include "api/api.h"

static void post_rerank(struct http_conn *c, const struct http_request *req)
{
    (void)req;
    api_error(c, 501, "not_supported_error",
              "This server does not support reranking: that takes a model with pooling "
              "'rank', which this kernel cannot load");
}
ROUTE("POST", "/rerank", post_rerank);
ROUTE("POST", "/reranking", post_rerank);
ROUTE("POST", "/v1/rerank", post_rerank);
ROUTE("POST", "/v1/reranking", post_rerank);

static void post_transcriptions(struct http_conn *c, const struct http_request *req)
{
    (void)req;
    api_error(c, 501, "not_supported_error",
              "The current model does not support audio input.");
}
ROUTE("POST", "/audio/transcriptions", post_transcriptions);
ROUTE("POST", "/v1/audio/transcriptions", post_transcriptions);

static void get_lora_adapters(struct http_conn *c, const struct http_request *req)
{
    (void)req;
    http_respond(c, 200, "application/json; charset=utf-8", "[]", 2);
}

/* Nothing is loaded, so only the empty list can be had. */
static void post_lora_adapters(struct http_conn *c, const struct http_request *req)
{
    static const char done[] = "{\"success\":true}";
    struct json_doc doc;
    enum json_result r = json_parse(&doc, req->body, req->body_len);
    if (r == JSON_NO_MEMORY)
        api_no_memory(c);
    else if (r != JSON_OK)
        api_error(c, 500, "server_error", "%s", doc.error);
    else if (!json_is(doc.root, JSON_ARRAY))
        api_invalid(c, "Request body must be an array");
    else if (json_count(doc.root))
        api_error(c, 501, "not_supported_error", "LoRA adapters are not supported");
    else
        http_respond(c, 200, "application/json; charset=utf-8", done, sizeof done - 1);
    if (r == JSON_OK)
        json_free(&doc);
}
ROUTE("GET", "/lora-adapters", get_lora_adapters);
ROUTE("POST", "/lora-adapters", post_lora_adapters);

/* Off unless somebody switches them on; here nobody can. As there, without "code". */
static void disabled(struct http_conn *c, const struct http_request *req)
{
    static const char text[] = "{\"error\":{\"message\":\"this feature is disabled\","
                               "\"type\":\"feature_disabled\"}}";
    (void)req;
    http_respond(c, 403, "application/json; charset=utf-8", text, sizeof text - 1);
}
ROUTE("GET", "/tools", disabled);
ROUTE("POST", "/tools", disabled);
ROUTE("GET", "/cors-proxy", disabled);
ROUTE("POST", "/cors-proxy", disabled);

static void not_supported(struct http_conn *c, const struct http_request *req)
{
    api_error(c, 501, "not_supported_error", "%s %s is not supported by this kernel",
              req->method, req->path);
}
ROUTE("GET", "/v1/stream", not_supported);
ROUTE("DELETE", "/v1/stream", not_supported);
ROUTE("POST", "/v1/streams/lookup", not_supported);
ROUTE("POST", "/v1/chat/completions/control", not_supported);
