/* chat_template.c: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § From messages to a prompt ---- */

/* chat_template.c: see chat_template.h. */
#include "api/chat_template.h"
#include "base/stdio.h"
#include "base/string.h"

static const char *text_of(const struct json_node *n)
{
    return json_is(n, JSON_STRING) ? n->str : "";
}

static bool wrong_text(const struct json_node *object, const char *key)
{
    const struct json_node *n = json_get(object, key);
    return n && n->type != JSON_NULL && n->type != JSON_STRING;
}

static const char *check_content(const struct json_node *content)
{
    if (!content || json_is(content, JSON_NULL) || json_is(content, JSON_STRING))
        return NULL;
    if (!json_is(content, JSON_ARRAY))
        return "content must be a string or a list of {\"type\": \"text\"} parts";
    for (const struct json_node *p = json_first(content); p; p = json_next(content, p))
        if (!json_is_str(json_get(p, "type"), "text") ||
            !json_is(json_get(p, "text"), JSON_STRING))
            return "content must be a string or a list of {\"type\": \"text\"} parts "
                   "(images are not supported)";
    return NULL;
}

static const char *check_calls(const struct json_node *calls)
{
    if (!json_is(calls, JSON_ARRAY))
        return "'tool_calls' must be a list";
    for (const struct json_node *c = json_first(calls); c; c = json_next(calls, c)) {
        const struct json_node *f = json_get(c, "function"),
                               *args = json_get(f, "arguments");
        if (!json_is_str(json_get(c, "type"), "function"))
            return "a tool call's type must be \"function\"";
        if (!json_is(json_get(f, "name"), JSON_STRING))
            return "a tool call needs a function with a name";
        if (!json_is(args, JSON_STRING) && !json_is(args, JSON_OBJECT))
            return "a tool call's arguments must be a string (or an object)";
        if (wrong_text(c, "id"))
            return "a tool call's id must be a string";
    }
    return NULL;
}

static const char *check_message(const struct json_node *m)
{
    const struct json_node *role = json_get(m, "role"),
                           *calls = json_get(m, "tool_calls");
    static const char *const texts[] = { "name", "tool_call_id", "reasoning_content" };
    if (!json_is(role, JSON_STRING))
        return "every message needs a 'role'";
    if (json_is(calls, JSON_NULL))
        calls = NULL;
    if (strcmp(role->str, "assistant") != 0 && !json_get(m, "content"))
        return "every message that is not the assistant's needs 'content'";
    if (!json_get(m, "content") && !calls)
        return "Assistant message must contain either 'content' or 'tool_calls'!";
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (wrong_text(m, texts[i]))
            return "'name', 'tool_call_id' and 'reasoning_content' must be strings";
    const char *why = check_content(json_get(m, "content"));
    return why ? why : calls ? check_calls(calls) : NULL;
}

const char *chat_messages_check(const struct json_node *messages)
{
    const char *why = NULL;
    if (!json_is(messages, JSON_ARRAY) || !json_count(messages))
        return "'messages' must be a list with at least one message";
    for (const struct json_node *m = json_first(messages); m && !why;
         m = json_next(messages, m))
        why = check_message(m);
    return why;
}

/* A parsed value, as it is. Its strings are not copied. */
static void put_node(struct jinja_builder *b, const struct json_node *n)
{
    const struct json_node *end[JSON_DEPTH_MAX], *last = n + n->span;
    bool object[JSON_DEPTH_MAX];
    int depth = 0;
    for (const struct json_node *p = n; p < last || depth;) {
        if (depth && p == end[depth - 1]) {
            jb_end(b);
            depth--;
            continue;
        }
        if (depth && object[depth - 1]) {
            jb_key(b, p->str, p->len);
            p++;
        }
        switch ((enum json_type)p->type) {
        case JSON_NULL: jb_none(b); break;
        case JSON_BOOL: jb_bool(b, p->boolean); break;
        case JSON_STRING: jb_string(b, p->str, p->len); break;
        case JSON_NUMBER:
            if (p->is_int)
                jb_int(b, p->i);
            else
                jb_float(b, p->num);
            break;
        default:
            object[depth] = p->type == JSON_OBJECT;
            end[depth++] = p + p->span;
            if (p->type == JSON_OBJECT)
                jb_dict(b);
            else
                jb_list(b);
        }
        p++;
    }
}

