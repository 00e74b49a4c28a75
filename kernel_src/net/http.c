/* http.c: tangled from nbs/net/09_http.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/09_http.ipynb § Growing buffers, and the word "no" ---- */

/* http.c - HTTP/1.1 as a pure function of bytes (RFC 9112).
 *
 * One small function per state, called once per byte of the head; bodies are
 * copied in bulk. Pieces of the head are stored NUL-separated in p->head and
 * become pointers when the head is complete. Refusals are http_bad(). */
#include "net/http.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/stdlib.h"
#include "base/string.h"

static enum http_result http_bad(struct http_parser *p, int status,
                                 const char *reason)
{
    p->state = HTTP_S_BAD;
    p->status = status;
    p->reason = reason;
    return HTTP_BAD;
}

/* Append; false when `max` or the heap is exhausted (nothing changes then).
 * One byte beyond len is always allocated, for a NUL. */
static bool http_put(struct http_bytes *b, const void *data, size_t n, size_t max)
{
    if (b->len > max || n > max - b->len)
        return false;
    if (b->len + n + 1 > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 512;
        while (cap < b->len + n + 1)
            cap *= 2;
        if (cap > max + 1)
            cap = max + 1;
        char *data = krealloc(b->data, cap);
        if (!data)
            return false;
        b->data = data;
        b->cap = cap;
    }
    memcpy(b->data + b->len, data, n);
    b->len += n;
    return true;
}

static enum http_result http_keep(struct http_parser *p, uint8_t c)
{
    return http_put(&p->head, &c, 1, HTTP_HEAD_MAX) ? HTTP_NEED_MORE
        : http_bad(p, 503, "out of memory for the request head");
}

void http_parser_init(struct http_parser *p)
{
    memset(p, 0, sizeof *p);
    p->state = HTTP_S_START;
    p->req.query = p->req.body = "";
}

void http_parser_reset(struct http_parser *p)
{
    kfree(p->head.data);
    kfree(p->body.data);
    http_parser_init(p);
}

/* ---- nbs/net/09_http.ipynb § One state, one function: the request line ---- */

static enum http_result http_expect_lf(struct http_parser *p, enum http_state next)
{
    p->state = HTTP_S_LF;
    p->after_lf = next;
    return HTTP_NEED_MORE;
}

static enum http_result http_on_lf(struct http_parser *p, uint8_t c)
{
    if (c != '\n')
        return http_bad(p, 400, "bare CR: lines end in CR LF");
    p->state = p->after_lf;
    return HTTP_NEED_MORE;
}

