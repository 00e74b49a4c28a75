/* http_server.c: tangled from nbs/net/09_http.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/09_http.ipynb § A connection and its phases ---- */

/* http_server.c - moves bytes between tcp.c and http.c, and keeps the time.
 *
 * One table of connections, visited round robin by http_server_poll(); each
 * visit does a bounded amount of work, so no client can starve another.
 * READING -> (handler) WAITING -> STREAMING -> FLUSHING -> READING or LINGERING. */
#include "net/http_server.h"
#include "base/kernel.h"
#include "base/memory.h"
#include "base/panic.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"
#include "net/tcp.h"

enum http_phase {
    HTTP_FREE,          /* no connection */
    HTTP_READING,       /* a request is expected or arriving */
    HTTP_WAITING,       /* the handler has it, and has not begun to answer */
    HTTP_STREAMING,     /* between http_begin and http_end */
    HTTP_FLUSHING,      /* the answer is complete, not all of it is sent */
    HTTP_LINGERING,     /* we sent FIN, the client has not yet */
    HTTP_VANISHED,      /* inside the on_close callback */
};

#define HTTP_IN_MAX    1024
#define HTTP_SMALL_MAX 2048
#define HTTP_OUT_SPARE 8            /* always room for the last chunk */
#define HTTP_READ_BURST 8           /* input buffers per visit */
#define HTTP_CHUNK_OVERHEAD (HTTP_CHUNK_HEAD_MAX + 2)

struct http_conn {
    struct tcp_conn *tcp;           /* NULL once the client is gone */
    enum http_phase phase;
    bool head_only, chunked, keep_alive, fin_leaves;
    int n_requests, status;         /* status: of the answer, 0 before it */
    uint64_t progress_ms;           /* when something last moved */
    uint64_t head_ms;               /* first byte of this request */
    struct http_parser parser;
    size_t in_at, in_len;
    char *out;                      /* small, or from the heap */
    size_t out_at, out_len, out_cap;
    char *tail;                     /* rest of a response, ours to free */
    size_t tail_at, tail_len;
    void (*on_close)(void *user);
    void *on_close_user;
    size_t extra_len;
    char extra[HTTP_EXTRA_MAX + 1];
    char small[HTTP_SMALL_MAX + HTTP_OUT_SPARE];
    uint8_t in[HTTP_IN_MAX];
};

static struct http_conn http_conns[HTTP_CONN_MAX];
static http_handler http_serve;
static void *http_serve_ctx;
static uint16_t http_port;
struct http_stats http_stats;

/* ---- nbs/net/09_http.ipynb § Out ---- */

static void http_out_reset(struct http_conn *c)
{
    if (c->out != c->small)
        kfree(c->out);
    c->out = c->small;
    c->out_cap = sizeof c->small;
    c->out_at = c->out_len = 0;
}

/* Queue n bytes, and leave `spare` bytes of room behind them. */
static bool http_out(struct http_conn *c, const void *data, size_t n, size_t spare)
{
    if (c->out_at) {
        memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
        c->out_len -= c->out_at;
        c->out_at = 0;
    }
    if (n + spare > c->out_cap - c->out_len) {
        size_t cap = c->out_cap * 2;
        while (cap < c->out_len + n + spare)
            cap *= 2;
        if (cap > HTTP_OUT_MAX + HTTP_OUT_SPARE)
            cap = HTTP_OUT_MAX + HTTP_OUT_SPARE;
        char *out = n + spare > cap - c->out_len ? NULL : kmalloc(cap);
        if (!out)
            return false;
        memcpy(out, c->out, c->out_len);
        if (c->out != c->small)
            kfree(c->out);
        c->out = out;
        c->out_cap = cap;
    }
    memcpy(c->out + c->out_len, data, n);
    c->out_len += n;
    return true;
}

static bool http_unsent(const struct http_conn *c)
{
    return c->out_at < c->out_len || c->tail_at < c->tail_len;
}