static void key(struct jinja_builder *b, const char *s) { jb_key(b, s, strlen(s)); }

static void put_text(struct jinja_builder *b, const char *k, const char *s, size_t len)
{
    key(b, k);
    jb_string(b, s, len);
}

static void put_cstr(struct jinja_builder *b, const char *k, const char *s)
{
    put_text(b, k, s, strlen(s));
}

struct chat_parsed { struct json_doc doc; struct chat_parsed *next; };
struct span { const char *s; size_t len; };

static void fail(struct chat_template *t, enum jinja_result r, const char *why)
{
    if (t->error.result != JINJA_OK)
        return;
    t->error.result = r;
    snprintf(t->error.text, sizeof t->error.text, "%s", why);
}

static void *room(struct chat_template *t, size_t size)
{
    void *p = arena_alloc(&t->arena, size, 8);
    if (!p)
        fail(t, JINJA_TOO_BIG, "the conversation is too long for the chat template");
    return p;
}

static struct span joined(struct chat_template *t, struct span a, const char *between,
                          struct span b)
{
    size_t n = strlen(between);
    char *s = room(t, a.len + n + b.len + 1);
    if (!s)
        return a;
    memcpy(s, a.s, a.len);
    memcpy(s + a.len, between, n);
    memcpy(s + a.len + n, b.s, b.len);
    return (struct span){ s, a.len + n + b.len };
}

static struct span content_text(struct chat_template *t, const struct json_node *content)
{
    const struct json_node *first = json_first(content);
    size_t size = 0, len = 0;
    if (json_is(content, JSON_ARRAY) && json_count(content) == 1)
        content = json_get(first, "text");
    if (json_is(content, JSON_STRING))
        return (struct span){ content->str, content->len };
    for (const struct json_node *p = first; p; p = json_next(content, p))
        size += json_get(p, "text")->len + 1;
    char *s = size ? room(t, size) : NULL;
    if (!s)
        return (struct span){ "", 0 };
    for (const struct json_node *p = first; p; p = json_next(content, p)) {
        const struct json_node *text = json_get(p, "text");
        memcpy(s + len, text->str, text->len);
        len += text->len;
        s[len++] = '\n';
    }
    return (struct span){ s, size - 1 };
}

/* What the writer holds, in the template's memory. Frees w. */
static struct span taken(struct chat_template *t, struct json_writer *w)
{
    struct span s = { "", 0 };
    char *p = w->failed ? NULL : room(t, w->len + 1);
    if (w->failed)
        fail(t, JINJA_NO_MEMORY, "out of memory");
    if (p) {
        memcpy(p, w->buf ? w->buf : "", w->len);
        s = (struct span){ p, w->len };
    }
    jw_free(w);
    return s;
}

static const struct json_node *parsed(struct chat_template *t,
                                      const struct json_node *text)
{
    struct chat_parsed *p = room(t, sizeof *p);
    if (!p)
        return NULL;
    enum json_result r = text->len ? json_parse(&p->doc, text->str, text->len)
                                   : json_parse(&p->doc, "{}", 2);
    if (r == JSON_NO_MEMORY)
        fail(t, JINJA_NO_MEMORY, "out of memory");
    else if (r != JSON_OK)
        fail(t, JINJA_BAD, "Failed to parse tool call arguments as JSON");
    if (r != JSON_OK)
        return NULL;
    p->next = t->parsed;
    t->parsed = p;
    return p->doc.root;
}

