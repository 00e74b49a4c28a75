/* api.c: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § Routes ---- */

/* api.c: the router. Linker set `set_route` holds all routes; order does not matter. */
#include <stdarg.h>
#include "api/api.h"
#include "base/config.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"

CONFIG_KEY(port, "TCP port to listen on (default 80)");
CONFIG_KEY(alias, "model name that the API reports (default: the model's)");
CONFIG_KEY(api_key, "keys, as a,b: Authorization: Bearer or X-Api-Key must name one");

extern const struct api_route __start_set_route[], __stop_set_route[];

/* The message may quote the client's bytes: the JSON writer makes valid UTF-8 of
 * anything. */
static void respond_error(struct http_conn *c, int status, const char *type,
                          const char *fmt, va_list ap)
{
    struct json_writer w;
    char message[JSON_ERROR_MAX];
    size_t len;
    vsnprintf(message, sizeof message, fmt, ap);
    message[utf8_complete(message, strlen(message))] = 0;
    jw_init(&w, API_RESPONSE_MAX);
    jw_object(&w);
    jw_key(&w, "error");
    jw_object(&w);
    jw_kint(&w, "code", status);
    jw_kcstr(&w, "message", message);
    jw_kcstr(&w, "type", type);
    jw_end(&w);
    jw_end(&w);
    char *body = jw_take(&w, &len);
    if (!body) {                                         // not even memory to say so
        http_respond_error(c, status, type, message);
        return;
    }
    if (status == 503)
        http_set_header(c, "Retry-After", "1");
    http_respond_take(c, status, "application/json; charset=utf-8", body, len);
}

void api_error(struct http_conn *c, int status, const char *type, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    respond_error(c, status, type, fmt, ap);
    va_end(ap);
}

void api_invalid(struct http_conn *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    respond_error(c, 400, "invalid_request_error", fmt, ap);
    va_end(ap);
}

void api_no_memory(struct http_conn *c)
{
    http_respond_error(c, 503, "unavailable_error",
                       "out of memory for this request; try again"); // adds Retry-After
}

void api_respond(struct http_conn *c, int status, struct json_writer *w)
{
    size_t len, max = w->max;
    bool full = w->full;
    char *body = jw_take(w, &len);
    if (body)
        http_respond_take(c, status, "application/json; charset=utf-8", body, len);
    else if (full)
        api_invalid(c, "the answer would be longer than %d bytes; ask for less at once",
                    (int)max);
    else
        api_no_memory(c);
    jw_free(w);
}

const struct json_node *api_body(struct http_conn *c, const struct http_request *req,
                                 struct json_doc *doc)
{
    switch (json_parse(doc, req->body, req->body_len)) {
    case JSON_OK:
        if (json_is(doc->root, JSON_OBJECT))
            return doc->root;
        api_invalid(c, "the request body must be a JSON object");
        json_free(doc);
        return NULL;
    case JSON_NO_MEMORY:
        api_no_memory(c);
        return NULL;
    default:
        api_error(c, 500, "server_error", "%s", doc->error);
        return NULL;
    }
}

bool api_has_model(struct http_conn *c)
{
    if (kernel_llm.model)
        return true;
    api_error(c, 503, "unavailable_error", "%s",
              llm_load_error ? llm_load_error : "Loading model");
    return false;
}

const char *api_model_name(void)
{
    const char *alias = config_get("alias");
    return alias                                           ? alias
           : kernel_llm.model && kernel_llm.model->name[0] ? kernel_llm.model->name
                                                           : "cllm";
}

uint32_t api_random(void)
{
    static uint32_t x;
    x ^= (uint32_t)rdtsc();
    x = x * 1664525u + 1013904223u;
    return x ^ (x >> 15);
}

static bool same_key(const char *a, const char *key, size_t n)
{
    size_t diff = strlen(a) ^ n;
    for (size_t i = 0, la = strlen(a); i < n; i++)
        diff |= (size_t)(uint8_t)key[i] ^ (uint8_t)(i < la ? a[i] : 0);
    return diff == 0;
}