/* Give TCP what it will take; true if it took anything. */
static bool http_flush(struct http_conn *c)
{
    uint64_t now = time_ms();
    size_t sent = 0, n;
    if (!c->tcp || !http_unsent(c))
        return false;
    if (c->out_at < c->out_len) {
        n = tcp_send(&net_tcp, c->tcp, (uint8_t *)c->out + c->out_at,
                     c->out_len - c->out_at, now);
        c->out_at += n;
        sent += n;
        if (c->out_at == c->out_len)
            http_out_reset(c);
    }
    if (!c->out_len && c->tail_at < c->tail_len) {
        n = tcp_send(&net_tcp, c->tcp, (uint8_t *)c->tail + c->tail_at,
                     c->tail_len - c->tail_at, now);
        c->tail_at += n;
        sent += n;
    }
    if (sent)
        c->progress_ms = now;
    return sent;
}

/* ---- nbs/net/09_http.ipynb § The end of a connection ---- */

static void http_free(struct http_conn *c)
{
    if (c->tcp)
        tcp_release(&net_tcp, c->tcp);
    c->tcp = NULL;
    http_parser_reset(&c->parser);
    http_out_reset(c);
    kfree(c->tail);
    c->tail = NULL;
    c->tail_at = c->tail_len = 0;
    c->phase = HTTP_FREE;
    http_stats.open--;
}

static void http_close(struct http_conn *c, uint64_t now)
{
    tcp_close(&net_tcp, c->tcp, now);
    c->phase = HTTP_LINGERING;
    c->progress_ms = now;
}

LINKER_SET_DECLARE(http_done, http_done_fn);

static void http_tell(const struct http_conn *c)
{
    LINKER_SET_FOREACH(http_done, http_done_fn, fn)
        (*fn)(c, &c->parser.req, c->status, time_ms() - c->head_ms);
}

/* TCP says the client is no more, or we gave it up. */
static void http_lost(struct http_conn *c)
{
    tcp_release(&net_tcp, c->tcp);
    c->tcp = NULL;
    if (c->phase != HTTP_WAITING && c->phase != HTTP_STREAMING) {
        http_free(c);
        return;
    }
    http_stats.aborted++;
    http_out_reset(c);
    if (c->on_close) {
        http_tell(c);
        c->phase = HTTP_VANISHED;
        c->on_close(c->on_close_user);
        http_free(c);
    }
}

bool http_is_gone(const struct http_conn *c)
{
    return !c->tcp || tcp_is_dead(c->tcp);
}

void http_on_close(struct http_conn *c, void (*fn)(void *user), void *user)
{
    c->on_close = fn;
    c->on_close_user = user;
}

void http_fin_is_leaving(struct http_conn *c) { c->fin_leaves = true; }

/* ---- nbs/net/09_http.ipynb § Answers ---- */

/* May the handler do this now? False if there is nobody to do it for. */
static bool http_may(struct http_conn *c, enum http_phase phase)
{
    if (c->phase == HTTP_FREE || c->phase == HTTP_VANISHED)
        return false;
    KASSERT(c->phase == phase);
    return true;
}

static void http_start(struct http_conn *c, int status, const char *content_type,
                       enum http_framing framing, size_t length)
{
    char head[HTTP_EXTRA_MAX + 512];
    struct http_answer a = {
        .status = status, .version = c->parser.req.version, .framing = framing,
        .keep_alive = c->keep_alive, .length = length,
        .content_type = content_type, .extra = c->extra,
    };
    c->extra[c->extra_len] = 0;
    c->status = status;
    c->progress_ms = time_ms();     /* the client's minute for taking it begins now */
    size_t n = http_emit_head(head, sizeof head, &a);
    KASSERT(n);                     /* extra is bounded, the rest is short */
    http_out(c, head, n, HTTP_OUT_SPARE);
}

/* The answer is complete; a gone client's handle ends here. */
static void http_finish(struct http_conn *c)
{
    http_tell(c);
    if (!c->tcp) {
        http_free(c);
        return;
    }
    c->phase = HTTP_FLUSHING;
    http_flush(c);
}

bool http_set_header(struct http_conn *c, const char *name, const char *value)
{
    size_t len = strlen(name) + strlen(value) + 4;
    if (len > HTTP_EXTRA_MAX - c->extra_len)
        return false;
    for (const char *s = value; *s; s++)
        if ((uint8_t)*s < ' ' || *s == 0x7f)
            return false;
    c->extra_len += snprintf(c->extra + c->extra_len, len + 1, "%s: %s\r\n", name, value);
    return true;
}

