/* convert_responses.c: tangled from nbs/api/32_dialects.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/32_dialects.ipynb § OpenAI's responses ---- */

/* convert_responses.c: OpenAI's responses as a chat. Facts: llama-server's
 * server_chat_convert_responses_to_chatcmpl (tools/server/server-chat.cpp). */
#include "api/convert.h"
#include "base/string.h"

/* What the items of `input` are. The last three are one assistant's message in a chat,
 * as far as they stand side by side. */
enum item { ITEM_UNKNOWN, ITEM_INPUT, ITEM_OUTPUT, ITEM_MESSAGE, ITEM_CALL,
            ITEM_REASONING };

static enum item item_kind(const struct json_node *item)
{
    const struct json_node *type = json_get(item, "type"), *role = json_get(item, "role");
    bool content = convert_array(item, "content") || convert_string(item, "content");
    if (json_is_str(type, "function_call") && convert_string(item, "call_id") &&
        convert_string(item, "name") && convert_string(item, "arguments"))
        return ITEM_CALL;
    if (json_is_str(type, "function_call_output") && convert_string(item, "call_id") &&
        (convert_string(item, "output") || convert_array(item, "output")))
        return ITEM_OUTPUT;
    if (json_is_str(type, "reasoning"))
        return ITEM_REASONING;
    if ((type && !json_is_str(type, "message")) || !content)
        return ITEM_UNKNOWN;
    if (json_is_str(role, "assistant"))
        return ITEM_MESSAGE;
    return json_is_str(role, "user") || json_is_str(role, "system") ||
                   json_is_str(role, "developer")
               ? ITEM_INPUT
               : ITEM_UNKNOWN;
}

static void put_part(struct convert *c, const struct json_node *part)
{
    const struct json_node *type = json_get(part, "type"),
                           *text = convert_string(part, "text"),
                           *refusal = convert_string(part, "refusal");
    if (json_is_str(type, "input_image"))
        convert_image(c);
    else if (json_is_str(type, "refusal") && refusal)
        convert_part(c, refusal->str, refusal->len);
    else if (!json_is_str(type, "input_text") && !json_is_str(type, "output_text"))
        convert_refuse(c, "content of type '%s' is not supported",
                       json_is(type, JSON_STRING) ? type->str : "(none)");
    else if (!text)
        convert_refuse(c, "'%s' requires 'text'", type->str);
    else
        convert_part(c, text->str, text->len);
}

/* Into an open list of parts. */
static void put_content(struct convert *c, const struct json_node *content)
{
    if (json_is(content, JSON_STRING))
        convert_part(c, content->str, content->len);
    else
        for (const struct json_node *p = json_first(content); p;
             p = json_next(content, p))
            put_part(c, p);
}

static void put_message(struct convert *c, const char *role, const char *key,
                        const struct json_node *item)
{
    const struct json_node *content = json_get(item, key);
    jw_object(&c->w);
    jw_kcstr(&c->w, "role", role);
    convert_copy(c, item, "call_id", "tool_call_id");
    jw_key(&c->w, "content");
    if (json_is(content, JSON_STRING)) {
        jw_node(&c->w, content);
    } else {
        jw_array(&c->w);
        put_content(c, content);
        jw_end(&c->w);
    }
    jw_end(&c->w);
}

static const struct json_node *thought_of(struct convert *c, const struct json_node *item)
{
    const struct json_node *text =
        convert_string(json_at(convert_array(item, "content"), 0), "text");
    if (!text)
        convert_refuse(c, "a reasoning item needs 'content' with a 'text'");
    return text;
}

/* [from, to): items of one assistant's message. */
static void put_assistant(struct convert *c, const struct json_node *list,
                          const struct json_node *from, const struct json_node *to)
{
    const struct json_node *thought = NULL;
    int n_content = 0, n_calls = 0;
    for (const struct json_node *i = from; i != to; i = json_next(list, i)) {
        n_content += item_kind(i) != ITEM_CALL;
        n_calls += item_kind(i) == ITEM_CALL;
        if (item_kind(i) == ITEM_REASONING)
            thought = thought_of(c, i);
    }
    jw_object(&c->w);
    jw_kcstr(&c->w, "role", "assistant");
    if (n_content) {
        jw_key(&c->w, "content");
        jw_array(&c->w);
        for (const struct json_node *i = from; i != to; i = json_next(list, i))
            if (item_kind(i) == ITEM_MESSAGE)
                put_content(c, json_get(i, "content"));
        jw_end(&c->w);
    }
    if (n_calls) {
        jw_key(&c->w, "tool_calls");
        jw_array(&c->w);
        for (const struct json_node *i = from; i != to; i = json_next(list, i))
            if (item_kind(i) == ITEM_CALL)
                convert_call(c, json_get(i, "call_id"), json_get(i, "name"),
                             json_get(i, "arguments")->str,
                             json_get(i, "arguments")->len);
        jw_end(&c->w);
    }
    if (thought)
        jw_kstr(&c->w, "reasoning_content", thought->str, thought->len);
    jw_end(&c->w);
}

