/* chat_edge.c: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § In the kernel ---- */

/* chat_edge.c: see chat_edge.h. */
#include "api/chat_edge.h"
#include "api/constrain.h"
#include "base/config.h"
#include "base/kernel.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"

CONFIG_KEY(jinja, "0: recognise the chat template's family, do not run it (default 1)");
CONFIG_KEY(reasoning_format, "none, deepseek or auto: where <think>...</think> goes");

static struct chat_template kernel_template;     // program NULL: the family is used
static char bos_text[64], eos_text[64];

static const char chatml[] =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + "
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}";

static void token_text(char *s, size_t cap, llama_token id)
{
    int32_t n = id < 0 ? 0
                       : llama_token_to_piece(&kernel_llm.vocab, id, s, (int32_t)cap - 1,
                                              0, true);
    s[n > 0 ? n : 0] = 0;
}

static const char *template_source(void)
{
    const char *name = config_get("chat_template"), *own = kernel_llm.chat_template;
    if (!config_bool("jinja", true))
        return NULL;
    if (name)
        return strcmp(name, "chatml") == 0 ? chatml : NULL;
    return own && *own ? own : chatml;           // as llama-server
}

static void chat_init(void)
{
    const char *source = kernel_llm.model ? template_source() : NULL;
    if (!source)
        return;
    const struct llama_vocab *v = &kernel_llm.vocab;
    struct chat_template *t = &kernel_template;
    void *memory = arena_alloc(model_region(), CHAT_MEMORY, 16);
    token_text(bos_text, sizeof bos_text, llama_vocab_bos(v));
    token_text(eos_text, sizeof eos_text, llama_vocab_eos(v));
    if (!memory)
        kprintf("[chat] no %u KiB for the model's template: using its family\n",
                CHAT_MEMORY >> 10);
    else if (!chat_template_init(t, source, bos_text, eos_text, memory, CHAT_MEMORY))
        kprintf("[chat] the model's template: %s: using its family\n", t->error.text);
    t->add_bos = v->add_bos;
    t->add_eos = v->add_eos;
}
INITCALL(92, chat_init);

static struct chat_template *template(void)
{
    static bool explored;
    if (!kernel_template.program)
        return NULL;
    if (!explored)
        chat_template_explore(&kernel_template);
    explored = true;
    return &kernel_template;
}

static void chat_props(struct json_writer *w)
{
    struct chat_template_caps family = { .string_content = true, .system_role = true };
    struct chat_template *t = template();
    jw_key(w, "chat_template_caps");
    chat_caps_write(w, t ? &t->caps : &family);
}
PROPS(chat_props);

struct request {                     // a chat request that is being rendered
    struct http_conn *conn;
    const struct json_node *body;
    struct chat_template *t;
    struct chat_inputs in;
    struct chat_tools tools;
    bool split, thinking;            // thinking: the answer goes on inside <think>
    const struct json_node *last;    // the assistant's message to go on with, or NULL
    bool last_thinks;                // ... in its thoughts
};

static bool refuse(struct request *r, const char *why)
{
    api_invalid(r->conn, "%s", why);
    return false;
}

static bool not_supported(struct request *r, const char *why)
{
    api_error(r->conn, 501, "not_supported_error", "%s", why);
    return false;
}