/* Head, and as much of the body as goes behind it; the count of the latter. */
static size_t http_start_counted(struct http_conn *c, int status,
                                 const char *content_type, const char *body, size_t len)
{
    http_start(c, status, content_type, HTTP_COUNTED, len);
    if (c->head_only)
        return len;
    size_t room = c->out_cap - HTTP_OUT_SPARE - c->out_len;
    size_t first = len < room ? len : room;
    http_out(c, body, first, HTTP_OUT_SPARE);
    return first;
}

void http_respond_take(struct http_conn *c, int status, const char *content_type,
                       void *body, size_t len)
{
    if (!http_may(c, HTTP_WAITING)) {
        kfree(body);
        return;
    }
    c->tail_at = http_start_counted(c, status, content_type, body, len);
    c->tail_len = len;
    c->tail = body;
    http_finish(c);
}

void http_respond(struct http_conn *c, int status, const char *content_type,
                  const void *body, size_t len)
{
    if (!http_may(c, HTTP_WAITING))
        return;
    size_t before = c->out_len - c->out_at;
    size_t first = http_start_counted(c, status, content_type, body, len);
    if (first < len) {
        c->tail = kmalloc(len - first);
        if (!c->tail) {
            c->out_len = c->out_at + before;        /* unsay the head */
            http_respond_error(c, 503, http_error_type(503), "out of memory");
            return;
        }
        memcpy(c->tail, (const char *)body + first, len - first);
        c->tail_len = len - first;
    }
    http_finish(c);
}

void http_respond_error(struct http_conn *c, int status, const char *type,
                        const char *message)
{
    char body[512];
    if (!http_may(c, HTTP_WAITING))
        return;
    size_t len = http_emit_error(body, sizeof body, status, type, message);
    if (status == 503)
        http_set_header(c, "Retry-After", "1");
    http_start(c, status, "application/json; charset=utf-8", HTTP_COUNTED, len);
    if (!c->head_only)
        http_out(c, body, len, HTTP_OUT_SPARE);
    http_finish(c);
}

bool http_begin(struct http_conn *c, int status, const char *content_type)
{
    if (!http_may(c, HTTP_WAITING))
        return false;
    c->chunked = c->parser.req.version == 11;
    c->keep_alive &= c->chunked;            /* 1.0: the end is the close */
    http_start(c, status, content_type, c->chunked ? HTTP_CHUNKED : HTTP_UNTIL_CLOSE, 0);
    c->phase = HTTP_STREAMING;
    if (!http_is_gone(c))
        return true;
    http_finish(c);
    return false;
}

size_t http_write_space(struct http_conn *c)
{
    size_t used = c->out_len - c->out_at + HTTP_CHUNK_OVERHEAD;
    return c->head_only ? HTTP_OUT_MAX : used < HTTP_OUT_MAX ? HTTP_OUT_MAX - used : 0;
}

bool http_write(struct http_conn *c, const void *data, size_t len)
{
    if (!http_may(c, HTTP_STREAMING) || http_is_gone(c))
        return false;
    if (c->head_only || len == 0)
        return true;
    if (len > http_write_space(c))
        return false;
    char head[HTTP_CHUNK_HEAD_MAX];
    size_t n = http_emit_chunk_head(head, len);
    if (!c->chunked) {
        if (!http_out(c, data, len, HTTP_OUT_SPARE))
            return false;
    } else {
        if (!http_out(c, head, n, len + 2 + HTTP_OUT_SPARE))
            return false;
        http_out(c, data, len, 2 + HTTP_OUT_SPARE);     /* room was made above */
        http_out(c, "\r\n", 2, HTTP_OUT_SPARE);
    }
    http_flush(c);
    return true;
}

void http_end(struct http_conn *c)
{
    if (!http_may(c, HTTP_STREAMING))
        return;
    if (c->chunked && !c->head_only)
        http_out(c, "0\r\n\r\n", 5, 0);     /* into the spare room */
    http_finish(c);
}

