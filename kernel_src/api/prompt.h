/* prompt.h: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § From JSON to tokens ---- */

/* prompt.h: prompts in JSON to token ids. All buffers are kmalloc'ed and the caller's. */
#pragma once
#include "api/api.h"
#include "llm/chat.h"

#define CHAT_MESSAGES_MAX 128

enum prompt_result {
    PROMPT_OK, PROMPT_BAD, PROMPT_NO_MEMORY, PROMPT_TOO_LONG,
    PROMPT_ANSWERED,                 // an error has gone out already
};

/* One prompt: a string, ids, a mixture, or {"prompt_string": …}. *n ids in *tokens. */
enum prompt_result prompt_tokens(const struct json_node *prompt, bool add_special,
                                 bool parse_special, int32_t **tokens, int32_t *n);
/* Does this JSON value hold several prompts rather than one? */
bool prompt_is_list(const struct json_node *prompt);
void prompt_refuse(struct http_conn *c, enum prompt_result r, const char *why);

/* A chat request's prompt, kmalloc'ed. chat: learns what to look for in the answer, or is
 * NULL. false: has answered. */
struct chat;
bool prompt_chat(struct http_conn *c, const struct json_node *body, struct chat *chat,
                 char **text, size_t *len);
/* The same by chapter 16's families, which know neither tools nor thoughts. */
bool prompt_family(struct http_conn *c, const struct json_node *body, char **text,
                   size_t *len);
/* Chapter 28, if it is linked: by the model's own template. */
bool chat_render(struct http_conn *c, const struct json_node *body, struct chat *chat,
                 char **text, size_t *len) __attribute__((weak));
