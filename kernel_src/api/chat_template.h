/* chat_template.h: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § From messages to a prompt ---- */

/* chat_template.h: a model's own template: from the JSON of a chat request to a prompt.
 *
 * The template is parsed once, into the caller's memory; what is behind it in that memory
 * belongs to one rendering at a time. What a template can do is found out by trying.
 * Pure: the clock is handed in. Called by chat_edge.c. */
// twin: chat_template.c
#pragma once
#include "api/chat_message.h"
#include "api/json.h"
#include "llm/jinja.h"

struct chat_template_caps {          // as /props reports them
    bool string_content, typed_content, system_role, tools, tool_calls,
        parallel_tool_calls, object_arguments, preserve_reasoning, reasoning_effort;
};

struct chat_template {
    struct arena arena;              // the program, then what one rendering needs
    size_t mark;                     // where the program ends
    struct jinja_program *program;   // NULL: it did not parse, see error
    const char *source;
    const char *bos, *eos;           // the tokens' texts
    bool add_bos, add_eos;           // the tokenizer will add them
    struct chat_template_caps caps;
    enum chat_format format;         // how its model writes a tool call
    bool thinks;                     // it knows <think>
    struct jinja_error error;        // of the last call
    struct chat_parsed *parsed;      // JSON inside the request's strings
};

struct chat_inputs {
    const struct json_node *messages, *tools, *kwargs;   // the last two may be NULL
    size_t n_messages;               // how many of them, from the front
    const char *system;              // text for the end of the system message, or NULL
    const char *reasoning_effort;    // or NULL
    bool add_generation_prompt, enable_thinking;
    int64_t now;                     // seconds since 1970
};

/* source, bos and eos must stay. false: it does not parse. */
bool chat_template_init(struct chat_template *t, const char *source, const char *bos,
                        const char *eos, void *memory, size_t size);
/* Fills in caps and format; needs a few renderings. */
void chat_template_explore(struct chat_template *t);

/* NULL: `messages` is a list that can be rendered. Otherwise why not. */
const char *chat_messages_check(const struct json_node *messages);

/* *text lies in the template's memory until the next call. JINJA_NO_MEMORY: the heap;
 * the rest are the request's or the template's fault, and error.text says which. */
enum jinja_result chat_template_render(struct chat_template *t,
                                       const struct chat_inputs *in, const char **text,
                                       size_t *len);
void chat_caps_write(struct json_writer *w, const struct chat_template_caps *c);