/* ---- nbs/net/09_http.ipynb § In ---- */

/* HTTP itself refuses: answer, and close afterwards. */
static void http_refuse(struct http_conn *c, int status, const char *reason)
{
    http_stats.refused++;
    c->phase = HTTP_WAITING;
    c->keep_alive = false;
    c->head_only = c->parser.head.len > 4 && !memcmp(c->parser.head.data, "HEAD", 5);
    c->extra_len = 0;
    c->in_at = c->in_len = 0;
    kfree(c->parser.body.data);             /* the answer may need the memory */
    c->parser.body = (struct http_bytes){0};
    http_respond_error(c, status, http_error_type(status), reason);
}

static void http_dispatch(struct http_conn *c)
{
    struct http_request *req = &c->parser.req;
    c->phase = HTTP_WAITING;
    c->head_only = !strcmp(req->method, "HEAD");
    c->keep_alive = req->keep_alive && ++c->n_requests < HTTP_KEEPALIVE_MAX;
    c->extra_len = 0;
    c->status = 0;
    c->fin_leaves = false;
    c->on_close = NULL;
    http_stats.requests++;
    http_serve(c, req, http_serve_ctx);
}

static bool http_read(struct http_conn *c, uint64_t now)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    bool work = false;
    for (int i = 0; i < HTTP_READ_BURST && c->phase == HTTP_READING; i++) {
        if (c->in_at == c->in_len) {
            c->in_at = 0;
            c->in_len = tcp_recv(&net_tcp, c->tcp, c->in, sizeof c->in);
            if (!c->in_len)
                break;
            c->progress_ms = now;
        }
        work = true;
        if (!http_parser_started(&c->parser))
            c->head_ms = now;
        size_t used;
        enum http_result r = http_parse(&c->parser, c->in + c->in_at,
                                        c->in_len - c->in_at, &used);
        c->in_at += used;
        if (r == HTTP_BAD)
            http_refuse(c, c->parser.status, c->parser.reason);
        else if (r == HTTP_DONE)
            http_dispatch(c);
        else if (r == HTTP_CONTINUE && c->in_at == c->in_len
                 && !tcp_recv_avail(&net_tcp, c->tcp)) {
            http_out(c, go_on, sizeof go_on - 1, HTTP_OUT_SPARE);
            http_flush(c);
        }
    }
    return work;
}

static void http_next(struct http_conn *c, uint64_t now)
{
    kfree(c->tail);
    c->tail = NULL;
    c->tail_at = c->tail_len = 0;
    http_parser_reset(&c->parser);
    if (c->keep_alive) {
        c->phase = HTTP_READING;
        c->progress_ms = now;
    } else {
        http_close(c, now);
    }
}

/* True if the clock ended something. Reads the clock itself: what was noted in
 * this round must not lie in the future. */
static bool http_check_time(struct http_conn *c)
{
    uint64_t now = time_ms(), quiet = now - c->progress_ms;
    if (http_unsent(c) && quiet >= HTTP_SEND_MS) {
        tcp_abort(&net_tcp, c->tcp, now);
        http_stats.timeouts++;
        return true;                        /* the next visit finds it dead */
    }
    if (c->phase == HTTP_LINGERING && quiet >= HTTP_LINGER_MS) {
        http_free(c);
        return true;
    }
    if (c->phase != HTTP_READING || c->in_at < c->in_len)
        return false;
    if (!http_parser_started(&c->parser)) {
        if (quiet < HTTP_KEEPALIVE_S * 1000)
            return false;
        http_close(c, now);
        return true;
    }
    bool in_head = http_parser_at(&c->parser) < HTTP_S_CHUNK_SIZE;
    if (in_head ? now - c->head_ms < HTTP_HEAD_MS : quiet < HTTP_BODY_MS)
        return false;
    http_stats.timeouts++;
    http_refuse(c, 408, in_head ? "the request head took too long"
                                : "the request body stopped coming");
    return true;
}

static bool http_linger(struct http_conn *c)
{
    size_t n = tcp_recv(&net_tcp, c->tcp, c->in, sizeof c->in);
    if (tcp_eof(c->tcp)) {
        http_free(c);
        return true;
    }
    return n > 0;
}