/* `keys`: one key, or several with commas between. Every one is looked at. */
static bool key_in(const char *a, const char *keys)
{
    bool found = false;
    for (;;) {
        const char *comma = strchr(keys, ',');
        size_t n = comma ? (size_t)(comma - keys) : strlen(keys);
        found |= n && same_key(a, keys, n);
        if (!comma)
            return found;
        keys = comma + 1;
    }
}

static bool allowed(const struct http_request *req)
{
    const char *keys = config_get("api_key"),
               *bearer = http_header_get(req, "Authorization"),
               *x = http_header_get(req, "X-Api-Key");
    if (!keys)
        return true;
    for (const struct api_route *r = __start_set_route; r < __stop_set_route; r++)
        if (r->open && strcmp(r->path, req->path) == 0)
            return true;
    if (bearer && strncmp(bearer, "Bearer ", 7) == 0)
        return key_in(bearer + 7, keys);
    return x && key_in(x, keys);
}

static void preflight(struct http_conn *c)
{
    http_set_header(c, "Access-Control-Allow-Credentials", "true");
    http_set_header(c, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    http_set_header(c, "Access-Control-Allow-Headers", "*");
    http_respond(c, 200, "text/html", "", 0);
}

/* "/slots/:id" matches "/slots/3": a name with a colon stands for any one segment. */
static bool route_matches(const char *pattern, const char *path)
{
    while (*pattern || *path)
        if (*pattern == ':' && *path && *path != '/') {
            while (*pattern && *pattern != '/')
                pattern++;
            while (*path && *path != '/')
                path++;
        } else if (*pattern++ != *path++) {
            return false;
        }
    return true;
}

/* NULL: none; then `allow` lists the methods that this path does have. */
static const struct api_route *find_route(const struct http_request *req, char *allow,
                                          size_t cap)
{
    const char *method = strcmp(req->method, "HEAD") == 0 ? "GET" : req->method;
    size_t n = 0;
    allow[0] = 0;
    for (const struct api_route *r = __start_set_route; r < __stop_set_route; r++) {
        if (!route_matches(r->path, req->path))
            continue;
        if (strcmp(r->method, method) == 0)
            return r;
        if (n < cap)
            n += (size_t)snprintf(allow + n, cap - n, "%s%s", n ? ", " : "", r->method);
    }
    return NULL;
}

bool api_cors_allows(const char *origin) __attribute__((weak));     // chapter 33

static void dispatch(struct http_conn *c, const struct http_request *req, void *ctx)
{
    (void)ctx;
    const char *origin = http_header_get(req, "Origin");
    char allow[64];
    if (origin && (!api_cors_allows || api_cors_allows(origin)))
        http_set_header(c, "Access-Control-Allow-Origin", origin);
    if (strcmp(req->method, "OPTIONS") == 0) {
        preflight(c);
        return;
    }
    if (!allowed(req)) {
        api_error(c, 401, "authentication_error", "Invalid API Key");
        return;
    }
    const struct api_route *r = find_route(req, allow, sizeof allow);
    if (r) {
        r->handler(c, req);
        return;
    }
    if (*allow) {
        http_set_header(c, "Allow", allow);
        api_error(c, 405, "invalid_request_error", "%s is not allowed for %s; use %s",
                  req->method, req->path, allow);
        return;
    }
    api_error(c, 404, "not_found_error", "File Not Found");
}

void api_init(void)
{
    long port = 80;
    if (config_get("port") && (!config_int("port", &port) || port < 1 || port > 65535)) {
        kprintf("[api] port=%s is not a port: using 80\n", config_get("port"));
        port = 80;
    }
    int n = 0;
    kprintf("[api] v1 routes mounted:");
    for (const struct api_route *r = __start_set_route; r < __stop_set_route; r++, n++)
        kprintf(" %s", r->path);
    kprintf("\n");
    if (!http_server_start((uint16_t)port, dispatch, NULL))
        kprintf("[api] cannot listen on port %ld: the API is not available\n", port);
    kprintf("[api] up %u us after kernel entry\n", (unsigned)time_us());
}
INITCALL(80, api_init);