static bool read_reasoning(struct request *r)
{
    const struct json_node *f = json_get(r->body, "reasoning_format"),
                           *effort = json_get(r->body, "reasoning_effort"), *thinking;
    const char *s = config_get("reasoning_format");
    r->in.kwargs = json_get(r->body, "chat_template_kwargs");
    if (json_is(r->in.kwargs, JSON_NULL))
        r->in.kwargs = NULL;
    if (r->in.kwargs && !json_is(r->in.kwargs, JSON_OBJECT))
        return refuse(r, "'chat_template_kwargs' must be an object");
    if (f && !json_is(f, JSON_NULL))
        s = json_is(f, JSON_STRING) ? f->str : "";
    s = s ? s : "auto";
    if (strcmp(s, "deepseek-legacy") == 0)
        return not_supported(r, "reasoning_format deepseek-legacy is not supported");
    if (strcmp(s, "none") != 0 && strcmp(s, "auto") != 0 && strcmp(s, "deepseek") != 0)
        return refuse(r, "reasoning_format must be none, auto or deepseek");
    r->split = strcmp(s, "deepseek") == 0 || (*s == 'a' && r->t && r->t->thinks);
    r->in.enable_thinking = true;
    thinking = json_get(r->in.kwargs, "enable_thinking");
    if (json_is(thinking, JSON_STRING))
        return refuse(r, "invalid type for \"enable_thinking\" (expected boolean, got "
                         "string)");
    if (json_is_str(effort, "none"))
        r->in.enable_thinking = false;
    else if (json_is(effort, JSON_STRING) && effort->len)
        r->in.reasoning_effort = effort->str;
    return true;
}

static bool read_tools(struct request *r)
{
    static const char *const schemas[] = { "json_schema", "response_format" };
    const char *why = chat_tools_read(&r->tools, r->body);
    const struct json_node *grammar = json_get(r->body, "grammar");
    bool stream = false, logprobs = false;
    if (why)
        return refuse(r, why);
    r->in.tools = r->tools.list;
    if (!json_is(json_get(r->body, "parallel_tool_calls"), JSON_BOOL) && r->t)
        r->tools.parallel = r->t->caps.parallel_tool_calls;
    if (r->tools.choice == CHAT_TOOLS_NONE)
        return true;
    if (json_is(grammar, JSON_STRING) && grammar->len)
        return refuse(r, "Cannot use custom grammar constraints with tools.");
    json_get_bool(r->body, "stream", &stream);
    json_get_bool(r->body, "logprobs", &logprobs);
    if (stream && logprobs)
        return refuse(r, "logprobs is not supported with tools + stream");
    for (size_t i = 0; i < 2; i++) {
        const struct json_node *s = json_get(r->body, schemas[i]);
        if (json_count(s) && !json_is_str(json_get(s, "type"), "text"))
            return not_supported(r, "tools together with a schema for the answer are "
                                    "not supported");
    }
    if (r->t && r->t->format == CHAT_FORMAT_UNKNOWN)
        return not_supported(r, "this model's template writes tool calls in a format "
                                "that is not supported");
    return true;
}

static const struct json_node *last_of(const struct json_node *list, size_t back)
{
    size_t n = json_count(list);
    return n > back ? json_at(list, n - 1 - back) : NULL;
}

static bool is_assistant(const struct json_node *m)
{
    return json_is_str(json_get(m, "role"), "assistant");
}

static bool has_text(const struct json_node *m, const char *key)
{
    const struct json_node *n = json_get(m, key);
    return (json_is(n, JSON_STRING) && n->len) || json_count(n);
}

/* Does the answer go on with the last message? As oaicompat_chat_params_parse. */
static bool read_messages(struct request *r)
{
    const struct json_node *list = json_get(r->body, "messages"), *end = last_of(list, 0),
                           *go = json_get(r->body, "continue_final_message");
    const char *why = chat_messages_check(list);
    bool add = true;
    bool wish = json_is(go, JSON_STRING) || (json_is(go, JSON_BOOL) && go->boolean);
    if (why)
        return refuse(r, why);
    if (json_get_bool(r->body, "add_generation_prompt", &add) == JSON_FIELD_TYPE)
        return refuse(r, "'add_generation_prompt' must be true or false");
    if (wish && add)
        return refuse(r, "Cannot set both add_generation_prompt and "
                         "continue_final_message to true.");
    if (!wish && is_assistant(end) && is_assistant(last_of(list, 1)))
        return refuse(r, "Cannot have 2 or more assistant messages at the end of the "
                         "list.");
    if (wish && !is_assistant(end))
        return refuse(r, "continue_final_message needs an assistant's message at the "
                         "end of the list");
    r->in.messages = list;
    r->in.n_messages = json_count(list);
    r->in.add_generation_prompt = add || is_assistant(end);
    if (!is_assistant(end))
        return true;
    if (json_count(json_get(end, "tool_calls")))
        return refuse(r, "Cannot continue an assistant message that contains tool "
                         "calls.");
    r->last = end;
    r->in.n_messages--;
    r->last_thinks = json_is_str(go, "reasoning_content") ||
                     (!json_is_str(go, "content") && has_text(end, "reasoning_content") &&
                      !has_text(end, "content"));
    return true;
}

