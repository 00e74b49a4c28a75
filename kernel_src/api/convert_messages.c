/* convert_messages.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § Anthropic's messages ---- */

/* convert_messages.c: Anthropic's messages as a chat. Facts: llama-server's
 * server_chat_convert_anthropic_to_oai (tools/server/server-chat.cpp). */
#include "api/convert.h"
#include "base/memory.h"
#include "base/string.h"

/* Claude Code begins its system text with "x-anthropic-billing-header: …cch=a5145;…", and
 * the five digits change with each request. Nobody reads them here, and they would end
 * the common prefix with the last prompt: so they become fffff. */
static void blank_billing(char *s, size_t len)
{
    static const char head[] = "x-anthropic-billing-header:";
    size_t at = sizeof head - 1;
    if (len < at || memcmp(s, head, at) != 0)
        return;
    while (at + 4 <= len && memcmp(s + at, "cch=", 4) != 0)
        at++;
    if (at + 9 < len && s[at + 9] == ';')
        memset(s + at + 4, 'f', 5);
}

static void put_system(struct convert *c, const struct json_node *system)
{
    size_t len = 0, at = 0;
    char *s = NULL;
    if (json_is(system, JSON_STRING)) {
        len = system->len;
        s = kmalloc(len + 1);
        if (s)
            memcpy(s, system->str, len);
        blank_billing(s, s ? len : 0);
        c->w.failed |= !s;
    } else {
        s = convert_join(c, system, "text", "text", &len);
        for (const struct json_node *b = json_first(system); s && b;
             b = json_next(system, b))
            if (json_is_str(json_get(b, "type"), "text") && convert_string(b, "text")) {
                blank_billing(s + at, convert_string(b, "text")->len);
                at += convert_string(b, "text")->len;
            }
    }
    jw_object(&c->w);
    jw_kcstr(&c->w, "role", "system");
    jw_kstr(&c->w, "content", s ? s : "", s ? len : 0);
    jw_end(&c->w);
    kfree(s);
}

struct blocks { int parts, calls, results; };     // what a message's content holds

static void count_block(struct convert *c, const struct json_node *block,
                        struct blocks *n)
{
    static const char *const skipped[] = { "thinking", "redacted_thinking" };
    const struct json_node *type = json_get(block, "type");
    if (json_is_str(type, "text") || json_is_str(type, "image")) {
        n->parts++;
        return;
    }
    if (json_is_str(type, "tool_use")) {
        n->calls++;
        return;
    }
    if (json_is_str(type, "tool_result")) {
        n->results++;
        return;
    }
    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++)
        if (json_is_str(type, skipped[i]))
            return;
    convert_refuse(c, "content blocks of type '%s' are not supported",
                   json_is(type, JSON_STRING) ? type->str : "(none)");
}

static void put_parts(struct convert *c, const struct json_node *content)
{
    jw_key(&c->w, "content");
    jw_array(&c->w);
    for (const struct json_node *b = json_first(content); b; b = json_next(content, b)) {
        const struct json_node *type = json_get(b, "type"),
                               *t = convert_string(b, "text");
        if (json_is_str(type, "image"))
            convert_image(c);
        else if (json_is_str(type, "text") && t)
            convert_part(c, t->str, t->len);
        else if (json_is_str(type, "text"))
            convert_refuse(c, "a text block needs 'text'");
    }
    jw_end(&c->w);
}

static void put_calls(struct convert *c, const struct json_node *content)
{
    jw_key(&c->w, "tool_calls");
    jw_array(&c->w);
    for (const struct json_node *b = json_first(content); b; b = json_next(content, b)) {
        struct json_writer input;
        if (!json_is_str(json_get(b, "type"), "tool_use"))
            continue;
        jw_init(&input, c->w.max);
        if (json_is(json_get(b, "input"), JSON_OBJECT)) {
            jw_node(&input, json_get(b, "input"));
        } else {
            jw_object(&input);
            jw_end(&input);
        }
        c->w.failed |= input.failed;
        convert_call(c, convert_string(b, "id"), convert_string(b, "name"),
                     input.failed ? "" : input.buf, input.failed ? 0 : input.len);
        jw_free(&input);
    }
    jw_end(&c->w);
}

/* A tool's answer is a message of its own, with the role "tool". */
static void put_result(struct convert *c, const struct json_node *block)
{
    const struct json_node *content = json_get(block, "content");
    size_t len = 0;
    char *s = NULL;
    for (const struct json_node *b = json_first(content); b; b = json_next(content, b))
        if (!json_is_str(json_get(b, "type"), "text"))
            convert_refuse(c, "a tool_result may hold text only");
    jw_object(&c->w);
    jw_kcstr(&c->w, "role", "tool");
    convert_copy(c, block, "tool_use_id", "tool_call_id");
    if (json_is(content, JSON_STRING)) {
        jw_kstr(&c->w, "content", content->str, content->len);
    } else {
        s = convert_join(c, content, "text", "text", &len);
        jw_kstr(&c->w, "content", s ? s : "", len);
    }
    jw_end(&c->w);
    kfree(s);
}

