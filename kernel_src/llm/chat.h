/* chat.h: tangled from nbs/llm/16_llm.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/16_llm.ipynb § From messages to a prompt ---- */

/* chat.h: from a list of messages to one prompt.
 *
 * A GGUF carries its template as a Jinja program. This file does not run it: it
 * recognises the common families by tell-tale strings, as llama.cpp's
 * llama_chat_detect_template does, and writes the text that family's template would.
 * Pure. Called by api/. */
// twin: chat.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct llama_chat_message { const char *role, *content; };

enum llm_chat_template {
    LLM_CHAT_TEMPLATE_UNKNOWN,
    LLM_CHAT_TEMPLATE_CHATML,
    LLM_CHAT_TEMPLATE_LLAMA_2,
    LLM_CHAT_TEMPLATE_LLAMA_2_SYS,
    LLM_CHAT_TEMPLATE_LLAMA_3,
    LLM_CHAT_TEMPLATE_MISTRAL_V1,
    LLM_CHAT_TEMPLATE_MISTRAL_V3,
    LLM_CHAT_TEMPLATE_MISTRAL_V7,
    LLM_CHAT_TEMPLATE_PHI_3,
    LLM_CHAT_TEMPLATE_PHI_4,
    LLM_CHAT_TEMPLATE_GEMMA,
    LLM_CHAT_TEMPLATE_ZEPHYR,
    LLM_CHAT_TEMPLATE_VICUNA,
    LLM_CHAT_TEMPLATE_DEEPSEEK,
    LLM_CHAT_TEMPLATE_COMMAND_R,
    LLM_CHAT_TEMPLATE_GRANITE,
};

enum llm_chat_template llama_chat_detect_template(const char *tmpl);
/* By its name, if that is known; else by the model's template; else `otherwise`. */
enum llm_chat_template llama_chat_choose_template(const char *name, const char *tmpl,
                                                  enum llm_chat_template otherwise);
const char *llm_chat_template_name(enum llm_chat_template t);

/* Writes the prompt; add_ass ends it where the assistant is to speak. Returns its length,
 * like snprintf: nothing past buf[cap-1] is written, and a result >= cap means "call
 * again". */
size_t llama_chat_apply_template(enum llm_chat_template t,
                                 const struct llama_chat_message *msgs, size_t n_msgs,
                                 bool add_ass, char *buf, size_t cap);