static void put_items(struct convert *c, const struct json_node *list)
{
    const struct json_node *i = json_first(list), *end;
    while (i) {
        switch (item_kind(i)) {
        case ITEM_INPUT:
            put_message(c, json_is_str(json_get(i, "role"), "user") ? "user" : "system",
                        "content", i);
            i = json_next(list, i);
            break;
        case ITEM_OUTPUT:
            put_message(c, "tool", "output", i);
            i = json_next(list, i);
            break;
        case ITEM_UNKNOWN:
            convert_refuse(c, "Cannot determine type of 'item'");
            return;
        default:
            for (end = i; end && item_kind(end) >= ITEM_MESSAGE;)
                end = json_next(list, end);
            put_assistant(c, list, i, end);
            i = end;
        }
    }
}

static void put_messages(struct convert *c, const struct json_node *body)
{
    const struct json_node *input = json_get(body, "input"),
                           *before = json_get(body, "instructions"),
                           *last = convert_string(body, "previous_response_id");
    if (!input)
        convert_refuse(c, "'input' is required");
    else if (!json_is(input, JSON_STRING) && !json_is(input, JSON_ARRAY))
        convert_refuse(c, "'input' must be a string or array of objects");
    if (last && last->len)
        convert_refuse(c, "llama.cpp does not support 'previous_response_id'.");
    jw_key(&c->w, "messages");
    jw_array(&c->w);
    if (json_is(before, JSON_STRING)) {
        jw_object(&c->w);
        jw_kcstr(&c->w, "role", "system");
        jw_kstr(&c->w, "content", before->str, before->len);
        jw_end(&c->w);
    }
    if (json_is(input, JSON_STRING)) {
        jw_object(&c->w);
        jw_kcstr(&c->w, "role", "user");
        jw_kstr(&c->w, "content", input->str, input->len);
        jw_end(&c->w);
    } else {
        put_items(c, convert_array(body, "input"));
    }
    jw_end(&c->w);
}

static bool is_function(const struct json_node *tool)
{
    return json_is_str(json_get(tool, "type"), "function");
}

/* Only functions: a search or a shell would be the server's to run. "strict" is left out:
 * calls always keep to their schema here. */
static void put_tools(struct convert *c, const struct json_node *tools)
{
    static const char *const keys[] = { "name", "description", "parameters" };
    bool any = false;
    for (const struct json_node *t = json_first(tools); t; t = json_next(tools, t))
        any |= is_function(t);
    if (!any)
        return;
    jw_key(&c->w, "tools");
    jw_array(&c->w);
    for (const struct json_node *t = json_first(tools); t; t = json_next(tools, t)) {
        if (!is_function(t))
            continue;
        jw_object(&c->w);
        jw_kcstr(&c->w, "type", "function");
        jw_key(&c->w, "function");
        jw_object(&c->w);
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            convert_copy(c, t, keys[i], keys[i]);
        jw_end(&c->w);
        jw_end(&c->w);
    }
    jw_end(&c->w);
}

/* text.format says what response_format says in a chat. */
static void put_format(struct convert *c, const struct json_node *format)
{
    const struct json_node *type = json_get(format, "type");
    if (!json_is(format, JSON_OBJECT) || json_is_str(type, "text"))
        return;
    if (json_is_str(type, "json_schema")) {
        convert_schema(c, json_get(format, "schema"));
    } else if (json_is_str(type, "json_object")) {
        jw_key(&c->w, "response_format");
        jw_node(&c->w, format);
    } else {
        convert_refuse(c, "text.format must be text, json_object or json_schema");
    }
}

static void put_choice(struct convert *c, const struct json_node *choice)
{
    if (json_is(choice, JSON_OBJECT) && is_function(choice))
        convert_choice(c, convert_string(choice, "name"));
    else if (json_is(choice, JSON_STRING))
        jw_kcstr(&c->w, "tool_choice", choice->str);
    else if (choice && !json_is(choice, JSON_NULL))
        convert_refuse(c, "tool_choice must be auto, none, required or a function");
}

/* Written anew, or without a meaning in a chat with one answer. */
static bool is_ours(const char *key)
{
    static const char *const keys[] = {
        "input",       "instructions",      "messages", "tools",
        "tool_choice", "max_output_tokens", "prompt",   "reasoning",
        "text",        "response_format",   "n",        "n_cmpl",
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

void convert_responses(struct convert *c, const struct json_node *body)
{
    const struct json_node *tools = json_get(body, "tools");
    jw_object(&c->w);
    put_messages(c, body);
    if (convert_array(body, "tools"))
        put_tools(c, tools);
    else if (tools && !json_is(tools, JSON_NULL))
        convert_refuse(c, "'tools' must be an array of objects");
    put_choice(c, json_get(body, "tool_choice"));
    put_format(c, json_get(json_get(body, "text"), "format"));
    for (const struct json_node *k = json_first(body); k; k = json_next(body, k))
        if (!is_ours(k->str)) {
            jw_key(&c->w, k->str);
            jw_node(&c->w, json_value(k));
        }
    convert_copy(c, body, "max_output_tokens", "max_tokens");
    convert_copy(c, json_get(body, "reasoning"), "effort", "reasoning_effort");
    jw_end(&c->w);
}
