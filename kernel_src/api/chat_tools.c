/* chat_tools.c: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § Tools ---- */

/* chat_tools.c: see chat_tools.h. */
#include "api/chat_tools.h"
#include "api/json_schema.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"

static bool name_ok(const struct json_node *name)
{
    if (!json_is(name, JSON_STRING) || !name->len || name->len > CHAT_TOOL_NAME_MAX)
        return false;
    for (uint32_t i = 0; i < name->len; i++)
        if (!isalnum((uint8_t)name->str[i]) && !strchr("_-.", name->str[i]))
            return false;
    return true;
}

static const struct json_node *name_of(const struct json_node *tool)
{
    return json_get(json_get(tool, "function"), "name");
}

static bool has_tool(const struct json_node *list, const char *name,
                     const struct json_node *before)
{
    for (const struct json_node *e = json_first(list); e && e != before;
         e = json_next(list, e))
        if (json_is_str(name_of(e), name))
            return true;
    return false;
}

static const char *check_tool(const struct json_node *list, const struct json_node *tool)
{
    const struct json_node *f = json_get(tool, "function"),
                           *parameters = json_get(f, "parameters"),
                           *description = json_get(f, "description");
    if (!json_is_str(json_get(tool, "type"), "function") || !json_is(f, JSON_OBJECT))
        return "every tool must be {\"type\": \"function\", \"function\": {...}}";
    if (!name_ok(json_get(f, "name")))
        return "a tool's name must be 1 to 64 letters, digits, '_', '-' or '.'";
    if (has_tool(list, json_get(f, "name")->str, tool))
        return "two tools have the same name";
    if (parameters && !json_is(parameters, JSON_OBJECT) &&
        !json_is(parameters, JSON_NULL))
        return "a tool's parameters must be a JSON schema, an object";
    if (description && !json_is(description, JSON_STRING) &&
        !json_is(description, JSON_NULL))
        return "a tool's description must be a string";
    return NULL;
}

static const char *read_choice(struct chat_tools *t, const struct json_node *choice)
{
    const struct json_node *name = json_get(json_get(choice, "function"), "name");
    t->choice = CHAT_TOOLS_AUTO;
    if (!choice || json_is(choice, JSON_NULL) || json_is_str(choice, "auto"))
        return NULL;
    t->choice = CHAT_TOOLS_NONE;
    if (json_is_str(choice, "none"))
        return NULL;
    t->choice = CHAT_TOOLS_REQUIRED;
    if (!json_is_str(choice, "required")) {
        if (!json_is_str(json_get(choice, "type"), "function") ||
            !json_is(name, JSON_STRING))
            return "tool_choice must be \"auto\", \"none\", \"required\" or {\"type\": "
                   "\"function\", \"function\": {\"name\": ...}}";
        t->only = name->str;
    }
    if (!t->list)
        return "tool_choice asks for a call, but there are no tools";
    if (t->only && !has_tool(t->list, t->only, NULL))
        return "tool_choice names a function that is not among the tools";
    return NULL;
}

const char *chat_tools_read(struct chat_tools *t, const struct json_node *body)
{
    const struct json_node *list = json_get(body, "tools");
    const char *why = NULL;
    memset(t, 0, sizeof *t);
    if (list && !json_is(list, JSON_NULL) && !json_is(list, JSON_ARRAY))
        return "'tools' must be a list";
    if (json_count(list) > CHAT_TOOLS_MAX)
        return "more than 64 tools";
    for (const struct json_node *e = json_first(list); e && !why; e = json_next(list, e))
        why = check_tool(list, e);
    if (json_count(list))
        t->list = list;
    if (!why)
        why = read_choice(t, json_get(body, "tool_choice"));
    if (json_get_bool(body, "parallel_tool_calls", &t->parallel) == JSON_FIELD_TYPE)
        why = "'parallel_tool_calls' must be true or false";
    if (!t->list)
        t->choice = CHAT_TOOLS_NONE;
    return why;
}

static bool wanted(const struct chat_tools *t, const struct json_node *tool)
{
    return !t->only || json_is_str(name_of(tool), t->only);
}