static bool http_is_token(uint8_t c)
{
    return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static enum http_result http_on_method(struct http_parser *p, uint8_t c)
{
    if (c == ' ' && p->head.len) {
        p->state = HTTP_S_TARGET;
        p->target_at = p->head.len + 1;
        return http_keep(p, 0);
    }
    if (!http_is_token(c))
        return http_bad(p, 400, "the request line does not start with a method");
    if (p->head.len == HTTP_METHOD_MAX)
        return http_bad(p, 501, "method too long");
    return http_keep(p, c);
}

static enum http_result http_on_start(struct http_parser *p, uint8_t c)
{
    if (c == '\r')
        return http_expect_lf(p, HTTP_S_START);
    p->state = HTTP_S_METHOD;
    return http_on_method(p, c);
}

static enum http_result http_on_target(struct http_parser *p, uint8_t c)
{
    size_t len = p->head.len - p->target_at;
    if (c == ' ' && len) {
        p->state = HTTP_S_VERSION;
        return http_keep(p, 0);
    }
    if (c <= ' ' || c >= 0x7f || c == '#')
        return http_bad(p, 400, "invalid character in the request target");
    if (len == HTTP_TARGET_MAX)
        return http_bad(p, 414, "request target too long");
    return http_keep(p, c);
}

static enum http_result http_on_version(struct http_parser *p, uint8_t c)
{
    static const char form[] = "HTTP/d.d\r";
    char want = form[p->at++];
    if (want == 'd' ? !isdigit(c) : c != want)
        return http_bad(p, 400, "the request line does not end in HTTP/1.1");
    if (want == 'd' && p->at == 6)
        p->major = c - '0';
    else if (want == 'd')
        p->minor = c - '0';
    if (want != '\r')
        return HTTP_NEED_MORE;
    if (p->major != 1)
        return http_bad(p, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    p->req.version = p->minor ? 11 : 10;
    return http_expect_lf(p, HTTP_S_FIELD);
}

/* ---- nbs/net/09_http.ipynb § Header fields ---- */

static enum http_result http_on_name(struct http_parser *p, uint8_t c)
{
    if (c == ':' && p->head.len > p->mark) {
        p->state = HTTP_S_BEFORE_VALUE;
        return http_keep(p, 0);
    }
    if (c == ' ' || c == '\t')
        return http_bad(p, 400, "white space before the colon of a header field");
    if (!http_is_token(c))
        return http_bad(p, 400, "invalid character in a header name");
    return http_keep(p, c);
}

static enum http_result http_on_field(struct http_parser *p, uint8_t c)
{
    if (c == '\r') {
        p->state = HTTP_S_HEAD_LF;
        return HTTP_NEED_MORE;
    }
    if (c == ' ' || c == '\t')
        return http_bad(p, 400, "folded header lines are obsolete and refused");
    if (p->req.n_headers == HTTP_HEADERS_MAX)
        return http_bad(p, 431, "too many header fields");
    p->state = HTTP_S_NAME;
    p->mark = p->head.len;
    return http_on_name(p, c);
}

static bool http_is_text(uint8_t c)
{
    return (c >= ' ' && c != 0x7f) || c == '\t';
}

static enum http_result http_on_value(struct http_parser *p, uint8_t c)
{
    if (c == '\r') {
        while (p->head.len > p->mark && strchr(" \t", p->head.data[p->head.len - 1]))
            p->head.len--;
        p->req.n_headers++;
        http_expect_lf(p, HTTP_S_FIELD);
        return http_keep(p, 0);
    }
    if (!http_is_text(c))
        return http_bad(p, 400, "control character in a header value");
    return http_keep(p, c);
}

static enum http_result http_on_before_value(struct http_parser *p, uint8_t c)
{
    if (c == ' ' || c == '\t')
        return HTTP_NEED_MORE;
    p->state = HTTP_S_VALUE;
    p->mark = p->head.len;
    return http_on_value(p, c);
}

/* ---- nbs/net/09_http.ipynb § The head is complete: what does it mean? ---- */

const char *http_header_get(const struct http_request *req, const char *name)
{
    for (int i = 0; i < req->n_headers; i++)
        if (!strcasecmp(req->headers[i].name, name))
            return req->headers[i].value;
    return NULL;
}

static void http_resolve(struct http_parser *p)
{
    char *s = p->head.data;
    p->req.method = s;
    s = p->head.data + p->target_at;
    p->req.path = s;
    for (int i = 0; i < p->req.n_headers; i++) {
        s += strlen(s) + 1;
        p->req.headers[i].name = s;
        s += strlen(s) + 1;
        p->req.headers[i].value = s;
    }
}

static int http_hex(uint8_t c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Decode %XX in place; false for a bad escape or an encoded NUL. */
static bool http_percent_decode(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (*s != '%') {
            *out++ = *s;
            continue;
        }
        int high = http_hex(s[1]), low = high < 0 ? -1 : http_hex(s[2]);
        if (low < 0 || high * 16 + low == 0)
            return false;
        *out++ = (char)(high * 16 + low);
        s += 2;
    }
    *out = 0;
    return true;
}

static enum http_result http_read_target(struct http_parser *p)
{
    char *path = p->head.data + p->target_at, *query = strchr(path, '?');
    if (!strcmp(p->req.method, "CONNECT"))
        return http_bad(p, 501, "this server is not a tunnel");
    if (query) {
        *query++ = 0;
        p->req.query = query;
    }
    if (!strncasecmp(path, "http://", 7) || !strncasecmp(path, "https://", 8)) {
        path = strchr(strchr(path, ':') + 3, '/');
        p->req.path = path ? path : "/";
    } else if (path[0] != '/'
               && (strcmp(path, "*") || strcmp(p->req.method, "OPTIONS"))) {
        return http_bad(p, 400, "the request target does not start with '/'");
    }
    if (path && !http_percent_decode(path))
        return http_bad(p, 400, "invalid percent-encoding in the path");
    return HTTP_NEED_MORE;
}

/* ---- nbs/net/09_http.ipynb § Where does the body end? Smuggling, and how not to help ---- */

/* The next element of comma list *list, trimmed; false at its end. */
static bool http_next_token(const char **list, const char **token, size_t *len)
{
    const char *s = *list;
    if (!s)
        return false;
    const char *end = strchr(s, ',');
    *list = end ? end + 1 : NULL;
    if (!end)
        end = s + strlen(s);
    while (s < end && (*s == ' ' || *s == '\t'))
        s++;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *token = s;
    *len = end - s;
    return true;
}

static bool http_token_is(const char *token, size_t len, const char *word)
{
    return strlen(word) == len && !strncasecmp(token, word, len);
}

/* Decimal digits only. Values above HTTP_BODY_MAX come out as some value above
 * it: adding digits stops there, so nothing can overflow. */
static bool http_read_length(const char *s, size_t len, uint32_t *out)
{
    uint32_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((uint8_t)s[i]))
            return false;
        if (v <= HTTP_BODY_MAX)
            v = v * 10 + (s[i] - '0');
    }
    *out = v;
    return len > 0;
}