static void put_arguments(struct chat_template *t, struct jinja_builder *b,
                          const struct json_node *args)
{
    struct json_writer w;
    key(b, "arguments");
    if (t->caps.object_arguments) {
        const struct json_node *value =
            json_is(args, JSON_STRING) ? parsed(t, args) : args;
        if (value)
            put_node(b, value);
    } else if (json_is(args, JSON_STRING)) {
        jb_string(b, args->str, args->len);
    } else {
        jw_init(&w, JINJA_TEXT_MAX);
        jw_node(&w, args);
        struct span s = taken(t, &w);
        jb_string(b, s.s, s.len);
    }
}

static void put_calls(struct chat_template *t, struct jinja_builder *b,
                      const struct json_node *calls)
{
    key(b, "tool_calls");
    jb_list(b);
    for (const struct json_node *c = json_first(calls); c; c = json_next(calls, c)) {
        const struct json_node *f = json_get(c, "function"), *id = json_get(c, "id");
        jb_dict(b);
        put_cstr(b, "type", "function");
        key(b, "function");
        jb_dict(b);
        put_cstr(b, "name", text_of(json_get(f, "name")));
        put_arguments(t, b, json_get(f, "arguments"));
        jb_end(b);
        if (json_is(id, JSON_STRING) && id->len)
            put_text(b, "id", id->str, id->len);
        jb_end(b);
    }
    jb_end(b);
}

static void put_tools(struct jinja_builder *b, const struct json_node *tools)
{
    key(b, "tools");
    jb_list(b);
    for (const struct json_node *e = json_first(tools); e; e = json_next(tools, e)) {
        const struct json_node *f = json_get(e, "function"),
                               *parameters = json_get(f, "parameters");
        jb_dict(b);
        put_cstr(b, "type", "function");
        key(b, "function");
        jb_dict(b);
        put_cstr(b, "name", text_of(json_get(f, "name")));
        put_cstr(b, "description", text_of(json_get(f, "description")));
        key(b, "parameters");
        if (json_is(parameters, JSON_OBJECT)) {
            put_node(b, parameters);
        } else {
            jb_dict(b);
            jb_end(b);
        }
        jb_end(b);
        jb_end(b);
    }
    jb_end(b);
}

static void write_call(struct json_writer *w, const struct json_node *call)
{
    const struct json_node *f = json_get(call, "function"), *id = json_get(call, "id"),
                           *args = json_get(f, "arguments");
    jw_object(w);
    jw_kcstr(w, "name", text_of(json_get(f, "name")));
    jw_key(w, "arguments");
    if (json_is(args, JSON_STRING) && args->len)
        jw_raw(w, args->str, args->len);
    else if (json_is(args, JSON_OBJECT))
        jw_node(w, args);
    else
        jw_raw(w, "{}", 2);
    if (json_is(id, JSON_STRING))
        jw_kstr(w, "id", id->str, id->len);
    jw_end(w);
}

/* For a template that knows nothing of tools: a call, or a tool's answer, as text. */
static struct span calls_as_text(struct chat_template *t, const struct json_node *calls)
{
    struct json_writer w;
    bool one = json_count(calls) == 1;
    jw_init(&w, JINJA_TEXT_MAX);
    jw_object(&w);
    jw_key(&w, one ? "tool_call" : "tool_calls");
    if (!one)
        jw_array(&w);
    for (const struct json_node *c = json_first(calls); c; c = json_next(calls, c))
        write_call(&w, c);
    if (!one)
        jw_end(&w);
    jw_end(&w);
    return taken(t, &w);
}

static struct span answer_as_text(struct chat_template *t, const struct json_node *m,
                                  struct span content)
{
    static const char *const keys[][2] = { { "name", "tool" }, { "tool_call_id", "id" } };
    struct json_writer w;
    jw_init(&w, JINJA_TEXT_MAX);
    jw_object(&w);
    jw_key(&w, "tool_response");
    jw_object(&w);
    for (size_t i = 0; i < 2; i++)
        if (json_is(json_get(m, keys[i][0]), JSON_STRING))
            jw_kcstr(&w, keys[i][1], text_of(json_get(m, keys[i][0])));
    jw_kstr(&w, "content", content.s, content.len);
    jw_end(&w);
    jw_end(&w);
    return taken(t, &w);
}

