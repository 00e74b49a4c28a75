/* prompt.h: tangled from nbs/api/18_v1.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/18_v1.ipynb § From JSON to tokens ---- */

/* prompt.h: prompts in JSON to token ids. All buffers are kmalloc'ed and the caller's. */
#pragma once
#include "api/api.h"
#include "llm/chat.h"

#define CHAT_MESSAGES_MAX 128

enum prompt_result { PROMPT_OK, PROMPT_BAD, PROMPT_NO_MEMORY, PROMPT_TOO_LONG };

/* One prompt: a string, ids, a mixture, or {"prompt_string": …}. *n ids in *tokens. */
enum prompt_result prompt_tokens(const struct json_node *prompt, bool add_special,
                                 bool parse_special, int32_t **tokens, int32_t *n);
/* Does this JSON value hold several prompts rather than one? */
bool prompt_is_list(const struct json_node *prompt);
/* Chat messages to the model's prompt text. PROMPT_BAD: *why says what is wrong. */
enum prompt_result prompt_from_messages(const struct json_node *body, char **text,
                                        size_t *len, const char **why);
/* Do we recognise the model's template? false: has answered 501. */
bool prompt_has_template(struct http_conn *c);
