/* infill_route.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Filling in the middle ---- */

/* infill_route.c: POST /infill. Facts: post_infill and format_prompt_infill in
 * tools/server of llama.cpp. */
#include "api/completion.h"
#include "base/memory.h"
#include "base/string.h"
#include "api/infill.h"

static struct fim_tokens fim;

static void fim_init(void)
{
    if (!kernel_llm.model)
        return;
    fim_find(&fim, &kernel_llm.vocab, &kernel_llm.gguf);
    const llama_token ends[] = { fim.pad, fim.rep, fim.sep };
    for (size_t i = 0; i < 3; i++)             // for ignore_eos
        if (ends[i] != LLAMA_TOKEN_NULL && kernel_llm.n_eog < LLM_EOG_MAX)
            kernel_llm.eog[kernel_llm.n_eog++] = ends[i];
}
INITCALL(91, fim_init);

struct list { int32_t *t, n; };                // kmalloc'ed

static enum prompt_result add_ids(struct list *l, const int32_t *t, int32_t n)
{
    int32_t *p = krealloc(l->t, ((size_t)l->n + (size_t)n + 1) * sizeof *p);
    if (!p)
        return PROMPT_NO_MEMORY;
    if (n)
        memcpy(p + l->n, t, (size_t)n * sizeof *p);
    l->t = p;
    l->n += n;
    return PROMPT_OK;
}

/* A text, or a list with ids in it. */
static enum prompt_result add_node(struct list *l, const struct json_node *node,
                                   bool special)
{
    int32_t *t = NULL, n = 0;
    enum prompt_result r = prompt_tokens(node, false, special, &t, &n);
    if (r == PROMPT_OK)
        r = add_ids(l, t, n);
    kfree(t);
    return r;
}

/* A file's name and the end of its line. */
static enum prompt_result add_line(struct list *l, const char *name, size_t len)
{
    struct json_node node = { .type = JSON_STRING, .span = 1, { .str = NULL } };
    char *line = kmalloc(len + 2);
    if (!line)
        return PROMPT_NO_MEMORY;
    memcpy(line, name, len);
    memcpy(line + len, "\n", 2);
    node.str = line;
    node.len = (uint32_t)len + 1;
    enum prompt_result r = add_node(l, &node, false);
    kfree(line);
    return r;
}

static enum prompt_result add_file(struct list *l, const struct json_node *chunk)
{
    static const char snippet[] = "\n\n--- snippet ---\n";
    const struct json_node *name = json_get(chunk, "filename");
    enum prompt_result r;
    if (fim.sep != LLAMA_TOKEN_NULL) {
        r = add_ids(l, &fim.sep, 1);
        if (r == PROMPT_OK)
            r = json_is(name, JSON_STRING) ? add_line(l, name->str, name->len)
                                           : add_line(l, "tmp", 3);
    } else {
        r = add_line(l, snippet, sizeof snippet - 1);
    }
    return r == PROMPT_OK ? add_node(l, json_get(chunk, "text"), false) : r;
}

/* The other files, and the names of the project and of this file. */
static enum prompt_result add_extra(struct list *l, const struct json_node *files)
{
    enum prompt_result r = PROMPT_OK;
    if (fim.rep != LLAMA_TOKEN_NULL) {
        r = add_ids(l, &fim.rep, 1);
        if (r == PROMPT_OK)
            r = add_line(l, "myproject", 9);
    }
    for (const struct json_node *f = json_first(files); f && r == PROMPT_OK;
         f = json_next(files, f))
        r = add_file(l, f);
    if (r == PROMPT_OK && fim.sep != LLAMA_TOKEN_NULL)
        r = add_ids(l, &fim.sep, 1);
    if (r == PROMPT_OK && fim.sep != LLAMA_TOKEN_NULL)
        r = add_line(l, "filename", 8);
    return r;
}