static void put_content(struct chat_template *t, struct jinja_builder *b,
                        const struct json_node *content, struct span text)
{
    bool typed = t->caps.typed_content && (!text.s || !t->caps.string_content);
    key(b, "content");
    if (!typed) {
        jb_string(b, text.s, text.len);
        return;
    }
    jb_list(b);
    const struct json_node *p = text.s ? NULL : json_first(content);
    do {
        jb_dict(b);
        put_cstr(b, "type", "text");
        put_text(b, "text", p ? json_get(p, "text")->str : text.s,
                 p ? json_get(p, "text")->len : text.len);
        jb_end(b);
        p = p ? json_next(content, p) : NULL;
    } while (p);
    jb_end(b);
}

static void put_if_text(struct jinja_builder *b, const char *k, const struct json_node *n)
{
    if (json_is(n, JSON_STRING) && n->len)
        put_text(b, k, n->str, n->len);
}

/* before: text that goes in front of the content. */
static void put_message(struct chat_template *t, struct jinja_builder *b,
                        const struct json_node *m, const char *role, struct span before)
{
    const struct json_node *content = json_get(m, "content"),
                           *calls = json_get(m, "tool_calls");
    bool parts = json_is(content, JSON_ARRAY) && json_count(content),
         has_calls = json_is(calls, JSON_ARRAY) && json_count(calls),
         as_text = !t->caps.tool_calls;
    struct span text = { NULL, 0 };
    if (!parts || !t->caps.typed_content || before.len)
        text = content_text(t, content);
    if (before.len)
        text = joined(t, before, "\n", text);
    if (has_calls && as_text)
        text = calls_as_text(t, calls);
    if (strcmp(role, "tool") == 0 && as_text) {
        text = answer_as_text(t, m, text.s ? text : content_text(t, content));
        role = "user";
    }
    jb_dict(b);
    put_cstr(b, "role", role);
    put_content(t, b, content, text);
    put_if_text(b, "reasoning_content", json_get(m, "reasoning_content"));
    put_if_text(b, "name", json_get(m, "name"));
    put_if_text(b, "tool_call_id", json_get(m, "tool_call_id"));
    if (has_calls && !as_text)
        put_calls(t, b, calls);
    jb_end(b);
}

static void put_lead(struct chat_template *t, struct jinja_builder *b, const char *role,
                     struct span text)
{
    jb_dict(b);
    put_cstr(b, "role", role);
    put_content(t, b, NULL, text);
    jb_end(b);
}

static const char *role_of(const struct chat_template *t, const struct json_node *m)
{
    const char *role = text_of(json_get(m, "role"));
    bool developer = strcmp(role, "developer") == 0;
    return developer && !strstr(t->source, "<|channel|>") ? "system" : role;
}

/* The system's words come first; where a template has no place for them, they open the
 * next message. */
static void put_messages(struct chat_template *t, struct jinja_builder *b,
                         const struct chat_inputs *in)
{
    const struct json_node *m = in->n_messages ? json_first(in->messages) : NULL;
    size_t left = in->n_messages;
    bool system = m && strcmp(role_of(t, m), "system") == 0;
    struct span lead = { "", 0 }, none = { "", 0 };
    key(b, "messages");
    jb_list(b);
    if (in->system || (system && !t->caps.system_role)) {
        struct span extra = { in->system, in->system ? strlen(in->system) : 0 };
        if (system) {
            lead = content_text(t, json_get(m, "content"));
            m = json_next(in->messages, m);
            left--;
        }
        if (extra.len)
            lead = lead.len ? joined(t, lead, "\n\n", extra) : extra;
        if (t->caps.system_role || !left) {
            put_lead(t, b, t->caps.system_role ? "system" : "user", lead);
            lead = none;
        }
    }
    for (; left && m; left--, m = json_next(in->messages, m), lead = none)
        put_message(t, b, m, role_of(t, m), lead);
    jb_end(b);
}