static enum http_result http_read_framing(struct http_parser *p)
{
    int n_lengths = 0, n_codings = 0;
    for (int i = 0; i < p->req.n_headers; i++) {
        const struct http_header *h = &p->req.headers[i];
        const char *list = h->value, *token;
        size_t len;
        bool is_length = !strcasecmp(h->name, "content-length");
        if (!is_length && strcasecmp(h->name, "transfer-encoding"))
            continue;
        while (http_next_token(&list, &token, &len)) {
            uint32_t v;
            if (!is_length) {
                if (!http_token_is(token, len, "chunked"))
                    return http_bad(p, 501, "transfer coding not supported");
                if (n_codings++)
                    return http_bad(p, 400, "chunked twice");
                continue;
            }
            if (!http_read_length(token, len, &v))
                return http_bad(p, 400, "Content-Length is not a number");
            if (n_lengths++ && v != p->content_length)
                return http_bad(p, 400, "two different Content-Lengths");
            p->content_length = v;
        }
    }
    if (n_codings && (n_lengths || p->req.version == 10))
        return http_bad(p, 400, n_lengths ? "both Content-Length and Transfer-Encoding"
                                          : "Transfer-Encoding in HTTP/1.0");
    p->chunked = n_codings;
    if (p->req.version == 10 && !n_lengths && !strcmp(p->req.method, "POST"))
        return http_bad(p, 411, "a POST needs a Content-Length");
    if (p->content_length > HTTP_BODY_MAX)
        return http_bad(p, 413, "request body too large");
    return HTTP_NEED_MORE;
}

static enum http_result http_read_host(struct http_parser *p)
{
    int n = 0;
    for (int i = 0; i < p->req.n_headers; i++) {
        const char *s = p->req.headers[i].value;
        if (strcasecmp(p->req.headers[i].name, "host"))
            continue;
        n++;
        for (; *s; s++)
            if (!isalnum((uint8_t)*s) && !strchr("-._~!$&'()*+,;=:[]%", *s))
                return http_bad(p, 400, "invalid Host");
    }
    if (n > 1 || (n == 0 && p->req.version == 11))
        return http_bad(p, 400, n ? "more than one Host" : "HTTP/1.1 without Host");
    return HTTP_NEED_MORE;
}