static bool ends_with(const char *s, size_t *len, const char *tail)
{
    size_t n = *len, k = strlen(tail);
    while (n && isspace((uint8_t)s[n - 1]))
        n--;
    if (n < k || memcmp(s + n - k, tail, k) != 0)
        return false;
    *len = n - k;
    return true;
}

static bool add_content(struct chat_text *to, const struct json_node *content)
{
    if (json_is(content, JSON_STRING))
        return chat_text_add(to, content->str, content->len);
    bool ok = true;
    const struct json_node *first = json_first(content);
    for (const struct json_node *p = first; p && ok; p = json_next(content, p)) {
        const struct json_node *t = json_get(p, "text");
        ok = (p == first || chat_text_put(to, "\n")) && chat_text_add(to, t->str, t->len);
    }
    return ok;
}

/* The prompt's end is where the model goes on: behind what the message has already. */
static bool add_last(struct request *r, struct chat_text *to)
{
    const struct json_node *thoughts = json_get(r->last, "reasoning_content");
    bool ok = true;
    if (r->t->thinks) {
        size_t len = to->len;
        ends_with(to->s, &len, "</think>");
        if (ends_with(to->s, &len, "<think>"))
            to->len = len;
        ok = chat_text_put(to, "<think>\n");
        if (ok && json_is(thoughts, JSON_STRING))
            ok = chat_text_add(to, thoughts->str, thoughts->len);
        if (ok && !r->last_thinks)
            ok = chat_text_put(to, "\n</think>\n\n");
    }
    return ok && (r->last_thinks || add_content(to, json_get(r->last, "content")));
}

static bool refuse_rendering(struct request *r, enum jinja_result result)
{
    const char *why = r->t->error.text, *colon = strstr(why, ": ");
    if (result == JINJA_NO_MEMORY)
        api_no_memory(r->conn);
    else if (result == JINJA_RAISED && colon)    // the template's own words
        api_invalid(r->conn, "%s", colon + 2);
    else
        api_invalid(r->conn, "the chat template: %s", why);
    return false;
}

static bool render(struct request *r, char **text, size_t *len)
{
    const char *s;
    char *system = NULL;
    struct chat_text out = { 0 };
    if (r->tools.choice != CHAT_TOOLS_NONE && r->t->format == CHAT_FORMAT_GENERIC) {
        system = chat_tools_describe(&r->tools);
        if (!system) {
            api_no_memory(r->conn);
            return false;
        }
        r->in.system = system;
    }
    r->in.now = time_unix();
    enum jinja_result result = chat_template_render(r->t, &r->in, &s, len);
    kfree(system);
    if (result != JINJA_OK)
        return refuse_rendering(r, result);
    bool ok = chat_text_add(&out, s, *len) && (!r->last || add_last(r, &out));
    size_t n = out.len;
    if (!ok || out.len > LLAMA_TOKENIZE_MAX) {
        chat_text_free(&out);
        prompt_refuse(r->conn, ok ? PROMPT_TOO_LONG : PROMPT_NO_MEMORY, "");
        return false;
    }
    r->thinking = r->last ? r->t->thinks && r->last_thinks
                          : ends_with(out.s, &n, "<think>");
    *text = out.s;
    *len = out.len;
    return true;
}