/* As llama.cpp: what the tokenizer will add must not be there twice. */
static void strip(const struct chat_template *t, const char **text, size_t *len)
{
    size_t n_bos = strlen(t->bos), n_eos = strlen(t->eos);
    if (t->add_bos && n_bos && *len >= n_bos && memcmp(*text, t->bos, n_bos) == 0) {
        *text += n_bos;
        *len -= n_bos;
    }
    if (t->add_eos && n_eos && *len >= n_eos &&
        memcmp(*text + *len - n_eos, t->eos, n_eos) == 0)
        *len -= n_eos;
}

static void begin(struct chat_template *t, struct jinja_builder *b)
{
    t->arena.used = t->mark;
    t->error = (struct jinja_error){ 0 };
    t->parsed = NULL;
    jb_init(b, &t->arena);
    jb_dict(b);
    put_cstr(b, "bos_token", t->bos);
    put_cstr(b, "eos_token", t->eos);
}

static enum jinja_result finish(struct chat_template *t, struct jinja_builder *b,
                                int64_t now, const char **text, size_t *len)
{
    jb_end(b);
    if (b->failed)
        fail(t, JINJA_TOO_BIG, "the conversation is too long or too deeply nested for "
                               "the chat template");
    if (t->error.result == JINJA_OK &&
        jinja_render(t->program, &t->arena, b, now, text, len, &t->error) ==
            JINJA_NO_MEMORY)
        t->error.result = JINJA_TOO_BIG;           // its memory is always the same
    for (struct chat_parsed *p = t->parsed; p; p = p->next)
        json_free(&p->doc);
    t->parsed = NULL;
    return t->error.result;
}

static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

/* llama.cpp's two extra variables, "%d %b %Y" and "%b %d %Y". */
static void put_date(struct chat_template *t, struct jinja_builder *b, int64_t now)
{
    int64_t days = now / 86400 + 719468, era = days / 146097, doe = days % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int day = (int)(doy - (153 * mp + 2) / 5 + 1);
    int month = (int)(mp < 10 ? mp + 2 : mp - 10);
    int year = (int)(yoe + era * 400 + (month < 2));
    char *s = room(t, 32);
    if (!s)
        return;
    snprintf(s, 16, "%02d %s %d", day, months[month], year);
    snprintf(s + 16, 16, "%s %02d %d", months[month], day, year);
    put_cstr(b, "date_string", s);
    put_cstr(b, "datetime", s + 16);
}

enum jinja_result chat_template_render(struct chat_template *t,
                                       const struct chat_inputs *in, const char **text,
                                       size_t *len)
{
    static struct jinja_builder b;                 // one rendering at a time
    begin(t, &b);
    put_messages(t, &b, in);
    if (json_count(in->tools))
        put_tools(&b, in->tools);
    key(&b, "enable_thinking");
    jb_bool(&b, in->enable_thinking);
    put_date(t, &b, in->now);
    if (in->reasoning_effort)
        put_cstr(&b, "reasoning_effort", in->reasoning_effort);
    if (in->add_generation_prompt) {
        key(&b, "add_generation_prompt");
        jb_bool(&b, true);
    }
    const struct json_node *kw = in->kwargs;
    for (const struct json_node *k = json_first(kw); k; k = json_next(kw, k)) {
        jb_key(&b, k->str, k->len);
        put_node(&b, json_value(k));
    }
    enum jinja_result r = finish(t, &b, in->now, text, len);
    if (r == JINJA_OK)
        strip(t, text, len);
    return r;
}

