/* prompt.c: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § From JSON to tokens ---- */

/* prompt.c: see prompt.h. */
#include "api/prompt.h"
#include "base/config.h"
#include "base/memory.h"
#include "base/string.h"

CONFIG_KEY(chat_template,
           "family name (chatml, llama3, gemma ...) instead of the model's own template");

/* Appends a string's tokens to *tokens (kmalloc'ed, *n so far). */
static enum prompt_result add_text(const char *s, size_t len, bool add_special,
                                   bool parse_special, int32_t **tokens, int32_t *n)
{
    if (len > LLAMA_TOKENIZE_MAX)
        return PROMPT_TOO_LONG;
    int32_t room = (int32_t)len + 8,
            got; // a first guess; the tokenizer says if it is not enough
    for (;;) {
        int32_t *p = krealloc(*tokens, (size_t)(*n + room) * sizeof *p);
        if (!p)
            return PROMPT_NO_MEMORY;
        *tokens = p;
        got = llama_tokenize(&kernel_llm.vocab, s, (int32_t)len, p + *n, room,
                             add_special, parse_special);
        if (got >= 0)
            break;
        if (got == LLAMA_TOKENIZE_FAILED)
            return PROMPT_NO_MEMORY;
        room = -got;
    }
    *n += got;
    int32_t *fit = krealloc(*tokens, ((size_t)*n + 1) * sizeof *fit);
    *tokens = fit ? fit : *tokens; // a list of prompts would fill the heap with guesses
    return PROMPT_OK;
}

static enum prompt_result add_id(const struct json_node *id, int32_t **tokens, int32_t *n,
                                 int32_t *room)
{
    if (!json_is(id, JSON_NUMBER) || !id->is_int || id->i < 0 || id->i > INT32_MAX)
        return PROMPT_BAD;
    if (*room == 0) {
        int32_t *p = krealloc(*tokens, (size_t)(*n + 256) * sizeof *p);
        if (!p)
            return PROMPT_NO_MEMORY;
        *tokens = p;
        *room = 256;
    }
    (*tokens)[(*n)++] = (int32_t)id->i;
    (*room)--;
    return PROMPT_OK;
}

enum prompt_result prompt_tokens(const struct json_node *prompt, bool add_special,
                                 bool parse_special, int32_t **tokens, int32_t *n)
{
    enum prompt_result r = PROMPT_OK;
    int32_t room = 0;
    *tokens = NULL;
    *n = 0;
    if (json_is(prompt, JSON_OBJECT))
        prompt = json_get(prompt, "prompt_string");
    if (json_is(prompt, JSON_STRING)) {
        r = add_text(prompt->str, prompt->len, add_special, parse_special, tokens, n);
    } else if (json_is(prompt, JSON_ARRAY)) {
        bool first = true;
        for (const struct json_node *e = json_first(prompt); e && r == PROMPT_OK;
             e = json_next(prompt, e), first = false)
            if (json_is(e, JSON_STRING)) {
                r = add_text(e->str, e->len, add_special && first, parse_special, tokens,
                             n);
                room = 0;
            } else {
                r = add_id(e, tokens, n, &room);
            }
    } else {
        r = PROMPT_BAD;
    }
    if (r != PROMPT_OK) {
        kfree(*tokens);
        *tokens = NULL;
    }
    return r;
}

bool prompt_is_list(const struct json_node *prompt)
{
    if (!json_is(prompt, JSON_ARRAY))
        return false;
    bool number = false;
    for (const struct json_node *e = json_first(prompt); e; e = json_next(prompt, e)) {
        if (json_is(e, JSON_ARRAY) || json_is(e, JSON_OBJECT))
            return true;
        number |= json_is(e, JSON_NUMBER);
    }
    return json_count(prompt) > 0 &&
           !number; // strings only: several prompts; with numbers: one mixture
}

static enum llm_chat_template prompt_template(void)
{
    return llama_chat_choose_template(config_get("chat_template"),
                                      kernel_llm.chat_template,
                                      LLM_CHAT_TEMPLATE_CHATML); // as llama-server
}

void prompt_refuse(struct http_conn *c, enum prompt_result r, const char *why)
{
    if (r == PROMPT_NO_MEMORY)
        api_no_memory(c);
    else if (r == PROMPT_TOO_LONG)
        api_invalid(c, "the prompt is longer than %d bytes", LLAMA_TOKENIZE_MAX);
    else if (r != PROMPT_ANSWERED)
        api_invalid(c, "%s", why);
}

/* A message's content as one string; may be kmalloc'ed into *owned. NULL: wrong or no
 * memory. */