struct chat *chat_new(int32_t n)
{
    struct chat *c = kcalloc(1, sizeof *c + (size_t)n * sizeof c->m[0]);
    if (c)
        c->n = n;
    return c;
}

void chat_free(struct chat *c)
{
    for (int32_t i = 0; c && i < c->n; i++)
        chat_message_free(&c->m[i]);
    kfree(c);
}

/* A control token has no text of its own; those that structure the answer need theirs. */
static int32_t show_token(struct chat *c, const char *text)
{
    int32_t id = llama_vocab_find(&kernel_llm.vocab, text, strlen(text));
    if (id == LLAMA_TOKEN_NULL || !llama_vocab_is_control(&kernel_llm.vocab, id))
        return -1;
    c->show[c->n_show++] = id;
    return id;
}

static void expect(struct chat *c, const struct request *r)
{
    c->tools = r->tools;
    c->split = r->split;
    c->thinking = r->thinking && r->split;
    c->format = r->tools.choice == CHAT_TOOLS_NONE ? CHAT_FORMAT_CONTENT_ONLY
                                                   : r->t->format;
    c->opener = -1;
    if (c->format == CHAT_FORMAT_HERMES) {
        show_token(c, "<tool_call>");
        show_token(c, "</tool_call>");
    }
    if (c->format == CHAT_FORMAT_LLAMA_3)
        show_token(c, "<|python_tag|>");
    if (c->format == CHAT_FORMAT_MISTRAL)
        c->opener = show_token(c, "[TOOL_CALLS]");
    if (c->split) {
        show_token(c, "<think>");
        show_token(c, "</think>");
    }
    for (int32_t i = 0; i < c->n; i++)
        chat_message_init(&c->m[i], c->format, c->split, c->thinking);
}

bool chat_render(struct http_conn *conn, const struct json_node *body, struct chat *chat,
                 char **text, size_t *len)
{
    static struct request r;                     // one request is read at a time
    const struct json_node *tools = json_get(body, "tools"),
                           *choice = json_get(body, "tool_choice");
    r = (struct request){ .conn = conn, .body = body, .t = template() };
    *text = NULL;
    if (!r.t && (json_count(tools) || (choice && !json_is_str(choice, "auto")))) {
        api_error(conn, 500, "server_error", "%s param requires --jinja flag",
                  json_count(tools) ? "tools" : "tool_choice");
        return false;
    }
    if (!read_reasoning(&r) || (r.t && (!read_tools(&r) || !read_messages(&r))))
        return false;
    bool ok = r.t ? render(&r, text, len) : prompt_family(conn, body, text, len);
    if (ok && chat)
        expect(chat, &r);
    return ok;
}

/* Chapter 29's. */
extern __typeof__(constrain_set) constrain_set __attribute__((weak));

/* The grammar that keeps a call in shape. false: *err says why not. */
static bool constrain(struct completion *c, struct params_error *err)
{
    if (!constrain_set) {
        *err = (struct params_error){ 501, "not_supported_error",
                                      "tools need the grammars of chapter 29" };
        return false;
    }
    const struct chat *chat = c->chat;
    const char *trigger = chat_tools_trigger(chat->format);
    bool lazy = chat->tools.choice == CHAT_TOOLS_AUTO && trigger;
    char why[200];
    char *g = chat_tools_grammar(&chat->tools, chat->format, chat->thinking && !lazy,
                                 chat->opener, why, sizeof why);
    if (!g) {
        *err = (struct params_error){ *why ? 400 : 503, "invalid_request_error", "" };
        snprintf(err->message, sizeof err->message, "%s", why);
        return false;
    }
    bool ok = constrain_set(&c->p.constrain, g, strlen(g), &trigger, lazy, err);
    kfree(g);
    return ok;
}

