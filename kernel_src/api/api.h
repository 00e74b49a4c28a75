/* api.h: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § Routes ---- */

/* api.h: routes and errors, the frame of the HTTP API.
 *
 * ROUTE("GET", "/props", fn) at file scope makes fn answer that request. Errors have
 * llama.cpp's shape, {"error":{"code":…,"message":…,"type":…}}. Only api/ sees both
 * towers. */
#pragma once
#include "api/json.h"
#include "base/kernel.h"
#include "llm/llm.h"
#include "net/http_server.h"

#define API_RESPONSE_MAX (512 << 10)       // bytes of one JSON answer
#define API_LOGPROBS_MAX (2 << 20)         // … that has log-probabilities, or embeddings

struct api_route {
    const char *method, *path;
    void (*handler)(struct http_conn *c, const struct http_request *req);
    bool open;                             // answers without an API key
};
#define ROUTE_NAME2(fn, line) route_##fn##_##line
#define ROUTE_NAME(fn, line) ROUTE_NAME2(fn, line)
#define ROUTE_AS(method, path, fn, open)                                   \
    static const struct api_route ROUTE_NAME(fn, __LINE__) __attribute__(( \
        used, aligned(sizeof(void *)), section("set_route"))) = { method, path, fn, open }
#define ROUTE(method, path, fn) ROUTE_AS(method, path, fn, false)
#define ROUTE_OPEN(method, path, fn) ROUTE_AS(method, path, fn, true)

void api_error(struct http_conn *c, int status, const char *type, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void api_invalid(struct http_conn *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); // 400
void api_no_memory(struct http_conn *c);   // 503, Retry-After

/* Answers with what `w` holds, with 503 if writing it ran out of memory, or with 400 if
 * it came to its own bound: another time would not go better. Frees w. */
void api_respond(struct http_conn *c, int status, struct json_writer *w);

/* Parses the body; on failure answers (500, as llama-server does) and returns NULL.
 * json_free(doc) after use. */
const struct json_node *api_body(struct http_conn *c, const struct http_request *req,
                                 struct json_doc *doc);

/* PROPS(fn) at file scope: fn adds members to the answer of GET /props. */
typedef void (*api_props_fn)(struct json_writer *w);
#define PROPS(fn) LINKER_SET(api_props, api_props_fn, api_props_##fn) = fn

bool api_has_model(struct http_conn *c);   // false: has answered 503
const char *api_model_name(void);
uint32_t api_random(void);
