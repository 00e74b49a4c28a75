/* http.h: tangled from nbs/net/09_http.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/09_http.ipynb § The message, and who may break it ---- */

/* http.h - HTTP/1.1 messages (RFC 9110, RFC 9112): a pure parser and emitter.
 *
 * Bytes go in at any cut, a request or a named refusal comes out; nothing here
 * knows of sockets or clocks. The parser's two buffers (head, body) come from
 * the kernel heap, grow with what arrives, and stop at the limits below.
 * Called by http_server.c.
 * twin: http.c */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX     16384     /* request line and headers; also trailers */
#define HTTP_TARGET_MAX   8192      /* path?query, still encoded */
#define HTTP_METHOD_MAX   16
#define HTTP_HEADERS_MAX  64
#define HTTP_BODY_MAX     (1 << 20)
#define HTTP_CHUNK_LINE_MAX 256     /* size and extensions of one chunk */
#define HTTP_CHUNK_DIGITS_MAX 20    /* of a size; more can only be leading zeros */

enum http_result {
    HTTP_NEED_MORE,     /* all bytes taken, the request is not complete */
    HTTP_CONTINUE,      /* head is good; the client waits for "100 Continue" */
    HTTP_DONE,          /* request complete; later bytes were not touched */
    HTTP_BAD,           /* refused: see status and reason; then close */
};

struct http_header { const char *name, *value; };

struct http_request {
    const char *method;         /* "GET"; case-sensitive */
    const char *path;           /* percent-decoded, starts with '/' (or "*") */
    const char *query;          /* after '?', still encoded; "" if none */
    int version;                /* 10 or 11 */
    bool keep_alive;            /* what the client asked for */
    int n_headers;
    struct http_header headers[HTTP_HEADERS_MAX];
    const char *body;           /* NUL-terminated; "" if none */
    size_t body_len;
};

/* Value of the first header called `name` (any case), NULL if absent. */
const char *http_header_get(const struct http_request *req, const char *name);

enum http_state {
    HTTP_S_START, HTTP_S_METHOD, HTTP_S_TARGET, HTTP_S_VERSION, HTTP_S_LF,
    HTTP_S_FIELD, HTTP_S_NAME, HTTP_S_BEFORE_VALUE, HTTP_S_VALUE, HTTP_S_HEAD_LF,
    HTTP_S_CHUNK_SIZE, HTTP_S_CHUNK_EXT, HTTP_S_CHUNK_LF, HTTP_S_CHUNK_CR,
    HTTP_S_TRAILER, HTTP_S_TRAILER_NAME, HTTP_S_TRAILER_LINE, HTTP_S_END_LF,
    HTTP_S_BODY,                /* plain bytes, `left` of them */
    HTTP_S_DONE, HTTP_S_BAD, HTTP_STATES
};

struct http_bytes { char *data; size_t len, cap; };     /* growable, kmalloc */

struct http_parser {
    uint8_t state, after_lf;    /* enum http_state */
    uint8_t at;                 /* position inside the version */
    bool chunked, expect;
    uint8_t major, minor;       /* of HTTP/major.minor */
    uint16_t mark;              /* start in head of the piece being read */
    uint16_t target_at;         /* start in head of the target */
    uint32_t head_bytes;        /* raw bytes of head, or of trailers */
    uint32_t line_bytes;        /* of one chunk-size line */
    uint32_t left;              /* body or chunk bytes still to come */
    uint32_t content_length;
    struct http_bytes head;     /* method\0target\0name\0value\0name\0... */
    struct http_bytes body;
    struct http_request req;    /* complete at HTTP_DONE; head part before that */
    int status;                 /* after HTTP_BAD: what to answer, */
    const char *reason;         /* and why */
};

void http_parser_init(struct http_parser *p);
/* Forget the request and free its buffers: ready for the next one. */
void http_parser_reset(struct http_parser *p);
/* Where in the message the parser is. HTTP_S_LF has no place of its own: it belongs
 * to what comes after it. */
static inline uint8_t http_parser_at(const struct http_parser *p)
{ return p->state == HTTP_S_LF ? p->after_lf : p->state; }
/* Has a request begun? Empty lines in front of one do not count. */
static inline bool http_parser_started(const struct http_parser *p)
{ return http_parser_at(p) != HTTP_S_START; }

/* Feed `len` bytes; *used says how many were taken. After HTTP_CONTINUE go on
 * with the rest; after HTTP_DONE the rest belongs to the next request. */
enum http_result http_parse(struct http_parser *p, const void *data, size_t len,
                            size_t *used);

/* ---- nbs/net/09_http.ipynb § Saying it: the emitter ---- */

/* ---- Responses ---- */
#define HTTP_KEEPALIVE_S   5        /* idle between requests, then closed */
#define HTTP_KEEPALIVE_MAX 100      /* requests on one connection */
#define HTTP_CHUNK_HEAD_MAX 10      /* 8 hex digits, CR LF */

enum http_framing { HTTP_COUNTED, HTTP_CHUNKED, HTTP_UNTIL_CLOSE };

struct http_answer {
    int status;
    int version;                /* of the request: 10 or 11 */
    enum http_framing framing;
    bool keep_alive;
    size_t length;              /* HTTP_COUNTED */
    const char *content_type;   /* NULL: none */
    const char *extra;          /* more fields, each ended by CR LF; or "" */
};

const char *http_status_text(int status);
const char *http_error_type(int status);    /* llama.cpp's word for it */
size_t http_emit_head(char *buf, size_t cap, const struct http_answer *a);
size_t http_emit_chunk_head(char buf[HTTP_CHUNK_HEAD_MAX], size_t len);
/* {"error":{"code":…,"message":…,"type":…}} */
size_t http_emit_error(char *buf, size_t cap, int status, const char *type,
                       const char *message);