bool chat_begin(struct completion *c, struct params_error *err)
{
    const struct chat *chat = c->chat;
    for (int32_t i = 0; i < c->n_tasks; i++) {
        c->t[i].task.show = chat->show;
        c->t[i].task.n_show = chat->n_show;
    }
    return chat->tools.choice == CHAT_TOOLS_NONE || constrain(c, err);
}

const struct chat_message *chat_message_of(const struct completion_task *t)
{
    return &t->c->chat->m[t->index];
}

/* A model that gives its calls no names gets some made up, as in llama-server. */
static bool name_calls(struct chat_message *m)
{
    static const char alphabet[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char id[32];
    for (int i = 0; i < m->n_calls; i++) {
        if (m->call[i].id.len)
            continue;
        for (size_t k = 0; k < sizeof id; k++)
            id[k] = alphabet[api_random() % 62];
        if (!chat_text_add(&m->call[i].id, id, sizeof id))
            return false;
    }
    return true;
}

enum chat_news chat_feed(struct completion_task *t, const char *text, size_t len,
                         bool end)
{
    struct chat_message *m = &t->c->chat->m[t->index];
    if (!chat_message_add(m, text, len) || (end && !chat_message_end(m)) ||
        !name_calls(m))
        return CHAT_NO_MEMORY;
    bool news = m->content.len > m->content_sent || m->reasoning.len > m->reasoning_sent;
    for (int i = 0; i < m->n_calls && !news; i++)
        news = !m->call[i].announced || m->call[i].arguments.len > m->call[i].sent;
    return news ? CHAT_NEWS : CHAT_NOTHING;
}

bool chat_has_calls(const struct completion_task *t)
{
    return chat_message_of(t)->n_calls > 0;
}

static void put_new(struct json_writer *w, const char *key, const struct chat_text *t,
                    size_t *sent)
{
    if (t->len > *sent)
        jw_kstr(w, key, t->s + *sent, t->len - *sent);
    *sent = t->len;
}

static void put_call(struct json_writer *w, struct chat_call *c, int index)
{
    jw_object(w);
    if (index >= 0)
        jw_kint(w, "index", index);
    if (!c->announced) {
        jw_kstr(w, "id", c->id.s, c->id.len);
        jw_kcstr(w, "type", "function");
    }
    jw_key(w, "function");
    jw_object(w);
    if (!c->announced)
        jw_kstr(w, "name", c->name.s, c->name.len);
    jw_kstr(w, "arguments", c->arguments.s ? c->arguments.s + c->sent : "",
            c->arguments.len - c->sent);
    jw_end(w);
    jw_end(w);
    c->announced = true;
    c->sent = c->arguments.len;
}

/* What is new since the last one, inside an open object. */
void chat_delta(struct json_writer *w, const struct completion_task *t)
{
    struct chat_message *m = &t->c->chat->m[t->index];
    bool calls = false;
    put_new(w, "reasoning_content", &m->reasoning, &m->reasoning_sent);
    put_new(w, "content", &m->content, &m->content_sent);
    for (int i = 0; i < m->n_calls; i++) {
        struct chat_call *c = &m->call[i];
        if (c->announced && c->arguments.len == c->sent)
            continue;
        if (!calls) {
            jw_key(w, "tool_calls");
            jw_array(w);
        }
        calls = true;
        put_call(w, c, i);
    }
    if (calls)
        jw_end(w);
}

/* The whole message but its role, inside an open object. */
void chat_whole(struct json_writer *w, const struct completion_task *t)
{
    struct chat_message *m = &t->c->chat->m[t->index];
    jw_kstr(w, "content", m->content.s ? m->content.s : "", m->content.len);
    if (m->reasoning.len)
        jw_kstr(w, "reasoning_content", m->reasoning.s, m->reasoning.len);
    if (!m->n_calls)
        return;
    jw_key(w, "tool_calls");
    jw_array(w);
    for (int i = 0; i < m->n_calls; i++)
        put_call(w, &m->call[i], -1);
    jw_end(w);
}