static enum http_result http_read_options(struct http_parser *p)
{
    bool close = false, keep = p->req.version == 11;
    for (int i = 0; i < p->req.n_headers; i++) {
        const struct http_header *h = &p->req.headers[i];
        const char *list = h->value, *token;
        size_t len;
        if (!strcasecmp(h->name, "connection")) {
            while (http_next_token(&list, &token, &len)) {
                close |= http_token_is(token, len, "close");
                keep |= http_token_is(token, len, "keep-alive");
            }
        } else if (!strcasecmp(h->name, "expect") && p->req.version == 11) {
            if (strcasecmp(h->value, "100-continue"))
                return http_bad(p, 417, "only 100-continue can be expected");
            p->expect = true;
        }
    }
    p->req.keep_alive = keep && !close;
    return HTTP_NEED_MORE;
}

static enum http_result http_on_head_lf(struct http_parser *p, uint8_t c)
{
    static enum http_result (*const readers[])(struct http_parser *) = {
        http_read_target, http_read_host, http_read_framing, http_read_options,
    };
    if (c != '\n')
        return http_bad(p, 400, "bare CR: lines end in CR LF");
    http_resolve(p);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i](p) == HTTP_BAD)
            return HTTP_BAD;

    p->head_bytes = 0;                      /* from here it counts trailers */
    p->left = p->content_length;
    if (!p->chunked && !p->left) {
        p->state = HTTP_S_DONE;
        return HTTP_DONE;
    }
    p->state = p->chunked ? HTTP_S_CHUNK_SIZE : HTTP_S_BODY;
    return p->expect ? HTTP_CONTINUE : HTTP_NEED_MORE;
}

/* ---- nbs/net/09_http.ipynb § Chunked bodies ---- */

static enum http_result http_body_done(struct http_parser *p)
{
    p->state = HTTP_S_DONE;
    if (p->body.data) {
        p->body.data[p->body.len] = 0;      /* http_put keeps room for it */
        p->req.body = p->body.data;
        p->req.body_len = p->body.len;
    }
    return HTTP_DONE;
}

static enum http_result http_on_chunk_size(struct http_parser *p, uint8_t c)
{
    int digit = http_hex(c);
    if (digit >= 0) {
        p->left = p->left * 16 + digit;
        if (p->left > HTTP_BODY_MAX - p->body.len)
            return http_bad(p, 413, "request body too large");
        return ++p->line_bytes <= HTTP_CHUNK_DIGITS_MAX ? HTTP_NEED_MORE
            : http_bad(p, 400, "chunk size has too many digits");
    }
    if (!p->line_bytes)
        return http_bad(p, 400, "chunk size is not a hexadecimal number");
    p->state = c == '\r' ? HTTP_S_CHUNK_LF : HTTP_S_CHUNK_EXT;
    if (c != '\r' && c != ';')
        return http_bad(p, 400, "chunk size is not a hexadecimal number");
    return HTTP_NEED_MORE;
}

static enum http_result http_on_chunk_ext(struct http_parser *p, uint8_t c)
{
    if (c == '\r')
        p->state = HTTP_S_CHUNK_LF;
    else if (!http_is_text(c) || ++p->line_bytes > HTTP_CHUNK_LINE_MAX)
        return http_bad(p, 400, "invalid chunk extension");
    return HTTP_NEED_MORE;
}

static enum http_result http_on_chunk_lf(struct http_parser *p, uint8_t c)
{
    if (c != '\n')
        return http_bad(p, 400, "bare CR: lines end in CR LF");
    p->state = p->left ? HTTP_S_BODY : HTTP_S_TRAILER;
    return HTTP_NEED_MORE;
}

static enum http_result http_on_chunk_cr(struct http_parser *p, uint8_t c)
{
    if (c != '\r')
        return http_bad(p, 400, "a chunk is longer than its size says");
    p->line_bytes = 0;
    return http_expect_lf(p, HTTP_S_CHUNK_SIZE);
}

static enum http_result http_on_trailer(struct http_parser *p, uint8_t c)
{
    p->state = c == '\r' ? HTTP_S_END_LF : HTTP_S_TRAILER_NAME;
    return c == '\r' || http_is_token(c) ? HTTP_NEED_MORE
        : http_bad(p, 400, "invalid trailer field");
}