/* Renders a context given as JSON. NULL: it did not work. */
static const char *probe(struct chat_template *t, const char *context)
{
    static struct jinja_builder b;
    struct json_doc doc;
    const char *text = NULL;
    size_t len;
    if (json_parse(&doc, context, strlen(context)) != JSON_OK)
        return NULL;
    begin(t, &b);
    const struct json_node *root = doc.root;
    for (const struct json_node *k = json_first(root); k; k = json_next(root, k)) {
        jb_key(&b, k->str, k->len);
        put_node(&b, json_value(k));
    }
    if (finish(t, &b, 0, &text, &len) != JINJA_OK)
        text = NULL;
    json_free(&doc);
    return text;
}

static bool shows(const char *text, const char *needle)
{
    return text && strstr(text, needle);
}

#define CALL_1 "{\"id\":\"call00001\",\"type\":\"function\",\"function\":" \
               "{\"name\":\"xylo\",\"arguments\":%s}}"
#define CALL_2 ",{\"id\":\"call00002\",\"type\":\"function\",\"function\":" \
               "{\"name\":\"yarn\",\"arguments\":%s}}"
#define TOOLS "[{\"type\":\"function\",\"function\":{\"name\":\"xylo\",\"description\":" \
              "\"d\",\"parameters\":{\"type\":\"object\",\"properties\":{\"zinc\":"      \
              "{\"type\":\"string\",\"description\":\"d\"}},\"required\":[\"zinc\"]}}}]"

/* A talk with one call or two. u: how content is written. */
static const char *probe_calls(struct chat_template *t, const char *u, const char *args,
                               bool two)
{
    static char s[2048];
    char calls[512], more[64] = "";
    size_t n = (size_t)snprintf(calls, sizeof calls, CALL_1, args);
    if (two) {
        snprintf(calls + n, sizeof calls - n, CALL_2, args);
        snprintf(more, sizeof more,
                 ",{\"role\":\"tool\",\"tool_call_id\":\"call00002\",");
    }
    snprintf(s, sizeof s,
             "{\"messages\":[{\"role\":\"user\",\"content\":%s},"
             "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[%s]},"
             "{\"role\":\"tool\",\"tool_call_id\":\"call00001\",\"name\":\"xylo\","
             "\"content\":%s}%s%s%s%s,{\"role\":\"assistant\",\"content\":%s},"
             "{\"role\":\"user\",\"content\":%s}],"
             "\"tools\":" TOOLS ",\"add_generation_prompt\":true}",
             u, calls, u, more, two ? "\"content\":" : "", two ? u : "", two ? "}" : "",
             u, u);
    return probe(t, s);
}

static void explore_tools(struct chat_template *t, const char *u)
{
    struct chat_template_caps *c = &t->caps;
    char s[1024];
    snprintf(s, sizeof s,
             "{\"messages\":[{\"role\":\"user\",\"content\":%s}],"
             "\"tools\":" TOOLS ",\"add_generation_prompt\":true}", u);
    c->tools = shows(probe(t, s), "xylo");
    const char *objects = "{\"zinc\":\"wolf\"}",
               *strings = "\"{\\\"zinc\\\":\\\"wolf\\\"}\"";
    const char *text = probe_calls(t, u, objects, false);
    c->tool_calls = shows(text, "wolf");
    c->object_arguments = shows(text, "\"zinc\": \"wolf\"") ||
                          shows(text, "\"zinc\":\"wolf\"");
    if (!c->object_arguments) {
        text = probe_calls(t, u, strings, false);
        bool by_string = shows(text, "wolf");
        c->object_arguments = c->tool_calls && !by_string;
        c->tool_calls |= by_string;
    }
    text = probe_calls(t, u, c->object_arguments ? objects : strings, true);
    c->parallel_tool_calls = c->tool_calls && shows(text, "yarn");
}