static enum prompt_result infill_tokens(const struct json_node *body, struct list *out)
{
    enum { EXTRA, PREFIX, SUFFIX, PROMPT, PARTS };
    struct list part[PARTS] = { { NULL, 0 } };
    struct llama_vocab *v = &kernel_llm.vocab;
    enum prompt_result r = add_extra(&part[EXTRA], json_get(body, "input_extra"));
    size_t n = 4;
    if (r == PROMPT_OK)
        r = add_node(&part[PREFIX], json_get(body, "input_prefix"), false);
    if (r == PROMPT_OK)
        r = add_node(&part[SUFFIX], json_get(body, "input_suffix"), false);
    if (r == PROMPT_OK && json_is(json_get(body, "prompt"), JSON_STRING))
        r = add_node(&part[PROMPT], json_get(body, "prompt"), true);
    for (int i = 0; i < PARTS; i++)
        n += (size_t)part[i].n;
    out->t = r == PROMPT_OK ? kmalloc(n * sizeof *out->t) : NULL;
    if (r == PROMPT_OK && !out->t)
        r = PROMPT_NO_MEMORY;
    if (r == PROMPT_OK) {
        struct infill in = { { part[EXTRA].t, part[EXTRA].n },
                             { part[PREFIX].t, part[PREFIX].n },
                             { part[SUFFIX].t, part[SUFFIX].n },
                             { part[PROMPT].t, part[PROMPT].n } };
        out->n = infill_join(out->t, &in, &fim,
                             llama_vocab_get_add_bos(v) ? llama_vocab_bos(v)
                                                        : LLAMA_TOKEN_NULL,
                             kernel_llm.n_ctx_slot);
    }
    for (int i = 0; i < PARTS; i++)
        kfree(part[i].t);
    return r;
}

/* NULL, or what is wrong. */
static const char *wrong_field(const struct json_node *body)
{
    const struct json_node *prompt = json_get(body, "prompt"),
                           *extra = json_get(body, "input_extra");
    if (prompt && !json_is(prompt, JSON_STRING))
        return "\"prompt\" must be a string";
    if (!json_get(body, "input_prefix"))
        return "\"input_prefix\" is required";
    if (!json_get(body, "input_suffix"))
        return "\"input_suffix\" is required";
    if (extra && !json_is(extra, JSON_ARRAY))
        return "\"input_extra\" must be an array of {\"filename\": string, \"text\": "
               "string}";
    for (const struct json_node *f = json_first(extra); f; f = json_next(extra, f)) {
        const struct json_node *name = json_get(f, "filename");
        if (!json_is(json_get(f, "text"), JSON_STRING))
            return "extra_context chunk must contain a \"text\" field with a string "
                   "value";
        if (name && !json_is(name, JSON_STRING))
            return "extra_context chunk's \"filename\" field must be a string";
    }
    return NULL;
}

/* The request as POST /completion reads it: the same, with the tokens as its prompt. */
static void put_request(struct json_writer *w, const struct json_node *body,
                        const struct list *prompt)
{
    jw_object(w);
    for (const struct json_node *k = json_first(body); k; k = json_next(body, k))
        if (strcmp(k->str, "prompt") != 0 && strncmp(k->str, "input_", 6) != 0) {
            jw_key(w, k->str);
            jw_node(w, json_value(k));
        }
    jw_key(w, "prompt");
    jw_array(w);
    for (int32_t i = 0; i < prompt->n; i++)
        jw_int(w, prompt->t[i]);
    jw_end(w);
    jw_end(w);
}

static bool can_infill(struct http_conn *c)
{
    if (!api_has_model(c))
        return false;
    bool pre = fim.pre != LLAMA_TOKEN_NULL, suf = fim.suf != LLAMA_TOKEN_NULL,
         mid = fim.mid != LLAMA_TOKEN_NULL;
    if (!pre || !suf || !mid)
        api_error(c, 501, "not_supported_error",
                  "Infill is not supported by this model: %s%s%s",
                  pre ? "" : "prefix token is missing. ",
                  suf ? "" : "suffix token is missing. ",
                  mid ? "" : "middle token is missing. ");
    return pre && suf && mid;
}

static void post_infill(struct http_conn *c, const struct http_request *req)
{
    struct json_doc body, doc;
    struct json_writer w;
    struct list prompt = { NULL, 0 };
    size_t len;
    if (!can_infill(c) || !api_body(c, req, &body))
        return;
    const char *wrong = wrong_field(body.root);
    enum prompt_result r = wrong ? PROMPT_BAD : infill_tokens(body.root, &prompt);
    jw_init(&w, 8 * req->body_len + 16 * (size_t)prompt.n + 4096);
    if (r == PROMPT_OK)
        put_request(&w, body.root, &prompt);
    json_free(&body);
    kfree(prompt.t);
    char *text = r == PROMPT_OK ? jw_take(&w, &len) : NULL;
    jw_free(&w);
    if (r != PROMPT_OK)
        prompt_refuse(c, r, wrong ? wrong : "texts must be strings or lists of ids");
    else if (!text || json_parse(&doc, text, len) != JSON_OK)
        api_no_memory(c);
    else
        completion_start(c, SHAPE_NATIVE, &doc);
    kfree(text);
}
ROUTE("POST", "/infill", post_infill);