char *chat_tools_describe(const struct chat_tools *t)
{
    struct json_writer w;
    struct chat_text s = { 0 };
    bool ok = true;
    jw_init(&w, CHAT_GRAMMAR_MAX);
    jw_array(&w);
    for (const struct json_node *e = json_first(t->list); e; e = json_next(t->list, e))
        if (wanted(t, e))
            jw_node(&w, json_get(e, "function"));
    jw_end(&w);
    ok = !w.failed && chat_text_put(&s, "You can call these functions:\n") &&
         chat_text_add(&s, w.buf, w.len) &&
         chat_text_put(&s, t->parallel
                               ? "\nTo call some, answer in JSON: {\"tool_calls\": "
                                 "[{\"name\": ..., \"arguments\": {...}}]}"
                               : "\nTo call one, answer in JSON: {\"tool_call\": "
                                 "{\"name\": ..., \"arguments\": {...}}}") &&
         (t->choice == CHAT_TOOLS_REQUIRED ||
          chat_text_put(&s, "\nTo answer yourself: {\"response\": \"...\"}"));
    jw_free(&w);
    if (!ok)
        chat_text_free(&s);
    return s.s;
}

struct gbnf { struct chat_text text; bool no_memory; };

static void add(struct gbnf *g, const char *s)
{
    if (!chat_text_put(&g->text, s))
        g->no_memory = true;
}

static void add_number(struct gbnf *g, const char *fmt, int n)
{
    char s[48];
    snprintf(s, sizeof s, fmt, n);
    add(g, s);
}

/* A JSON member's beginning, "key": with white space where the model likes it. */
static void add_key(struct gbnf *g, const char *name)
{
    add(g, "\"\\\"");
    add(g, name);
    add(g, "\\\"\" space \":\" space ");
}

/* Is this name, of a rule of chapter 25, the schema's own? */
static bool is_own(const char *name, const char *end)
{
    if (end - name == 4 && !memcmp(name, "root", 4))
        return true;
    while (name < end && !isdigit((uint8_t)*name))
        name++;
    return name < end;
}

/* Rules of a grammar, with a prefix to each name, so that grammars can stand together.
 * own: the prefix of the schema's own rules. */
static void add_renamed(struct gbnf *g, const char *s, const char *own)
{
    char quote = 0;
    while (*s) {
        const char *from = s;
        if (!quote && isalpha((uint8_t)*s)) {
            while (isalnum((uint8_t)*s) || *s == '-')
                s++;
            add(g, is_own(from, s) ? own : "json-");
        } else {
            if (quote && *s == '\\' && s[1])
                s++;
            else if (quote && *s == quote)
                quote = 0;
            else if (!quote && (*s == '"' || *s == '['))
                quote = *s == '"' ? '"' : ']';
            s++;
        }
        if (!chat_text_add(&g->text, from, (size_t)(s - from)))
            g->no_memory = true;
    }
}

/* Rule t<i>-root: the arguments. false: err says why, if it is not the memory. */
static bool add_schema(struct gbnf *g, const struct json_node *tool, int i, char *err,
                       size_t err_cap)
{
    size_t len;
    char prefix[16], why[200] = "";
    const struct json_node *schema = json_get(json_get(tool, "function"), "parameters");
    snprintf(prefix, sizeof prefix, "t%d-", i);
    if (json_is(schema, JSON_NULL) || json_count(schema) == 0)
        schema = NULL;
    char *rules = json_schema_rules(schema, &len, why, sizeof why);
    if (!rules && strcmp(why, "out of memory") == 0)
        return false;
    if (!rules) {
        snprintf(err, err_cap, "the parameters of tool '%s': %s", name_of(tool)->str,
                 why);
        return false;
    }
    add_renamed(g, rules, prefix);
    kfree(rules);
    return true;
}