static enum http_result http_on_trailer_name(struct http_parser *p, uint8_t c)
{
    if (c == ':')
        p->state = HTTP_S_TRAILER_LINE;
    return c == ':' || http_is_token(c) ? HTTP_NEED_MORE
        : http_bad(p, 400, "invalid trailer field");
}

static enum http_result http_on_trailer_line(struct http_parser *p, uint8_t c)
{
    if (c == '\r')
        return http_expect_lf(p, HTTP_S_TRAILER);
    return http_is_text(c) ? HTTP_NEED_MORE
        : http_bad(p, 400, "control character in a trailer field");
}

static enum http_result http_on_end_lf(struct http_parser *p, uint8_t c)
{
    return c == '\n' ? http_body_done(p)
        : http_bad(p, 400, "bare CR: lines end in CR LF");
}

/* ---- nbs/net/09_http.ipynb § The loop ---- */

static enum http_result (*const http_steps[])(struct http_parser *, uint8_t) = {
    [HTTP_S_START] = http_on_start,     [HTTP_S_METHOD] = http_on_method,
    [HTTP_S_TARGET] = http_on_target,   [HTTP_S_VERSION] = http_on_version,
    [HTTP_S_LF] = http_on_lf,           [HTTP_S_FIELD] = http_on_field,
    [HTTP_S_NAME] = http_on_name,       [HTTP_S_BEFORE_VALUE] = http_on_before_value,
    [HTTP_S_VALUE] = http_on_value,     [HTTP_S_HEAD_LF] = http_on_head_lf,
    [HTTP_S_CHUNK_SIZE] = http_on_chunk_size, [HTTP_S_CHUNK_EXT] = http_on_chunk_ext,
    [HTTP_S_CHUNK_LF] = http_on_chunk_lf,     [HTTP_S_CHUNK_CR] = http_on_chunk_cr,
    [HTTP_S_TRAILER] = http_on_trailer, [HTTP_S_TRAILER_NAME] = http_on_trailer_name,
    [HTTP_S_TRAILER_LINE] = http_on_trailer_line, [HTTP_S_END_LF] = http_on_end_lf,
};
_Static_assert(sizeof http_steps / sizeof *http_steps == HTTP_S_BODY, "a step a state");

static enum http_result http_take_body(struct http_parser *p, const uint8_t *s, size_t n)
{
    size_t max = p->chunked ? HTTP_BODY_MAX : p->content_length;
    if (!http_put(&p->body, s, n, max))
        return http_bad(p, 503, "out of memory for the request body");
    p->left -= n;
    if (p->left)
        return HTTP_NEED_MORE;
    if (!p->chunked)
        return http_body_done(p);
    p->state = HTTP_S_CHUNK_CR;
    return HTTP_NEED_MORE;
}

enum http_result http_parse(struct http_parser *p, const void *data, size_t len,
                            size_t *used)
{
    const uint8_t *s = data;
    size_t i = 0;
    enum http_result r = p->state == HTTP_S_DONE ? HTTP_DONE
                       : p->state == HTTP_S_BAD ? HTTP_BAD : HTTP_NEED_MORE;
    while (i < len && r == HTTP_NEED_MORE) {
        if (p->state == HTTP_S_BODY) {
            size_t n = len - i < p->left ? len - i : p->left;
            r = http_take_body(p, s + i, n);
            i += n;
            continue;
        }
        uint8_t at = http_parser_at(p);
        bool counted = at < HTTP_S_CHUNK_SIZE || at >= HTTP_S_TRAILER;
        if (counted && ++p->head_bytes > HTTP_HEAD_MAX)
            r = http_bad(p, 431, "request head too large");
        else
            r = http_steps[p->state](p, s[i++]);
    }
    *used = i;
    return r;
}

/* ---- nbs/net/09_http.ipynb § Saying it: the emitter ---- */