static void put_blocks(struct convert *c, const struct json_node *m,
                       const struct json_node *content)
{
    struct blocks n = { 0 };
    size_t len;
    for (const struct json_node *b = json_first(content); b; b = json_next(content, b))
        count_block(c, b, &n);
    char *thoughts = convert_join(c, content, "thinking", "thinking", &len);
    if (n.parts || n.calls || len) {
        jw_object(&c->w);
        convert_copy(c, m, "role", "role");
        if (n.parts)
            put_parts(c, content);
        else
            jw_kcstr(&c->w, "content", "");
        if (n.calls)
            put_calls(c, content);
        if (len)
            jw_kstr(&c->w, "reasoning_content", thoughts, len);
        jw_end(&c->w);
    }
    kfree(thoughts);
    for (const struct json_node *b = json_first(content); n.results && b;
         b = json_next(content, b))
        if (json_is_str(json_get(b, "type"), "tool_result"))
            put_result(c, b);
}

static void put_messages(struct convert *c, const struct json_node *list)
{
    for (const struct json_node *m = json_first(list); m; m = json_next(list, m)) {
        const struct json_node *content = json_get(m, "content");
        if (!json_is(m, JSON_OBJECT))
            convert_refuse(c, "every message must be an object");
        else if (json_is(content, JSON_ARRAY))
            put_blocks(c, m, content);
        else if (content || !json_is_str(json_get(m, "role"), "assistant"))
            jw_node(&c->w, m);
    }
}

static void put_tools(struct convert *c, const struct json_node *tools)
{
    jw_key(&c->w, "tools");
    jw_array(&c->w);
    for (const struct json_node *t = json_first(tools); t; t = json_next(tools, t)) {
        if (!json_is(t, JSON_OBJECT)) {
            convert_refuse(c, "every tool must be an object");
            continue;
        }
        jw_object(&c->w);
        jw_kcstr(&c->w, "type", "function");
        jw_key(&c->w, "function");
        jw_object(&c->w);
        convert_copy(c, t, "name", "name");
        convert_copy(c, t, "description", "description");
        jw_key(&c->w, "parameters");
        if (json_is(json_get(t, "input_schema"), JSON_OBJECT)) {
            jw_node(&c->w, json_get(t, "input_schema"));
        } else {
            jw_object(&c->w);
            jw_end(&c->w);
        }
        jw_end(&c->w);
        jw_end(&c->w);
    }
    jw_end(&c->w);
}

static void put_choice(struct convert *c, const struct json_node *choice)
{
    const struct json_node *type = json_get(choice, "type");
    bool alone = false;
    if (json_is_str(type, "auto") || json_is_str(type, "none"))
        jw_kcstr(&c->w, "tool_choice", type->str);
    else if (json_is_str(type, "any"))
        jw_kcstr(&c->w, "tool_choice", "required");
    else if (json_is_str(type, "tool"))
        convert_choice(c, convert_string(choice, "name"));
    else
        convert_refuse(c, "tool_choice must be auto, any, tool or none");
    json_get_bool(choice, "disable_parallel_tool_use", &alone);
    if (alone)
        jw_kbool(&c->w, "parallel_tool_calls", false);
}

void convert_messages(struct convert *c, const struct json_node *body)
{
    static const char *const same[] = { "temperature", "top_p", "top_k", "stream",
                                        "chat_template_kwargs" };
    const struct json_node *system = json_get(body, "system"),
                           *thinking = json_get(body, "thinking"),
                           *form = json_get(json_get(body, "output_config"), "format");
    if (!convert_array(body, "messages"))
        convert_refuse(c, convert_has(body, "messages")
                              ? "Expected 'messages' to be an array"
                              : "'messages' is required");
    jw_object(&c->w);
    jw_key(&c->w, "messages");
    jw_array(&c->w);
    if (system && !json_is(system, JSON_NULL))
        put_system(c, system);
    put_messages(c, convert_array(body, "messages"));
    jw_end(&c->w);
    if (convert_array(body, "tools"))
        put_tools(c, json_get(body, "tools"));
    if (convert_has(body, "tool_choice"))
        put_choice(c, json_get(body, "tool_choice"));
    if (json_is_str(json_get(form, "type"), "json_schema"))
        convert_schema(c, json_get(form, "schema"));
    convert_copy(c, body, "stop_sequences", "stop");
    if (convert_has(body, "max_tokens"))
        convert_copy(c, body, "max_tokens", "max_tokens");
    else
        jw_kint(&c->w, "max_tokens", 4096);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        convert_copy(c, body, same[i], same[i]);
    if (json_is_str(json_get(thinking, "type"), "enabled"))
        convert_copy(c, thinking, "budget_tokens", "thinking_budget_tokens");
    jw_end(&c->w);
}
