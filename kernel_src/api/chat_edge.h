/* chat_edge.h: tangled from nbs/api/28_chat.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/28_chat.ipynb § In the kernel ---- */

/* chat_edge.h: a chat request, from its JSON to a prompt, and from the model's text to
 * the answer's message. The kernel's one template lives here. Called by prompt.c,
 * completion.c and shapes.c, which do without where this is not linked. */
#pragma once
#include "api/chat_template.h"
#include "api/chat_tools.h"
#include "api/completion.h"

#define CHAT_MEMORY (1u << 20)       // for the template's program and one rendering

struct chat {                        // of one completion
    struct chat_tools tools;
    enum chat_format format;         // what to look for in the answer
    bool split, thinking;            // thoughts apart; the prompt opens <think>
    int32_t show[4], n_show;         // control tokens whose text we need
    int32_t opener;                  // the one that begins calls, or -1
    int32_t n;
    struct chat_message m[];         // (n) one for each task
};

/* The parts of its message that came with a task's text. */
const struct chat_message *chat_message_of(const struct completion_task *t);
