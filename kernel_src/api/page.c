/* page.c: tangled from nbs/api/33_page.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/33_page.ipynb § Serving it ---- */

/* page.c: the page at / and the small files that browsers ask for around it.
 *
 * page.S holds the page. All of it answers without an API key, as llama-server's pages
 * do: the page itself asks for the key. ui=0 switches it off. */
#include "api/api.h"
#include "base/config.h"
#include "base/stdio.h"
#include "base/string.h"

CONFIG_KEY(ui, "0: no page at / (default 1)");

extern const char page_start[], page_end[];

#define PAGE_POLICY                                                        \
    "default-src 'none'; connect-src 'self'; img-src 'self'; "             \
    "manifest-src 'self'; style-src 'unsafe-inline'; "                     \
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

/* FNV-1a over the page, as RFC 9110 §8.8.3 wants a tag: in quotes. */
static const char *page_etag(void)
{
    static char etag[12];
    uint32_t hash = 2166136261u;
    for (const char *p = page_start; !etag[0] && p < page_end; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    if (!etag[0])
        snprintf(etag, sizeof etag, "\"%08x\"", (unsigned)hash);
    return etag;
}

static bool page_is_on(struct http_conn *c)
{
    if (config_bool("ui", true))
        return true;
    api_error(c, 404, "not_found_error", "File Not Found");
    return false;
}

/* RFC 9110 §13.1.2. A tag has its quotes around it, so a match anywhere is one. */
static bool page_is_fresh(const struct http_request *req)
{
    const char *tags = http_header_get(req, "If-None-Match");
    return tags && (strcmp(tags, "*") == 0 || strstr(tags, page_etag()));
}

static void get_page(struct http_conn *c, const struct http_request *req)
{
    if (!page_is_on(c))
        return;
    http_set_header(c, "ETag", page_etag());
    http_set_header(c, "Cache-Control", "no-cache");
    http_set_header(c, "Content-Security-Policy", PAGE_POLICY);
    if (page_is_fresh(req))
        http_respond(c, 304, NULL, "", 0);
    else
        http_respond(c, 200, "text/html; charset=utf-8", page_start,
                     (size_t)(page_end - page_start));
}
ROUTE_OPEN("GET", "/", get_page);
ROUTE_OPEN("GET", "/index.html", get_page);

static const struct page_file { const char *path, *type, *body; } files[] = {
    { "/favicon.ico", "image/svg+xml",
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
      "<g stroke='#0a6b5c' stroke-width='2.5'><path d='M10 2v28M16 2v28M22 2v28M2 10h28"
      "M2 16h28M2 22h28'/></g><rect x='6' y='6' width='20' height='20' rx='4' "
      "fill='#0a6b5c'/><path d='M12 11v10h8' fill='none' stroke='#fff' "
      "stroke-width='3'/></svg>" },
    { "/manifest.webmanifest", "application/manifest+json",
      "{\"name\":\"cllm\",\"short_name\":\"cllm\",\"start_url\":\"./\","
      "\"display\":\"standalone\",\"icons\":[{\"src\":\"favicon.ico\","
      "\"sizes\":\"any\",\"type\":\"image/svg+xml\"}]}" },
    { "/sw.js", "text/javascript",
      "// No service worker here. One that another server left behind ends itself.\n"
      "self.addEventListener('install', () => self.skipWaiting());\n"
      "self.addEventListener('activate', e => e.waitUntil((async () => {\n"
      "    await self.registration.unregister();\n"
      "    for (const c of await self.clients.matchAll()) c.navigate(c.url);\n"
      "})()));\n" },
};

static void get_page_file(struct http_conn *c, const struct http_request *req)
{
    if (!page_is_on(c))
        return;
    http_set_header(c, "Cache-Control", "no-cache");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strcmp(files[i].path, req->path) == 0)
            http_respond(c, 200, files[i].type, files[i].body, strlen(files[i].body));
}
ROUTE_OPEN("GET", "/favicon.ico", get_page_file);
ROUTE_OPEN("GET", "/manifest.webmanifest", get_page_file);
ROUTE_OPEN("GET", "/sw.js", get_page_file);

static void get_page_version(struct http_conn *c, const struct http_request *req)
{
    struct json_writer w;
    (void)req;
    if (!page_is_on(c))
        return;
    jw_init(&w, API_RESPONSE_MAX);
    jw_object(&w);
    jw_key(&w, "version");
    jw_str(&w, page_etag() + 1, 8);
    jw_end(&w);
    api_respond(c, 200, &w);
}
ROUTE_OPEN("GET", "/_app/version.json", get_page_version);
