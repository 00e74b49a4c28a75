/* chat_tools.h: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § Tools ---- */

/* chat_tools.h: the tools of a chat request: are they well-formed, how are they described
 * to a model whose template cannot, and which grammar keeps a call in shape. Pure.
 * Called by chat_edge.c. */
// twin: chat_tools.c
#pragma once
#include "api/chat_message.h"
#include "api/json.h"

#define CHAT_TOOLS_MAX       64
#define CHAT_TOOL_NAME_MAX   64      // as OpenAI's
#define CHAT_GRAMMAR_MAX     (256u << 10)

enum chat_tool_choice { CHAT_TOOLS_NONE, CHAT_TOOLS_AUTO, CHAT_TOOLS_REQUIRED };

struct chat_tools {
    const struct json_node *list;    // NULL: no tools
    enum chat_tool_choice choice;    // CHAT_TOOLS_NONE without tools
    const char *only;                // this function, or NULL: any
    bool parallel;
};

/* Of a request's body. NULL, or why not. */
const char *chat_tools_read(struct chat_tools *t, const struct json_node *body);

/* For CHAT_FORMAT_GENERIC: what the system message must say. kmalloc'ed, or NULL. */
char *chat_tools_describe(const struct chat_tools *t);

/* The grammar, kmalloc'ed, or NULL and err says why ("" : no memory). thinking: the text
 * begins inside <think>. opener: the token that begins a call, or -1. */
char *chat_tools_grammar(const struct chat_tools *t, enum chat_format format,
                         bool thinking, int32_t opener, char *err, size_t err_cap);

/* With choice auto: the text after which the grammar holds. NULL: it holds from the
 * beginning. */
const char *chat_tools_trigger(enum chat_format format);