static const struct { int status; const char *text, *error; } http_statuses[] = {
    { 100, "Continue", "" },                { 200, "OK", "" },
    { 204, "No Content", "" },              { 304, "Not Modified", "" },
    { 400, "Bad Request", "invalid_request_error" },
    { 401, "Unauthorized", "authentication_error" },
    { 403, "Forbidden", "permission_error" },
    { 404, "Not Found", "not_found_error" },
    { 405, "Method Not Allowed", "invalid_request_error" },
    { 408, "Request Timeout", "invalid_request_error" },
    { 411, "Length Required", "invalid_request_error" },
    { 413, "Content Too Large", "invalid_request_error" },
    { 414, "URI Too Long", "invalid_request_error" },
    { 417, "Expectation Failed", "invalid_request_error" },
    { 429, "Too Many Requests", "unavailable_error" },
    { 431, "Request Header Fields Too Large", "invalid_request_error" },
    { 500, "Internal Server Error", "server_error" },
    { 501, "Not Implemented", "not_supported_error" },
    { 503, "Service Unavailable", "unavailable_error" },
    { 505, "HTTP Version Not Supported", "invalid_request_error" },
    { 507, "Insufficient Storage", "server_error" },
};
#define HTTP_STATUSES (sizeof http_statuses / sizeof *http_statuses)

const char *http_status_text(int status)
{
    for (size_t i = 0; i < HTTP_STATUSES; i++)
        if (http_statuses[i].status == status)
            return http_statuses[i].text;
    return "Unknown";
}

const char *http_error_type(int status)
{
    for (size_t i = 0; i < HTTP_STATUSES; i++)
        if (http_statuses[i].status == status)
            return http_statuses[i].error;
    return "server_error";
}

size_t http_emit_head(char *buf, size_t cap, const struct http_answer *a)
{
    bool body = a->status != 204 && a->status != 304;
    char framing[48] = "";
    if (body && a->framing == HTTP_COUNTED)
        snprintf(framing, sizeof framing, "Content-Length: %u\r\n", (unsigned)a->length);
    else if (body && a->framing == HTTP_CHUNKED)
        strlcpy(framing, "Transfer-Encoding: chunked\r\n", sizeof framing);

    char stay[80] = "Connection: close\r\n";
    if (a->keep_alive)
        snprintf(stay, sizeof stay, "%sKeep-Alive: timeout=%d, max=%d\r\n",
                 a->version == 10 ? "Connection: keep-alive\r\n" : "",
                 HTTP_KEEPALIVE_S, HTTP_KEEPALIVE_MAX);

    bool type = body && a->content_type;
    size_t n = snprintf(buf, cap,
                        "HTTP/1.1 %d %s\r\nServer: llama.cpp\r\n%s%s%s%s%s%s\r\n",
                        a->status, http_status_text(a->status),
                        type ? "Content-Type: " : "", type ? a->content_type : "",
                        type ? "\r\n" : "", framing, stay, a->extra);
    return n < cap ? n : 0;
}

size_t http_emit_chunk_head(char buf[HTTP_CHUNK_HEAD_MAX], size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char reversed[8];
    size_t n = 0, at = 0;
    for (uint32_t v = len; v; v >>= 4)
        reversed[n++] = digits[v & 15];
    while (n)
        buf[at++] = reversed[--n];
    buf[at++] = '\r';
    buf[at++] = '\n';
    return at;
}

size_t http_emit_error(char *buf, size_t cap, int status, const char *type,
                       const char *message)
{
    int n = snprintf(buf, cap, "{\"error\":{\"code\":%d,\"message\":\"", status);
    size_t at = n, tail = strlen(type) + sizeof "\",\"type\":\"\"}}";
    if (at + tail > cap)
        return 0;
    for (; *message && at + tail + 2 <= cap; message++) {
        if (*message == '"' || *message == '\\')
            buf[at++] = '\\';
        buf[at++] = (uint8_t)*message < ' ' ? ' ' : *message;
    }
    return at + snprintf(buf + at, cap - at, "\",\"type\":\"%s\"}}", type);
}