static bool http_visit(struct http_conn *c, uint64_t now)
{
    if (!c->tcp)
        return false;                       /* gone; its handler has not noticed yet */
    bool work = http_flush(c);
    bool answering = c->phase == HTTP_WAITING || c->phase == HTTP_STREAMING;
    if (tcp_is_dead(c->tcp) || (answering && c->fin_leaves && tcp_fin_came(c->tcp))) {
        http_lost(c);
        return true;
    }
    if (c->phase == HTTP_LINGERING)
        work |= http_linger(c);
    if (c->phase == HTTP_READING)
        work |= http_read(c, now);
    if (c->phase == HTTP_READING && c->in_at == c->in_len && tcp_eof(c->tcp)) {
        http_close(c, now);
        work = true;
    }
    if (c->phase == HTTP_FLUSHING && !http_unsent(c)) {
        http_next(c, now);
        work = true;
    }
    if (c->phase != HTTP_FREE)
        work |= http_check_time(c);
    return work;
}

/* ---- nbs/net/09_http.ipynb § Accepting, and being full ---- */

static bool http_is_idle(const struct http_conn *c)
{
    return c->phase == HTTP_LINGERING || (c->phase == HTTP_READING
        && !http_parser_started(&c->parser) && c->in_at == c->in_len && !http_unsent(c)
        && !tcp_recv_avail(&net_tcp, c->tcp));
}

/* May this connection make room for a new one? Not one that was accepted a moment ago:
 * its request is on the way. */
static bool http_may_evict(const struct http_conn *c, uint64_t now)
{
    return http_is_idle(c) &&
           (c->n_requests || now >= c->progress_ms + HTTP_FIRST_BYTE_MS);
}

/* A free place in the table, else the one idle longest, else NULL. */
static struct http_conn *http_place(uint64_t now)
{
    struct http_conn *best = NULL;
    for (struct http_conn *c = http_conns; c < http_conns + HTTP_CONN_MAX; c++) {
        if (c->phase == HTTP_FREE)
            return c;
        if (http_may_evict(c, now) && (!best || c->progress_ms < best->progress_ms))
            best = c;
    }
    return best;
}

static bool http_accept(uint64_t now)
{
    struct http_conn *c = http_place(now);
    struct tcp_conn *tcp = c ? tcp_accept(&net_tcp, http_port) : NULL;
    if (!tcp)
        return false;
    if (c->phase != HTTP_FREE) {
        http_stats.evicted++;
        http_free(c);                       /* tcp_release sends the FIN */
    }
    memset(c, 0, offsetof(struct http_conn, extra));
    http_parser_init(&c->parser);
    http_out_reset(c);
    c->tcp = tcp;
    c->phase = HTTP_READING;
    c->progress_ms = now;
    http_stats.accepted++;
    http_stats.open++;
    return true;
}

bool http_server_poll(void)
{
    static unsigned first;
    uint64_t now = time_ms();
    bool work = false;
    if (!http_port)
        return false;
    while (http_accept(now))
        work = true;
    first = (first + 1) % HTTP_CONN_MAX;
    for (unsigned i = 0; i < HTTP_CONN_MAX && http_stats.open; i++) {
        struct http_conn *c = &http_conns[(first + i) % HTTP_CONN_MAX];
        if (c->phase != HTTP_FREE)
            work |= http_visit(c, now);
    }
    return work;
}
POLL(http_server_poll);

bool http_server_start(uint16_t port, http_handler handler, void *ctx)
{
    if (http_port || tcp_listen(&net_tcp, port, HTTP_BACKLOG) < 0)
        return false;
    http_port = port;
    http_serve = handler;
    http_serve_ctx = ctx;
    kprintf("[http] limits: %d connections, head %d KiB, body %d KiB, %d s keep-alive\n",
            HTTP_CONN_MAX, HTTP_HEAD_MAX >> 10, HTTP_BODY_MAX >> 10, HTTP_KEEPALIVE_S);
    kprintf("[http] listening on 0.0.0.0:%u\n", port);
    return true;
}
