/* http_server.h: tangled from nbs/net/09_http.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/09_http.ipynb § The server ---- */

/* http_server.h - HTTP on top of TCP: connections, limits, responses.
 *
 * A request is handed to the handler once, complete. The handler answers now
 * or later, with http_respond() or with http_begin/http_write.../http_end.
 * Until that answer ended the request stays valid, and the connection's
 * following (pipelined) bytes wait. Nothing here blocks or panics on input.
 * twin: http_server.c */
#pragma once

#include "base/kernel.h"
#include "net/http.h"

#define HTTP_CONN_MAX      64       /* open connections; more wait in TCP */
#define HTTP_BACKLOG       64       /* connections that wait to be accepted */
#define HTTP_OUT_MAX       32768    /* unsent stream bytes per connection */
#define HTTP_EXTRA_MAX     1024     /* bytes of headers from http_set_header */
#define HTTP_HEAD_MS       10000    /* first byte of a head to its last: else 408 */
#define HTTP_BODY_MS       10000    /* without a byte of the body: 408 */
#define HTTP_SEND_MS       60000    /* client takes nothing: aborted */
#define HTTP_LINGER_MS     2000     /* after our FIN: wait for the client's */
#define HTTP_FIRST_BYTE_MS   1000   /* a new connection keeps its place so long */

struct http_conn;

typedef void (*http_handler)(struct http_conn *, const struct http_request *,
                             void *ctx);

/* Listen on `port`; false when TCP has no listener left, or we already do. */
bool http_server_start(uint16_t port, http_handler handler, void *ctx);
/* One round over all connections; true if anything moved. The kernel's POLL. */
bool http_server_poll(void);

/* The whole answer at once. `body` is copied as far as it is not sent yet. */
void http_respond(struct http_conn *, int status, const char *content_type,
                  const void *body, size_t len);
/* The same without a copy: `body` is from kmalloc and now belongs to us. */
void http_respond_take(struct http_conn *, int status, const char *content_type,
                       void *body, size_t len);
/* llama.cpp's error shape: {"error":{"code":…,"message":…,"type":…}} */
void http_respond_error(struct http_conn *, int status, const char *type,
                        const char *message);

/* Before http_respond or http_begin: one more response header. False when it
 * does not fit HTTP_EXTRA_MAX or holds a control character. */
bool http_set_header(struct http_conn *, const char *name, const char *value);

/* A streamed answer: http_begin, any number of http_write, http_end. If begin
 * says false the client is gone, and the handle is dead. One write is one chunk
 * and leaves at once if TCP has room. If write says false, the client is gone or
 * the chunk does not fit http_write_space(); nothing was queued. */
bool http_begin(struct http_conn *, int status, const char *content_type);
bool http_write(struct http_conn *, const void *data, size_t len);
size_t http_write_space(struct http_conn *);
void http_end(struct http_conn *);

/* Call fn(user) once if the client vanishes before the answer ended. It is
 * called from the server's poll, never from inside http_write. When fn has
 * returned the handle is dead: no http_end is needed (one inside fn is
 * harmless). Without fn a vanished client's handle lives until http_end. */
void http_on_close(struct http_conn *, void (*fn)(void *user), void *user);
/* The client is known to be gone: producing more is in vain. */
bool http_is_gone(const struct http_conn *);
/* From here on, and for this answer, the client's FIN counts as leaving. For answers that
 * cost so much that nobody should get them behind a half-closed connection. */
void http_fin_is_leaving(struct http_conn *);

/* HTTP_DONE(fn) at file scope: fn is told once of every request, when its answer is
 * complete or its client has vanished (before on_close). status: as sent, 0 if nothing
 * was. A refused request may have no method and no path (NULL). */
typedef void (*http_done_fn)(const struct http_conn *, const struct http_request *,
                             int status, uint64_t took_ms);
#define HTTP_DONE(fn) LINKER_SET(http_done, http_done_fn, http_done_##fn) = fn

struct http_stats {
    uint32_t accepted, requests, refused, timeouts, aborted, evicted, open;
};
extern struct http_stats http_stats;
