/* request_log.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § A line for every request ---- */

/* request_log.c: one line on the console for every request, with request_log=1. Called by
 * http_server.c through HTTP_DONE, while the request's completion still lives. */
#include "api/completion.h"
#include "base/config.h"
#include "base/kernel.h"
#include "base/stdio.h"

CONFIG_KEY(request_log, "1: a line on the console for every request (default 0)");

#define LOG_PATH_MAX 60

static bool enabled;

static void request_log_init(void) { enabled = config_bool("request_log", false); }
INITCALL(79, request_log_init);

static void printable(char *to, const char *from)
{
    size_t n = 0;
    for (; from && from[n] && n < LOG_PATH_MAX; n++)
        to[n] = from[n] > ' ' && from[n] < 0x7f ? from[n] : '?';
    if (!n)
        to[n++] = '-';
    to[n] = 0;
}

static void log_request(const struct http_conn *conn, const struct http_request *req,
                        int status, uint64_t took_ms)
{
    char method[LOG_PATH_MAX + 1], path[LOG_PATH_MAX + 1], tokens[64] = "";
    int64_t in = 0, cached = 0, out = 0;
    if (!enabled)
        return;
    printable(method, req->method);
    printable(path, req->path);
    const struct completion *c = completion_of_conn(conn);
    for (int32_t i = 0; c && i < c->n_tasks; i++) {
        in += c->t[i].task.n_prompt;
        cached += c->t[i].task.n_cached;
        out += c->t[i].task.n_decoded;
    }
    if (c)
        snprintf(tokens, sizeof tokens, ", %lld tokens in (%lld cached), %lld out",
                 (long long)in, (long long)cached, (long long)out);
    kprintf("[http] %s %s %d%s%s, %llu ms\n", method, path, status ? status : 499,
            http_is_gone(conn) ? " gone" : "", tokens, (unsigned long long)took_ms);
}
HTTP_DONE(log_request);