/* Rule call-<i>: {"name": "…", "arguments": {…}} */
static void add_call(struct gbnf *g, enum chat_format f, const char *name, int i)
{
    bool llama = f == CHAT_FORMAT_LLAMA_3;
    add_number(g, "call-%d ::= \"{\" space ", i);
    if (llama) {
        add(g, "( ");
        add_key(g, "type");
        add(g, "\"\\\"function\\\"\" space \",\" space )? ");
    }
    add_key(g, "name");
    add(g, "\"\\\"");
    add(g, name);
    add(g, "\\\"\" space \",\" space ");
    add_key(g, llama ? "parameters" : "arguments");
    add_number(g, "t%d-root ", i);
    if (f == CHAT_FORMAT_MISTRAL) {
        add(g, "( \",\" space ");
        add_key(g, "id");
        add(g, "\"\\\"\" [a-zA-Z0-9]{9} \"\\\"\" space )? ");
    }
    add(g, "\"}\" space\n");
}

/* Rule calls: all that the model may write once it calls. */
static void add_calls(struct gbnf *g, const struct chat_tools *t, enum chat_format f,
                      int32_t opener)
{
    bool many = t->parallel;
    switch (f) {
    case CHAT_FORMAT_HERMES:
        add(g, "one ::= \"<tool_call>\" space call \"</tool_call>\" space\n");
        add(g, many ? "calls ::= one+\n" : "calls ::= one\n");
        break;
    case CHAT_FORMAT_MISTRAL:
        add(g, "calls ::= ");
        if (opener >= 0)
            add_number(g, "( <[%d]> | \"[TOOL_CALLS]\" )", (int)opener);
        else
            add(g, "\"[TOOL_CALLS]\"");
        add(g, many ? " space \"[\" space call ( \",\" space call )* \"]\" space\n"
                    : " space \"[\" space call \"]\" space\n");
        break;
    case CHAT_FORMAT_GENERIC:
        add(g, "calls ::= \"{\" space ");
        add_key(g, many ? "tool_calls" : "tool_call");
        add(g, many ? "\"[\" space call ( \",\" space call )* \"]\" space \"}\" space\n"
                    : "call \"}\" space\n");
        add(g, "answer ::= \"{\" space ");
        add_key(g, "response");
        add(g, "\"\\\"\" char* \"\\\"\" space \"}\" space\n"
               "char ::= [^\"\\\\\\x00-\\x1F\\x7F] | "
               "\"\\\\\" ( [\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4} )\n");
        break;
    default: add(g, "calls ::= call\n"); break;
    }
}

static void add_root(struct gbnf *g, const struct chat_tools *t, enum chat_format f,
                     bool thinking)
{
    bool answer = f == CHAT_FORMAT_GENERIC && t->choice == CHAT_TOOLS_AUTO;
    add(g, thinking ? "root ::= think body\n" : "root ::= body\n");
    add(g, answer ? "body ::= calls | answer\n" : "body ::= calls\n");
    if (thinking)
        add(g, "think ::= ( [^<] | \"<\" [^/] | \"</\" [^t] )* \"</think>\" space\n");
    add(g, "space ::= | \" \" | \"\\n\" [ \\t]{0,20}\n");
}

char *chat_tools_grammar(const struct chat_tools *t, enum chat_format format,
                         bool thinking, int32_t opener, char *err, size_t err_cap)
{
    const struct json_node *list = t->list;
    struct gbnf g = { 0 };
    int i = 0, n = 0;
    *err = 0;
    add_root(&g, t, format, thinking);
    add_calls(&g, t, format, opener);
    for (const struct json_node *e = json_first(list); e; e = json_next(list, e), i++)
        if (wanted(t, e)) {
            add_call(&g, format, name_of(e)->str, i);
            if (!add_schema(&g, e, i, err, err_cap))
                g.no_memory = true;
        }
    i = 0;
    add_renamed(&g, json_schema_shared, "");
    add(&g, "call ::=");
    for (const struct json_node *e = json_first(list); e; e = json_next(list, e), i++)
        if (wanted(t, e))
            add_number(&g, n++ ? " | call-%d" : " call-%d", i);
    add(&g, "\n");
    if (g.no_memory)
        chat_text_free(&g.text);
    return g.text.s;
}

const char *chat_tools_trigger(enum chat_format format)
{
    return format == CHAT_FORMAT_HERMES ? "<tool_call>"
           : format == CHAT_FORMAT_MISTRAL ? "[TOOL_CALLS]"
           : format == CHAT_FORMAT_LLAMA_3 ? "{\"name\": \""
                                           : NULL;
}