static const char *message_content(const struct json_node *m, char **owned)
{
    const struct json_node *content = json_get(m, "content");
    *owned = NULL;
    if (!content || json_is(content, JSON_NULL))
        return "";
    if (json_is(content, JSON_STRING))
        return content->str;
    size_t len = 1, at = 0;
    for (const struct json_node *p = json_first(content); p; p = json_next(content, p)) {
        if (!json_is_str(json_get(p, "type"), "text") ||
            !json_is(json_get(p, "text"), JSON_STRING))
            return NULL;
        len += json_get(p, "text")->len + 1;
    }
    if (!json_is(content, JSON_ARRAY) || !(*owned = kmalloc(len)))
        return NULL;
    for (const struct json_node *p = json_first(content); p; p = json_next(content, p)) {
        const struct json_node *t = json_get(p, "text");
        if (at)
            (*owned)[at++] = '\n';
        memcpy(*owned + at, t->str, t->len);
        at += t->len;
    }
    (*owned)[at] = 0;
    return *owned;
}

static const char *read_messages(const struct json_node *list,
                                 struct llama_chat_message *msg, char **owned, size_t *n)
{
    if (!json_is(list, JSON_ARRAY) || !json_count(list))
        return "'messages' must be a list with at least one message";
    for (const struct json_node *m = json_first(list); m; m = json_next(list, m)) {
        const struct json_node *role = json_get(m, "role");
        if (*n == CHAT_MESSAGES_MAX)
            return "more than 128 messages";
        if (!json_is(role, JSON_STRING))
            return "every message needs a 'role'";
        if (!json_get(m, "content") && strcmp(role->str, "assistant") != 0)
            return "every message that is not the assistant's needs 'content'";
        msg[*n].role = role->str;
        msg[*n].content = message_content(m, &owned[*n]);
        if (!msg[*n].content)
            return "content must be a string or a list of {\"type\": \"text\"} parts "
                   "(images are not supported)";
        (*n)++;
    }
    return NULL;
}

static enum prompt_result apply(const struct llama_chat_message *msg, size_t n,
                                bool add_ass, char **text, size_t *len)
{
    bool prefill = n && add_ass && strcmp(msg[n - 1].role, "assistant") == 0;
    size_t n_tmpl = prefill ? n - 1 : n, extra = prefill ? strlen(msg[n - 1].content) : 0;
    enum llm_chat_template t = prompt_template();
    size_t need = llama_chat_apply_template(t, msg, n_tmpl, add_ass, NULL, 0);
    if (need + extra > LLAMA_TOKENIZE_MAX)
        return PROMPT_TOO_LONG;
    *text = kmalloc(need + extra + 1);
    if (!*text)
        return PROMPT_NO_MEMORY;
    llama_chat_apply_template(t, msg, n_tmpl, add_ass, *text, need + 1);
    if (prefill)
        memcpy(*text + need, msg[n - 1].content, extra);
    *len = need + extra;
    (*text)[*len] = 0;
    return PROMPT_OK;
}

static enum prompt_result from_messages(const struct json_node *body, char **text,
                                        size_t *len, const char **why)
{
    static struct llama_chat_message
        msg[CHAT_MESSAGES_MAX]; // one request is read at a time
    static char *owned[CHAT_MESSAGES_MAX + 1];
    size_t n = 0;
    bool add_ass = true;
    enum prompt_result r = PROMPT_BAD;
    memset(owned, 0, sizeof owned);
    *text = NULL;
    json_get_bool(body, "add_generation_prompt", &add_ass);
    *why = read_messages(json_get(body, "messages"), msg, owned, &n);
    if (!*why && n >= 2 && strcmp(msg[n - 1].role, "assistant") == 0 &&
        strcmp(msg[n - 2].role, "assistant") == 0)
        *why = "Cannot have 2 or more assistant messages at the end of the list.";
    if (!*why)
        r = apply(msg, n, add_ass, text, len);
    for (size_t i = 0; i <= CHAT_MESSAGES_MAX; i++)
        kfree(owned[i]);
    return r;
}

bool prompt_family(struct http_conn *c, const struct json_node *body, char **text,
                   size_t *len)
{
    const char *why;
    if (json_count(json_get(body, "tools"))) {
        api_error(c, 501, "not_supported_error",
                  "tools need the model's own template, which does not run here");
        return false;
    }
    if (prompt_template() == LLM_CHAT_TEMPLATE_UNKNOWN) {
        api_error(c, 501, "not_supported_error",
                  "this model's chat template is not one of the families that are "
                  "recognised; name one with chat_template=, or use /v1/completions");
        return false;
    }
    enum prompt_result r = from_messages(body, text, len, &why);
    if (r != PROMPT_OK)
        prompt_refuse(c, r, why);
    return r == PROMPT_OK;
}

bool prompt_chat(struct http_conn *c, const struct json_node *body, struct chat *chat,
                 char **text, size_t *len)
{
    return chat_render ? chat_render(c, body, chat, text, len)
                       : prompt_family(c, body, text, len);
}