static enum chat_format format_of(const struct chat_template *t)
{
    const char *s = t->source;
    if (!t->caps.tools)
        return CHAT_FORMAT_GENERIC;
    if (strstr(s, "<tool_call>"))
        return strstr(s, "<function=") || strstr(s, "<arg_key>") ? CHAT_FORMAT_UNKNOWN
                                                                 : CHAT_FORMAT_HERMES;
    if (strstr(s, "[TOOL_CALLS]"))
        return strstr(s, "[ARGS]") ? CHAT_FORMAT_UNKNOWN : CHAT_FORMAT_MISTRAL;
    if (strstr(s, "<|start_header_id|>") && strstr(s, "parameters"))
        return CHAT_FORMAT_LLAMA_3;
    return CHAT_FORMAT_UNKNOWN;
}

/* Thoughts of an earlier turn, with llama.cpp's four names for the wish to keep them. */
static const char OLD_THOUGHTS[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},"
    "{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"wolf\"},"
    "{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":\"a\","
    "\"reasoning_content\":\"r\"},{\"role\":\"user\",\"content\":\"u\"}],"
    "\"enable_thinking\":true,\"preserve_thinking\":true,\"clear_thinking\":false,"
    "\"truncate_history_thinking\":false,\"drop_thinking\":false}";

void chat_template_explore(struct chat_template *t)
{
    struct chat_template_caps *c = &t->caps;
    const char *text =
        probe(t, "{\"messages\":[{\"role\":\"user\",\"content\":\"wolf\"}]}");
    c->string_content = shows(text, "wolf");
    text = probe(t, "{\"messages\":[{\"role\":\"user\",\"content\":"
                    "[{\"type\":\"text\",\"text\":\"wolf\"}]}]}");
    c->typed_content = shows(text, "wolf") && !shows(text, "'text'") &&
                       !shows(text, "\"text\"");
    const char *u = c->string_content || !c->typed_content
                        ? "\"u\""
                        : "[{\"type\":\"text\",\"text\":\"u\"}]";
    char s[256];
    snprintf(s, sizeof s, "{\"messages\":[{\"role\":\"system\",\"content\":%s},"
             "{\"role\":\"user\",\"content\":%s}]}",
             *u == '"' ? "\"wolf\"" : "[{\"type\":\"text\",\"text\":\"wolf\"}]", u);
    c->system_role = shows(probe(t, s), "wolf");
    c->preserve_reasoning = shows(probe(t, OLD_THOUGHTS), "wolf");
    c->reasoning_effort = strstr(t->source, "reasoning_effort") != NULL;
    t->thinks = strstr(t->source, "</think>") != NULL;
    explore_tools(t, u);
    t->format = format_of(t);
    t->error = (struct jinja_error){ 0 };
}

bool chat_template_init(struct chat_template *t, const char *source, const char *bos,
                        const char *eos, void *memory, size_t size)
{
    memset(t, 0, sizeof *t);
    arena_init(&t->arena, memory, size);
    t->source = source;
    t->bos = bos;
    t->eos = eos;
    t->program = jinja_parse(&t->arena, source, strlen(source), &t->error);
    t->mark = t->arena.used;
    return t->program != NULL;
}

void chat_caps_write(struct json_writer *w, const struct chat_template_caps *c)
{
    jw_object(w);
    jw_kbool(w, "supports_object_arguments", c->object_arguments);
    jw_kbool(w, "supports_parallel_tool_calls", c->parallel_tool_calls);
    jw_kbool(w, "supports_preserve_reasoning", c->preserve_reasoning);
    jw_kbool(w, "supports_reasoning_effort", c->reasoning_effort);
    jw_kbool(w, "supports_string_content", c->string_content);
    jw_kbool(w, "supports_system_role", c->system_role);
    jw_kbool(w, "supports_tool_calls", c->tool_calls);
    jw_kbool(w, "supports_tools", c->tools);
    jw_kbool(w, "supports_typed_content", c->typed_content);
    jw_end(w);
}
